//! Drift: differences between EC2 and the stack after a change outside of CloudFormation, which does not notice such changes.

pub mod cfn_detection;
pub mod kind;
pub mod recovery;
pub mod tracker;

use std::borrow::Cow;
use std::collections::BTreeSet;

use ipnet::Ipv4Net;

use crate::model::base::ids::{TableId, Zone};
use crate::model::base::problem::{Problem, Subject};
use crate::model::cloud::layout::{Layout, Names};
use crate::model::cloud::logical_id::renewal;
use crate::model::cloud::network::{Network, Route, Target};
use crate::model::cloud::observed::Observed;
use crate::model::cloud::part_names::Part;
use crate::model::cloud::static_ip::StaticIp;
use crate::model::desired::Desired;
use crate::model::drift::kind::DriftKind;

pub(in crate::model) mod lists;
mod more_ips;
mod zone;

/// How many characters of the observed state are part of a key. EC2's failure messages have any length.
const MAX_SEEN: usize = 120;

/// One resource of the stack that differs in EC2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// The logical id.
    pub id: String,
    pub place: Place,
    pub kind: DriftKind,
    /// The resource as the stack defines it, and its state in EC2.
    pub expected: String,
    pub seen: String,
    pub cure: Cure,
}

/// The part of the stack that the resource belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Route(TableId, Ipv4Net),
    /// A network list, or a route to one: a table that has a route to the list, and the list's entries in the stack.
    List(TableId, BTreeSet<Ipv4Net>),
    /// A resource of a zone's NAT.
    Zone(Zone),
}

/// How a change of the stack can repair a drift. The lists contain the logical ids of the resources that are replaced together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cure {
    /// Remove the resource from the stack, and add it again.
    Retake,
    /// Let CloudFormation revert the drift.
    Revert,
    /// Remove the resource's tags from the stack, and add them again.
    Retag,
    /// Create the resource again under another logical id.
    Renew(Vec<String>),
    /// Create the gateway again with the zone's static IP, which is in the account under another allocation id than before.
    Adopt(Vec<String>, StaticIp),
    /// Allocate the same static IP again under another logical id.
    Recover(Vec<String>, String),
    /// Remove the resource from the stack for good, if that is allowed.
    GiveUp(Vec<String>),
    /// Remove the static IP from the NAT gateway, which is the second one of these, and add it again.
    Reuse(Vec<String>),
    /// Allocate a new static IP, if that is allowed.
    NewIp(Vec<String>),
    /// The repair of another drift repairs this one.
    Follows,
    /// The drift ends without a repair.
    Passes,
    /// A user has to repair the drift, as this text says.
    ByHand(Cow<'static, str>),
}

impl Cure {
    /// Whether a change of the stack carries it out, besides attempts to recover a static IP.
    pub fn is_change(&self) -> bool {
        match self {
            Self::Retake | Self::Revert | Self::Retag | Self::Renew(_) | Self::NewIp(_) => true,
            Self::GiveUp(_) | Self::Reuse(_) | Self::Adopt(..) => true,
            Self::Recover(..) | Self::Follows | Self::Passes | Self::ByHand(_) => false,
        }
    }

    /// Whether a change set that reverts drift may and can do the same.
    pub fn is_like_reverting(&self) -> bool {
        match self {
            Self::Retake | Self::Revert | Self::Retag | Self::Renew(_) | Self::NewIp(_) => true,
            Self::Follows => true,
            Self::GiveUp(_) | Self::Reuse(_) | Self::Adopt(..) | Self::Recover(..) => false,
            Self::Passes | Self::ByHand(_) => false,
        }
    }
}

impl Drift {
    /// Returns the key of the drift. It ignores renewals of the logical id, and includes the observed state.
    pub fn key(&self) -> String {
        let (id, _) = renewal(&self.id);
        let seen: String = self.seen.chars().take(MAX_SEEN).collect();
        format!("{id} {} {seen}", self.kind.reason())
    }

    /// Returns the key that counts attempts to recover the lost static IP. They do not count as attempts to get a new one.
    pub fn recovery_key(&self) -> Option<String> {
        let (id, _) = renewal(&self.id);
        matches!(
            self.kind,
            DriftKind::StaticIpLost | DriftKind::AdditionalIpLost
        )
        .then(|| format!("{id} recovery of {}", self.expected))
    }

    /// Whether a change of the stack may repair the drift, now or soon.
    pub fn is_curable(&self) -> bool {
        !matches!(self.cure, Cure::ByHand(_) | Cure::Follows)
    }

