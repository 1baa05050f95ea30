use std::collections::BTreeMap;

use super::*;

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
    parse(&snapshot(objects), &Rules::default(), ledger)
}

/// A ledger of what these objects ask for.
fn after(objects: &[(&str, &Object)]) -> Ledger {
    let request = read(objects, None).0;
    let live = std::iter::empty::<&Ipv4Net>();
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
    assert_eq!(problem.reason, "TooManyEntries");
    assert!(problem.message.contains("99000 entries more"), "{problem}");
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
        let unread = problems.iter().filter(|it| it.reason == "ObjectUnreadable");
        assert_eq!(unread.count(), usize::from(now.unreadable.is_some()));
        let kept = kept
            .iter()
            .map(|(key, net)| (key.to_string(), net.to_string()));
        assert_eq!(accepted(&request), kept.collect());
        assert!(request.settled, "the ledger knows all of it");
        let (request, _) = read(&[("one", now)], None);
        assert_eq!(request.settled, !now.hides_entries());
        // The ledger keeps the lines, too.
        let live = std::iter::empty::<&Ipv4Net>();
        let request = read(&[("one", now)], Some(&ledger)).0;
        let (next, _) = ledger.after(&snapshot(&[("one", now)]), &request, live, false);
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
    assert_eq!(problems[0].reason, "BinaryData");
    assert!(problems[0].message.contains("under data"), "{problems:?}");
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
        let (request, problems) = parse(&snapshot, &Rules::default(), None);
        assert!(!request.settled, "{snapshot:?}");
        problems.first().map(|problem| problem.reason)
    });
    let told = ["SourceNotLoaded", "SourceStale", "SourceWentBack"].map(Some);
    assert_eq!(reasons, [told[0], told[1], told[2], None]);
}
