//! Routes that AWS refused. A change of the stack is made whole or not at all, so one of them fails everybody's changes: it is left
//! out of the plans for a time, its owners hear of it, and all others go on.
//!
//! A plan is made without all of them first. Only where nothing else is left to do, those whose patience is over are tried again:
//! such a change delays nobody who waits for something else.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ipnet::Ipv4Net;

use crate::model::base::cidr;
use crate::model::base::problem::{Problem, Subject};
use crate::model::cloud::layout::Names;
use crate::model::cloud::live::{Live, Phase, Stack};
use crate::model::cloud::network::{Network, TableId, Zone};
use crate::model::desired::admitted::Admitted;
use crate::model::desired::template;
use crate::model::input::request::EntryId;
use crate::model::plan::diff::Difference;
use crate::model::plan::{Action, Plan, World};

/// The reason that the owners of refused routes read.
pub const REASON: &str = "RouteRefused";

/// A route that AWS refused; without a network it is every new route of a table that is full.
pub type Key = (TableId, Option<Ipv4Net>);

/// What is left out of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetAside {
    pub routes: BTreeMap<Key, Waits>,
    /// How many new networks a change may add, after one failed; None: any number.
    pub additions: Option<usize>,
    /// Those whose patience is over are tried again.
    pub retries: bool,
}

/// One refusal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// In AWS's words.
    pub why: String,
    pub left: Duration,
    /// How many new routes a full table is given when it is tried again.
    pub room: usize,
}

/// Why the stack's last operation failed, in terms of what is planned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// Names the operation; None while one runs.
    pub operation: Option<String>,
    pub failed: bool,
    /// Nothing has ever stood.
    pub is_creation: bool,
    pub routes: BTreeMap<Key, String>,
    /// New zones that could not be made.
    pub zones: BTreeSet<(Zone, Ipv4Net)>,
    /// The stack's events name no resource.
    pub unexplained: bool,
    /// The status and the first failure, for what is refused without a reason of its own.
    pub cause: String,
}

impl SetAside {
    fn waits(&self, key: &Key) -> Option<&Waits> {
        let waits = self.routes.get(key)?;
        (!self.retries || !waits.left.is_zero()).then_some(waits)
    }

    /// How many new routes a full table is given, and why not more.
    fn room(&self, table: &TableId) -> Option<(usize, &str)> {
        let waits = self.routes.get(&(table.clone(), None))?;
        let is_due = self.retries && waits.left.is_zero();
        Some((if is_due { waits.room } else { 0 }, &waits.why))
    }

    /// The networks that this table is not given. `wanted` are the routes that it would have otherwise, sorted and disjoint: what one
    /// of them serves already is there.
    pub(in crate::model) fn refused_in(
        &self,
        table: &TableId,
        names: &Names,
        wanted: &[Ipv4Net],
    ) -> BTreeSet<Ipv4Net> {
        let is_served = |net: &Ipv4Net| {
            let after = wanted.partition_point(|wide| wide.network() <= net.network());
            let wide = after.checked_sub(1).and_then(|at| wanted.get(at));
            wide.is_some_and(|wide| {
                wide.contains(net) && names.routes.contains_key(&(table.clone(), *wide))
            })
        };
        let nets = self.routes.keys().filter(|(of, _)| of == table);
        let nets = nets.filter_map(|(of, net)| Some((of.clone(), (*net)?)));
        nets.filter(|(_, net)| !is_served(net))
            .filter(|route| !names.routes.contains_key(route))
            .filter(|(of, net)| self.waits(&(of.clone(), Some(*net))).is_some())
            .map(|(_, net)| net)
            .collect()
    }

    /// Why this table is not given a route to this network.
    fn why(&self, table: &TableId, net: &Ipv4Net) -> Option<&str> {
        let overlaps = |other: &Ipv4Net| other.contains(net) || net.contains(other);
        let mut of_table = self.routes.keys().filter(|(of, _)| of == table);
        let one = of_table.find(|(_, other)| other.is_some_and(|it| overlaps(&it)));
        let waits = one.and_then(|key| self.waits(key));
        let full = || self.room(table).map(|(_, why)| why);
        waits.map(|waits| waits.why.as_str()).or_else(full)
    }
}

