//! How the network lists of the stack, and the routes to them, differ in EC2.

use std::collections::BTreeSet;

use crate::model::base::ids::{TableId, Zone};
use crate::model::cloud::layout::Names;
use crate::model::cloud::network::{Network, Target};
use crate::model::cloud::network_lists::NetworkList;
use crate::model::cloud::observed::Observed;
use crate::model::cloud::part_names::Part;
use crate::model::cloud::prefix_list::{ListState, PrefixList};
use crate::model::drift::kind::DriftKind;
use crate::model::drift::{Cure, Drift, Place, of_route};

/// Adds what differs. A list that EC2 does not show, and does not deny, proves nothing.
pub(super) fn look(
    network: &Network,
    names: &Names,
    observed: Option<&Observed>,
    found: &mut Vec<Drift>,
) {
    let Some(observed) = observed else {
        return;
    };
    let sick = found.iter().filter(|it| it.kind.takes_the_gateway());
    let sick: BTreeSet<Zone> = sick.filter_map(|it| it.place.zone(names)).collect();
    for (id, list) in &names.lists {
        let tables = names.routes_to(id).map(|(_, table)| table);
        let mut tables = tables.filter(|table| network.routes(table).is_some());
        let (Some(physical), Some(table)) = (observed.ids.get(id), tables.next()) else {
            continue;
        };
        if observed.unproven.contains(physical) {
            continue;
        }
        let drift = |kind, seen, cure| Drift {
            id: id.clone(),
            place: Place::List(table.clone(), list.entries.clone()),
            kind,
            expected: format!("the network list {id}"),
            seen,
            cure,
        };
        let Some(seen) = observed.lists.get(physical) else {
            let cure = renewal(id, names);
            found.push(drift(DriftKind::PrefixListGone, "is gone".to_owned(), cure));
            continue;
        };
        if let Some((seen, cure)) = of_list(list, seen) {
            found.push(drift(DriftKind::PrefixListChanged, seen, cure));
        }
        for (route, table) in names.routes_to(id) {
            let place = Place::List(table.clone(), list.entries.clone());
            let look = Look {
                network,
                names,
                observed,
                sick: &sick,
            };
            found.extend(look.route(route, (table, physical), place));
        }
    }
}

/// Returns the cure that creates a network list again under another logical id, with the routes to the list.
pub(in crate::model) fn renewal(list: &str, names: &Names) -> Cure {
    let routes = names.routes_to(list).map(|(route, _)| route.clone());
    Cure::Renew(routes.chain([list.to_owned()]).collect())
}

/// Returns how a list differs, and the cure.
fn of_list(list: &NetworkList, seen: &PrefixList) -> Option<(String, Cure)> {
    if matches!(seen.state, ListState::InProgress | ListState::Leaving) {
        return None;
    }
    let more = seen.entries.difference(&list.entries).count();
    let fewer = list.entries.difference(&seen.entries).count();
    if more + fewer > 0 {
        let text = format!("lacks {fewer} of its entries in EC2 and has {more} others");
        return Some((text, Cure::Revert));
    }
    if seen.max_entries != list.size {
        let text = format!(
            "may have {} entries instead of {}",
            seen.max_entries, list.size
        );
        return Some((text, Cure::Revert));
    }
    let ListState::Failed(why) = &seen.state else {
        return None;
    };
    let remedy = "its entries are as they should be; remove what EC2 names, the next change of the list ends this";
    Some((format!("has failed: {why}"), Cure::ByHand(remedy.into())))
}

struct Look<'a> {
    network: &'a Network,
    names: &'a Names,
    observed: &'a Observed,
    /// Zones that are to get another NAT gateway.
    sick: &'a BTreeSet<Zone>,
}

impl Look<'_> {
    /// `id`: the logical id of the route, `list`: the physical id of the list.
    fn route(&self, id: &str, (table, list): (&TableId, &str), place: Place) -> Option<Drift> {
        // A table that is gone takes its routes with it, by the plan.
        let there = self.network.list_routes(table)?;
        let zone = place.zone(self.names);
        let is_sick = zone.as_ref().is_some_and(|zone| self.sick.contains(zone));
        let gateway = zone.and_then(|zone| self.names.part(&zone, Part::NatGateway));
        let physical = gateway.and_then(|id| self.observed.ids.get(id));
        let physical = physical.map(String::as_str);
        let (kind, seen) = of_route(there.get(list), physical, Target::NatGateway)?;
        // It leads to the new gateway once there is one.
        Some(Drift {
            id: id.to_owned(),
            place,
            kind,
            expected: "the route to a network list".to_owned(),
            seen,
            cure: if kind == DriftKind::RouteBlackhole && is_sick {
                Cure::Follows
            } else if self.network.worker_tables.contains_key(table) {
                Cure::Retake
            } else {
                Cure::ByHand("give the route table back its tag AvailabilityZone, then the route is repaired".into())
            },
        })
    }
}
