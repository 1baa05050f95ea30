//! Zones whose NAT gateway does not exist: EC2 refuses a route to it, and one refused route fails the whole change of the stack. Until the
//! gateway is created again, no route to it is added or removed and no resource of the zone changes. All other routes change as usual. The
//! same holds for a NAT subnet whose default route was removed from the stack while EC2 got another one.

use std::borrow::Cow;
use std::collections::BTreeSet;

use ipnet::Ipv4Net;

use crate::model::base::cidr::overlap;
use crate::model::base::ids::{TableId, Zone};
use crate::model::base::problem::{Problem, Subject};
use crate::model::base::reason::Reason;
use crate::model::cloud::layout::Names;
use crate::model::cloud::live::Stack;
use crate::model::cloud::network::Network;
use crate::model::cloud::part_names::Part;
use crate::model::desired::Desired;
use crate::model::drift::kind::DriftKind;
use crate::model::drift::lists::renewal;
use crate::model::drift::{Cure, Drift, Place};
use crate::model::plan::types::{Plan, World};

impl Plan {
    /// Returns the desired stack with only the route changes that can be made now.
    pub(in crate::model) fn passable(
        &self,
        world: &World<'_>,
        stack: &Stack,
        names: &Names,
        taken: BTreeSet<Zone>,
    ) -> Cow<'_, Desired> {
        let mut dead = self.dead_zones(world, stack, names);
        if dead.is_empty() && taken.is_empty() {
            return Cow::Borrowed(&self.desired);
        }
        let waits = |(table, cidr): &(TableId, Ipv4Net)| {
            let zone = self.desired.tables.get(table);
            let live = names.routes.contains_key(&(table.clone(), *cidr));
            zone.is_some_and(|zone| dead.contains(zone)) && !live
        };
        let (waiting, mut routes): (BTreeSet<_>, BTreeSet<_>) =
            self.desired.routes.iter().cloned().partition(waits);
        // The live routes that the waiting ones are to replace stay until then.
        let stays = |(table, cidr): &&(TableId, Ipv4Net)| {
            let mut waiting = waiting.iter().filter(|(of, _)| of == table);
            waiting.any(|(_, new)| overlap(new, cidr))
        };
        routes.extend(names.routes.keys().filter(stays).cloned());
        dead.extend(taken);
        Cow::Owned(Desired {
            routes,
            frozen: dead,
            ..self.desired.clone()
        })
    }

    /// Returns the zones whose NAT gateway does not exist, so that no route to it can be made.
    pub(in crate::model) fn dead_zones(
        &self,
        world: &World<'_>,
        stack: &Stack,
        names: &Names,
    ) -> BTreeSet<Zone> {
        match world.watch.observed(&stack.version) {
            Some(_) => dead_ends(&self.drifts),
            None => blackholes(world, names),
        }
    }

    /// Returns the zones with a foreign default route in EC2 and none in the stack, with a warning each. The route was made while a repair
    /// had removed ours.
    pub(in crate::model) fn taken(
        &self,
        world: &World<'_>,
        stack: &Stack,
        names: &Names,
    ) -> (BTreeSet<Zone>, Vec<Problem>) {
        let (mut zones, mut problems) = (BTreeSet::new(), Vec::new());
        let Some(observed) = world.watch.observed(&stack.version) else {
            return (zones, problems);
        };
        for zone in names.nat_cidrs.keys() {
            let table = names.part(zone, Part::NatSubnetRouteTable);
            let table = table.and_then(|table| observed.ids.get(table));
            let out = names.part(zone, Part::NatSubnetRoute).is_none();
            if let Some(table) = table.filter(|_| out)
                && let Some(routes) = world.network.routes(table)
                && let Some(route) = routes.get(&Ipv4Net::default())
            {
                let text = format!(
                    "its route to 0.0.0.0/0 by {} was not made by the controller, so the NAT subnet of {zone} gets none of its own; \
                     delete that route to have it replaced",
                    route.target
                );
                let subject = Subject::RouteTable(table.clone());
                problems.push(Problem::warning(subject, Reason::RouteExists, text));
                zones.insert(zone.clone());
            }
        }
        (zones, problems)
    }
}

/// Excludes routes from repair whose NAT gateway is lost and not about to be created again: after their removal from the stack, they could
/// not be added again.
pub(in crate::model) fn leave_routes(
    drifts: &mut [Drift],
    names: &Names,
    is_spent: impl Fn(&Drift) -> bool,
) {
    let mut dead = dead_ends(drifts);
    dead.retain(|zone| {
        let mut cured = drifts.iter().filter(|drift| !is_spent(drift));
        !cured.any(|drift| creates_gateway(drift, names, zone))
    });
    for drift in drifts {
        if drift.kind.is_of_a_list() {
            // A change set that reverts drift would try to restore the zone's gateway, too.
            if drift.cure == Cure::Revert && !dead.is_empty() {
                drift.cure = renewal(&drift.id, names);
            }
        } else if matches!(drift.place, Place::Route(..) | Place::List(..))
            && drift
                .place
                .zone(names)
                .is_some_and(|zone| dead.contains(&zone))
        {
            drift.cure = Cure::Follows;
        }
    }
}

