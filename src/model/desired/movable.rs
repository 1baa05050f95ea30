//! The networks that may move from direct routes into lists.

use std::collections::BTreeSet;

use ipnet::Ipv4Net;

use crate::model::cloud::layout::Names;
use crate::model::desired::Desired;

/// Returns the networks that are in no list and have a direct route in each table, to the zone of the table.
pub(in crate::model) fn movable(desired: &Desired, names: &Names) -> BTreeSet<Ipv4Net> {
    let Some(first) = desired.tables.keys().next() else {
        return BTreeSet::new();
    };
    let unturned: BTreeSet<&Ipv4Net> = desired.unturned.keys().map(|(_, net)| net).collect();
    let is_movable = |net: &Ipv4Net| {
        let is_listed = names.lists.values().any(|list| list.entries.contains(net));
        let mut tables = desired.tables.iter();
        !is_listed
            && !unturned.contains(net)
            && tables.all(|(table, zone)| {
                let route = (table.clone(), *net);
                desired.routes.contains(&route)
                    && names.is_direct(&route)
                    && names.route_zones.get(&route) == Some(zone)
            })
    };
    let routes = desired.routes.iter();
    let nets = routes.filter(|(table, _)| table == first);
    nets.map(|(_, net)| *net).filter(is_movable).collect()
}
