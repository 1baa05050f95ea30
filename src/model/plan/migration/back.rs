//! The way back from lists to direct routes.
//!
//! The direct routes to the networks of a list are added beside the list. Once EC2 shows all of them, the list is removed with the routes to
//! it. Networks that do not fit without lists stay in them.

use std::collections::BTreeSet;

use ipnet::Ipv4Net;

use super::{Migration, Next};
use crate::model::base::ids::TableId;
use crate::model::desired::shift::Shift;
use crate::model::plan::capacity::{most, overflows};
use crate::model::plan::types::World;

impl Migration<'_> {
    /// Returns the step after which the networks of a list have direct routes as well, or after which the list is gone. Where the stack has
    /// no room for the last routes beside the list, the change that removes the list adds them: CloudFormation adds before it removes.
    pub(super) fn back(&self) -> Result<Option<Next>, String> {
        let lists = &self.names.lists;
        // A list that is left half-way comes first, then the newest one.
        let begun = |id: &&String| !self.doubled(id).is_empty();
        let ids = || lists.keys().rev();
        let Some(id) = ids().find(begun).or_else(|| ids().next()) else {
            return Ok(None);
        };
        if !self.fits_without_lists() {
            let networks = lists.values().map(|list| list.entries.len()).sum();
            return Err(no_routes(networks));
        }
        let routes = self.routes_of(id).into_iter();
        let (direct, without): (Vec<_>, Vec<_>) =
            routes.partition(|route| self.names.is_direct(route));
        let without: BTreeSet<Ipv4Net> = without.into_iter().map(|(_, net)| net).collect();
        let beside = |count: usize| {
            let shift = Shift {
                get_routes: without.iter().take(count).copied().collect(),
                ..Shift::default()
            };
            self.shifted(shift, None)
        };
        let dissolved = Shift {
            dissolved: BTreeSet::from([id.clone()]),
            ..Shift::default()
        };
        let dissolved = self.shifted(dissolved, None);
        // Routes that take the last places of a table and cannot replace the list would hold up new entries for nothing.
        if !without.is_empty() && !self.fits(&dissolved) {
            return Err(no_room_beside(id, without.len()));
        }
        let count = match without.len() {
            0 => 0,
            all if self.fits(&beside(all)) => all,
            all => most(0, all, |count| self.fits(&beside(count))),
        };
        if count > 0 {
            let text = format!("{count} networks of {id} get routes of their own beside it");
            return Ok(Some((beside(count), text)));
        }
        if !direct.iter().all(|route| self.is_routed(route)) {
            return Ok(None);
        }
        let text = format!("{id} goes, since EC2 shows that its networks have routes of their own");
        Ok(Some((dissolved, text)))
    }

    /// Returns the desired routes to the networks of a list.
    fn routes_of(&self, id: &str) -> Vec<(TableId, Ipv4Net)> {
        let list = self.names.lists.get(id);
        let entries = list.into_iter().flat_map(|list| &list.entries);
        let tables = || self.desired.tables.keys();
        let routes = entries.flat_map(|net| tables().map(|table| (table.clone(), *net)));
        routes
            .filter(|route| self.desired.routes.contains(route))
            .collect()
    }

    /// Whether EC2 shows an active route to the network itself, to the NAT gateway of the table's zone.
    fn is_routed(&self, (table, net): &(TableId, Ipv4Net)) -> bool {
        let routes = self.world.network.routes(table);
        let route = routes.and_then(|routes| routes.get(net));
        let zone = self.desired.tables.get(table);
        route
            .zip(zone)
            .is_some_and(|(route, zone)| self.is_active(route, zone))
    }

    /// Whether the stack and the route tables have room for all networks once the lists are gone.
    fn fits_without_lists(&self) -> bool {
        let names = self.names;
        let mut network = self.world.network.clone();
        for (table, list) in names.list_routes.values() {
            if let Some(worker) = network.worker_tables.get_mut(table)
                && let Some(list) = names.lists.get(list)
            {
                worker.listed = worker.listed.saturating_sub(list.size);
            }
        }
        let world = World {
            network: &network,
            ..*self.world
        };
        let shift = Shift {
            dissolved: names.lists.keys().cloned().collect(),
            ..Shift::default()
        };
        !overflows(&world, &self.shifted(shift, None), names, self.layout)
    }
}

fn no_routes(networks: usize) -> String {
    format!(
        "{networks} networks stay in prefix lists, although --prefix-lists is never: the stack, its template or a route table has no room \
         for routes of their own; set --prefix-lists=when-full, or request fewer or wider networks"
    )
}

fn no_room_beside(list: &str, networks: usize) -> String {
    format!(
        "the networks of {list} stay in it, although --prefix-lists is never: a route table has no room for {networks} more routes while \
         the list, which counts with all entries that it may have, is still there; have the quota \"Routes per route table\" \
         (L-93826ACB) raised, or set --prefix-lists=when-full"
    )
}
