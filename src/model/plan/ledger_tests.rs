//! The effects of the ledger, and of the share of a removal, on a plan.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ipnet::Ipv4Net;

use super::diff::Kind;
use super::tests::{Bench, kinds, texts};
use super::*;
use crate::model::base::reason::Reason;
use crate::model::base::settings::OnEmpty;
use crate::model::persisted::grace::{Grace, LargeRemoval};
use crate::model::persisted::ledger::Ledger;
use crate::model::persisted::recall::Recall;

/// Returns a world whose ledger explains all live routes.
fn noted(entries: &[(&str, &str)]) -> Bench {
    let mut bench = Bench::live(entries);
    bench.ledger = Some(Ledger::new("egress"));
    bench.ledger = bench.plan().ledger;
    bench
}

pub(super) fn routed(plan: &Plan) -> BTreeSet<String> {
    let cidrs = plan.desired.routes.iter().map(|(_, cidr)| cidr.to_string());
    cidrs.collect()
}

pub(super) fn set(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn a_typo_keeps_what_it_asked_for_last_and_delays_nobody() {
    let mut bench = noted(&[("dns", "8.8.8.8"), ("web", "9.9.9.9")]);
    bench.ask(&[("dns", "8.8.8,8")]);
    let plan = bench.plan();
    assert_eq!(routed(&plan), set(&["8.8.8.8/32"]), "{plan}");
    assert!(kinds(&plan).iter().any(|(kind, _)| *kind == Kind::Remove));
    let told = plan
        .problems
        .iter()
        .find(|told| told.reason == Reason::NotACidr);
    let told = told.expect("it is told").message();
    assert!(
        told.ends_with("; kept: 8.8.8.8/32 until it is corrected or removed"),
        "{told}"
    );
    assert_eq!(plan.request.refused, 1);
    let next = plan.ledger.expect("it is there");
    assert!(
        next.explains(
            ["8.8.8.8/32", "9.9.9.9/32"]
                .map(|net| net.parse().unwrap())
                .iter()
        )
    );

    bench.ask(&[("dns", "8.8.8.8"), ("web", "9.9.9.9"), ("new", "nonsense")]);
    let plan = bench.plan();
    assert_eq!(plan.action, Action::Keep, "what never had a route has none");
    bench.ask(&[("dns", "8.8.8.8"), ("new", "nonsense")]);
    let plan = bench.plan();
    assert_eq!(
        routed(&plan),
        set(&["8.8.8.8/32"]),
        "and keeps nobody from anything"
    );
}

/// The ledger is written before the change is made, which takes several passes, and perhaps several leaders.
#[test]
fn an_entry_is_changed_while_somebody_else_has_a_typo() {
    let mut bench = noted(&[("dns", "8.8.8.8"), ("web", "9.9.9.9")]);
    bench.ask(&[("dns", "8.8.8,8"), ("web", "9.9.9.10")]);
    let asked = set(&["8.8.8.8/32", "9.9.9.10/32"]);
    for _ in 0..2 {
        let plan = bench.plan();
        assert_eq!(routed(&plan), asked, "{plan}");
        let text = plan.ledger.expect("it is there").text();
        let clusters = [String::new()].into();
        let read = Ledger::read(&text, "egress", &clusters).unwrap();
        assert_eq!(read.text(), text);
        bench.ledger = Some(read);
    }
    let Action::Prepare(template) = bench.plan().action else {
        panic!("{}", bench.plan());
    };
    bench.live = Live::Ours(Box::new(super::tests::stack_of(&template)));
    let last = bench.plan().ledger.expect("it is there").text();
    assert!(!last.contains("9.9.9.9/32"), "its route is gone: {last}");
}

#[test]
fn a_ledger_that_does_not_explain_what_is_live_says_nothing() {
    let mut bench = Bench::live(&[("dns", "8.8.8.8"), ("web", "9.9.9.9")]);
    bench.ledger = Some(Ledger::new("egress"));
    bench.ask(&[("dns", "8.8.8,8")]);
    for _ in 0..2 {
        let plan = bench.plan();
        assert_eq!(plan.action, Action::Keep, "{plan}");
        assert!(bench.reasons().contains(&Reason::RemovalsFrozen));
        bench.ledger = plan.ledger;
    }
    // After the entries are readable, the ledger explains all live routes.
    bench.ask(&[("dns", "8.8.8.8"), ("web", "9.9.9.9")]);
    bench.ledger = bench.plan().ledger;
    bench.ask(&[("dns", "8.8.8,8")]);
    assert_eq!(routed(&bench.plan()), set(&["8.8.8.8/32"]));
    // A missing source removes no route.
    bench.snapshot.missing = texts(&[("cluster", "away")]);
    assert_eq!(bench.plan().action, Action::Keep);
}

/// While the stack is another cluster's or cannot be read, one entry is removed and another is changed. When it is back, an entry has a typo.
#[test]
fn the_ledger_explains_the_routes_of_a_stack_that_was_away() {
    let foreign = Live::Foreign {
        name: "egress".to_owned(),
        why: "it belongs to another cluster".to_owned(),
    };
    let several = Live::Several(vec!["arn:one".to_owned(), "arn:two".to_owned()]);
    let mut unreadable = Bench::live(&[("dns", "8.8.8.8")]);
    unreadable.stack().template = "Resources: {}".to_owned();
    for away in [foreign, several, unreadable.live] {
        let mut bench = noted(&[("dns", "8.8.8.8"), ("web", "9.9.9.9")]);
        let noted = bench.ledger.clone();
        let live = std::mem::replace(&mut bench.live, away);
        bench.ask(&[("web", "9.9.9.10"), ("new", "1.1.1.1")]);
        let plan = bench.plan();
        assert_eq!(plan.action, Action::Refuse, "{plan}");
        assert_eq!(plan.ledger, noted, "{plan}");
        bench.ledger = plan.ledger;
        bench.live = live;
        bench.ask(&[("web", "9.9.9,9")]);
        assert_eq!(routed(&bench.plan()), set(&["9.9.9.9/32"]));
        assert!(!bench.reasons().contains(&Reason::RemovalsFrozen));
        // A stack that does not exist has no route to explain.
        bench.live = Live::Absent;
        let text = bench.plan().ledger.expect("it is there").text();
        assert!(!text.contains("8.8.8.8/32"), "{text}");
    }
}

/// The credentials are another account's for a while, in which the stack does not exist.
#[test]
fn the_ledger_explains_the_routes_of_a_stack_in_another_account() {
    let mut bench = noted(&[("dns", "8.8.8.8"), ("web", "9.9.9.9")]);
    bench.ledger.as_mut().unwrap().account = Some("111111111111".to_owned());
    let live = std::mem::replace(&mut bench.live, Live::Absent);
    bench.network.account = Some("222222222222".to_owned());
    bench.ask(&[("web", "9.9.9.10"), ("new", "1.1.1.1")]);
    let plan = bench.plan();
    assert!(matches!(plan.action, Action::Create(_)), "{plan}");
    let text = plan.ledger.as_ref().expect("it is there").text();
    assert!(
        text.contains("1.1.1.1/32"),
        "a route is made for it: {text}"
    );
    bench.ledger = plan.ledger;
    bench.live = live;
    bench.network.account = Some("111111111111".to_owned());
    bench.ask(&[("web", "9.9.9,9")]);
    let plan = bench.plan();
    assert!(!bench.reasons().contains(&Reason::RemovalsFrozen), "{plan}");
    assert!(!routed(&plan).contains("8.8.8.8/32"), "{plan}");
}

#[test]
fn what_cannot_be_kept_as_it_was_stays_where_it_is() {
    let mut bench = noted(&[("dns", "8.8.8.8"), ("web", "9.9.9.9")]);
    bench.network.vpc_cidrs.push("8.8.0.0/16".parse().unwrap());
    bench.ask(&[("dns", "8.8.8.8")]);
    let plan = bench.plan();
    assert!(bench.reasons().contains(&Reason::InsideVpc));
    assert_eq!(routed(&plan), set(&["8.8.8.8/32"]), "{plan}");
    assert_eq!(plan.request.entries.len(), 0);
}

#[test]
fn a_typo_is_no_wish_to_delete_the_stack() {
    let mut bench = noted(&[("dns", "8.8.8.8")]);
    bench.settings.on_empty = OnEmpty::Delete;
    bench.ask(&[("new", "nonsense")]);
    let plan = bench.plan();
    assert!(matches!(plan.action, Action::Prepare(_)), "{plan}");
    assert!(!plan.nothing_asked());
}

#[test]
fn a_ledger_that_cannot_be_used_is_told() {
    let mut bench = noted(&[("dns", "8.8.8.8"), ("web", "9.9.9.9")]);
    let ledger = bench.ledger.take();
    bench.ask(&[("dns", "8.8.8,8"), ("new", "1.1.1.1")]);
    let world = World {
        snapshot: &bench.snapshot,
        network: &bench.network,
        live: &bench.live,
        settings: &bench.settings,
        grace: Grace::default(),
        ledger: Recall::Unavailable("forbidden: bind a role", ledger.as_ref()),
        watch: &bench.watch,
    };
    let plan = super::plan(&world);
    assert_eq!(
        routed(&plan),
        set(&["8.8.8.8/32", "9.9.9.9/32", "1.1.1.1/32"])
    );
    let told = |reason| plan.problems.iter().any(|told| told.reason == reason);
    assert!(
        told(Reason::LedgerUnavailable) && told(Reason::RemovalsFrozen),
        "{plan}"
    );
    assert!(plan.ledger.is_some(), "it is tried again");
}

const FIVE: [(&str, &str); 5] = [
    ("a", "1.1.1.1"),
    ("b", "2.2.2.2"),
    ("c", "3.3.3.3"),
    ("d", "4.4.4.4"),
    ("e", "5.5.5.5"),
];

#[test]
fn a_large_removal_waits_and_what_is_added_does_not() {
    let minute = Duration::from_secs(60);
    let mut bench = noted(&FIVE);
    bench.settings.max_removal = 50;
    bench.grace_left = minute;
    bench.ask(&FIVE[..3]);
    assert_eq!(routed(&bench.plan()).len(), 3, "two of five are not");
    bench.ask(&[FIVE[0], FIVE[1], ("new", "9.9.9.9")]);
    let plan = bench.plan();
    assert_eq!(routed(&plan).len(), 6, "{plan}");
    assert!(kinds(&plan).iter().all(|(kind, _)| *kind == Kind::Add));
    assert!(bench.reasons().contains(&Reason::LargeRemovalWaits));
    assert_eq!(
        (plan.again, plan.grace.large_removal),
        (
            Some(minute / 10),
            Some(LargeRemoval {
                since: Duration::ZERO,
                removed: 3,
                of: 5
            })
        )
    );

    // The removal waits for the grace period, and not longer.
    bench.large_removal = plan.grace.large_removal;
    let at = |bench: &Bench, now: Duration| {
        let grace = Grace {
            period: minute,
            now,
            large_removal: bench.large_removal,
            ..Grace::default()
        };
        super::plan(&World {
            snapshot: &bench.snapshot,
            network: &bench.network,
            live: &bench.live,
            settings: &bench.settings,
            grace,
            ledger: Recall::Nowhere,
            watch: &bench.watch,
        })
    };
    let due = at(&bench, minute);
    assert_eq!(routed(&due).len(), 3, "{due}");
    assert!(due.grace.large_removal.is_some(), "until it is done");
    // A larger removal starts the grace period again.
    bench.ask(&FIVE[..1]);
    let grown = at(&bench, minute);
    assert_eq!((routed(&grown).len(), grown.again), (5, Some(minute / 10)));
    // Entries that come back do not end the removal of the others.
    bench.ask(&FIVE[..4]);
    assert_eq!(routed(&at(&bench, minute / 2)).len(), 5);
    assert_eq!(routed(&at(&bench, minute)).len(), 4);
    bench.ask(&FIVE);
    assert_eq!(at(&bench, minute).grace.large_removal, None, "taken back");
    bench.ask(&[]);
    bench.large_removal = at(&bench, minute / 2).grace.large_removal;
    bench.ask(&FIVE[..4]);
    assert_eq!(
        routed(&at(&bench, minute)).len(),
        5,
        "not even one, after none"
    );
}

#[test]
fn few_networks_and_what_covers_them_are_no_large_removal() {
    let waits = |from: &[(&str, &str)], to: &[(&str, &str)], most: u16| {
        let mut bench = Bench::live(from);
        bench.settings.max_removal = most;
        bench.grace_left = Duration::from_secs(60);
        bench.ask(to);
        bench.reasons().contains(&Reason::LargeRemovalWaits)
    };
    assert!(
        !waits(&FIVE[..2], &FIVE[..1], 50),
        "half is not more than half"
    );
    assert!(waits(&FIVE[..3], &FIVE[..1], 50) && !waits(&FIVE[..3], &FIVE[..1], 67));
    assert!(!waits(&FIVE[..1], &FIVE[1..2], 0), "an edit");
    assert!(!waits(&FIVE[..3], &[], 50), "an empty set has its own rule");
    assert!(!waits(&FIVE, &FIVE[..1], 100));
    let wide = [("all", "1.1.1.0/24")];
    let parts = [("left", "1.1.1.0/26"), ("right", "1.1.1.128/25")];
    assert!(!waits(&parts, &wide, 0) && waits(&parts, &FIVE[1..2], 50));
    let net: Ipv4Net = "172.31.64.0/28".parse().unwrap();
    let mut bench = Bench::live(&FIVE);
    bench.settings.remove_zones = ["b".to_owned()].into();
    bench.settings.zones = BTreeMap::from([("a".to_owned(), net)]);
    bench.grace_left = Duration::from_secs(60);
    assert!(
        !bench.reasons().contains(&Reason::LargeRemovalWaits),
        "a zone was decided"
    );
}
