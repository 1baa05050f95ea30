//! Identifiers of ConfigMaps, entries, zones, route tables and subnets.

use std::fmt;

use crate::model::base::plain::plain;

/// Identifies one ConfigMap among all watched clusters. `cluster` is empty if only one cluster is watched.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct ObjectId {
    pub cluster: String,
    pub namespace: String,
    pub name: String,
}

impl ObjectId {
    /// Whether both ConfigMaps are in the same namespace of the same cluster.
    pub fn is_beside(&self, other: &Self) -> bool {
        self.namespace == other.namespace && self.cluster == other.cluster
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.cluster.is_empty() {
            write!(f, "{}/", plain(&self.cluster))?;
        }
        write!(f, "{}/{}", plain(&self.namespace), plain(&self.name))
    }
}

/// Identifies one `data` entry of a ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
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

/// The name of an availability zone or Local Zone, such as `eu-west-1a`.
pub type Zone = String;

/// The id of a route table, `rtb-…`.
pub type TableId = String;

/// The id of a subnet, `subnet-…`.
pub type SubnetId = String;

/// Returns the network border group of a Local Zone, such as `us-west-2-lax-1` of `us-west-2-lax-1a`. EC2 accepts only a static IP of this
/// group there. None for an availability zone, whose group is the region.
pub fn border_group(zone: &str) -> Option<&str> {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|it| it.is_ascii_digit());
    let (before, last) = zone.rsplit_once('-')?;
    let group = zone.trim_end_matches(|it: char| it.is_ascii_lowercase());
    let is_local = before.split('-').any(is_number) && group.len() < zone.len();
    (is_local && is_number(&last[..last.len() - (zone.len() - group.len())])).then_some(group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_zones_have_a_border_group_of_their_own() {
        for (zone, group) in [
            ("us-west-2-lax-1a", Some("us-west-2-lax-1")),
            ("eu-central-1-ham-1a", Some("eu-central-1-ham-1")),
            ("us-gov-west-1-abc-12b", Some("us-gov-west-1-abc-12")),
            ("eu-central-1a", None),
            ("us-gov-west-1a", None),
            ("us-west-2-lax-1", None),
            ("us-east-1-wl1-bos-wlz-1", None),
            ("us-west-2-lax", None),
            ("a", None),
            ("a-1-", None),
        ] {
            assert_eq!(border_group(zone), group, "{zone}");
        }
    }
}
