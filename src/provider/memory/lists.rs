//! Managed prefix lists, and the requests that EC2 refuses about them.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;

use super::ec2::{Ec2, NO_ROOM, NOT_SUPPORTED, State};
use super::wish::{Made, Wish};
use crate::model::cloud::network::{Network, Route};
use crate::model::cloud::prefix_list::{ListId, ListState, MOST_CHANGES, MOST_LISTS, PrefixList};

/// The maximum number of entries of a list ("Amazon VPC quotas").
const MOST_ENTRIES: usize = 1_000;

impl Ec2 {
    pub(super) fn make_list(&mut self, wish: &Wish) -> Result<String, String> {
        let (name, entries) = (wish.field("PrefixListName"), distinct(wish)?);
        if self.lists.len() >= self.list_quota.unwrap_or(MOST_LISTS) {
            return Err("the account takes no more prefix lists".to_owned());
        }
        if entries.len() > MOST_CHANGES {
            return Err(format!(
                "{name} gets more than {MOST_CHANGES} entries at once"
            ));
        }
        let max_entries = size(wish)?;
        fits(name, &entries, max_entries)?;
        let id = self.fresh(&format!("pl-{name}"));
        let list = PrefixList {
            name: name.to_owned(),
            state: ListState::Complete,
            version: 1,
            max_entries,
            entries,
        };
        self.lists.insert(id.clone(), list);
        Ok(id)
    }

    /// Changes a list in one call, as CloudFormation does: size and entries together are refused.
    pub(super) fn change_list(&mut self, id: &str, wish: &Wish) -> Result<(), String> {
        let Some(list) = self.lists.get(id) else {
            return Err(format!("{id} was not found"));
        };
        if matches!(list.state, ListState::InProgress | ListState::Leaving) {
            return Err(format!("{id} is being changed"));
        }
        let (entries, max_entries) = (distinct(wish)?, size(wish)?);
        let added: Vec<&Ipv4Net> = entries.difference(&list.entries).collect();
        let removed = list.entries.difference(&entries).count();
        if added.len() > MOST_CHANGES || removed > MOST_CHANGES {
            return Err(format!(
                "more than {MOST_CHANGES} entries of {id} change at once"
            ));
        }
        let resized = max_entries != list.max_entries;
        let changed = entries != list.entries;
        if resized && changed {
            return Err(format!("{id} changes its size and its entries at once"));
        }
        fits(id, &entries, max_entries)?;
        let users = self.users(id);
        let refused = added.into_iter().find(|cidr| self.refused.contains(*cidr));
        if let Some(cidr) = refused.filter(|_| !users.is_empty()) {
            return Err(format!("{cidr} {NOT_SUPPORTED}"));
        }
        let more = max_entries.saturating_sub(list.max_entries);
        let full = |table: &&String| self.taken(table) + more > self.most_routes();
        if let Some(table) = users.iter().find(full) {
            return Err(format!("{table} {NO_ROOM}"));
        }
        if let Some(list) = self.lists.get_mut(id) {
            list.name = wish.field("PrefixListName").to_owned();
            list.version += i64::from(changed);
            if resized || changed {
                list.state = ListState::Complete;
            }
            (list.entries, list.max_entries) = (entries, max_entries);
        }
        Ok(())
    }

    /// Deletes a list. EC2 keeps a list that a route leads to.
    pub(super) fn remove_list(&mut self, id: &str) {
        if self.users(id).is_empty() {
            self.lists.remove(id);
        }
    }

    pub(super) fn make_list_route(&mut self, wish: &Wish, route: Route) -> Result<String, String> {
        let table = wish.field("RouteTableId");
        let id = wish.field("DestinationPrefixListId");
        let Some(list) = self.lists.get(id) else {
            return Err(format!("{id} does not exist"));
        };
        if list.state == ListState::Leaving {
            return Err(format!("{id} is being deleted"));
        }
        if let Some(cidr) = list.entries.intersection(&self.refused).next() {
            return Err(format!("{cidr} {NOT_SUPPORTED}"));
        }
        let has_room = self.taken(table) + list.max_entries <= self.most_routes();
        let Some(routes) = self.list_routes(table) else {
            return Err(format!("{table} does not exist"));
        };
        if routes.contains_key(id) {
            return Err(format!("a route to {id} already exists in {table}"));
        }
        if !has_room {
            return Err(format!("{table} {NO_ROOM}"));
        }
        routes.insert(id.to_owned(), route);
        Ok(format!("{table}|{id}"))
    }

