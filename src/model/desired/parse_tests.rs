use std::collections::BTreeMap;

use super::*;
use crate::model::base::cidr::Rules;
use crate::model::base::problem::{Problem, Subject};
use crate::model::base::reason::Reason;
use crate::model::input::object::bound;
use crate::model::persisted::ledger::Ledger;
use crate::model::persisted::recall::Recall;

fn id(name: &str) -> ObjectId {
    ObjectId {
        namespace: "team".to_owned(),
        name: name.to_owned(),
        ..ObjectId::default()
    }
}

fn object(data: &[(&str, &str)]) -> Object {
    let mut object = Object::default();
    data.iter().for_each(|(key, value)| object.put(key, value));
    object
}

fn snapshot(objects: &[(&str, &Object)]) -> Snapshot {
    let objects = objects
        .iter()
        .map(|(name, object)| (id(name), (*object).clone()));
    Snapshot {
        objects: objects.collect(),
        ..Snapshot::default()
    }
}

fn read(objects: &[(&str, &Object)], ledger: Option<&Ledger>) -> (Request, Vec<Problem>) {
    let recall = ledger.map_or(Recall::Nowhere, Recall::Known);
    parse(&snapshot(objects), &Rules::default(), recall, ledger)
}

/// Returns a ledger with the requests of these objects.
fn after(objects: &[(&str, &Object)]) -> Ledger {
    let request = read(objects, None).0;
    let live = Some(std::iter::empty::<&Ipv4Net>());
    Ledger::new("egress")
        .after(&snapshot(objects), &request, live, false)
        .0
}

fn accepted(request: &Request) -> BTreeMap<String, String> {
    let entries = request.entries.iter();
    entries
        .map(|(entry, net)| (entry.key.clone(), net.to_string()))
        .collect()
}

fn many(keys: usize) -> Object {
    let mut object = Object::default();
    (0..keys).for_each(|key| object.put(&format!("k{key:06}"), ""));
    object
}

#[test]
fn a_hundred_thousand_keys_are_one_problem_and_harm_nobody() {
    let (huge, good) = (many(100_000), object(&[("dns", "8.8.8.8")]));
    let (request, problems) = read(&[("a", &huge), ("b", &good)], None);
    let of_object: Vec<&Problem> = problems
        .iter()
        .filter(|problem| problem.subject == Subject::Object(id("a")))
        .collect();
    let [problem] = of_object[..] else {
        panic!("{of_object:?}")
    };
    assert_eq!(problem.reason, Reason::TooManyEntries);
    assert!(
        problem.message().contains("99000 entries more"),
        "{problem}"
    );
    assert!(problems.len() <= 1 + MAX_ENTRIES_PER_OBJECT);
    assert_eq!(request.refused, 100_000);
    assert_eq!(
        accepted(&request),
        [("dns".to_owned(), "8.8.8.8/32".to_owned())].into()
    );
}

#[test]
fn entries_that_are_not_read_keep_what_they_asked_for() {
    let before = object(&[("a", "8.8.8.8"), ("z", "9.9.9.9")]);
    let ledger = after(&[("one", &before)]);
    let mut over = many(2_000);
    over.put("a", "1.1.1.1");
    let unreadable = Object::unreadable("line 1: no");
    for (now, kept) in [
        (&over, vec![("a", "1.1.1.1/32"), ("z", "9.9.9.9/32")]),
        (&unreadable, vec![("a", "8.8.8.8/32"), ("z", "9.9.9.9/32")]),
        (&object(&[("a", "8.8.8.8")]), vec![("a", "8.8.8.8/32")]),
    ] {
        let (request, problems) = read(&[("one", now)], Some(&ledger));
        let unread = problems
            .iter()
            .filter(|it| it.reason == Reason::ObjectUnreadable);
        assert_eq!(unread.count(), usize::from(now.unreadable.is_some()));
        let kept = kept
            .iter()
            .map(|(key, net)| (key.to_string(), net.to_string()));
        assert_eq!(accepted(&request), kept.collect());
        assert!(request.settled, "the ledger knows all of it");
        let (request, _) = read(&[("one", now)], None);
        assert_eq!(request.settled, !now.hides_entries());
        // The ledger also keeps the lines.
        let live = Some(std::iter::empty::<&Ipv4Net>());
        let request = read(&[("one", now)], Some(&ledger)).0;
        let (next, ..) = ledger.after(&snapshot(&[("one", now)]), &request, live, false);
        assert_eq!(
            next.of(&id("one")).any(|(key, _)| key == "z"),
            now.hides_entries()
        );
    }
}

