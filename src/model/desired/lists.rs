//! Decides which networks have their routes by network lists, and which have direct routes.
//!
//! The live template is the memory: an entry stays in its list. CloudFormation changes several lists, and routes beside them, in any order,
//! so no change moves an entry to another list. A replacement enters the same list in the same change, or is placed elsewhere before the
//! next change removes the old entry. A network with direct routes moves into a list only if the stack has no other room, or by the steps of
//! a migration ([`Shift`]).

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;

use crate::model::base::cidr::{self, overlap};
use crate::model::base::ids::{TableId, Zone};
use crate::model::cloud::layout::Names;
use crate::model::cloud::logical_id::next_name;
use crate::model::cloud::network_lists::{NetworkList, list_name, number_of};
use crate::model::cloud::prefix_list::MOST_CHANGES;
use crate::model::desired::Desired;
use crate::model::desired::movable::movable;
use crate::model::desired::shift::Shift;

/// The direct routes and the lists that serve the desired routes.
#[derive(Clone, Debug, Default)]
pub struct Carried<'a> {
    /// Routes to single networks.
    pub direct: Cow<'a, BTreeSet<(TableId, Ipv4Net)>>,
    /// The lists by logical id.
    pub lists: BTreeMap<String, NetworkList>,
    /// The routes to lists, with the zones that they lead to.
    pub list_routes: BTreeMap<(TableId, String), Zone>,
}

impl Carried<'_> {
    /// Returns the list that serves a network.
    pub fn list_of(&self, net: &Ipv4Net) -> Option<&String> {
        let mut lists = self.lists.iter();
        let list = lists.find(|(_, list)| list.entries.contains(net));
        list.map(|(id, _)| id)
    }
}

/// Decides for each route whether a list serves it. The same input gives the same lists.
pub(in crate::model) fn carried<'a>(desired: &'a Desired, names: &'a Names) -> Carried<'a> {
    if names.lists.is_empty() && desired.into_lists.is_none() {
        return Carried {
            direct: Cow::Borrowed(&desired.routes),
            ..Carried::default()
        };
    }
    let mut choice = Choice::new(desired, names);
    choice.replace();
    choice.fill();
    choice.move_in();
    choice.carried()
}

/// A list during the choice of its entries.
struct Slots {
    list: NetworkList,
    /// The number of entries that are added or removed.
    changes: usize,
    /// Whether no entry is added.
    is_closed: bool,
}

impl Slots {
    /// Whether one call can add `more` entries to the list in place of `fewer` present ones.
    fn takes(&self, more: usize, fewer: usize) -> bool {
        let entries = self.list.entries.len() + more;
        !self.is_closed
            && entries <= self.list.size + fewer
            && self.changes + more + fewer <= MOST_CHANGES
    }
}

struct Choice<'a> {
    desired: &'a Desired,
    names: &'a Names,
    slots: BTreeMap<String, Slots>,
    /// New networks that may be in a list.
    new: BTreeSet<Ipv4Net>,
    /// Entries that are no longer requested and that new networks replace, with their lists.
    replaced: BTreeMap<Ipv4Net, String>,
    /// The new networks and the entries that they replace, by the wider network of both.
    groups: BTreeMap<Ipv4Net, Group>,
    placed: BTreeSet<Ipv4Net>,
    /// Networks with direct routes in all tables that may be in a list.
    movable: BTreeSet<Ipv4Net>,
    moved: BTreeSet<Ipv4Net>,
}

#[derive(Default)]
struct Group {
    new: BTreeSet<Ipv4Net>,
    old: BTreeSet<Ipv4Net>,
}

impl<'a> Choice<'a> {
    fn new(desired: &'a Desired, names: &'a Names) -> Self {
        let tables = desired.tables.values();
        let tables = tables
            .filter(|zone| !desired.frozen.contains(*zone))
            .count();
        let counts = counts(desired);
        let listed = names.lists.values().flat_map(|list| &list.entries);
        let live = names.routes.keys().map(|(_, net)| net).chain(listed);
        let live: BTreeSet<Ipv4Net> = live.copied().collect();
        let lacking = lacking(desired, names);
        let unturned: BTreeSet<&Ipv4Net> = desired.unturned.keys().map(|(_, net)| net).collect();
        let in_all = |(net, count): &(&Ipv4Net, &usize)| {
            **count == tables && tables > 0 && !unturned.contains(net)
        };
        let is_new = |net: &Ipv4Net| match desired.into_lists {
            Some(room) => !live.contains(net) || room.partly && lacking.contains(net),
            None => false,
        };
        let new = counts.iter().filter(in_all).map(|(net, _)| *net);
        let new = new.filter(is_new);
        let not_live = counts.keys().filter(|net| !live.contains(*net));
        let not_live: BTreeSet<Ipv4Net> = not_live.chain(&lacking).copied().collect();
        let Shift {
            enter,
            leave_routes,
            ..
        } = &desired.shift;
        let mut choice = Self {
            desired,
            names,
            slots: BTreeMap::new(),
            new: new.chain(enter.iter().copied()).collect(),
            replaced: BTreeMap::new(),
            groups: BTreeMap::new(),
            placed: BTreeSet::new(),
            movable: BTreeSet::new(),
            moved: leave_routes.clone(),
        };
        let mut leaving = BTreeMap::new();
        let stays = |(id, _): &(&String, &NetworkList)| !desired.shift.dissolved.contains(*id);
        for (id, list) in names.lists.iter().filter(stays) {
            let stay = list.entries.iter().filter(|net| counts.contains_key(*net));
            let stay = NetworkList {
                entries: stay.copied().collect(),
                size: list.size,
            };
            if desired.damage.gone.contains(id) {
                choice.make_again(id, stay);
                continue;
            }
            let gone = list.entries.iter().filter(|net| !counts.contains_key(*net));
            leaving.extend(gone.map(|net| (*net, id)));
            choice.slots.insert(
                id.clone(),
                Slots {
                    list: stay,
                    changes: 0,
                    is_closed: desired.damage.closes(id),
                },
            );
        }
        // A frozen zone cannot get a route to a list.
        if desired.into_lists.is_some_and(|room| room.moves) && desired.frozen.is_empty() {
            choice.movable = movable(desired, names);
        }
        choice.group(&not_live, leaving);
        choice
    }

