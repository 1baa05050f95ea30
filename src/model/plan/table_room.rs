//! The room in the workers' route tables, counted as EC2 counts it.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;

use crate::model::base::ids::TableId;
use crate::model::base::settings::{PrefixLists, Settings};
use crate::model::cloud::layout::Names;
use crate::model::cloud::limits::{DEFAULT_ROUTES, Limits, MOST_ROUTES};
use crate::model::cloud::network::{Network, WorkerTable};
use crate::model::cloud::prefix_list::MOST_LISTS;
use crate::model::desired::Desired;
use crate::model::desired::lists::carried;
use crate::model::desired::new_lists::NewLists;
use crate::model::drift::Place;
use crate::model::drift::kind::DriftKind;
use crate::model::plan::types::{Plan, World};

/// The number of additional routes by worker table.
type New<'a> = BTreeMap<&'a TableId, usize>;

/// Returns the worker tables into which the desired routes do not fit, each with the reason.
///
/// Static IPv4 routes count, and a route to a prefix list counts for all entries that the list may have. Propagated routes have a quota of
/// their own. AWS does not document whether routes to `local` count. They count here: one unused route is better than a failed change.
pub(in crate::model) fn full_tables<'a>(
    desired: &Desired,
    names: &Names,
    network: &'a Network,
    settings: &'a Settings,
) -> impl Iterator<Item = (&'a TableId, String)> {
    let carried = carried(desired, names);
    // Until the stack has removed the old routes, old and new routes exist together.
    let mut new = New::new();
    for (table, cidr) in carried.direct.iter() {
        if let Some((table, worker)) = network.worker_tables.get_key_value(table)
            && !worker.routes.contains_key(cidr)
        {
            *new.entry(table).or_default() += 1;
        }
    }
    for route in carried.list_routes.keys() {
        let (table, list) = route;
        let size = carried.lists.get(list).map_or(0, |list| list.size);
        if let Some((table, _)) = network.worker_tables.get_key_value(table)
            && (!names.list_routes.values().any(|live| live == route)
                || desired.damage.lost_routes.contains(route))
        {
            *new.entry(table).or_default() += size;
        }
    }
    without_room(new, network, settings)
}

/// Returns the tables without room for these routes, each with the reason.
fn without_room<'a>(
    new: New<'a>,
    network: &'a Network,
    settings: &'a Settings,
) -> impl Iterator<Item = (&'a TableId, String)> {
    let quota = network.limits.routes_per_table(settings);
    new.into_iter().filter_map(move |(table, new)| {
        let worker = network.worker_tables.get(table)?;
        let counted = worker.routes.len() + worker.listed;
        let is_full = counted + new > usize::from(quota);
        is_full.then(|| {
            let remedy = remedy(quota, &network.limits, settings);
            (table, why(table, worker, (counted, new, quota), &remedy))
        })
    })
}

impl Plan {
    /// Returns the worker tables without room for the routes of the stack that EC2 has lost, each with the reason. A change set that reverts
    /// drift adds all of them, requested or not.
    pub(in crate::model) fn without_room_for_lost<'a>(
        &self,
        world: &World<'a>,
        names: &Names,
    ) -> BTreeMap<&'a TableId, String> {
        let (network, mut new) = (world.network, New::new());
        let mut add = |table: &TableId, size| {
            if let Some((table, _)) = network.worker_tables.get_key_value(table) {
                *new.entry(table).or_default() += size;
            }
        };
        let mut to_lists: BTreeSet<_> = self.desired.damage.lost_routes.iter().collect();
        let drifts = self.drifts.iter();
        for drift in drifts.filter(|drift| drift.kind == DriftKind::RouteMissing) {
            match &drift.place {
                Place::Route(table, _) => add(table, 1),
                Place::List(..) => to_lists.extend(names.list_routes.get(&drift.id)),
                Place::Zone(_) => {}
            }
        }
        for (table, list) in to_lists {
            add(table, names.lists.get(list).map_or(0, |list| list.size));
        }
        without_room(new, network, world.settings).collect()
    }
}

fn why(
    table: &TableId,
    worker: &WorkerTable,
    (counted, new, quota): (usize, usize, u16),
    remedy: &str,
) -> String {
    let of_lists = match worker.listed {
        0 => String::new(),
        listed => format!(
            " ({listed} of them for prefix lists, which count with all entries that they may have)"
        ),
    };
    format!(
        "route table {table} has {counted} routes{of_lists} and would need {new} more, and it takes {quota}; {remedy}"
    )
}

