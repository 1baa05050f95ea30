//! The laws of prefix lists, checked with the texts of templates only.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::invariants::Invariant;
use super::world::World;
use crate::model::base::ids::{TableId, Zone};
use crate::model::cloud::layout::{Layout, Names, Resource};
use crate::model::cloud::logical_id::renewal;
use crate::model::cloud::prefix_list::MOST_CHANGES;
use crate::model::plan::types::Action;

/// A prefix list of a template.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct List {
    size: String,
    entries: BTreeSet<String>,
}

type Lists = BTreeMap<String, List>;

fn lists(layout: &Layout) -> Lists {
    let list = |(id, resource): (&String, &Resource)| {
        let is_list = resource.kind == "AWS::EC2::PrefixList";
        let entries = resource.properties["Entries"].as_array();
        let cidr = |entry: &Value| entry["Cidr"].as_str().map(str::to_owned);
        let list = List {
            size: resource.properties["MaxEntries"].to_string(),
            entries: entries.into_iter().flatten().filter_map(cidr).collect(),
        };
        is_list.then(|| (id.clone(), list))
    };
    layout.resources.iter().filter_map(list).collect()
}

/// Returns how the second template breaks a law about the lists of the first template.
fn broken(before: &Lists, after: &Lists) -> Option<String> {
    let none = List::default();
    for (id, list) in after {
        let old = before.get(id);
        let had = &old.unwrap_or(&none).entries;
        if let Some(old) = old.filter(|old| old.size != list.size) {
            let (from, to) = (&old.size, &list.size);
            return Some(format!("the size of {id} changes from {from} to {to}"));
        }
        let added = list.entries.difference(had).count();
        let removed = had.difference(&list.entries).count();
        if added > MOST_CHANGES || removed > MOST_CHANGES {
            return Some(format!("{id} gets {added} entries and loses {removed}"));
        }
        // CloudFormation changes two lists in no order.
        // A list that is made again has another id.
        let is_other = |other: &String| renewal(other).0 != renewal(id).0;
        for (other, was) in before.iter().filter(|(other, _)| is_other(other)) {
            let now = &after.get(other).unwrap_or(&none).entries;
            let left = was.entries.difference(now);
            let mut moved = left.filter(|it| list.entries.contains(*it) && !had.contains(*it));
            if let Some(entry) = moved.next() {
                return Some(format!("{entry} moves from {other} to {id} in one change"));
            }
        }
    }
    None
}

/// Returns a new route to a list that leads to the NAT gateway of another zone than its table's.
fn misled(before: &Names, after: &Names, zones: &BTreeMap<TableId, Zone>) -> Option<String> {
    let new = after.list_routes.iter();
    let mut new = new.filter(|(id, _)| !before.list_routes.contains_key(*id));
    new.find_map(|(id, (table, _))| {
        let mut nets = after.routes.iter().filter(|(_, by)| *by == id);
        let zone = after.route_zones.get(nets.next()?.0)?;
        let of_table = zones.get(table)?;
        let text = || format!("{id} leads from {table} in {of_table} to {zone}");
        (zone != of_table).then(text)
    })
}

impl World {
    /// Checks the template of an accepted call against the template of the stack.
    pub fn judge_lists(&self, action: &Action) {
        self.judge_shift(action);
        let (Action::Create(template) | Action::Prepare(template) | Action::Revert(template)) =
            action
        else {
            return;
        };
        let after = Layout::read(&template.text, &template.parameters).unwrap_or_default();
        // The stack that an accepted creation begins has its template already.
        let before = match action {
            Action::Create(_) => Layout::default(),
            _ => self.account.layout(),
        };
        let text = broken(&lists(&before), &lists(&after));
        let zones = self.account.zones();
        if let Some(text) = text.or_else(|| misled(&before.names(), &after.names(), &zones)) {
            self.fail(Invariant::ListsStay, text);
        }
    }
}

#[test]
fn what_a_change_does_to_lists_is_judged() {
    let lists = |lists: &[(&str, &str, &[&str])]| -> Lists {
        let list = |(id, size, entries): &(&str, &str, &[&str])| {
            let list = List {
                size: (*size).to_owned(),
                entries: entries.iter().map(|it| (*it).to_owned()).collect(),
            };
            ((*id).to_owned(), list)
        };
        lists.iter().map(list).collect()
    };
    let before = lists(&[("A", "100", &["1", "2"]), ("B", "100", &["2", "3"])]);
    let how = |after: &[(&str, &str, &[&str])]| broken(&before, &lists(after));
    assert_eq!(
        how(&[("A", "100", &["1", "4"]), ("B", "100", &["2"])]),
        None
    );
    assert_eq!(how(&[]), None, "that they may go is judged by their routes");
    let moved = how(&[("A", "100", &["1", "2", "3"]), ("B", "100", &["2"])]);
    assert!(moved.is_some_and(|it| it.contains("3 moves from B to A")));
    let moved = how(&[("C", "100", &["1"]), ("B", "100", &["2", "3"])]);
    assert!(moved.is_some_and(|it| it.contains("1 moves from A to C")));
    let copied = how(&[("A", "100", &["1", "2", "3"]), ("B", "100", &["2", "3"])]);
    assert_eq!(copied, None, "the next change takes one of them out");
    let resized = how(&[("A", "101", &["1", "2"])]);
    assert!(resized.is_some_and(|it| it.contains("the size of A")));
    let many: Vec<String> = (0..=MOST_CHANGES).map(|it| format!("n{it}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert!(how(&[("C", "100", &many)]).is_some_and(|it| it.contains("gets 101")));
    assert_eq!(how(&[("C", "100", &many[1..])]), None);
}
