//! What the VPC looks like: the part of it that egress depends on.

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
use crate::model::cloud::set_aside::SetAside;
use crate::model::cloud::static_ip::{Account, Choices};

/// The VPC that holds the workers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// The account that the VPC is in; None where that is not known.
    pub account: Option<String>,
    pub vpc_id: String,
    /// Every IPv4 CIDR associated with the VPC.
    pub vpc_cidrs: Vec<Ipv4Net>,
    pub internet_gateway_id: String,
    /// The workers' route tables: those with tag `AvailabilityZone` that pass the filters.
    pub worker_tables: BTreeMap<TableId, WorkerTable>,
    /// Tables with the tags of a worker's that are none, since NAT subnets use them; the plan fills it.
    pub nat_tables: BTreeMap<TableId, NatTable>,
    /// The VPC's other route tables.
    pub other_tables: BTreeMap<TableId, OtherTable>,
    /// Tables of the stack that the answer lacks, although EC2 does not say that they do not exist.
    pub unproven: BTreeSet<TableId>,
    /// The route table of each subnet that has one of its own choice.
    pub associations: BTreeMap<SubnetId, TableId>,
    pub headroom: Headroom,
    pub limits: Limits,
}

/// What may be added to what is there; known as far as something is to be added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headroom {
    /// How many more static IPs the account may have; None where that is not known.
    pub addresses: Option<usize>,
    /// How many more NAT gateways each zone may have, where that is known.
    pub nat_gateways: BTreeMap<Zone, usize>,
    /// The static IPs that the account has.
    pub account: Account,
    /// Which of them zones get that are to be added; the plan fills it.
    pub choices: Choices,
    pub later: Later,
    /// Additional static IPs that could not be added.
    pub ip_waits: IpWaits,
    /// Routes that AWS has refused.
    pub refused: SetAside,
}

impl Headroom {
    /// Whether all these zones can be added, as far as it is known.
    pub fn is_enough_for(&self, zones: &BTreeSet<Zone>) -> bool {
        let is_full = |zone: &Zone| self.nat_gateways.get(zone) == Some(&0);
        self.addresses.is_none_or(|free| free >= zones.len()) && !zones.iter().any(is_full)
    }
}

/// Zones, with their NAT subnets' ranges, that could not be added, and how much longer they wait.
pub type Later = BTreeMap<(Zone, Ipv4Net), Duration>;

impl Network {
    /// The routes of any table of the VPC; None when there is no such table.
    pub fn routes(&self, table: &str) -> Option<&BTreeMap<Ipv4Net, Route>> {
        let worker = self.worker_tables.get(table).map(|table| &table.routes);
        worker.or_else(|| self.other_tables.get(table).map(|table| &table.routes))
    }

    /// The routes to prefix lists of any table of the VPC; None when there is no such table.
    pub fn list_routes(&self, table: &str) -> Option<&BTreeMap<ListId, Route>> {
        let worker = self.worker_tables.get(table);
        let worker = worker.map(|table| &table.list_routes);
        worker.or_else(|| self.other_tables.get(table).map(|table| &table.list_routes))
    }

    /// Whether an operator has said, on the table itself, that it is to lose the routes of ours.
    pub fn is_released(&self, table: &TableId) -> bool {
        let worker = self.worker_tables.get(table);
        let other = self.other_tables.get(table);
        let tag = other.and_then(|other| other.tags.get(ZONE_TAG));
        let zone = worker.map(|worker| worker.zone.as_str());
        zone.or(tag.map(|tag| tag.trim())) == Some(RELEASED)
    }

    /// Takes a table, as it is, out of the workers'; its zone, if it was one of them.
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
    /// template, with these names, does not have. In a table with routes of ours the gateway identifies them.
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

/// The value of the tag `AvailabilityZone` by which an operator says that a table is to lose the routes of ours.
pub const RELEASED: &str = "none";
/// The tag that names a worker table's zone.
pub const ZONE_TAG: &str = "AvailabilityZone";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerTable {
    /// The value of its `AvailabilityZone` tag.
    pub zone: Zone,
    /// Static IPv4 routes by destination, of the stack and of others.
    pub routes: BTreeMap<Ipv4Net, Route>,
    /// IPv4 routes that a gateway or a VPC Route Server propagates. One may stand beside a static route to the same destination, which
    /// takes precedence, and they have a quota of their own ("Route priority" and "Amazon VPC quotas" in the VPC User Guide).
    pub propagated: BTreeMap<Ipv4Net, Route>,
    /// Static routes to prefix lists, of the stack and of others. A route of [`Self::routes`] to the same destination as an entry takes
    /// precedence.
    pub list_routes: BTreeMap<ListId, Route>,
    /// How many routes its routes to prefix lists count for.
    pub listed: usize,
    pub tags: BTreeMap<String, String>,
}

/// Why a table with the tags of a worker's is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NatTable {
    /// The stack has made it for a NAT subnet.
    OfStack,
    /// A NAT subnet of the stack is associated with it.
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
    /// `local`, `igw-…`, `nat-…`, `pcx-…`, …
    pub target: String,
    /// The target is gone.
    pub blackhole: bool,
}

/// The kinds of targets that routes have, by the prefixes of EC2's ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The VPC itself.
    Local,
    InternetGateway,
    NatGateway,
    /// A transit gateway, a peering, an endpoint, or what EC2 did not have when this was written. It is never the stack's.
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

    /// Whether it leads to a NAT gateway that is there.
    pub fn serves(&self) -> bool {
        self.leads_to() == Target::NatGateway && !self.blackhole
    }
}

/// A network as people describe it in a file, for planning without an account.
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
    /// Destination to target.
    #[serde(default)]
    pub routes: BTreeMap<String, String>,
}

/// A field of a network file that is not what it should be.
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