    /// Adds a list that EC2 no longer has. CloudFormation can remove the list and the routes to it, and can change neither. So a list that
    /// changes gets another logical id. In a frozen zone, or without room, no route to it could be created, so that it stays as it is.
    fn make_again(&mut self, id: &str, stay: NetworkList) {
        let (desired, names) = (self.desired, self.names);
        let Some(live) = names.lists.get(id) else {
            return;
        };
        let has_route = |table: &TableId| names.routes_to(id).any(|(_, of)| of == table);
        let serves = |table: &&TableId| {
            let mut nets = stay.entries.iter();
            nets.any(|net| desired.routes.contains(&((*table).clone(), *net)))
        };
        let mut tables = desired.tables.keys().filter(serves);
        let changes = stay.entries != live.entries || !tables.all(has_route);
        let has_room = !desired.damage.without_room.contains(id);
        let (id, list) = if stay.entries.is_empty() {
            // The removed list still has the name.
            (id.to_owned(), stay)
        } else if changes && desired.frozen.is_empty() && has_room {
            (next_name(id), stay)
        } else {
            (id.to_owned(), live.clone())
        };
        let slots = Slots {
            list,
            changes: 0,
            is_closed: true,
        };
        self.slots.insert(id, slots);
    }

    /// Keeps, for now, the entries that new networks replace, and counts the other entries that leave.
    fn group(&mut self, not_live: &BTreeSet<Ipv4Net>, leaving: BTreeMap<Ipv4Net, &String>) {
        for (old, id) in leaving {
            let inside = not_live.range(old..).take_while(|net| old.contains(*net));
            let inside: BTreeSet<Ipv4Net> = inside.copied().collect();
            let around = cidr::supernets(old).find(|net| not_live.contains(net));
            let Some(slots) = self.slots.get_mut(id) else {
                continue;
            };
            let (wide, new) = match around {
                Some(around) => (around, BTreeSet::from([around])),
                None if !inside.is_empty() => (old, inside),
                None => {
                    slots.changes += 1;
                    continue;
                }
            };
            slots.list.entries.insert(old);
            self.replaced.insert(old, id.clone());
            let group = self.groups.entry(wide).or_default();
            group.new.extend(new);
            group.old.insert(old);
        }
    }

    /// Replaces entries by new networks of the same list. EC2 makes both changes in one version, so that traffic always has a route.
    fn replace(&mut self) {
        for group in std::mem::take(&mut self.groups).into_values() {
            let lists = group.old.iter().filter_map(|net| self.replaced.get(net));
            let lists: BTreeSet<&String> = lists.collect();
            let (first, is_one) = (lists.first().copied(), lists.len() == 1);
            let Some(slots) = first.and_then(|list| self.slots.get_mut(list)) else {
                continue;
            };
            let (more, fewer) = (group.new.len(), group.old.len());
            if is_one && group.new.is_subset(&self.new) && slots.takes(more, fewer) {
                slots.list.entries.retain(|net| !group.old.contains(net));
                slots.list.entries.extend(&group.new);
                slots.changes += more + fewer;
                self.placed.extend(&group.new);
            }
        }
    }

    /// Puts the remaining new networks into free slots, then into new lists.
    fn fill(&mut self) {
        let mut room = self.desired.into_lists.unwrap_or_default();
        for net in self.new.difference(&self.placed.clone()) {
            let mut free = self.slots.values_mut().filter(|slots| slots.takes(1, 0));
            if let Some(slots) = free.next() {
                slots.list.entries.insert(*net);
                slots.changes += 1;
            } else if let Some(size) = room.take() {
                let list = NetworkList {
                    entries: BTreeSet::from([*net]),
                    size,
                };
                let id = self.unused_name();
                let slots = Slots {
                    list,
                    changes: 1,
                    is_closed: false,
                };
                self.slots.insert(id, slots);
            } else {
                break;
            }
            self.placed.insert(*net);
        }
    }

