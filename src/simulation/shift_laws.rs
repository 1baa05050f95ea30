//! The law of the migration between direct routes and prefix lists, and the flags of histories in which networks move.

use ipnet::Ipv4Net;

use super::invariants::Invariant;
use super::world::World;
use crate::model::base::ids::TableId;
use crate::model::base::settings::{PrefixLists, Settings};
use crate::model::cloud::layout::{Layout, Names};
use crate::model::plan::types::Action;

/// Whether a table of a template routes the network by a list.
pub fn is_listed(names: &Names, (table, net): &(TableId, Ipv4Net)) -> bool {
    let mut routes = names.list_routes.values().filter(|(of, _)| of == table);
    routes.any(|(_, list)| {
        let list = names.lists.get(list);
        list.is_some_and(|list| list.entries.contains(net))
    })
}

impl World {
    /// Checks that a template which takes out one of two routes to a network leaves the one that EC2 has, if there is one. Damage that the
    /// template does not repair is an excuse: it may be newer than what the replica has seen.
    pub fn judge_shift(&self, action: &Action) {
        let Action::Prepare(template) = action else {
            return;
        };
        let after = Layout::read(&template.text, &template.parameters).unwrap_or_default();
        let astray = self.account.astray();
        let is_renewed = |id: &String| !after.resources.contains_key(id);
        if !astray.is_empty() && !astray.keys().any(is_renewed) {
            return;
        }
        let (before, after) = (self.account.layout().names(), after.names());
        let has_both = |route: &&(TableId, Ipv4Net)| {
            before.is_direct(route)
                && is_listed(&before, route)
                && after.routes.contains_key(*route)
        };
        for route in before.routes.keys().filter(has_both) {
            let (table, net) = route;
            let has = self.account.carriers(route);
            let lost = match (after.is_direct(route), is_listed(&after, route)) {
                (false, true) if has.direct && !has.list => "direct route",
                (true, false) if has.list && !has.direct => "list",
                _ => continue,
            };
            let text = format!("{net} loses its {lost} in {table} although EC2 has {has:?}");
            self.fail(Invariant::ListsStay, text);
        }
    }

    /// Gives a process another value of `--prefix-lists` at each start, in a history in which networks move.
    pub fn starts_with_moving_lists(&self, who: usize, start: u32, settings: &mut Settings) {
        if !self.moves_lists {
            return;
        }
        let modes = [
            PrefixLists::Never,
            PrefixLists::Always,
            PrefixLists::WhenFull,
        ];
        let turn = who + usize::try_from(start).unwrap_or_default();
        let mode = modes.into_iter().cycle().nth(turn % modes.len());
        settings.prefix_lists = mode.unwrap_or_default();
    }
}
