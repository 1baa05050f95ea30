//! The routes of the stack, compared with EC2.

use std::collections::BTreeMap;

use ipnet::Ipv4Net;

use crate::model::base::ids::TableId;
use crate::model::cloud::names::Names;
use crate::model::cloud::network::{Network, Route};
use crate::model::cloud::observed::Observed;

/// Returns the routes of the stack's template, and whether EC2 shows that they lead to a NAT gateway. All routes of a table that does not
/// exist count as shown. `seen`: the last state that EC2 showed.
pub fn live_routes(
    network: &Network,
    names: &Names,
    seen: Option<&Observed>,
) -> BTreeMap<(TableId, Ipv4Net), bool> {
    let shown = |route: &(TableId, Ipv4Net), id: &String| {
        let (table, cidr) = route;
        match (network.routes(table), names.list_routes.get(id)) {
            (None, _) => !network.unproven.contains(table),
            (Some(routes), None) => routes.get(cidr).is_some_and(Route::serves),
            (Some(_), Some((_, list))) => is_listed(network, (table, cidr), list, seen),
        }
    };
    let routes = names.routes.iter();
    routes
        .map(|(route, id)| (route.clone(), shown(route, id)))
        .collect()
}

/// Whether EC2 shows that a table reaches a network by a list, as far as EC2 was read. `list`: the list's logical id.
fn is_listed(
    network: &Network,
    (table, net): (&TableId, &Ipv4Net),
    list: &str,
    seen: Option<&Observed>,
) -> bool {
    let Some(routes) = network.list_routes(table) else {
        return false;
    };
    let Some(id) = seen.and_then(|seen| seen.ids.get(list)) else {
        return routes.values().any(Route::serves);
    };
    let list = seen.and_then(|seen| seen.lists.get(id));
    let has_entry = list.is_none_or(|list| list.entries.contains(net));
    has_entry && routes.get(id).is_some_and(Route::serves)
}