/// What the routes are chosen by.
pub(in crate::model) struct Choice<'a> {
    pub request: &'a Admitted,
    pub network: &'a Network,
    pub names: &'a Names,
    pub tables: &'a BTreeMap<TableId, Zone>,
    pub zones: &'a BTreeMap<Zone, Ipv4Net>,
    /// Routes of others, which are not missed.
    pub foreign: &'a BTreeMap<Ipv4Net, Vec<&'a TableId>>,
}

impl Choice<'_> {
    /// Takes what has to wait out of the routes, and keeps what is there in its stead: nobody loses a route to a refusal.
    pub fn leave_out(
        &self,
        routes: &mut BTreeSet<(TableId, Ipv4Net)>,
        problems: &mut Vec<Problem>,
    ) {
        let aside = &self.network.headroom.refused;
        if aside.routes.is_empty() && aside.additions.is_none() {
            return;
        }
        let mut short: BTreeSet<&TableId> = aside
            .routes
            .keys()
            .filter_map(|(table, _)| self.tables.get_key_value(table))
            .map(|(table, _)| table)
            .collect();
        let is_new = |route: &(TableId, Ipv4Net)| !self.names.routes.contains_key(route);
        let allowed = self.allowed(routes.iter().filter(|route| is_new(route)));
        let mut given: BTreeMap<TableId, usize> = BTreeMap::new();
        routes.retain(|route| {
            let (table, cidr) = route;
            let count = given.entry(table.clone()).or_default();
            let has_room = aside.room(table).is_none_or(|(room, _)| *count < room);
            let stays = !is_new(route) || (has_room && allowed.contains(cidr));
            if stays && is_new(route) {
                *count += 1;
            } else if !stays {
                short.extend(self.tables.get_key_value(table).map(|(table, _)| table));
            }
            stays
        });
        let mut told: BTreeMap<&EntryId, Vec<(&TableId, &str)>> = BTreeMap::new();
        for table in short {
            self.keep_in(table, routes);
            let nets = cidr::minimal(nets_of(routes, table), &BTreeSet::new());
            for (entry, net) in &self.request.entries {
                if !cidr::covers(&nets, net) && !self.is_foreign(table, net) {
                    let why = aside.why(table, net).unwrap_or(UNEXPLAINED);
                    told.entry(entry).or_default().push((table, why));
                }
            }
        }
        problems.extend(told.into_iter().map(tell));
    }

    /// The new networks that one change may add. Those of namespaces that have no refused route come first.
    fn allowed<'r>(&self, new: impl Iterator<Item = &'r (TableId, Ipv4Net)>) -> BTreeSet<Ipv4Net> {
        let new: BTreeSet<Ipv4Net> = new.map(|(_, cidr)| *cidr).collect();
        let aside = &self.network.headroom.refused;
        // Without a stack there is nothing that could go on.
        let most = match aside.additions {
            Some(most) if !self.names.nat_cidrs.is_empty() => most,
            _ => return new,
        };
        let most = match most {
            0 if aside.retries => new.len().div_ceil(2),
            most => most,
        };
        let refused: BTreeSet<Ipv4Net> = aside.routes.keys().filter_map(|(_, net)| *net).collect();
        let entries = &self.request.entries;
        let bad = entries.iter().filter(|(_, net)| refused.contains(*net));
        let bad: BTreeSet<&str> = bad.map(|(id, _)| id.object.namespace.as_str()).collect();
        let good = entries
            .iter()
            .filter(|(id, _)| !bad.contains(id.object.namespace.as_str()));
        let good = cidr::minimal(good.map(|(_, net)| *net), &BTreeSet::new());
        let mut order: Vec<Ipv4Net> = new.into_iter().collect();
        order.sort_by_key(|net| (!touches(&good, net), *net));
        order.into_iter().take(most).collect()
    }

    /// Live routes of a table stay where they serve what is missing.
    fn keep_in(&self, table: &TableId, routes: &mut BTreeSet<(TableId, Ipv4Net)>) {
        let nets = cidr::minimal(nets_of(routes, table), &BTreeSet::new());
        let lacks = |net: &&Ipv4Net| !cidr::covers(&nets, net) && !self.is_foreign(table, net);
        let lacking = self.request.entries.values().filter(lacks).copied();
        let lacking = cidr::minimal(lacking, &BTreeSet::new());
        let live = self
            .names
            .route_zones
            .iter()
            .filter(|((of, cidr), zone)| {
                of == table && self.zones.contains_key(*zone) && touches(&lacking, cidr)
            })
            .map(|(route, _)| route.clone());
        routes.extend(live);
    }

    fn is_foreign(&self, table: &TableId, net: &Ipv4Net) -> bool {
        let of = self.foreign.get(net);
        of.is_some_and(|tables| tables.contains(&table))
    }
}

