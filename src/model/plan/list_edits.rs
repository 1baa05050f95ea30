//! Judges an earlier plan's change set by the network lists in its template: CloudFormation announces only that a list changes.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;

use crate::model::base::cidr::overlap;
use crate::model::base::ids::Zone;
use crate::model::cloud::layout::Names;
use crate::model::cloud::live::{Change, ChangeSet, Effect};
use crate::model::cloud::network_lists::{NetworkList, list_route_name};
use crate::model::desired::lists::carried;
use crate::model::plan::types::Plan;

/// The live lists and the desired lists.
pub(in crate::model::plan) struct ListEdits<'a> {
    plan: &'a Plan,
    names: &'a Names,
    wanted: BTreeMap<String, NetworkList>,
}

/// The edits of lists in a change set, if they do no harm.
#[derive(Default)]
pub(in crate::model::plan) struct Harmless {
    /// Logical ids of the lists that the change set adds or changes.
    pub judged: BTreeSet<String>,
    /// Logical ids of the routes to the lists that the change set adds.
    pub passing: BTreeSet<String>,
    /// Whether the change set makes some of the desired edits.
    pub helps: bool,
}

impl<'a> ListEdits<'a> {
    pub fn new(plan: &'a Plan, names: &'a Names) -> Self {
        Self {
            plan,
            names,
            wanted: carried(&plan.desired, names).lists,
        }
    }

    /// Whether a network is in a live list and in no desired list.
    pub fn removes(&self, net: &Ipv4Net) -> bool {
        let has = |lists: &BTreeMap<String, NetworkList>| {
            lists.values().any(|list| list.entries.contains(net))
        };
        has(&self.names.lists) && !has(&self.wanted)
    }

    /// Returns the entries that a change set removes from lists.
    pub fn removed_by(&self, set: &ChangeSet) -> BTreeSet<Ipv4Net> {
        let Some(lists) = &set.lists else {
            return BTreeSet::new();
        };
        let live = self.names.lists.iter();
        let removed = live.flat_map(|(id, list)| {
            let stays = lists.get(id).map(|list| &list.entries);
            let goes = move |net: &&Ipv4Net| stays.is_none_or(|stays| !stays.contains(*net));
            list.entries.iter().filter(goes)
        });
        removed.copied().collect()
    }

    /// Returns the edits of a change set. None if they do or may do harm: they remove a desired entry or, before its replacement is there, a
    /// replaced one, make a list of another size, or add a network that was never requested. `dead`: zones whose NAT gateway does not
    /// exist, so that no route to a list can be made there.
    pub fn judge(&self, set: &ChangeSet, dead: &BTreeSet<Zone>) -> Option<Harmless> {
        if !set.changes_list() {
            return Some(Harmless::default());
        }
        let lists = set.lists.as_ref()?;
        let new = self.new_networks();
        let mut harmless = Harmless::default();
        for change in set.changes.iter().filter(|change| is_edit(change)) {
            let id = &change.logical_id;
            let makes = lists.get(id)?;
            let has = self.names.lists.get(id);
            let stays = self.wanted.get(id);
            let entries = |list: Option<&NetworkList>| {
                list.map(|list| list.entries.clone()).unwrap_or_default()
            };
            let (has_entries, wanted) = (entries(has), entries(stays));
            let removed = has_entries.difference(&makes.entries);
            let added = makes.entries.difference(&has_entries);
            let same_size = |list: &NetworkList| list.size == makes.size;
            let is_gap = |net: &Ipv4Net| {
                let mut missing = new.difference(&makes.entries);
                missing.any(|part| overlap(part, net))
            };
            let harms = removed
                .clone()
                .any(|net| wanted.contains(net) || is_gap(net))
                || !added.clone().all(|net| self.was_requested(net))
                || !has.is_none_or(same_size)
                || !stays.is_none_or(same_size);
            if harms {
                return None;
            }
            harmless.helps |= removed.count() > 0 || added.clone().any(|net| wanted.contains(net));
            harmless.judged.insert(id.clone());
            if has.is_none() {
                let tables = self.plan.desired.tables.iter();
                let tables = tables.filter(|(_, zone)| !dead.contains(*zone));
                harmless
                    .passing
                    .extend(tables.map(|(table, _)| list_route_name(table, id)));
            }
        }
        Some(harmless)
    }

    /// Returns the desired networks that have no route in some table.
    fn new_networks(&self) -> BTreeSet<Ipv4Net> {
        let routes = self.plan.desired.routes.iter();
        let new = routes.filter(|route| !self.names.routes.contains_key(*route));
        new.map(|(_, net)| *net).collect()
    }

    /// Whether a network is or was requested: it does no harm until the next change removes it.
    fn was_requested(&self, net: &Ipv4Net) -> bool {
        let ledger = self.plan.ledger.as_ref();
        let mut lists = self.wanted.values();
        let mut routes = self.plan.desired.routes.iter();
        lists.any(|list| list.entries.contains(net))
            || ledger.is_some_and(|ledger| ledger.former().contains(net))
            || routes.any(|(_, cidr)| cidr == net)
    }
}

/// Whether a change adds a list or modifies one in place.
fn is_edit(change: &Change) -> bool {
    change.is_of_list() && matches!(change.effect, Effect::Add | Effect::Modify)
}
