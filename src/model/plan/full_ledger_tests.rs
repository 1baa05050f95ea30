//! Plans while the ledger has no room for all entries.

use ipnet::Ipv4Net;

use super::ledger_tests::{routed, set};
use super::tests::{Bench, texts};
use super::*;
use crate::model::base::ids::ObjectId;
use crate::model::base::reason::Reason;
use crate::model::input::request::Snapshot;
use crate::model::persisted::ledger::Ledger;

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

/// Returns a world where namespace greedy fills the ledger: its entry of 9.9.9.9 does not fit.
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

/// Another namespace changes a value, while the ledger has a route of an earlier change set as planned.
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

    // A typo in an entry without a record keeps the networks that it may have stood for and no others, in every pass.
    set_object(&mut bench, "greedy", "z", &[("z", "9.9.9,9")]);
    for _ in 0..3 {
        let plan = bench.plan();
        assert_eq!(routed(&plan), left, "{plan}");
        assert!(!bench.reasons().contains(&Reason::RemovalsFrozen));
        bench.ledger = plan.ledger;
    }
    set_object(&mut bench, "greedy", "z", &[]);
    assert_eq!(routed(&bench.plan()), set(&["1.1.1.1/32", "8.8.8.8/32"]));
    // When there is room again, all entries are recorded.
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
    // There is room again while the entry has a typo, and other entries change.
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
        // Its owner corrects the entry, and no other network is kept any more.
        set_object(&mut bench, "greedy", "z", &[("z", "9.9.9.9")]);
        let plan = bench.plan();
        assert_eq!(serves(&plan), 2, "{plan}");
        assert!(routed(&plan).contains("9.9.9.9/32"), "{plan}");
        bench.ledger = ledger;
    }
}

/// A cluster is restored from a backup that lacks the entry without a line, and the entry comes back as a typo.
#[test]
fn a_source_in_doubt_ends_no_shortness() {
    let mut bench = overfull();
    let all = bench.snapshot.clone();
    let doubts: [fn(&mut Snapshot); 3] = [
        |it| {
            (it.went_back).insert("cluster".to_owned(), "restored".to_owned());
        },
        |it| {
            it.stale.insert("cluster".to_owned(), "refused".to_owned());
        },
        |it| {
            it.unsure.insert("cluster".to_owned());
        },
    ];
    let ledger = bench.ledger.clone();
    for doubt in doubts {
        bench.ledger = ledger.clone();
        bench.snapshot = all.clone();
        let z = |id: &ObjectId| id.namespace == "greedy" && id.name == "z";
        bench.snapshot.objects.retain(|id, _| !z(id));
        doubt(&mut bench.snapshot);
        for _ in 0..2 {
            bench.ledger = bench.plan().ledger;
        }
        bench.snapshot = all.clone();
        set_object(&mut bench, "greedy", "z", &[("z", "9.9.9,9")]);
        set_object(&mut bench, "z-calm", "one", &[("web", "1.1.1.1")]);
        let plan = bench.plan();
        let left = set(&["1.1.1.1/32", "8.8.8.8/32", "9.9.9.9/32"]);
        assert_eq!(routed(&plan), left, "{plan}");
    }
}
