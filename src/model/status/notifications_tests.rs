use super::*;
use crate::model::input::request::Object;

fn entry(key: &str, asked: &str, state: State) -> Entry {
    let bad = !matches!(state, State::Routed | State::Pending);
    let text = |text: &str| bad.then(|| text.to_owned());
    Entry {
        namespace: "default".to_owned(),
        name: "one".to_owned(),
        key: key.to_owned(),
        asked: asked.to_owned(),
        state,
        static_ips: match state {
            State::Routed => vec!["198.51.100.1".to_owned(), "198.51.100.2".to_owned()],
            _ => Vec::new(),
        },
        reason: text("Reason"),
        message: Some("it is wrong".into()),
        remedy: Some("mend it".into()),
        ..Entry::default()
    }
}

fn object(entries: Vec<Entry>) -> OfObject {
    object_after(entries, &[])
}

/// The object after these changes of static IPs: zone, old IP, new IP.
fn object_after(entries: Vec<Entry>, changes: &[[&str; 3]]) -> OfObject {
    let id = ObjectId {
        namespace: "default".to_owned(),
        name: "one".to_owned(),
        ..ObjectId::default()
    };
    let content = Object {
        uid: "uid-1".to_owned(),
        ..Object::default()
    };
    let snapshot = Snapshot {
        objects: BTreeMap::from([(id.clone(), content)]),
        ..Snapshot::default()
    };
    let change = |[zone, from, to]: &[&str; 3]| IpChange {
        zone: (*zone).to_owned(),
        from: (*from).to_owned(),
        to: (*to).to_owned(),
    };
    let status = Status {
        entries,
        ip_changes: changes.iter().map(change).collect(),
        ..Status::default()
    };
    notices(&status, &snapshot)
        .remove(&id)
        .expect("it has entries")
}

/// Returns the new messages about the object, and records them as sent.
fn tell(memory: &mut Memory, entries: Vec<Entry>) -> Vec<&'static str> {
    tell_of(memory, object(entries))
}

fn tell_of(memory: &mut Memory, object: OfObject) -> Vec<&'static str> {
    let news: Vec<Notice> = memory.news(&object).into_iter().cloned().collect();
    for notice in &news {
        memory.told(&object, notice);
    }
    memory.tidy(&BTreeMap::from([(ObjectId::default(), object)]));
    news.iter().map(|notice| notice.kind.name()).collect()
}

#[test]
fn each_word_is_said_once() {
    let mut memory = Memory::default();
    let dns = |state| vec![entry("dns", "8.8.8.8", state)];
    assert_eq!(tell(&mut memory, dns(State::Pending)), ["Accepted"]);
    assert_eq!(tell(&mut memory, dns(State::Pending)), [""; 0]);
    assert_eq!(tell(&mut memory, dns(State::Routed)), ["Routed"]);
    // A successor that has read the record sends nothing again.
    let text = serde_json::to_string(&memory.brief()).expect("JSON");
    let mut memory: Memory = serde_json::from_str(&text).expect("a memory");
    for state in [State::Routed, State::Pending, State::Routed] {
        assert_eq!(
            tell(&mut memory, dns(state)),
            [""; 0],
            "{state:?}: nothing that was asked has changed"
        );
    }
    let other = vec![entry("dns", "9.9.9.9", State::Routed)];
    assert_eq!(tell(&mut memory, other), ["Routed"]);
}

#[test]
fn an_announced_static_ip_is_told_once_about_entries_that_were_told_before() {
    let mut memory = Memory::default();
    let mut dns = entry("dns", "8.8.8.8", State::Routed);
    assert_eq!(tell(&mut memory, vec![dns.clone()]), ["Routed"]);
    dns.static_ips.push("203.0.113.9".to_owned());
    let with_it = object(vec![dns.clone()]);
    let mut notices = memory.news(&with_it).into_iter();
    assert!(notices.any(|it| it.note.contains("203.0.113.9")));
    assert_eq!(tell(&mut memory, vec![dns.clone()]), ["Routed"]);
    assert_eq!(tell(&mut memory, vec![dns]), [""; 0]);
}

#[test]
fn a_typo_is_told_beside_the_progress_and_again_when_it_comes_back() {
    let mut memory = Memory::default();
    let good = || entry("dns", "8.8.8.8", State::Routed);
    let both = || vec![good(), entry("typo", "8.8.8.8/33", State::Refused)];
    assert_eq!(tell(&mut memory, both()), ["EntriesRefused", "Routed"]);
    assert_eq!(tell(&mut memory, both()), [""; 0]);
    assert_eq!(tell(&mut memory, vec![good()]), [""; 0]);
    assert_eq!(tell(&mut memory, both()), ["EntriesRefused"]);
}

#[test]
fn an_operation_that_fails_again_and_again_is_told_once() {
    let mut memory = Memory::default();
    let dns = |state| vec![entry("dns", "8.8.8.8", state)];
    assert_eq!(tell(&mut memory, dns(State::Waiting)), ["Waiting"]);
    for _ in 0..3 {
        assert_eq!(tell(&mut memory, dns(State::Pending)), [""; 0]);
        assert_eq!(tell(&mut memory, dns(State::Waiting)), [""; 0]);
    }
    assert_eq!(tell(&mut memory, dns(State::Routed)), ["Routed"]);
    assert_eq!(tell(&mut memory, dns(State::Drifted)), ["Waiting"]);
}

