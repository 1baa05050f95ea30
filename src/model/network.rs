//! What the VPC looks like: the part of it that egress depends on.

use std::collections::BTreeMap;

use ipnet::Ipv4Net;

/// Availability zone name, such as `eu-west-1a`.
pub type Zone = String;
/// `rtb-…`
pub type TableId = String;

/// The VPC that holds the workers.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Network {
    pub vpc_id: String,
    /// Every IPv4 CIDR associated with the VPC.
    pub vpc_cidrs: Vec<Ipv4Net>,
    pub internet_gateway_id: String,
    /// The workers' route tables: those with tag `AvailabilityZone` that pass the filters.
    pub worker_tables: BTreeMap<TableId, WorkerTable>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkerTable {
    /// The value of its `AvailabilityZone` tag.
    pub zone: Zone,
    /// IPv4 routes by destination, whoever made them.
    #[serde(default)]
    pub routes: BTreeMap<Ipv4Net, Route>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Route {
    /// `local`, `igw-…`, `nat-…`, `pcx-…`, …
    pub target: String,
    /// The target is gone.
    #[serde(default)]
    pub blackhole: bool,
}
