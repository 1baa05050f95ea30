use super::*;
use crate::model::base::ids::ObjectId;
use crate::model::input::annotations::ours;
use crate::model::input::request::{Object, Snapshot};
use crate::model::status::notifications::notices;
use crate::model::status::{Entry, State, Status};

fn entry(key: &str, state: State, ips: &[&str]) -> Entry {
    Entry {
        name: "one".to_owned(),
        key: key.to_owned(),
        asked: "8.8.8.8".to_owned(),
        state,
        static_ips: ips.iter().map(|ip| (*ip).to_owned()).collect(),
        message: (state == State::Refused).then(|| "ü".repeat(700).into()),
        ..Entry::default()
    }
}

/// Of a ConfigMap with this data, when these entries have been looked at.
fn told(data: &[&str], entries: Vec<Entry>) -> Option<Annotations> {
    let id = ObjectId {
        name: "one".to_owned(),
        ..ObjectId::default()
    };
    let data = data.iter().map(|key| ((*key).to_owned(), String::new()));
    let object = Object {
        uid: "uid-1".to_owned(),
        data: data.collect(),
        ..Object::default()
    };
    let snapshot = Snapshot {
        objects: [(id.clone(), object)].into(),
        ..Snapshot::default()
    };
    let status = Status {
        entries,
        ..Status::default()
    };
    wanted(&notices(&status, &snapshot)[&id])
}

#[test]
fn the_worst_state_and_all_static_ips_are_told() {
    let [a, b] = [&["198.51.100.2"], &["198.51.100.1"]];
    let of = |entries| told(&["k"], entries).expect("they are known");
    let well = of(vec![
        entry("a", State::Routed, a),
        entry("b", State::Routed, b),
    ]);
    let text: Vec<&str> = well.values().map(String::as_str).collect();
    assert_eq!(
        text,
        [
            "2 entries routed: traffic leaves from 198.51.100.1, 198.51.100.2",
            "Routed",
            "198.51.100.1,198.51.100.2"
        ]
    );
    let worse = of(vec![
        entry("a", State::Routed, a),
        entry("b", State::Pending, b),
    ]);
    assert_eq!(worse[STATE], "Pending");
    let bad = of(vec![
        entry("a", State::Routed, a),
        entry("b", State::Refused, &[]),
    ]);
    assert_eq!(
        (bad[STATE].as_str(), &bad[STATIC_IPS][..]),
        ("Refused", a[0])
    );
    let message = &bad[MESSAGE];
    assert!(message.starts_with("1 of 2 entries refused: \"b\": ü") && message.ends_with('…'));
    assert!(
        message.len() <= MAX_MESSAGE + "…".len(),
        "{}",
        message.len()
    );
}

#[test]
fn what_is_not_known_is_not_nothing() {
    assert_eq!(told(&["k"], Vec::new()), None, "no pass has seen it");
    assert_eq!(told(&[], Vec::new()), Some(Annotations::new()));
}

#[test]
fn only_ours_are_kept_and_not_all_of_what_is_too_long() {
    let all = [("other", 1), (STATE, 5_000)];
    let all = all.map(|(key, length)| (key.to_owned(), "x".repeat(length)));
    let kept = ours(&all.into());
    assert_eq!(kept.len(), 1);
    assert!(kept[STATE].len() > MAX_MESSAGE + "…".len() && kept[STATE].len() < 2_000);
}