    /// Returns the number of routes of a table, as its quota counts them.
    pub(super) fn taken(&self, table: &str) -> usize {
        let routes = self.network.routes(table).map_or(0, BTreeMap::len);
        let worker = self.network.worker_tables.get(table);
        routes + worker.map_or(0, |worker| worker.listed) + self.listed(table)
    }

    /// Returns the share of the table's quota that routes to lists of this account take.
    pub(super) fn listed(&self, table: &str) -> usize {
        let lists = self.network.list_routes(table).into_iter().flatten();
        let size = |id: &ListId| self.lists.get(id).map_or(0, |list| list.max_entries);
        lists.map(|(id, _)| size(id)).sum()
    }

    fn most_routes(&self) -> usize {
        self.route_quota.unwrap_or(usize::MAX)
    }

    /// Returns the tables with a route to the list.
    pub(super) fn users(&self, id: &str) -> Vec<String> {
        let network = &self.network;
        let workers = network.worker_tables.keys();
        let tables = workers.chain(network.other_tables.keys());
        let leads = |table: &&String| {
            let routes = network.list_routes(table);
            routes.is_some_and(|routes| routes.contains_key(id))
        };
        tables.filter(leads).cloned().collect()
    }

    pub(super) fn list_routes(&mut self, table: &str) -> Option<&mut BTreeMap<ListId, Route>> {
        let Network {
            worker_tables,
            other_tables,
            ..
        } = &mut self.network;
        let worker = worker_tables.get_mut(table);
        let worker = worker.map(|table| &mut table.list_routes);
        let other = other_tables.get_mut(table);
        worker.or_else(|| other.map(|table| &mut table.list_routes))
    }

    /// Turns all routes to a deleted NAT gateway into blackholes.
    pub(super) fn blackhole(&mut self, gateway: &str) {
        for route in self.all_routes().flat_map(BTreeMap::values_mut) {
            route.blackhole |= route.target == gateway;
        }
        let Network {
            worker_tables,
            other_tables,
            ..
        } = &mut self.network;
        let workers = worker_tables.values_mut();
        let workers = workers.map(|table| &mut table.list_routes);
        let others = other_tables.values_mut();
        let all = workers.chain(others.map(|table| &mut table.list_routes));
        for route in all.flat_map(BTreeMap::values_mut) {
            route.blackhole |= route.target == gateway;
        }
    }

    /// Returns the lists among these resources, as EC2 shows them.
    pub(super) fn shown_lists(
        &self,
        made: &BTreeMap<String, Made>,
    ) -> BTreeMap<ListId, PrefixList> {
        let shown = |made: &Made| Some((made.id.clone(), self.lists.get(&made.id)?.clone()));
        made.values().filter_map(shown).collect()
    }

    /// Compares a list with the list that the stack created. CloudFormation compares properties only, not the state of the list.
    pub(super) fn list_state(&self, made: &Made) -> State {
        let Some(list) = self.lists.get(&made.id) else {
            return State::Gone;
        };
        let wanted: BTreeSet<Ipv4Net> = made.wish.entries.iter().copied().collect();
        let same = list.entries == wanted
            && list.name == made.wish.field("PrefixListName")
            && size(&made.wish) == Ok(list.max_entries);
        match same {
            true => State::Well,
            false => State::Changed,
        }
    }
}

/// Returns the entries of a requested list. EC2 refuses an entry that occurs twice.
fn distinct(wish: &Wish) -> Result<BTreeSet<Ipv4Net>, String> {
    let entries: BTreeSet<Ipv4Net> = wish.entries.iter().map(Ipv4Net::trunc).collect();
    match entries.len() == wish.entries.len() {
        true => Ok(entries),
        false => Err("an entry is named more than once".to_owned()),
    }
}

fn size(wish: &Wish) -> Result<usize, String> {
    let text = wish.field("MaxEntries");
    let most = text
        .parse()
        .ok()
        .filter(|most| (1..=MOST_ENTRIES).contains(most));
    most.ok_or_else(|| format!("{text:?} is no size of a prefix list"))
}

fn fits(list: &str, entries: &BTreeSet<Ipv4Net>, most: usize) -> Result<(), String> {
    match entries.len() <= most {
        true => Ok(()),
        false => Err(format!("{list} takes no more than {most} entries")),
    }
}

#[cfg(test)]
#[path = "lists_tests.rs"]
mod tests;