/// Returns the missing routes and lists, besides `drifts`, that depend on a NAT gateway which is created again: the change would fail to
/// turn their routes to the new gateway. `renewed`: the logical ids that `drifts` create again.
pub(in crate::model::plan) fn in_the_way(
    all: &[Drift],
    names: &Names,
    drifts: &[Drift],
    renewed: &BTreeSet<String>,
) -> Vec<Drift> {
    let is_renewed = |place: &Place| {
        let zone = place.zone(names);
        let gateway = zone.and_then(|zone| names.part(&zone, Part::NatGateway));
        gateway.is_some_and(|gateway| renewed.contains(gateway))
    };
    let taken_out = |drift: &Drift| {
        let cure = match (drift.kind, &drift.place) {
            (DriftKind::RouteMissing, place) if is_renewed(place) => Cure::Retake,
            (DriftKind::PrefixListGone, Place::List(_, nets)) => {
                let tables = names.routes_to(&drift.id).map(|(_, table)| table);
                let mut places = tables.map(|table| Place::List(table.clone(), nets.clone()));
                places
                    .any(|place| is_renewed(&place))
                    .then(|| renewal(&drift.id, names))?
            }
            _ => return None,
        };
        let drift = Drift {
            cure,
            ..drift.clone()
        };
        (!drifts.iter().any(|it| it.id == drift.id)).then_some(drift)
    };
    all.iter().filter_map(taken_out).collect()
}

/// Returns the routes of deleted tables, besides `drifts`, as drifts that take them out of the stack for good. A change that turns such a route
/// to another NAT gateway, or creates it again, would fail.
pub(in crate::model::plan) fn of_deleted_tables(
    network: &Network,
    names: &Names,
    drifts: &[Drift],
) -> Vec<Drift> {
    let direct = names.routes.iter().filter(|(of, _)| names.is_direct(of));
    let direct = direct.map(|((table, net), id)| (id, Place::Route(table.clone(), *net)));
    let lists = names.list_routes.iter();
    let lists = lists.map(|(id, (table, _))| (id, Place::List(table.clone(), BTreeSet::new())));
    let of_deleted = direct.chain(lists).filter(|(id, place)| {
        let (Place::Route(table, _) | Place::List(table, _)) = place else {
            return false;
        };
        network.is_deleted(table) && !drifts.iter().any(|drift| drift.id == **id)
    });
    let taken_out = of_deleted.map(|(id, place)| Drift {
        id: id.clone(),
        place,
        kind: DriftKind::RouteMissing,
        expected: "a route of a deleted table".to_owned(),
        seen: "is gone with its table".to_owned(),
        cure: Cure::Retake,
    });
    taken_out.collect()
}

/// Returns the routes to network lists that `drifts` create again, in zones whose NAT gateway does not exist and is not created by the same
/// change: the change would fail to create these routes. They are removed, and added again once the zone has a gateway.
pub(in crate::model::plan) fn blocked_list_routes(
    all: &[Drift],
    names: &Names,
    drifts: &[Drift],
) -> Vec<Drift> {
    let mut dead = dead_ends(all);
    dead.retain(|zone| {
        let mut drifts = drifts.iter();
        !drifts.any(|drift| creates_gateway(drift, names, zone))
    });
    let mut blocked = Vec::new();
    for list in drifts.iter().filter(|drift| drift.kind.is_of_a_list()) {
        let Place::List(_, entries) = &list.place else {
            continue;
        };
        for (id, table) in names.routes_to(&list.id) {
            let place = Place::List(table.clone(), entries.clone());
            if place.zone(names).is_some_and(|zone| dead.contains(&zone)) {
                blocked.push(Drift {
                    id: id.clone(),
                    place,
                    cure: Cure::Retake,
                    ..list.clone()
                });
            }
        }
    }
    blocked
}

/// Whether the repair of the drift creates the zone's NAT gateway again.
fn creates_gateway(drift: &Drift, names: &Names, zone: &Zone) -> bool {
    let gateway = names.part(zone, Part::NatGateway);
    match &drift.cure {
        // An additional static IP changes the gateway in place.
        Cure::Recover(..) if drift.kind.spoils_an_additional_ip() => false,
        Cure::Renew(ids) | Cure::NewIp(ids) | Cure::Recover(ids, _) | Cure::Adopt(ids, _) => {
            gateway.is_some_and(|id| ids.contains(id))
        }
        _ => false,
    }
}

fn dead_ends(drifts: &[Drift]) -> BTreeSet<Zone> {
    let zone = |drift: &Drift| match &drift.place {
        Place::Zone(zone) => {
            let is_gone = drift.kind.is_dead_end();
            is_gone.then(|| zone.clone())
        }
        Place::Route(..) | Place::List(..) => None,
    };
    drifts.iter().filter_map(zone).collect()
}

/// Returns the zones whose routes are all blackholes. Used if the gateways themselves were not read.
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