/// What is asked of a table that is not given some networks, nor anything that merges into one of them.
pub(in crate::model) fn without(
    asked: &BTreeSet<Ipv4Net>,
    never: &BTreeSet<Ipv4Net>,
    refused: &BTreeSet<Ipv4Net>,
) -> Vec<Ipv4Net> {
    let is_wide = |net: &&Ipv4Net| net.prefix_len() < net.max_prefix_len();
    let never = never.iter().chain(refused.iter().filter(is_wide));
    let never: BTreeSet<Ipv4Net> = never.copied().collect();
    cidr::minimal(asked.difference(refused).copied(), &never)
}

/// Routes that AWS refused to lead elsewhere, with the zones that they lead to: they stay as they are.
pub(in crate::model) fn unturned(
    aside: &SetAside,
    names: &Names,
    tables: &BTreeMap<TableId, Zone>,
    zones: &BTreeMap<Zone, Ipv4Net>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<(TableId, Ipv4Net), Zone> {
    let mut unturned = BTreeMap::new();
    for ((table, net), waits) in &aside.routes {
        let Some(route) = net.map(|net| (table.clone(), net)) else {
            continue;
        };
        let Some(zone) = names.route_zones.get(&route) else {
            continue;
        };
        let turns = tables.get(table).is_some_and(|other| other != zone);
        if turns && zones.contains_key(zone) && aside.waits(&(table.clone(), *net)).is_some() {
            let text = format!(
                "its route to {} still leads to the NAT gateway of zone {zone}, since AWS refuses to change it: {}; correct what \
                 AWS names, the change is tried again by itself, ever more seldom",
                route.1, waits.why
            );
            let table = Subject::RouteTable(table.clone());
            problems.push(Problem::warning(table, REASON, text));
            unturned.insert(route, zone.clone());
        }
    }
    unturned
}

const UNEXPLAINED: &str = "the last change failed and the stack's events do not name the cause, so new networks are added in \
                           parts";

fn tell((entry, tables): (&EntryId, Vec<(&TableId, &str)>)) -> Problem {
    let (table, why) = tables.first().copied().unzip();
    let more = match tables.len() {
        0 | 1 => String::new(),
        count => format!(" and {} more", count - 1),
    };
    let text = format!(
        "it has no route in route table {}{more}: {}; all others go ahead without it, and it is tried again by itself, ever \
         more seldom: correct what AWS names (ask for another network, or have the quota \"Routes per route table\" raised)",
        table.map_or("", String::as_str),
        why.unwrap_or_default()
    );
    Problem::refused(Subject::Entry(entry.clone()), REASON, text)
}

fn nets_of<'a>(
    routes: &'a BTreeSet<(TableId, Ipv4Net)>,
    table: &'a TableId,
) -> impl Iterator<Item = Ipv4Net> + 'a {
    let from = (table.clone(), Ipv4Net::default());
    let routes = routes.range(from..).take_while(move |(of, _)| of == table);
    routes.map(|(_, cidr)| *cidr)
}

/// Whether one of the sorted, disjoint networks has addresses in common with this one.
fn touches(minimal: &[Ipv4Net], net: &Ipv4Net) -> bool {
    let next = minimal.partition_point(|other| other.network() < net.network());
    cidr::covers(minimal, net) || minimal.get(next).is_some_and(|other| net.contains(other))
}

