//! The stack's resources as EC2 shows them, besides the route tables, which the network has.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::model::base::ids::{SubnetId, Zone};
use crate::model::cloud::prefix_list::{ListId, PrefixList};

/// The state of EC2 at one observation. Resources that EC2 did not show are missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// The stack's physical ids by logical id: `nat-…`, `subnet-…`, `rtb-…`, `pl-…`, and the public IP of an EIP.
    pub ids: BTreeMap<String, String>,
    /// The NAT gateways by id, `nat-…`.
    pub gateways: BTreeMap<String, Gateway>,
    /// The static IPs by public IP.
    pub addresses: BTreeMap<String, Address>,
    pub subnets: BTreeMap<SubnetId, Subnet>,
    /// The prefix lists of the stack. The network has the routes to lists.
    pub lists: BTreeMap<ListId, PrefixList>,
    /// Ids that the answers lack without proof that the resources do not exist.
    pub unproven: BTreeSet<String>,
    /// The physical ids of resources that were left behind and that EC2 no longer shows.
    pub gone: BTreeSet<String>,
    /// The stack's policy, if this observation includes it.
    pub policy: Option<String>,
}

impl Observed {
    /// Returns the ids of static IPs, NAT gateways, NAT subnets and prefix lists of the stack that the answers lack.
    pub fn missing(&self) -> BTreeSet<String> {
        let is_missing = |id: &&String| match IdKind::of(id) {
            Some(IdKind::NatGateway) => !self.gateways.contains_key(*id),
            Some(IdKind::Subnet) => !self.subnets.contains_key(*id),
            Some(IdKind::Address) => !self.addresses.contains_key(*id),
            Some(IdKind::PrefixList) => !self.lists.contains_key(*id),
            Some(IdKind::RouteTable | IdKind::Allocation) | None => false,
        };
        self.ids.values().filter(is_missing).cloned().collect()
    }

    /// Returns the observed subnets of the stack and the subnets of its NAT gateways.
    pub fn nat_subnets(&self) -> impl Iterator<Item = &SubnetId> {
        let used = self.gateways.values().map(|gateway| &gateway.subnet);
        self.subnets.keys().chain(used)
    }
}

/// The kind of a resource that EC2 describes by its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdKind {
    NatGateway,
    Subnet,
    RouteTable,
    PrefixList,
    /// The public IP of a static IP.
    Address,
    /// The allocation id of a static IP.
    Allocation,
}

impl IdKind {
    pub fn of(id: &str) -> Option<Self> {
        if id.starts_with("nat-") {
            Some(Self::NatGateway)
        } else if id.starts_with("subnet-") {
            Some(Self::Subnet)
        } else if id.starts_with("rtb-") {
            Some(Self::RouteTable)
        } else if id.starts_with("pl-") {
            Some(Self::PrefixList)
        } else if id.starts_with("eipalloc-") {
            Some(Self::Allocation)
        } else {
            id.parse::<Ipv4Addr>().is_ok().then_some(Self::Address)
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gateway {
    pub health: Health,
    pub subnet: SubnetId,
    pub public_ip: Option<String>,
    /// The public IPs besides the first that traffic may leave from, in EC2's order.
    pub secondary_ips: Vec<String>,
    /// The network interface with the public IP, `eni-…`.
    pub interface: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Health {
    #[default]
    Well,
    /// EC2 is creating the gateway, which may not show its static IP yet.
    Coming,
    /// EC2 is deleting the gateway, which still holds its static IP.
    Leaving,
    Gone,
    /// The creation failed, with EC2's reason.
    Failed(String),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Address {
    /// The holder of the IP: a network interface, an instance, or only the association's id.
    pub held_by: Option<String>,
    /// The allocation id, `eipalloc-…`.
    pub allocation: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subnet {
    pub cidr: Option<Ipv4Net>,
    pub zone: Zone,
    pub tags: BTreeMap<String, String>,
}
