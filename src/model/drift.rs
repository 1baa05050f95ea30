//! Drift: where EC2 differs from the stack, since it was changed outside of CloudFormation, which does not notice.

pub mod cfn_detection;
pub mod kind;
pub mod tracker;

use std::borrow::Cow;

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

mod zone;

/// A key has this many characters of what is seen: EC2's reason why a NAT gateway failed has any length.
const MAX_SEEN: usize = 120;

/// One resource of the stack that is not in EC2 what it is in the stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// Logical id.
    pub id: String,
    pub place: Place,
    pub kind: DriftKind,
    /// What the stack says, and what EC2 shows.
    pub expected: String,
    pub seen: String,
    pub cure: Cure,
}

/// What of the stack it is a part of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Route(TableId, Ipv4Net),
    /// A piece of a zone's NAT.
    Zone(Zone),
}

/// How it can be set right by a change of the stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cure {
    /// Taken out of the stack, and put back.
    Retake,
    /// Its tags taken out of the stack, and put back.
    Retag,
    /// Created again under another logical id; these go with it.
    Renew(Vec<String>),
    /// The gateway is created again with the zone's static IP, which is in the account under another allocation id than before; these
    /// go with it.
    Adopt(Vec<String>, StaticIp),
    /// The same static IP again, allocated under another logical id; these go with it.
    Recover(Vec<String>, String),
    /// A new static IP, if that is allowed.
    NewIp(Vec<String>),
    /// It goes with another one's.
    Follows,
    /// It passes by itself.
    Passes,
    /// What a person has to do.
    ByHand(Cow<'static, str>),
}

impl Drift {
    /// Returns the key of the drift: it stays the same when the resource was created again since, and changes with what is seen.
    pub fn key(&self) -> String {
        let (id, _) = renewal(&self.id);
        let seen: String = self.seen.chars().take(MAX_SEEN).collect();
        format!("{id} {} {seen}", self.kind.reason())
    }

    /// Returns the key by which tries to get back the static IP that is lost are counted. They do not count against a new one.
    pub fn recovery_key(&self) -> Option<String> {
        let (id, _) = renewal(&self.id);
        (self.kind == DriftKind::StaticIpLost)
            .then(|| format!("{id} recovery of {}", self.expected))
    }

    /// Whether a change of the stack may set it right, now or soon.
    pub fn is_curable(&self) -> bool {
        !matches!(self.cure, Cure::ByHand(_) | Cure::Follows)
    }

    pub fn subject(&self) -> Subject {
        match &self.place {
            Place::Route(table, _) => Subject::RouteTable(table.clone()),
            Place::Zone(zone) => Subject::Zone(zone.clone()),
        }
    }

    /// Whether what it is about is still asked for.
    pub fn is_wanted(&self, desired: &Desired) -> bool {
        match &self.place {
            Place::Route(table, cidr) => desired.routes.contains(&(table.clone(), *cidr)),
            Place::Zone(zone) => desired.zones.contains_key(zone),
        }
    }

    /// Returns the problem to publish; `next` says what the controller does about it.
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

/// Everything that differs, in the order of zones and routes. Without `observed` only the routes are compared. Routes of
/// others in the same tables are no drift.
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
    for (route, id) in &names.routes {
        let (table, cidr) = route;
        // A table that is gone takes its routes with it, by the plan.
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
        // It leads to the new gateway once there is one.
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
                // Nothing would put it back, and AWS may refuse it in such a table.
                Cure::ByHand("give the route table back its tag AvailabilityZone, then the route is repaired".into())
            },
        });
    }
    found.extend(routes);
    found
}

/// What is wrong with a route that should lead to `target`, or, where that is not known, to something of this kind.
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