impl Failure {
    /// What the stack's last operation failed of.
    pub(in crate::model) fn of(world: &World<'_>, names: &Names) -> Self {
        let Live::Ours(stack) = world.live else {
            return Self::default();
        };
        let is_creation = stack.status.phase() == Phase::CreateFailed;
        if !is_creation && stack.status.phase() != Phase::Settled {
            return Self::default();
        }
        let status = &stack.status.0;
        let mut failure = Self {
            operation: Some(format!("{} {}", stack.id, stack.version)),
            failed: status.contains("ROLLBACK") || status.contains("FAILED"),
            is_creation,
            cause: stack.cause.clone().unwrap_or_else(|| status.clone()),
            ..Self::default()
        };
        failure.unexplained = failure.failed && !is_creation && stack.failed.is_empty();
        for (id, failed) in &stack.failed {
            if let Some((zone, cidr)) = zone_of(id, world, names, is_creation) {
                failure.zones.insert((zone, cidr));
            } else if let Some((table, cidr)) = route_of(id, world.network, names) {
                let key = (table, Some(cidr).filter(|_| !failed.table_is_full));
                failure.routes.insert(key, failed.reason.clone());
            }
        }
        failure
    }
}

/// The new zone that a resource is a part of.
fn zone_of(
    id: &str,
    world: &World<'_>,
    names: &Names,
    is_creation: bool,
) -> Option<(Zone, Ipv4Net)> {
    let live = names.parts.iter().find(|(_, name)| *name == id);
    let new = || {
        let mut zones = world.settings.zones.keys();
        zones.find(|zone| template::is_part(id, zone)).cloned()
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

fn route_of(id: &str, network: &Network, names: &Names) -> Option<(TableId, Ipv4Net)> {
    let mut live = names.routes.iter();
    let live = live.find(|(_, name)| *name == id);
    let tables = network.worker_tables.keys();
    let mut tables = tables.chain(network.other_tables.keys());
    live.map(|(route, _)| route.clone())
        .or_else(|| tables.find_map(|table| Some((table.clone(), template::routed(id, table)?))))
}

impl Plan {
    /// The same network where those that are due may be tried again, if nothing else is left to do.
    pub(in crate::model) fn retry(&self, world: &World<'_>) -> Option<Network> {
        let aside = &world.network.headroom.refused;
        let rests = matches!(self.action, Action::Keep | Action::Discard { .. });
        // Where every route waits there may be no stack to keep.
        let has_none = matches!((&self.action, world.live), (Action::Refuse, Live::Absent));
        let is_idle = (rests || has_none) && self.differences.iter().all(Difference::names_owner);
        let is_due = aside.routes.values().any(|waits| waits.left.is_zero());
        if !is_idle || !(is_due || aside.additions == Some(0)) {
            return None;
        }
        let mut network = world.network.clone();
        network.headroom.refused.retries = true;
        Some(network)
    }

    /// Notes what the next change tries, and when the next refused route is due.
    pub(in crate::model) fn mark_refused(&mut self, world: &World<'_>, names: &Names) {
        let waits = world.network.headroom.refused.routes.values();
        let next = waits.map(|waits| waits.left).filter(|left| !left.is_zero());
        self.again = self.again.into_iter().chain(next).min();
        let (Action::Execute { change_set }, Live::Ours(stack)) = (&self.action, world.live) else {
            return;
        };
        self.attempt = additions(stack, change_set, world.network);
        // What a repair makes again is no addition.
        self.attempt
            .retain(|route| !names.routes.contains_key(route));
    }
}

/// The routes that a change set makes.
fn additions(stack: &Stack, change_set: &str, network: &Network) -> BTreeSet<(TableId, Ipv4Net)> {
    let mut sets = stack.change_sets.iter();
    let set = sets.find(|set| set.name == change_set);
    let changes = set.into_iter().flat_map(|set| &set.changes);
    let added = changes.filter(|change| change.effect == crate::model::cloud::live::Effect::Add);
    let route = |id: &str| route_of(id, network, &Names::default());
    added.filter_map(|it| route(&it.logical_id)).collect()
}