    /// Moves networks into free slots of lists. CloudFormation changes the lists before it deletes the routes.
    fn move_in(&mut self) {
        for net in std::mem::take(&mut self.movable) {
            let mut free = self.slots.values_mut().filter(|slots| slots.takes(1, 0));
            let Some(slots) = free.next() else {
                return;
            };
            slots.list.entries.insert(net);
            slots.changes += 1;
            self.moved.insert(net);
        }
    }

    /// Returns the logical id of a new list.
    fn unused_name(&self) -> String {
        let used: BTreeSet<usize> = self.slots.keys().filter_map(|id| number_of(id)).collect();
        let unused = (1..).find(|number| !used.contains(number));
        list_name(unused.unwrap_or_default())
    }

    fn carried(self) -> Carried<'a> {
        let mut lists: BTreeMap<String, NetworkList> = BTreeMap::new();
        for (id, slots) in self.slots {
            if !slots.list.entries.is_empty() {
                lists.insert(id, slots.list);
            }
        }
        let (desired, names) = (self.desired, self.names);
        let mut list_routes = BTreeMap::new();
        // Routes to networks of lists from tables that get no route to the list.
        let mut apart = BTreeSet::new();
        let partly = desired.into_lists.is_some_and(|room| room.partly);
        for (id, list) in &lists {
            for (table, zone) in &desired.tables {
                let route = |net: &Ipv4Net| (table.clone(), *net);
                let has_route = || names.routes_to(id).any(|(_, of)| of == table);
                if partly && names.lists.contains_key(id) && !has_route() {
                    apart.extend(list.entries.iter().map(route));
                    continue;
                }
                let mut nets = list.entries.iter();
                let serves = nets.any(|net| {
                    desired.routes.contains(&route(net))
                        || (self.replaced.contains_key(net)
                            && names.routes.contains_key(&route(net)))
                });
                // EC2 refuses a route to a list that is gone.
                let is_gone = desired.damage.gone.contains(id);
                if serves && (!is_gone || has_route()) {
                    let mut nets = list.entries.iter();
                    let unturned = nets.find_map(|net| desired.unturned.get(&route(net)));
                    let zone = unturned.unwrap_or(zone).clone();
                    list_routes.insert((table.clone(), id.clone()), zone);
                }
            }
        }
        let listed: BTreeSet<&Ipv4Net> = lists.values().flat_map(|list| &list.entries).collect();
        let is_direct = |route: &&(TableId, Ipv4Net)| {
            let stays = names.is_direct(route) && !self.moved.contains(&route.1);
            let is_added = desired.shift.get_routes.contains(&route.1);
            !listed.contains(&route.1) || stays || is_added || apart.contains(*route)
        };
        let mut direct: BTreeSet<_> = desired.routes.iter().filter(is_direct).cloned().collect();
        // Direct routes stay until EC2 has the list entries that replace them.
        let replaced = names.routes.keys().filter(|route| {
            let (table, net) = route;
            desired.tables.contains_key(table)
                && !desired.routes.contains(*route)
                && names.is_direct(route)
                && touches(&self.placed, net)
        });
        direct.extend(replaced.cloned());
        Carried {
            direct: Cow::Owned(direct),
            list_routes,
            lists,
        }
    }
}

/// Returns the number of tables outside of frozen zones for each network.
fn counts(desired: &Desired) -> BTreeMap<Ipv4Net, usize> {
    let mut counts: BTreeMap<Ipv4Net, usize> = BTreeMap::new();
    for route in &desired.routes {
        *counts.entry(route.1).or_default() += usize::from(is_counted(desired, &route.0));
    }
    counts
}

fn is_counted(desired: &Desired, table: &TableId) -> bool {
    let zone = desired.tables.get(table);
    zone.is_some_and(|zone| !desired.frozen.contains(zone))
}

/// Returns the networks that are in no list and lack a route in some table.
fn lacking(desired: &Desired, names: &Names) -> BTreeSet<Ipv4Net> {
    let lists = || names.lists.values();
    let lacks = |route: &&(TableId, Ipv4Net)| {
        is_counted(desired, &route.0)
            && !names.routes.contains_key(*route)
            && !lists().any(|list| list.entries.contains(&route.1))
    };
    let routes = desired.routes.iter().filter(lacks);
    routes.map(|(_, net)| *net).collect()
}

/// Whether one of these disjoint networks overlaps `net`.
fn touches(nets: &BTreeSet<Ipv4Net>, net: &Ipv4Net) -> bool {
    let next = nets.range(*net..).next();
    let before = nets.range(..*net).next_back();
    next.into_iter()
        .chain(before)
        .any(|other| overlap(other, net))
}