#[test]
fn binary_data_is_reported_to_its_owner() {
    let binary = Object {
        binary_keys: 3,
        ..Object::default()
    };
    let (request, problems) = read(&[("one", &binary)], None);
    assert!(request.settled && request.entries.is_empty());
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].reason, Reason::BinaryData);
    assert!(problems[0].message().contains("under data"), "{problems:?}");
    assert!(!snapshot(&[("one", &binary)]).is_truly_empty());
}

#[test]
fn any_doubt_about_a_source_is_doubt() {
    assert!(Snapshot::default().is_certain());
    let why = || [("one".to_owned(), "away".to_owned())].into();
    let doubts = [
        Snapshot {
            missing: why(),
            ..Snapshot::default()
        },
        Snapshot {
            stale: why(),
            ..Snapshot::default()
        },
        Snapshot {
            went_back: why(),
            ..Snapshot::default()
        },
        Snapshot {
            unsure: ["one".to_owned()].into(),
            ..Snapshot::default()
        },
    ];
    assert!(doubts.iter().all(|snapshot| !snapshot.is_certain()));
    let reasons = doubts.map(|snapshot| {
        let (request, problems) = parse(&snapshot, &Rules::default(), Recall::Nowhere, None);
        assert!(!request.settled, "{snapshot:?}");
        problems.first().map(|problem| problem.reason)
    });
    let told = [
        Reason::SourceNotLoaded,
        Reason::SourceStale,
        Reason::SourceWentBack,
    ]
    .map(Some);
    assert_eq!(reasons, [told[0], told[1], told[2], None]);
}

fn of_namespace(namespace: &str, name: String) -> ObjectId {
    let namespace = namespace.to_owned();
    ObjectId {
        namespace,
        name,
        ..ObjectId::default()
    }
}

/// Returns a snapshot of an attack: one namespace has more entries than the limit of all. The victim sorts after it.
fn greedy(namespace: &str, objects: usize) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for number in 0..objects {
        let id = of_namespace(namespace, format!("n{number:03}"));
        snapshot.objects.insert(id, many(MAX_ENTRIES_PER_OBJECT));
    }
    let victim = object(&[("dns", "8.8.8.8"), ("typo", "8.8.8.8/")]);
    let id = of_namespace("zzz", "one".to_owned());
    snapshot.objects.insert(id, victim);
    snapshot
}

#[test]
fn one_namespace_cannot_use_up_what_is_read_of_all() {
    let snapshot = greedy("aaa", 25);
    for ledger in [None, Some(&Ledger::new("egress"))] {
        let recall = ledger.map_or(Recall::Nowhere, Recall::Known);
        let (request, problems) = parse(&snapshot, &Rules::default(), recall, ledger);
        assert_eq!(
            accepted(&request),
            BTreeMap::from([("dns".to_owned(), "8.8.8.8/32".to_owned())])
        );
        assert_eq!(request.refused, 25_001);
        let of_objects = problems
            .iter()
            .filter(|problem| matches!(problem.subject, Subject::Object(_)));
        let of_objects: Vec<&Problem> = of_objects.collect();
        assert_eq!(of_objects.len(), 6, "one for each that is not read whole");
        let text = &of_objects[0].message();
        assert!(
            text.contains("most have aaa (25000 entries), zzz (2 entries)"),
            "{text}"
        );
        assert!(
            problems
                .iter()
                .any(|problem| problem.reason == Reason::NotACidr
                    && problem.subject
                        == Subject::Entry(EntryId {
                            object: of_namespace("zzz", "one".to_owned()),
                            key: "typo".to_owned()
                        }))
        );
    }
}

