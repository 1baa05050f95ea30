//! The part of the VPC that egress depends on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ipnet::Ipv4Net;
use serde::Deserialize;

use crate::model::base::cidr;
use crate::model::base::ids::{SubnetId, TableId, Zone};
use crate::model::cloud::layout::Names;
use crate::model::cloud::limits::Limits;
use crate::model::cloud::more_ips::IpWaits;
use crate::model::cloud::prefix_list::ListId;
use crate::model::cloud::released_ips::Lost;
use crate::model::cloud::set_aside::SetAside;
use crate::model::cloud::static_ip::{Account, Choice, Choices};

/// The VPC with the workers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// The account of the VPC; None if it is unknown.
    pub account: Option<String>,
    pub vpc_id: String,
    /// Every IPv4 CIDR associated with the VPC.
    pub vpc_cidrs: Vec<Ipv4Net>,
    pub internet_gateway_id: String,
    /// The workers' route tables: those with the tag `AvailabilityZone` that pass the filters.
    pub worker_tables: BTreeMap<TableId, WorkerTable>,
    /// Tables with the tags of a worker table that belong to NAT subnets; the plan fills the field.
    pub nat_tables: BTreeMap<TableId, NatTable>,
    /// The VPC's other route tables.
    pub other_tables: BTreeMap<TableId, OtherTable>,
    /// Tables of the stack that EC2's answer lacks without proof that they do not exist.
    pub unproven: BTreeSet<TableId>,
    /// The route table of each subnet with an explicit association.
    pub associations: BTreeMap<SubnetId, TableId>,
    pub headroom: Headroom,
    pub limits: Limits,
}

/// The limits for additions to the stack. The account's quotas and static IPs are read only if resources are to be added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headroom {
    /// The number of static IPs that the account may add; None if it is unknown.
    pub addresses: Option<usize>,
    /// The number of NAT gateways that each zone may add, as far as it is known.
    pub nat_gateways: BTreeMap<Zone, usize>,
    /// The account's static IPs.
    pub account: Account,
    /// The static IPs that zones get; the plan fills the field.
    pub choices: Choices,
    pub later: Later,
    /// Changes of static IPs that failed.
    pub ip_waits: IpWaits,
    /// The new zone that asks AWS for its released static IP now; the plan fills the field.
    pub recovers: Option<Lost>,
    /// Routes that AWS has refused.
    pub refused: SetAside,
}

impl Headroom {
    /// Whether a new zone needs an EIP that the account does not have.
    pub fn needs_eip(&self, zone: &Zone) -> bool {
        matches!(self.choices.get(zone), None | Some(Choice::Recover(_)))
    }

    /// Whether all these zones can be added, as far as the quotas are known.
    pub fn is_enough_for(&self, zones: &BTreeSet<Zone>) -> bool {
        let is_full = |zone: &Zone| self.nat_gateways.get(zone) == Some(&0);
        self.addresses.is_none_or(|free| free >= zones.len()) && !zones.iter().any(is_full)
    }
}

/// Zones that could not be added, with their NAT subnets' ranges and the time until each is tried again.
pub type Later = BTreeMap<(Zone, Ipv4Net), Duration>;

impl Network {
    /// Returns the routes of a table of the VPC; None if there is no such table.
    pub fn routes(&self, table: &str) -> Option<&BTreeMap<Ipv4Net, Route>> {
        let worker = self.worker_tables.get(table).map(|table| &table.routes);
        worker.or_else(|| self.other_tables.get(table).map(|table| &table.routes))
    }

    /// Returns the routes to prefix lists of a table of the VPC; None if there is no such table.
    pub fn list_routes(&self, table: &str) -> Option<&BTreeMap<ListId, Route>> {
        let worker = self.worker_tables.get(table);
        let worker = worker.map(|table| &table.list_routes);
        worker.or_else(|| self.other_tables.get(table).map(|table| &table.list_routes))
    }

    /// Whether an operator has tagged the table so that the controller removes its routes from it.
    pub fn is_released(&self, table: &TableId) -> bool {
        let worker = self.worker_tables.get(table);
        let other = self.other_tables.get(table);
        let tag = other.and_then(|other| other.tags.get(ZONE_TAG));
        let zone = worker.map(|worker| worker.zone.as_str());
        zone.or(tag.map(|tag| tag.trim())) == Some(RELEASED)
    }

    /// Whether a table of the stack does not exist any more.
    pub fn is_deleted(&self, table: &TableId) -> bool {
        self.routes(table).is_none() && !self.unproven.contains(table)
    }

    /// Moves a table, unchanged, from the worker tables to the other tables. Returns its zone, if it was a worker table.
    pub fn set_aside(&mut self, table: &str) -> Option<Zone> {
        let (id, worker) = self.worker_tables.remove_entry(table)?;
        let other = OtherTable {
            routes: worker.routes,
            list_routes: worker.list_routes,
            tags: worker.tags,
        };
        self.other_tables.insert(id, other);
        Some(worker.zone)
    }

