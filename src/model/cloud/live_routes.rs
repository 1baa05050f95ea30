//! Which routes of the stack EC2 shows.

use std::collections::BTreeMap;

use ipnet::Ipv4Net;

use crate::model::base::ids::TableId;
use crate::model::cloud::names::Names;
use crate::model::cloud::network::{Network, Route};
use crate::model::cloud::observed::Observed;

/// The routes that the stack's template has, and whether EC2 shows them to lead to a NAT gateway. A route table that is gone lacks none.
/// `seen`: what EC2 last showed.
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

/// Whether EC2 shows a table to have a network by a list, as far as it was seen. `list`: the logical id.
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
