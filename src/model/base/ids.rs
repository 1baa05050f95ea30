//! Identifiers of ConfigMaps, entries, zones, route tables and subnets.

use std::fmt;

use crate::model::base::plain::plain;

/// Names one ConfigMap among all watched clusters. `cluster` is empty when only one cluster is watched.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct ObjectId {
    pub cluster: String,
    pub namespace: String,
    pub name: String,
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.cluster.is_empty() {
            write!(f, "{}/", plain(&self.cluster))?;
        }
        write!(f, "{}/{}", plain(&self.namespace), plain(&self.name))
    }
}

/// One `data` entry of one ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct EntryId {
    #[serde(flatten)]
    pub object: ObjectId,
    pub key: String,
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} key {:?}", self.object, self.key)
    }
}

/// Availability zone name, such as `eu-west-1a`.
pub type Zone = String;

/// `rtb-…`
pub type TableId = String;

/// `subnet-…`
pub type SubnetId = String;