    /// Returns the network without the routes that an operation of the stack may be creating: those to NAT gateways that the previous
    /// template, with these names, does not have. In a table with routes of that template, only routes to their gateways are left out.
    pub fn before(&self, names: &Names) -> Self {
        let mut network = self.clone();
        for (id, table) in &mut network.worker_tables {
            let known = |cidr: &Ipv4Net| names.routes.contains_key(&(id.clone(), *cidr));
            let routes = table.routes.iter().filter(|(cidr, _)| known(cidr));
            let ours: BTreeSet<String> = routes.map(|(_, route)| route.target.clone()).collect();
            table.routes.retain(|cidr, route| {
                let ours = ours.is_empty() || ours.contains(&route.target);
                known(cidr) || !ours || route.leads_to() != Target::NatGateway
            });
        }
        network
    }
}

/// The value of the tag `AvailabilityZone` that makes the controller remove its routes from a table.
pub const RELEASED: &str = "none";
/// The key of the tag that names a worker table's zone.
pub const ZONE_TAG: &str = "AvailabilityZone";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerTable {
    /// The value of the table's tag `AvailabilityZone`.
    pub zone: Zone,
    /// Static IPv4 routes by destination, inside and outside of the stack.
    pub routes: BTreeMap<Ipv4Net, Route>,
    /// IPv4 routes that a gateway or a VPC Route Server propagates. A static route to the same destination takes precedence. Propagated
    /// routes have their own quota ("Route priority" and "Amazon VPC quotas" in the VPC User Guide).
    pub propagated: BTreeMap<Ipv4Net, Route>,
    /// Static routes to prefix lists, inside and outside of the stack. A route of [`Self::routes`] to the same destination as an entry
    /// takes precedence.
    pub list_routes: BTreeMap<ListId, Route>,
    /// The share of the route quota that the routes to prefix lists take.
    pub listed: usize,
    pub tags: BTreeMap<String, String>,
}

/// Why a table with the tags of a worker table belongs to a NAT subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NatTable {
    /// The stack created the table for a NAT subnet.
    OfStack,
    /// A NAT subnet of the stack is associated with the table.
    Associated,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OtherTable {
    pub routes: BTreeMap<Ipv4Net, Route>,
    pub list_routes: BTreeMap<ListId, Route>,
    pub tags: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// The target: `local`, `igw-…`, `nat-…`, `pcx-…`, …
    pub target: String,
    /// Whether the target no longer exists.
    pub blackhole: bool,
}

/// The kinds of route targets, by the prefixes of EC2's ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The VPC itself.
    Local,
    InternetGateway,
    NatGateway,
    /// A transit gateway, a peering, an endpoint, or an unknown kind. No route of the stack has such a target.
    Other,
}

impl Target {
    pub fn of(target: &str) -> Self {
        match target.split_once('-') {
            None if target == "local" => Self::Local,
            Some(("igw", _)) => Self::InternetGateway,
            Some(("nat", _)) => Self::NatGateway,
            _ => Self::Other,
        }
    }
}

impl Route {
    pub fn leads_to(&self) -> Target {
        Target::of(&self.target)
    }

    /// Whether the route leads to a NAT gateway that exists.
    pub fn serves(&self) -> bool {
        self.leads_to() == Target::NatGateway && !self.blackhole
    }
}

/// A network described in a file, for planning without an account.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetworkFile {
    pub vpc_id: String,
    pub vpc_cidrs: Vec<String>,
    pub internet_gateway_id: String,
    pub worker_tables: BTreeMap<TableId, WorkerTableFile>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkerTableFile {
    pub zone: Zone,
    /// The targets of the routes, by destination.
    #[serde(default)]
    pub routes: BTreeMap<String, String>,
}

/// An invalid field of a network file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {value:?} is not an IPv4 CIDR such as 172.31.0.0/16; correct it")]
pub struct NetworkFileError {
    field: String,
    value: String,
}

impl TryFrom<NetworkFile> for Network {
    type Error = NetworkFileError;

    fn try_from(file: NetworkFile) -> Result<Self, Self::Error> {
        let net = |field: &str, value: &str| {
            let wrong = |_| NetworkFileError {
                field: field.to_owned(),
                value: value.to_owned(),
            };
            cidr::parse(value).map(|(net, _)| net).map_err(wrong)
        };
        let mut worker_tables = BTreeMap::new();
        for (id, table) in file.worker_tables {
            let mut routes = BTreeMap::new();
            for (destination, target) in table.routes {
                let cidr = net(&format!("workerTables.{id}.routes"), &destination)?;
                routes.insert(
                    cidr,
                    Route {
                        target,
                        blackhole: false,
                    },
                );
            }
            worker_tables.insert(
                id,
                WorkerTable {
                    zone: table.zone,
                    routes,
                    ..WorkerTable::default()
                },
            );
        }
        Ok(Self {
            vpc_id: file.vpc_id,
            vpc_cidrs: file
                .vpc_cidrs
                .iter()
                .map(|cidr| net("vpcCidrs", cidr))
                .collect::<Result<_, _>>()?,
            internet_gateway_id: file.internet_gateway_id,
            worker_tables,
            ..Self::default()
        })
    }
}
