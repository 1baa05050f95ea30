//! What EC2 shows of the stack's own resources, besides the route tables that the network has.

use std::collections::BTreeMap;

use ipnet::Ipv4Net;

use crate::model::base::ids::{SubnetId, Zone};

/// EC2 as it was at one look. What the look did not find is not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// The stack's physical ids by logical id: `nat-…`, `subnet-…`, `rtb-…`, and the address of an EIP.
    pub ids: BTreeMap<String, String>,
    /// By id, `nat-…`.
    pub gateways: BTreeMap<String, Gateway>,
    /// By public IP.
    pub addresses: BTreeMap<String, Address>,
    pub subnets: BTreeMap<SubnetId, Subnet>,
    /// The stack's policy, where this look was at it, too.
    pub policy: Option<String>,
}

impl Observed {
    /// Returns the subnets of the stack's NAT gateways.
    pub fn nat_subnets(&self) -> impl Iterator<Item = &SubnetId> {
        let used = self.gateways.values().map(|gateway| &gateway.subnet);
        self.subnets.keys().chain(used)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gateway {
    pub health: Health,
    pub subnet: SubnetId,
    pub public_ip: Option<String>,
    /// More public IPs that traffic may leave from, as somebody added them; in EC2's order.
    pub secondary_ips: Vec<String>,
    /// The network interface by which it has that IP, `eni-…`.
    pub interface: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Health {
    #[default]
    Well,
    /// It is being made, and need not show its static IP yet.
    Coming,
    /// It is being deleted, and still holds its static IP.
    Leaving,
    Gone,
    /// With EC2's reason.
    Failed(String),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Address {
    /// The network interface that has it.
    pub held_by: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subnet {
    pub cidr: Option<Ipv4Net>,
    pub zone: Zone,
    pub tags: BTreeMap<String, String>,
}