/// Returns the cheapest way to more room.
fn remedy(quota: u16, limits: &Limits, settings: &Settings) -> String {
    const RAISE: &str =
        "have the quota \"Routes per route table\" (L-93826ACB of Service Quotas) raised";
    const ELSE: &str = "remove routes of others, or request wider networks";
    if quota >= MOST_ROUTES {
        return format!("AWS allows no table more than {MOST_ROUTES}: {ELSE}");
    }
    let is_set = settings.route_table_quota.is_some();
    let told = limits.routes.unwrap_or(DEFAULT_ROUTES);
    match is_set {
        true if quota < told => format!("raise --aws-route-table-quota, or {ELSE}"),
        true => format!("{RAISE}, and with it --aws-route-table-quota, or {ELSE}"),
        false if limits.routes.is_none() => {
            format!("{RAISE} and set --aws-route-table-quota, or {ELSE}")
        }
        false => format!("{RAISE}, or {ELSE}"),
    }
}

/// Returns the room for new lists in the route tables and in the region.
pub(in crate::model) fn room_for_lists(
    desired: &Desired,
    names: &Names,
    network: &Network,
    settings: &Settings,
) -> NewLists {
    let quota = usize::from(network.limits.routes_per_table(settings));
    let tables = desired.tables.keys();
    let free = tables.filter_map(|table| {
        let worker = network.worker_tables.get(table)?;
        let taken = worker.routes.len() + worker.listed + lost_room(desired, names, table);
        Some(quota.saturating_sub(taken))
    });
    let free = free.min().unwrap_or_default();
    let usual = MOST_LISTS.saturating_sub(names.lists.len());
    let in_region = network.limits.lists.unwrap_or(usual);
    // A table that AWS reported as full has no room for a list, whatever is counted.
    let refused = &network.headroom.refused.routes;
    let is_refused = refused.keys().any(|(_, net)| net.is_none());
    match is_refused {
        true => NewLists::default(),
        false => NewLists::of(free, in_region),
    }
}

/// Returns the choices of new lists for new networks, best first. None: new networks get routes of their own.
pub(in crate::model) fn list_choices(
    desired: &Desired,
    names: &Names,
    network: &Network,
    settings: &Settings,
) -> Vec<Option<NewLists>> {
    let none = NewLists::default();
    let most = room_for_lists(desired, names, network, settings);
    let moves = NewLists {
        moves: true,
        ..most
    };
    // The failure of a list does not show which network AWS refuses. After such a failure, the stack is created without lists.
    let has_failed = network.headroom.refused.additions.is_some() && names.nat_cidrs.is_empty();
    let partly = NewLists {
        partly: true,
        ..none
    };
    let mut choices = match settings.prefix_lists {
        _ if has_failed => vec![None],
        PrefixLists::Never if names.lists.is_empty() => vec![None],
        // The places of lists count in the tables, used or not.
        PrefixLists::Never => vec![None, Some(none)],
        PrefixLists::WhenFull => vec![Some(none), Some(most), Some(moves)],
        PrefixLists::Always => vec![Some(most), Some(none), Some(moves)],
    };
    // The check of each choice renders a template.
    if !names.routes.keys().any(|route| names.is_direct(route)) {
        choices.retain(|choice| *choice != Some(moves));
    }
    choices.dedup();
    if !names.lists.is_empty() && differ(desired, names) {
        choices.push(Some(partly));
    }
    choices
}

/// Whether the desired tables have live routes to different networks or lists.
fn differ(desired: &Desired, names: &Names) -> bool {
    let lacks = |table| {
        names
            .lists
            .keys()
            .any(|list| names.routes_to(list).all(|(_, of)| of != table))
    };
    if desired.tables.keys().any(lacks) {
        return true;
    }
    let mut tables: BTreeMap<&TableId, Vec<Ipv4Net>> = BTreeMap::new();
    tables.extend(desired.tables.keys().map(|table| (table, Vec::new())));
    for (table, net) in names.routes.keys() {
        if let Some(nets) = tables.get_mut(table) {
            nets.push(*net);
        }
    }
    let mut tables = tables.values();
    let first = tables.next();
    tables.any(|nets| Some(nets) != first)
}

/// Returns the room that routes to lists need in a table because EC2 has lost them.
fn lost_room(desired: &Desired, names: &Names, table: &TableId) -> usize {
    let lost = desired.damage.lost_routes.iter();
    let lost = lost.filter(|(of, _)| of == table);
    lost.filter_map(|(_, list)| names.lists.get(list))
        .map(|list| list.size)
        .sum()
}
