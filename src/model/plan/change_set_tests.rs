//! Change sets are executed while other tenants edit, unless they do harm.

use std::collections::BTreeMap;

use ipnet::Ipv4Net;

use super::tests::{Bench, computed, stack_of};
use super::*;
use crate::model::base::settings::PrefixLists;
use crate::model::desired::template::Template;
use crate::model::persisted::ledger::Ledger;
use crate::model::plan::diff::Kind;

const MODES: [PrefixLists; 2] = [PrefixLists::Never, PrefixLists::Always];

/// A stack that the plans change, while entries are edited whenever a change set is ready.
struct Churn {
    bench: Bench,
    /// The templates of change sets by name.
    templates: BTreeMap<String, Template>,
    prepared: usize,
    executed: usize,
}

impl Churn {
    fn new(entries: &[(&str, &str)]) -> Self {
        Self::with(PrefixLists::Never, entries)
    }

    fn with(lists: PrefixLists, entries: &[(&str, &str)]) -> Self {
        let mut bench = Bench::new(entries);
        bench.settings.prefix_lists = lists;
        let Action::Create(template) = bench.plan().action else {
            panic!("{}", bench.plan())
        };
        bench.live = Live::Ours(Box::new(stack_of(&template)));
        bench.ledger = Some(Ledger::new("egress"));
        bench.ledger = bench.plan().ledger;
        Self {
            bench,
            templates: BTreeMap::new(),
            prepared: 0,
            executed: 0,
        }
    }

    /// Makes one pass with these entries. A change set that the pass prepares is ready at the next one.
    fn pass(&mut self, entries: &[(&str, &str)]) -> Plan {
        self.bench.ask(entries);
        let plan = self.bench.plan();
        self.bench.ledger.clone_from(&plan.ledger);
        match &plan.action {
            Action::Prepare(template) => {
                self.prepared += 1;
                let set = computed(&plan, template);
                self.templates.insert(set.name.clone(), template.clone());
                self.bench.stack().change_sets.push(set);
            }
            Action::Execute { change_set } => {
                self.executed += 1;
                let template = self.templates[change_set].clone();
                *self.bench.stack() = stack_of(&template);
                self.templates.clear();
            }
            Action::Discard { change_set } => {
                let sets = &mut self.bench.stack().change_sets;
                sets.retain(|set| set.name != *change_set);
            }
            Action::Keep => {}
            other => panic!("{other:?}"),
        }
        plan
    }

    fn routes(&mut self) -> Vec<String> {
        let stack = self.bench.stack();
        let layout = Layout::read(&stack.template, &stack.parameters).unwrap();
        let names = layout.names();
        let mine = names.routes.keys().filter(|(table, _)| table == "rtb-a");
        mine.map(|(_, cidr)| cidr.to_string()).collect()
    }

    fn has(&mut self, route: &str) -> bool {
        self.routes().iter().any(|has| has == route)
    }
}

#[test]
fn who_changes_a_value_all_the_time_holds_up_nobody() {
    MODES.into_iter().for_each(changes_all_the_time);
}

fn changes_all_the_time(lists: PrefixLists) {
    let entries = [("bad", "8.8.8.1"), ("gone", "9.9.9.1"), ("dns", "8.8.4.4")];
    let mut churn = Churn::with(lists, &entries);
    for number in 2..40 {
        let value = format!("8.8.8.{number}");
        churn.pass(&[("bad", &value), ("new", "9.9.9.9"), ("dns", "8.8.4.4")]);
        assert!(churn.has("8.8.4.4/32"), "what stays the same stays routed");
        if number == 3 {
            assert!(churn.has("9.9.9.9/32"), "{:?}", churn.routes());
            assert!(!churn.has("9.9.9.1/32"), "{:?}", churn.routes());
        }
    }
    assert_eq!((churn.prepared, churn.executed), (19, 19));
    // Networks that were requested only for a time are removed in the end, even if another entry has a typo.
    let rest = [
        ("bad", "8.8.8.40"),
        ("new", "9.9.9.9"),
        ("dns", "8.8.4.4"),
        ("typo", "9.9,9.9"),
    ];
    for _ in 0..4 {
        churn.pass(&rest);
    }
    assert_eq!(churn.routes(), ["8.8.4.4/32", "8.8.8.40/32", "9.9.9.9/32"]);
    assert!(
        churn
            .bench
            .ledger
            .as_ref()
            .expect("it is there")
            .former()
            .is_empty()
    );
}

/// The team of the transit gateway keeps a route that leads elsewhere, while a user edits without a pause.
#[test]
fn a_drift_that_stays_holds_up_nobody() {
    use crate::model::base::settings::OnDrift;
    use crate::model::cloud::network::Route;
    for on_drift in [OnDrift::Report, OnDrift::Repair] {
        let mut churn = Churn::new(&[("bad", "8.8.8.1"), ("dns", "8.8.4.4")]);
        churn.bench.settings.drift = on_drift;
        for number in 2..9 {
            let live: Vec<Ipv4Net> = churn
                .routes()
                .iter()
                .map(|it| it.parse().unwrap())
                .collect();
            let target = |zone: &str, cidr: &Ipv4Net| match cidr.to_string().as_str() {
                "8.8.8.1/32" if zone == "a" => "pcx-1".to_owned(),
                _ => format!("nat-{zone}"),
            };
            for (id, table) in &mut churn.bench.network.worker_tables {
                let zone = id.trim_start_matches("rtb-");
                let route = |cidr: &Ipv4Net| Route {
                    target: target(zone, cidr),
                    blackhole: false,
                };
                table.routes = live.iter().map(|cidr| (*cidr, route(cidr))).collect();
            }
            let value = format!("8.8.8.{number}");
            let plan = churn.pass(&[("bad", &value), ("new", "9.9.9.9"), ("dns", "8.8.4.4")]);
            assert!(number > 2 || !plan.drifts.is_empty(), "{plan}");
        }
        assert!(
            churn.has("9.9.9.9/32"),
            "{on_drift:?}: {:?}",
            churn.routes()
        );
    }
}