#[test]
fn notes_name_the_remedy_and_the_static_ips() {
    let bad = |key: usize, fault: usize| Entry {
        message: Some(format!("fault {fault}").into()),
        ..entry(&format!("k{key}"), "x", State::Refused)
    };
    let note = |faults: &[usize]| {
        let entries = (0..).zip(faults).map(|(key, fault)| bad(key, *fault));
        let good = entry("good", "8.8.8.8", State::Routed);
        object(entries.chain([good]).collect())
            .refused
            .expect("some are")
            .note
    };
    assert_eq!(
        note(&[1]),
        "1 of 2 entries refused: \"k0\": fault 1; mend it"
    );
    assert_eq!(
        note(&[1, 1, 2, 1, 1]),
        "5 of 6 entries refused: \"k0\", \"k1\", \"k3\" and 1 more: fault 1; mend it | \"k2\": fault 2; mend it"
    );
    let many = note(&[1, 2, 3, 4, 5]);
    assert!(
        many.ends_with("| \"k2\": fault 3; mend it | and 2 more: see the status"),
        "{many}"
    );
    let well = object(vec![entry("good", "8.8.8.8", State::Routed)]);
    let progress = well.progress.expect("one is").note;
    assert_eq!(
        progress,
        "1 entry routed: traffic leaves from 198.51.100.1, 198.51.100.2"
    );
}

#[test]
fn what_is_remembered_has_a_limit_and_forgets_what_is_gone() {
    let mut memory = Memory::default();
    let mut all = Notices::new();
    for number in 0..MAX_REMEMBERED + 10 {
        let mut object = object(vec![entry("dns", "8.8.8.8", State::Routed)]);
        object.uid = format!("uid-{number}");
        let notice = object.progress.clone().expect("one");
        memory.told(&object, &notice);
        let id = ObjectId {
            name: format!("n{number}"),
            ..ObjectId::default()
        };
        all.insert(id, object);
    }
    assert!(all.values().all(|object| memory.news(object).is_empty()));
    let text = serde_json::to_string(&memory.brief()).expect("JSON");
    assert!(text.len() < 300_000, "{}", text.len());
    memory.tidy(&Notices::new());
    assert_eq!(memory, Memory::default());
}

#[test]
fn clusters_with_the_same_uids_are_not_mixed_up() {
    let mut east = object(vec![entry("a", "8.8.8.8", State::Routed)]);
    let mut west = object(vec![entry("a", "9.9.9.9", State::Refused)]);
    (east.cluster, west.cluster) = ("east".to_owned(), "west".to_owned());
    let all: Notices = [&east, &west]
        .into_iter()
        .map(|object| {
            let cluster = object.cluster.clone();
            let id = ObjectId {
                cluster,
                ..ObjectId::default()
            };
            (id, object.clone())
        })
        .collect();
    let mut memory = Memory::default();
    for object in all.values() {
        for notice in memory.news(object).into_iter().cloned().collect::<Vec<_>>() {
            memory.told(object, &notice);
        }
    }
    for _ in 0..3 {
        memory.tidy(&all);
        assert!(all.values().all(|object| memory.news(object).is_empty()));
    }
    assert!(memory.told.keys().all(|key| key.len() <= 36));
}

#[test]
fn a_changed_static_ip_is_told_once_to_those_whom_it_serves() {
    let mut memory = Memory::default();
    let dns = || vec![entry("dns", "8.8.8.8", State::Routed)];
    let first = [
        ["a", "198.51.100.7", "198.51.100.1"],
        ["c", "198.51.100.8", "198.51.100.9"],
    ];
    let told = object_after(dns(), &first).changed.expect("it is served");
    assert!(told.kind.is_warning());
    assert_eq!(
        told.note,
        "the static IP of zone a was 198.51.100.7 and is 198.51.100.1 now: tell every partner who allows the old one to allow the new one"
    );
    assert_eq!(tell(&mut memory, dns()), ["Routed"]);
    let after = |changes: &[[&str; 3]]| object_after(dns(), changes);
    assert_eq!(tell_of(&mut memory, after(&first)), ["StaticIpChanged"]);
    // The next leader has read the record.
    let text = serde_json::to_string(&memory).expect("JSON");
    let mut memory: Memory = serde_json::from_str(&text).expect("a memory");
    for changes in [&first[..], &[], &first[..1]] {
        assert_eq!(tell_of(&mut memory, after(changes)), [""; 0]);
    }
    let second = [first[0], ["b", "198.51.100.6", "198.51.100.2"]];
    assert_eq!(tell_of(&mut memory, after(&second)), ["StaticIpChanged"]);
}

/// Leaders of an earlier version can read this version's records, and vice versa.
#[test]
fn what_was_told_is_readable_for_other_versions() {
    let mut memory = Memory::default();
    assert_eq!(
        tell(&mut memory, vec![entry("dns", "8.8.8.8", State::Routed)]),
        ["Routed"]
    );
    let text = serde_json::to_string(&memory).expect("JSON");
    type Before = BTreeMap<String, (String, String, String)>;
    let before: Before = serde_json::from_str(&text).expect("three marks");
    let text = serde_json::to_string(&before).expect("JSON");
    assert_eq!(
        serde_json::from_str::<Memory>(&text).expect("a memory"),
        memory
    );
}