/// An entry that was accepted first is still read, whatever its name.
#[test]
fn what_is_read_of_a_namespace_are_its_older_entries() {
    let mut snapshot = Snapshot::default();
    let old = of_namespace("aaa", "zz-old".to_owned());
    snapshot
        .objects
        .insert(old.clone(), object(&[("old", "9.9.9.9")]));
    let first = parse(&snapshot, &Rules::default(), Recall::Nowhere, None).0;
    let live = Some(std::iter::empty::<&Ipv4Net>());
    let ledger = Ledger::new("egress")
        .after(&snapshot, &first, live, false)
        .0;
    let mut snapshot = greedy("aaa", 25);
    snapshot.objects.insert(old, object(&[("old", "9.9.9.10")]));
    let recall = Recall::Known(&ledger);
    let (request, _) = parse(&snapshot, &Rules::default(), recall, Some(&ledger));
    assert_eq!(accepted(&request)["old"], "9.9.9.10/32");
}

#[test]
fn a_namespace_has_its_networks_and_the_older_ones_come_first() {
    let rules = Rules {
        max_networks: Some(2),
        ..Rules::default()
    };
    let read = |snapshot: &Snapshot, ledger: &Ledger| {
        let (request, problems) = parse(snapshot, &rules, Recall::Known(ledger), Some(ledger));
        let ledger = ledger
            .after(snapshot, &request, Some(std::iter::empty()), false)
            .0;
        let reasons: Vec<_> = problems
            .iter()
            .map(|problem| (problem.subject.to_string(), problem.reason))
            .collect();
        (accepted(&request), reasons, ledger)
    };
    let two = object(&[("m", "9.9.9.9"), ("n", "9.9.9.10")]);
    let mut world = snapshot(&[("b", &two)]);
    let (_, reasons, ledger) = read(&world, &Ledger::new("egress"));
    assert!(reasons.is_empty());
    world
        .objects
        .insert(id("a"), object(&[("k", "7.7.7.7"), ("within", "9.9.9.9")]));
    world.objects.insert(
        of_namespace("other", "a".to_owned()),
        object(&[("x", "6.6.6.6")]),
    );
    let (accepted, reasons, _) = read(&world, &ledger);
    assert!(
        accepted.keys().eq(["m", "n", "within", "x"]),
        "{accepted:?}"
    );
    assert_eq!(
        reasons,
        [(
            "ConfigMap team/a key \"k\"".to_owned(),
            Reason::NamespaceFull
        )]
    );
}

/// A namespace that gets more ConfigMaps than are read loses no route, and the namespace after it none of its own.
#[test]
fn configmaps_beyond_those_that_are_read_keep_their_networks() {
    let kept = of_namespace("aaa", "zz-late".to_owned());
    let good = of_namespace("zzz", "one".to_owned());
    let mut snapshot = Snapshot::default();
    for (id, net) in [(&kept, "9.9.9.9"), (&good, "8.8.8.8")] {
        snapshot.objects.insert(id.clone(), object(&[("key", net)]));
    }
    let none = || Some(std::iter::empty::<&Ipv4Net>());
    let first = parse(&snapshot, &Rules::default(), Recall::Nowhere, None).0;
    let ledger = Ledger::new("egress")
        .after(&snapshot, &first, none(), false)
        .0;
    let crowd = |number| {
        (
            of_namespace("aaa", format!("n{number:06}")),
            Object::default(),
        )
    };
    snapshot
        .objects
        .extend((0..MAX_OBJECTS_PER_NAMESPACE).map(crowd));
    bound(&mut snapshot.objects);
    assert!(snapshot.may_hide(&kept) && !snapshot.may_hide(&good));
    let recall = Recall::Known(&ledger);
    let (request, problems) = parse(&snapshot, &Rules::default(), recall, Some(&ledger));
    let of = |object: &ObjectId| EntryId {
        object: object.clone(),
        key: "key".to_owned(),
    };
    assert_eq!(request.entries[&of(&kept)].to_string(), "9.9.9.9/32");
    assert_eq!(request.entries[&of(&good)].to_string(), "8.8.8.8/32");
    assert!(request.settled);
    let [problem] = &problems[..] else {
        panic!("{problems:?}")
    };
    assert!(problem.message().contains("1 entries of later ones keep"));
    assert_eq!(problem.reason, Reason::TooManyEntries);
    let ledger = ledger.after(&snapshot, &request, none(), false).0;
    assert!(ledger.asked(&of(&kept)).is_some(), "the line stays");
    let (blind, _) = parse(&snapshot, &Rules::default(), Recall::Nowhere, None);
    assert!(!blind.settled, "without a ledger nothing is removed");
}
