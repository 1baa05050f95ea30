//! Routes that AWS refused. CloudFormation makes a change of the stack whole or not at all, so one such route fails all changes. Plans
//! leave it out for some time, a problem informs its owners, and all other routes proceed.
//!
//! Refused routes whose wait is over are tried again only if the plan has nothing else to do, so that they delay no other request.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;

use crate::model::base::cidr;
use crate::model::base::ids::{EntryId, TableId, Zone};
use crate::model::base::problem::{Problem, Subject};
use crate::model::base::reason::Reason;
use crate::model::cloud::layout::Names;
use crate::model::cloud::network::Network;
use crate::model::cloud::set_aside::SetAside;
use crate::model::desired::admitted::Admitted;

/// The inputs for choosing the routes.
pub(in crate::model) struct Choice<'a> {
    pub request: &'a Admitted,
    pub network: &'a Network,
    pub names: &'a Names,
    pub tables: &'a BTreeMap<TableId, Zone>,
    pub zones: &'a BTreeMap<Zone, Ipv4Net>,
    /// Routes outside of the stack. They do not count as missing.
    pub foreign: &'a BTreeMap<Ipv4Net, Vec<&'a TableId>>,
}

impl Choice<'_> {
    /// Removes the routes that have to wait, and keeps the live routes that they would replace: no network loses a route by a refusal.
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

    /// Returns the new networks that one change may add. Networks of namespaces without a refused route come first.
    fn allowed<'r>(&self, new: impl Iterator<Item = &'r (TableId, Ipv4Net)>) -> BTreeSet<Ipv4Net> {
        let new: BTreeSet<Ipv4Net> = new.map(|(_, cidr)| *cidr).collect();
        let aside = &self.network.headroom.refused;
        // Without a stack, a limited change would protect no other route.
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

    /// Keeps the live routes of a table that overlap requested networks without a route.
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

/// Returns the routes of a table that does not get the refused networks, nor any network that merging would produce from them.
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

/// Returns the routes whose change to another zone AWS refused, with the zones that they lead to now. They stay unchanged.
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
                 AWS names, the controller tries again after longer and longer waits",
                route.1, waits.why
            );
            let table = Subject::RouteTable(table.clone());
            problems.push(Problem::warning(table, Reason::RouteRefused, text));
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
        "it has no route in route table {}{more}: {}; all other changes proceed, and the controller tries again after \
         longer and longer waits: correct what AWS names (request another network, or have the quota \"Routes per route table\" raised)",
        table.map_or("", String::as_str),
        why.unwrap_or_default()
    );
    Problem::refused(Subject::Entry(entry.clone()), Reason::RouteRefused, text)
}

fn nets_of<'a>(
    routes: &'a BTreeSet<(TableId, Ipv4Net)>,
    table: &'a TableId,
) -> impl Iterator<Item = Ipv4Net> + 'a {
    let from = (table.clone(), Ipv4Net::default());
    let routes = routes.range(from..).take_while(move |(of, _)| of == table);
    routes.map(|(_, cidr)| *cidr)
}

/// Whether one of the sorted, disjoint networks overlaps `net`.
fn touches(minimal: &[Ipv4Net], net: &Ipv4Net) -> bool {
    let next = minimal.partition_point(|other| other.network() < net.network());
    cidr::covers(minimal, net) || minimal.get(next).is_some_and(|other| net.contains(other))
}
