//! What EC2 shows of the stack's own resources, besides the route tables that the network has.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::model::base::ids::{SubnetId, Zone};
use crate::model::cloud::prefix_list::{ListId, PrefixList};

/// EC2 as it was at one look. What the look did not find is not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// The stack's physical ids by logical id: `nat-…`, `subnet-…`, `rtb-…`, `pl-…`, and the address of an EIP.
    pub ids: BTreeMap<String, String>,
    /// By id, `nat-…`.
    pub gateways: BTreeMap<String, Gateway>,
    /// By public IP.
    pub addresses: BTreeMap<String, Address>,
    pub subnets: BTreeMap<SubnetId, Subnet>,
    /// The prefix lists that are resources of the stack. Routes to lists are in the network, with those of others.
    pub lists: BTreeMap<ListId, PrefixList>,
    /// Ids that the answers lack, although EC2 does not say that they do not exist.
    pub unproven: BTreeSet<String>,
    /// The stack's policy, where this look was at it, too.
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

    /// Returns the subnets of the stack's NAT gateways.
    pub fn nat_subnets(&self) -> impl Iterator<Item = &SubnetId> {
        let used = self.gateways.values().map(|gateway| &gateway.subnet);
        self.subnets.keys().chain(used)
    }
}

/// The kind of thing that EC2 can be asked for by its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdKind {
    NatGateway,
    Subnet,
    RouteTable,
    PrefixList,
    /// A static IP, by its public IP.
    Address,
    /// A static IP, by its allocation id.
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
    /// More public IPs that traffic may leave from, which people added by hand; in EC2's order.
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
    /// What has it: a network interface, an instance, or only the association's id.
    pub held_by: Option<String>,
    /// Its allocation id, `eipalloc-…`.
    pub allocation: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subnet {
    pub cidr: Option<Ipv4Net>,
    pub zone: Zone,
    pub tags: BTreeMap<String, String>,
}
