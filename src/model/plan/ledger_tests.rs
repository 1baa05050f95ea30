//! What the ledger and the share of a removal change about a plan.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ipnet::Ipv4Net;

use super::diff::Kind;
use super::tests::{Bench, kinds, texts};
use super::*;
use crate::model::base::ids::ObjectId;
use crate::model::base::reason::Reason;
use crate::model::base::settings::OnEmpty;
use crate::model::persisted::grace::{Grace, LargeRemoval};
use crate::model::persisted::ledger::Ledger;
use crate::model::persisted::recall::Recall;

/// A world whose ledger knows what is live.
fn noted(entries: &[(&str, &str)]) -> Bench {
    let mut bench = Bench::live(entries);
    bench.ledger = Some(Ledger::new("egress"));
    bench.ledger = bench.plan().ledger;
    bench
}

fn routed(plan: &Plan) -> BTreeSet<String> {
    let cidrs = plan.desired.routes.iter().map(|(_, cidr)| cidr.to_string());
    cidrs.collect()
}

fn set(texts: &[&str]) -> BTreeSet<String> {
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
    // Once clean, it is as good as any.
    bench.ask(&[("dns", "8.8.8.8"), ("web", "9.9.9.9")]);
    bench.ledger = bench.plan().ledger;
    bench.ask(&[("dns", "8.8.8,8")]);
    assert_eq!(routed(&bench.plan()), set(&["8.8.8.8/32"]));
    // What is away takes nothing with it.
    bench.snapshot.missing = texts(&[("cluster", "away")]);
    assert_eq!(bench.plan().action, Action::Keep);
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

    // As long as it takes, and not longer.
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
    // More of it begins anew.
    bench.ask(&FIVE[..1]);
    let grown = at(&bench, minute);
    assert_eq!((routed(&grown).len(), grown.again), (5, Some(minute / 10)));
    // Some that come back do not speak for the others.
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

/// Gives a ConfigMap of a namespace these entries.
fn set_object(bench: &mut Bench, namespace: &str, name: &str, entries: &[(&str, &str)]) {
    let id = ObjectId {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        ..ObjectId::default()
    };
    let object = bench.snapshot.objects.entry(id).or_default();
    object.data = texts(entries);
}

/// A world where namespace greedy fills the ledger: its entry of 9.9.9.9 does not fit.
fn overfull() -> Bench {
    let nets = ["8.8.8.8", "9.9.9.9", "1.1.1.1", "2.2.2.2"];
    let mut bench = Bench::live(&nets.map(|net| (net, net)));
    bench.snapshot.objects.clear();
    let keys: Vec<String> = (0..1000).map(|key| format!("{key:0>253}")).collect();
    let many: Vec<(&str, &str)> = keys.iter().map(|key| (key.as_str(), "8.8.8.8")).collect();
    for name in ["a", "b", "c"] {
        set_object(&mut bench, "greedy", name, &many);
    }
    set_object(&mut bench, "greedy", "z", &[("z", "9.9.9.9")]);
    let calm = [("old", "2.2.2.2"), ("web", "1.1.1.1")];
    set_object(&mut bench, "z-calm", "one", &calm);
    bench.ledger = Some(Ledger::new("egress"));
    bench.ledger = bench.plan().ledger;
    bench
}

/// Another namespace changes a value, while a route that a change set made for it is still noted as planned.
#[test]
fn a_ledger_that_one_namespace_fills_freezes_no_edit_of_others() {
    let mut bench = overfull();
    let ledger = bench.ledger.as_mut().unwrap();
    let planned = ["1.1.1.1/32", "9.9.9.9/32"].map(|net| net.parse().unwrap());
    ledger.note_planned(planned.into_iter());
    let text = ledger.text();
    let clusters = [String::new()].into();
    let read = Ledger::read(&text, "egress", &clusters);
    assert_eq!(read.as_ref(), Ok(&*ledger));
    let earlier = text.replace("\"unnamed\":[\"8.8.8.8/32\",\"9.9.9.9/32\"],", "");
    assert_ne!(earlier, text);
    let earlier = Ledger::read(&earlier, "egress", &clusters).unwrap();
    assert_eq!(earlier.unnamed(), earlier.former());

    set_object(&mut bench, "greedy", "z", &[("z", "9.9.9,9")]);
    let edited = [("old", "2.2.2.2"), ("web", "3.3.3.3")];
    set_object(&mut bench, "z-calm", "one", &edited);
    let left = set(&["2.2.2.2/32", "3.3.3.3/32", "8.8.8.8/32", "9.9.9.9/32"]);
    for _ in 0..3 {
        let plan = bench.plan();
        assert_eq!(routed(&plan), left, "{plan}");
        bench.ledger = plan.ledger;
    }
}

#[test]
fn a_ledger_that_one_namespace_fills_freezes_no_removal_of_others() {
    let mut bench = overfull();
    assert!(bench.reasons().contains(&Reason::LedgerFull));
    let first = bench.ledger.as_ref().unwrap().text();
    assert!(first.contains("z-calm") && !first.contains("\"z\":{\"z\""));
    assert!(first.starts_with("{\"version\":2,"));
    let read = Ledger::read(&first, "egress", &[String::new()].into());
    assert_eq!(read.as_ref(), Ok(bench.ledger.as_ref().unwrap()));
    let again = bench.plan().ledger.unwrap().text();
    assert!(again == first, "nothing new is nothing to write");

    let all = bench.snapshot.clone();
    set_object(&mut bench, "z-calm", "one", &[("web", "1.1.1.1")]);
    set_object(&mut bench, "third", "one", &[("new", "nonsense")]);
    let left = set(&["1.1.1.1/32", "8.8.8.8/32", "9.9.9.9/32"]);
    assert_eq!(routed(&bench.plan()), left, "{}", bench.plan());

    // A typo where nobody knows what it stood for keeps what it may have stood for, and nothing else: not only at once.
    set_object(&mut bench, "greedy", "z", &[("z", "9.9.9,9")]);
    for _ in 0..3 {
        let plan = bench.plan();
        assert_eq!(routed(&plan), left, "{plan}");
        assert!(!bench.reasons().contains(&Reason::RemovalsFrozen));
        bench.ledger = plan.ledger;
    }
    set_object(&mut bench, "greedy", "z", &[]);
    assert_eq!(routed(&bench.plan()), set(&["1.1.1.1/32", "8.8.8.8/32"]));
    // Where there is room again, all is as ever.
    bench.snapshot = all;
    for name in ["a", "b", "c"] {
        set_object(&mut bench, "greedy", name, &[("one", "8.8.8.8")]);
    }
    for _ in 0..2 {
        bench.ledger = bench.plan().ledger;
    }
    let text = bench.ledger.as_ref().unwrap().text();
    assert!(text.starts_with("{\"version\":1,") && text.contains("\"z\":{\"z\""));
}

/// An entry without a line lies inside of another namespace's network, and becomes a typo before that network is removed.
#[test]
fn an_entry_that_did_not_fit_keeps_the_network_that_serves_it() {
    let serves = |plan: &Plan| {
        let nets = plan.desired.routes.iter().map(|(_, cidr)| *cidr);
        let net: Ipv4Net = "9.9.9.9/32".parse().unwrap();
        nets.filter(|wide| wide.contains(&net)).count()
    };
    let mut bench = overfull();
    let wide = [
        ("old", "2.2.2.2"),
        ("web", "1.1.1.1"),
        ("wide", "9.9.9.0/24"),
    ];
    set_object(&mut bench, "z-calm", "one", &wide);
    let mut live = bench.plan();
    let Action::Prepare(template) = &live.action else {
        panic!("{live}");
    };
    bench.live = Live::Ours(Box::new(super::tests::stack_of(template)));
    for _ in 0..2 {
        live = bench.plan();
        bench.ledger = live.ledger;
    }
    let all = bench.snapshot.clone();
    // There is room again while it is a typo, and others change what they request.
    for spared in [false, true] {
        bench.snapshot = all.clone();
        set_object(&mut bench, "greedy", "z", &[("z", "9.9.9,9")]);
        if spared {
            set_object(&mut bench, "greedy", "c", &[]);
        }
        let ledger = bench.ledger.clone();
        for _ in 0..3 {
            bench.ledger = bench.plan().ledger;
        }
        set_object(&mut bench, "z-calm", "one", &wide[..1]);
        for _ in 0..3 {
            let plan = bench.plan();
            assert_eq!(serves(&plan), 2, "{plan}");
            let gone = |cidr: &str| !routed(&plan).contains(cidr);
            assert!(gone("1.1.1.1/32"), "others go on: {plan}");
            let told = plan
                .problems
                .iter()
                .find(|it| it.reason == Reason::NotACidr);
            assert!(
                told.unwrap().message().contains("the ledger had no room"),
                "{plan}"
            );
            let text = plan.ledger.as_ref().unwrap().text();
            bench.ledger = Some(Ledger::read(&text, "egress", &[String::new()].into()).unwrap());
        }
        // Its owner corrects it, and nothing holds the rest any more.
        set_object(&mut bench, "greedy", "z", &[("z", "9.9.9.9")]);
        let plan = bench.plan();
        assert_eq!(serves(&plan), 2, "{plan}");
        assert!(routed(&plan).contains("9.9.9.9/32"), "{plan}");
        bench.ledger = ledger;
    }
}
