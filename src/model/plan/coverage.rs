//! The networks that route tables cover.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;

use crate::model::base::cidr;
use crate::model::base::ids::TableId;
use crate::model::desired::Desired;

/// Returns the given routes of each desired table, merged. Tables with equal routes share one element.
pub(in crate::model) fn by_table<'a>(
    desired: &'a Desired,
    routes: impl Iterator<Item = &'a (TableId, Ipv4Net)>,
) -> Vec<Vec<Ipv4Net>> {
    let tables = desired.tables.keys().map(|table| (table, Vec::new()));
    let mut tables: BTreeMap<&TableId, Vec<Ipv4Net>> = tables.collect();
    for (table, cidr) in routes {
        if let Some(routes) = tables.get_mut(table) {
            routes.push(*cidr);
        }
    }
    let merged = |nets| cidr::minimal(nets, &BTreeSet::new());
    let merged: BTreeSet<Vec<Ipv4Net>> = tables.into_values().map(merged).collect();
    merged.into_iter().collect()
}

/// Whether each of these tables routes the whole network.
pub(in crate::model) fn in_all(tables: &[Vec<Ipv4Net>], net: &Ipv4Net) -> bool {
    !tables.is_empty() && tables.iter().all(|routes| cidr::covers(routes, net))
}