    pub fn subject(&self) -> Subject {
        match &self.place {
            Place::Route(table, _) | Place::List(table, _) => Subject::RouteTable(table.clone()),
            Place::Zone(zone) => Subject::Zone(zone.clone()),
        }
    }

    /// Whether the drifted resource is still requested.
    pub fn is_wanted(&self, desired: &Desired) -> bool {
        match &self.place {
            Place::Route(table, cidr) => desired.routes.contains(&(table.clone(), *cidr)),
            Place::List(table, nets) => {
                let mut routes = nets.iter().map(|net| (table.clone(), *net));
                routes.any(|route| desired.routes.contains(&route))
            }
            Place::Zone(zone) => desired.zones.contains_key(zone),
        }
    }

    /// Returns the problem to publish; `next` names the controller's next step.
    pub fn problem(&self, next: &str) -> Problem {
        let cause = self.kind.cause();
        let text = format!(
            "{} ({}) {}; {cause}: {next}",
            self.expected, self.id, self.seen
        );
        Problem::new(
            self.kind.severity(),
            self.subject(),
            self.kind.reason(),
            text,
        )
    }
}

impl Place {
    /// Returns the zone of the resource.
    pub fn zone(&self, names: &Names) -> Option<Zone> {
        match self {
            Self::Route(table, net) => names.route_zones.get(&(table.clone(), *net)).cloned(),
            Self::List(table, nets) => {
                let route = (table.clone(), *nets.first()?);
                names.route_zones.get(&route).cloned()
            }
            Self::Zone(zone) => Some(zone.clone()),
        }
    }
}

/// Returns all drifts in the order of zones and routes. Without `observed`, compares only the routes. Routes in the same tables that are
/// not in the stack are not drift.
pub fn of(
    network: &Network,
    layout: &Layout,
    names: &Names,
    observed: Option<&Observed>,
) -> Vec<Drift> {
    let mut found = Vec::new();
    if let Some(observed) = observed {
        for (zone, cidr) in &names.nat_cidrs {
            let look = zone::Look {
                network,
                layout,
                names,
                observed,
                zone,
                cidr: *cidr,
            };
            look.around(&mut found);
        }
    }
    let sick: Vec<&Zone> = names
        .nat_cidrs
        .keys()
        .filter(|zone| {
            found.iter().any(|drift| {
                drift.place == Place::Zone((*zone).clone()) && drift.kind.takes_the_gateway()
            })
        })
        .collect();
    let mut routes = Vec::new();
    let direct = names
        .routes
        .iter()
        .filter(|(route, _)| names.is_direct(route));
    for (route, id) in direct {
        let (table, cidr) = route;
        // The plan removes the routes of a deleted table.
        let Some(there) = network.routes(table) else {
            continue;
        };
        let zone = names.route_zones.get(route);
        let gateway = zone
            .and_then(|zone| names.part(zone, Part::NatGateway))
            .and_then(|id| Some(observed?.ids.get(id)?.as_str()));
        let Some((kind, seen)) = of_route(there.get(cidr), gateway, Target::NatGateway) else {
            continue;
        };
        // The route will lead to the new gateway once the gateway is created.
        let follows =
            kind == DriftKind::RouteBlackhole && zone.is_some_and(|zone| sick.contains(&zone));
        routes.push(Drift {
            id: id.clone(),
            place: Place::Route(table.clone(), *cidr),
            kind,
            expected: format!("the route to {cidr}"),
            seen,
            cure: if follows {
                Cure::Follows
            } else if network.worker_tables.contains_key(table) {
                Cure::Retake
            } else {
                // No change of the stack would add the route again, and AWS may refuse it in such a table.
                Cure::ByHand("give the route table back its tag AvailabilityZone, then the route is repaired".into())
            },
        });
    }
    found.extend(routes);
    lists::look(network, names, observed, &mut found);
    found
}

/// Returns the drift of a route whose target should be `target` or, if that is unknown, of this kind.
fn of_route(
    route: Option<&Route>,
    target: Option<&str>,
    kind: Target,
) -> Option<(DriftKind, String)> {
    let Some(route) = route else {
        return Some((DriftKind::RouteMissing, "is gone from it".to_owned()));
    };
    let led_astray = match target {
        Some(target) => route.target != target,
        None => route.leads_to() != kind,
    };
    if led_astray {
        let seen = format!(
            "leads to {} instead of {}",
            route.target,
            target.unwrap_or("the NAT gateway")
        );
        Some((DriftKind::RouteRetargeted, seen))
    } else if route.blackhole {
        let seen = format!(
            "leads to {}, which is gone: traffic to it is dropped",
            route.target
        );
        Some((DriftKind::RouteBlackhole, seen))
    } else {
        None
    }
}
