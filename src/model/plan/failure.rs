//! [`Failure`]: why the stack's last operation failed, in terms of the plan.

use std::collections::BTreeSet;

use ipnet::Ipv4Net;

use crate::model::base::ids::{TableId, Zone};
use crate::model::cloud::layout::Names;
use crate::model::cloud::live::{Change, ChangeSet, Effect, Live, Stack};
use crate::model::cloud::network::Network;
use crate::model::cloud::network_lists;
use crate::model::cloud::observed::Observed;
use crate::model::cloud::part_names::{self, Part};
use crate::model::cloud::set_aside::{Key, Waits};
use crate::model::cloud::status::Phase;
use crate::model::desired::template;
use crate::model::plan::diff::Difference;
use crate::model::plan::types::{Action, Failure, Plan, World};

impl Failure {
    /// Returns why the stack's last operation failed.
    pub(in crate::model) fn of(world: &World<'_>, names: &Names) -> Self {
        let Live::Ours(stack) = world.live else {
            return Self::default();
        };
        let is_creation = stack.status.phase() == Phase::CreateFailed;
        if !is_creation && stack.status.phase() != Phase::Settled {
            return Self::default();
        }
        let status = &stack.status;
        let mut failure = Self {
            operation: Some(format!("{} {}", stack.id, stack.version)),
            failed: status.tells_failure(),
            is_creation,
            cause: stack.cause.clone().unwrap_or_else(|| status.to_string()),
            ..Self::default()
        };
        failure.unexplained = failure.failed && !is_creation && stack.failed.is_empty();
        for (id, failed) in &stack.failed {
            let gateway = gateway_in(&failed.reason, world, stack, names);
            let key = if let Some((zone, cidr)) = zone_of(id, world, names, is_creation) {
                failure.zones.insert((zone, cidr));
                continue;
            } else if let Some(table) = list_table_of(id, world.network, names) {
                // A table that is refused a route to a live list holds up no other table.
                let is_alone = table
                    .as_ref()
                    .is_some_and(|table| adds_route(id, table, names));
                let is_of_table = failed.table_is_full || gateway.is_some() || is_alone;
                let Some(table) = table.filter(|_| is_of_table) else {
                    // The failure of a list does not show which entry AWS refuses.
                    failure.unexplained = failure.failed;
                    continue;
                };
                (table, None)
            } else if let Some((table, cidr)) = route_of(id, world.network, names) {
                (table, Some(cidr).filter(|_| !failed.table_is_full))
            } else {
                continue;
            };
            failure.routes.insert(key.clone(), failed.reason.clone());
            failure.gateways.extend(gateway.map(|id| (key, id)));
        }
        failure
    }
}

/// Returns the NAT gateway of the stack that a text names.
fn gateway_in(text: &str, world: &World<'_>, stack: &Stack, names: &Names) -> Option<String> {
    let observed = world.watch.observed(&stack.version)?;
    let is_of_id = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let words: BTreeSet<&str> = text.split(|c| !is_of_id(c)).collect();
    let zones = names.nat_cidrs.keys();
    let mut gateways = zones.filter_map(|zone| gateway(zone, observed, names));
    let named = gateways.find(|gateway| words.contains(gateway));
    named.map(str::to_owned)
}

/// Returns the id of a zone's NAT gateway.
fn gateway<'a>(zone: &Zone, observed: &'a Observed, names: &Names) -> Option<&'a str> {
    let id = names.part(zone, Part::NatGateway)?;
    observed.ids.get(id).map(String::as_str)
}

/// Returns the network without the refusals whose reason is a NAT gateway that the stack has replaced since. None if there are none.
pub(in crate::model) fn without_outdated(world: &World<'_>, names: &Names) -> Option<Network> {
    let Live::Ours(stack) = world.live else {
        return None;
    };
    let observed = world.watch.observed(&stack.version)?;
    let is_outdated = |(table, _): &Key, waits: &Waits| {
        let worker = world.network.worker_tables.get(table);
        let now = worker.and_then(|worker| gateway(&worker.zone, observed, names));
        let named = waits.gateway.as_deref();
        named.is_some() && now.is_some() && named != now
    };
    let mut refused = world.network.headroom.refused.routes.iter();
    refused.find(|(key, waits)| is_outdated(key, waits))?;
    let mut network = world.network.clone();
    let refused = &mut network.headroom.refused.routes;
    refused.retain(|key, waits| !is_outdated(key, waits));
    Some(network)
}