/// After a change that failed without a reason, one network is added at a time, and the churner's comes first.
#[test]
fn who_changes_a_value_all_the_time_does_not_keep_the_only_place() {
    MODES.into_iter().for_each(keeps_the_only_place);
}

fn keeps_the_only_place(lists: PrefixLists) {
    let mut churn = Churn::with(lists, &[("dns", "8.8.4.4")]);
    for number in 2..9 {
        let most = if churn.executed == 0 { 1 } else { 2 };
        churn.bench.network.headroom.refused.additions = Some(most);
        let value = format!("8.8.8.{number}");
        churn.pass(&[("bad", &value), ("new", "9.9.9.9"), ("dns", "8.8.4.4")]);
    }
    assert!(churn.has("9.9.9.9/32"), "{:?}", churn.routes());
}

/// The tenant requests a network again whenever a change set that would remove it is ready.
#[test]
fn who_calls_off_removals_in_turn_holds_up_nobody() {
    MODES.into_iter().for_each(calls_off_removals);
}

fn calls_off_removals(lists: PrefixLists) {
    let live = ["8.8.8.1", "8.8.8.3", "8.8.8.5", "8.8.8.7"];
    for others in 1..=live.len() {
        let name = |number: usize| format!("bad{number}");
        let names: Vec<String> = (0..others).map(name).collect();
        let mut all: Vec<(&str, &str)> = names.iter().map(String::as_str).zip(live).collect();
        all.extend([("dns", "8.8.4.4"), ("gone", "9.9.9.1")]);
        let mut churn = Churn::with(lists, &all);
        let mut served = None;
        for turn in 0..30 {
            let mut now: Vec<(&str, &str)> = vec![("dns", "8.8.4.4"), ("new", "9.9.9.9")];
            for (number, (name, value)) in names.iter().zip(live).enumerate() {
                // Each tenant in turn requests another network for a while.
                let away = match others {
                    1 => turn % 2 == 0,
                    _ => turn % others == number,
                };
                let other = ["8.8.9.1", "8.8.9.3", "8.8.9.5", "8.8.9.7"][number];
                now.push((name, if away { other } else { value }));
            }
            let plan = churn.pass(&now);
            if let Action::Execute { .. } = plan.action {
                for (_, value) in &now {
                    let routed = churn.has(&format!("{value}/32"));
                    assert!(routed || wants(&plan, value), "{value} lost its route");
                }
            }
            if served.is_none() && churn.has("9.9.9.9/32") {
                served = Some(turn);
            }
        }
        assert!(
            served.is_some_and(|turn| turn <= 4),
            "{others} others: {served:?}"
        );
        assert!(
            !churn.has("9.9.9.1/32"),
            "{others} others: what nobody asks for stays"
        );
    }
}

/// Whether the plan adds a route to this network.
fn wants(plan: &Plan, value: &str) -> bool {
    let mut kinds = plan.differences.iter();
    kinds.any(|it| it.what.contains(value) || it.resource_type == "AWS::EC2::PrefixList")
}

#[test]
fn a_change_set_that_does_harm_is_not_used() {
    MODES.into_iter().for_each(does_harm);
}

fn does_harm(lists: PrefixLists) {
    let entries = [("a", "8.8.8.1"), ("b", "9.9.9.1")];
    let mut churn = Churn::with(lists, &entries);
    // The earlier change set removes a network that is wanted again.
    churn.pass(&[("a", "8.8.8.1"), ("new", "1.1.1.1")]);
    let plan = churn.pass(&[("a", "8.8.8.1"), ("b", "9.9.9.1"), ("new", "1.1.1.2")]);
    assert_eq!(plan.action.name(), "CreateChangeSet");
    assert!(
        plan.differences.iter().all(|it| it.kind != Kind::Remove),
        "{plan}"
    );
    // The earlier change set adds a network that nobody has ever requested.
    let mut churn = Churn::with(lists, &entries);
    churn.pass(&[("a", "8.8.8.1"), ("b", "9.9.9.1"), ("new", "1.1.1.1")]);
    churn.bench.ledger = Some(Ledger::new("egress"));
    let plan = churn.pass(&[("a", "8.8.8.1"), ("b", "9.9.9.1"), ("new", "1.1.1.2")]);
    assert_eq!(plan.action.name(), "CreateChangeSet");
    // The earlier change set removes a network without its replacement.
    let mut churn = Churn::with(lists, &entries);
    churn.pass(&[("a", "8.8.8.1"), ("new", "1.1.1.1")]);
    let plan = churn.pass(&[("a", "8.8.8.1"), ("b", "9.9.9.0/31"), ("new", "1.1.1.1")]);
    assert_eq!(plan.action.name(), "CreateChangeSet", "{plan}");
    // No change of the earlier change set is wanted any more.
    let mut churn = Churn::with(lists, &entries);
    churn.pass(&[("a", "8.8.8.1"), ("b", "9.9.9.1"), ("new", "1.1.1.1")]);
    let plan = churn.pass(&[("a", "8.8.8.1"), ("b", "9.9.9.1"), ("new", "1.1.1.2")]);
    assert_eq!(plan.action.name(), "CreateChangeSet");
}
