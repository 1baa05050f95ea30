//! Zones whose NAT gateway is gone: EC2 refuses a route to it, and one route that is refused fails the whole change of the stack.
//! So until the gateway is made anew no route there is begun or taken out, and all other routes go their way.

use std::borrow::Cow;
use std::collections::BTreeSet;

use ipnet::Ipv4Net;

use super::desired::Desired;
use super::drift::{Cure, Drift, Place};
use super::kept::overlap;
use super::live::Stack;
use super::network::{TableId, Zone};
use super::plan::{Plan, World};
use super::resolved::{Names, Part};

impl Plan {
    /// What is desired, with the routes as far as they can be made now.
    pub(super) fn passable(
        &self,
        world: &World<'_>,
        stack: &Stack,
        names: &Names,
    ) -> Cow<'_, Desired> {
        let dead = match world.watch.observed(&stack.version) {
            Some(_) => dead_ends(&self.drifts),
            None => blackholes(world, names),
        };
        if dead.is_empty() {
            return Cow::Borrowed(&self.desired);
        }
        let waits = |(table, cidr): &(TableId, Ipv4Net)| {
            let zone = self.desired.tables.get(table);
            let live = names.routes.contains_key(&(table.clone(), *cidr));
            zone.is_some_and(|zone| dead.contains(zone)) && !live
        };
        let (waiting, mut routes): (BTreeSet<_>, BTreeSet<_>) =
            self.desired.routes.iter().cloned().partition(waits);
        // Until then what the new ones are to stand for stays.
        let stays = |(table, cidr): &&(TableId, Ipv4Net)| {
            let mut waiting = waiting.iter().filter(|(of, _)| of == table);
            waiting.any(|(_, new)| overlap(new, cidr))
        };
        routes.extend(names.routes.keys().filter(stays).cloned());
        Cow::Owned(Desired {
            routes,
            ..self.desired.clone()
        })
    }
}

/// Leaves routes alone that lead to a NAT gateway which is gone and not about to be made anew: once they were out of the stack, they
/// could not be put back.
pub(super) fn leave_routes(drifts: &mut [Drift], names: &Names, is_spent: impl Fn(&Drift) -> bool) {
    let comes_back = |zone: &Zone| {
        let gateway = names.part(zone, Part::NatGateway);
        drifts.iter().any(|drift| match &drift.cure {
            Cure::Renew(ids) | Cure::NewIp(ids) => {
                gateway.is_some_and(|id| ids.contains(id)) && !is_spent(drift)
            }
            _ => false,
        })
    };
    let mut dead = dead_ends(drifts);
    dead.retain(|zone| !comes_back(zone));
    for drift in drifts {
        if let Place::Route(table, cidr) = &drift.place
            && let Some(zone) = names.route_zones.get(&(table.clone(), *cidr))
            && dead.contains(zone)
        {
            drift.cure = Cure::Follows;
        }
    }
}

fn dead_ends(drifts: &[Drift]) -> BTreeSet<Zone> {
    let zone = |drift: &Drift| match &drift.place {
        Place::Zone(zone) => {
            let is_gone = matches!(drift.reason, "NatGatewayGone" | "NatGatewayFailed");
            is_gone.then(|| zone.clone())
        }
        Place::Route(..) => None,
    };
    drifts.iter().filter_map(zone).collect()
}

/// Where EC2 is not looked at: zones none of whose routes leads anywhere.
fn blackholes(world: &World<'_>, names: &Names) -> BTreeSet<Zone> {
    let (mut dead, mut well) = (BTreeSet::new(), BTreeSet::new());
    for ((table, cidr), zone) in &names.route_zones {
        let routes = world.network.routes(table);
        if let Some(route) = routes.and_then(|routes| routes.get(cidr)) {
            let zones = if route.blackhole {
                &mut dead
            } else {
                &mut well
            };
            zones.insert(zone.clone());
        }
    }
    dead.difference(&well).cloned().collect()
}