/// Returns the new zone of a resource, with its NAT CIDR.
fn zone_of(
    id: &str,
    world: &World<'_>,
    names: &Names,
    is_creation: bool,
) -> Option<(Zone, Ipv4Net)> {
    let live = names.parts.iter().find(|(_, name)| *name == id);
    let new = || {
        let mut zones = world.settings.zones.keys();
        zones.find(|zone| part_names::is_part(id, zone)).cloned()
    };
    let zone = match live {
        Some(((zone, _), _)) => zone.clone(),
        None => new()?,
    };
    if !is_creation && names.nat_cidrs.contains_key(&zone) {
        return None;
    }
    let cidr = world.settings.zones.get(&zone);
    Some((zone.clone(), *cidr.or(names.nat_cidrs.get(&zone))?))
}

/// Returns the table of a route to a list; Some(None) for a list. None for other resources.
fn list_table_of(id: &str, network: &Network, names: &Names) -> Option<Option<TableId>> {
    if let Some((table, _)) = names.list_routes.get(id) {
        return Some(Some(table.clone()));
    }
    if network_lists::number_of(id).is_some() {
        return Some(None);
    }
    let mut tables = network.worker_tables.keys();
    let table = tables.find(|table| network_lists::list_of_route(id, table).is_some())?;
    Some(Some(table.clone()))
}

/// Whether a resource is a new route from this table to a live list.
fn adds_route(id: &str, table: &TableId, names: &Names) -> bool {
    let list = network_lists::list_of_route(id, table);
    list.is_some_and(|list| names.lists.contains_key(list)) && !names.list_routes.contains_key(id)
}

fn route_of(id: &str, network: &Network, names: &Names) -> Option<(TableId, Ipv4Net)> {
    let mut live = names.routes.iter();
    let live = live.find(|(_, name)| *name == id);
    let tables = network.worker_tables.keys();
    let mut tables = tables.chain(network.other_tables.keys());
    live.map(|(route, _)| route.clone())
        .or_else(|| tables.find_map(|table| Some((table.clone(), template::routed(id, table)?))))
}

impl Plan {
    /// Whether nothing is left to do, so that an attempt that may fail holds up nothing.
    pub(in crate::model) fn is_idle(&self, world: &World<'_>) -> bool {
        let rests = matches!(self.action, Action::Keep | Action::Discard { .. });
        // If every route waits, there may be no stack to keep.
        let has_none = matches!((&self.action, world.live), (Action::Refuse, Live::Absent));
        (rests || has_none) && self.differences.iter().all(Difference::names_owner)
    }

    /// Returns the network in which refused routes that are due may be tried again, if nothing else is left to do.
    pub(in crate::model) fn retry(&self, world: &World<'_>) -> Option<Network> {
        let aside = &world.network.headroom.refused;
        if !self.is_idle(world) || !aside.may_retry() {
            return None;
        }
        let mut network = world.network.clone();
        network.headroom.refused.retries = true;
        Some(network)
    }

    /// Notes which new routes the change tries, and when the next refused route is due.
    pub(in crate::model) fn mark_refused(&mut self, world: &World<'_>, names: &Names) {
        let waits = world.network.headroom.refused.routes.values();
        let next = waits.map(|waits| waits.left).filter(|left| !left.is_zero());
        self.look_within(next);
        let (Action::Execute { change_set }, Live::Ours(stack)) = (&self.action, world.live) else {
            return;
        };
        let mut sets = stack.change_sets.iter();
        let Some(set) = sets.find(|set| set.name == *change_set) else {
            return;
        };
        let routes = added(set).filter_map(|id| route_of(id, world.network, &Names::default()));
        self.attempt = routes.collect();
        match listed(set, world.network, names) {
            Some(routes) => self.attempt.extend(routes),
            None => self.attempt.extend(self.desired.routes.iter().cloned()),
        }
        // A route that a repair adds again is no new route.
        self.attempt
            .retain(|route| !names.routes.contains_key(route));
    }
}

/// Returns the logical ids that a change set adds.
fn added(set: &ChangeSet) -> impl Iterator<Item = &String> {
    let added = |change: &&Change| change.effect == Effect::Add;
    let changes = set.changes.iter().filter(added);
    changes.map(|change| &change.logical_id)
}

/// Returns the networks that lists serve after a change set, for each table. None if the lists are unknown.
fn listed(
    set: &ChangeSet,
    network: &Network,
    names: &Names,
) -> Option<BTreeSet<(TableId, Ipv4Net)>> {
    let lists = match set.changes_list() {
        true => set.lists.as_ref()?,
        false => &names.lists,
    };
    let leads = |id| {
        let mut tables = network.worker_tables.keys();
        tables.find_map(|table| Some((table, network_lists::list_of_route(id, table)?)))
    };
    let live = names.list_routes.values();
    let live = live.map(|(table, list)| (table, list.as_str()));
    let routes = added(set).filter_map(|id| leads(id)).chain(live);
    let nets = routes.flat_map(|(table, list)| {
        let entries = lists.get(list).into_iter().flat_map(|list| &list.entries);
        entries.map(|net| (table.clone(), *net))
    });
    Some(nets.collect())
}
