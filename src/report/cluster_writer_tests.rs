use super::*;
use crate::model::input::request::{Object, Snapshot};
use crate::model::status::notifications::{Notices, notices};
use crate::model::status::{Entry, State, Status};

fn state() -> TermState {
    TermState {
        memory: Memory::default(),
        written: None,
        not_before: Instant::now(),
        limiter: RateLimiter::full(),
        untold: BTreeSet::new(),
        order: FairOrder::default(),
        queue: None,
    }
}

/// Returns a status with these entries: namespace, name and value. A value with "bad" is refused.
fn found(asks: &[(&str, String, String)]) -> StatusSnapshot {
    let id = |(namespace, name, _): &(&str, String, String)| ObjectId {
        namespace: (*namespace).to_owned(),
        name: name.clone(),
        ..ObjectId::default()
    };
    let object = |name: &str| Object {
        uid: format!("uid of {name}"),
        ..Object::default()
    };
    let objects = asks.iter().map(|ask| (id(ask), object(&ask.1)));
    let snapshot = Snapshot {
        objects: objects.collect(),
        ..Snapshot::default()
    };
    let entry = |(namespace, name, asked): &(&str, String, String)| Entry {
        namespace: (*namespace).to_owned(),
        name: name.clone(),
        key: "key".to_owned(),
        asked: asked.clone(),
        state: match asked.contains("bad") {
            true => State::Refused,
            false => State::Routed,
        },
        ..Entry::default()
    };
    let status = Status {
        entries: asks.iter().map(entry).collect(),
        ..Status::default()
    };
    let notices: Notices = notices(&status, &snapshot);
    StatusSnapshot {
        notices,
        ..StatusSnapshot::default()
    }
}

#[tokio::test(start_paused = true)]
async fn who_changes_all_the_time_takes_no_turn_of_another_namespace() {
    let mut state = state();
    let mut told = Vec::new();
    for pass in 0..40 {
        let mut asks: Vec<(&str, String, String)> = (0..200)
            .map(|number| ("aaa", format!("flood-{number}"), format!("bad {pass}")))
            .collect();
        asks.push(("mmm", "typo".to_owned(), "bad".to_owned()));
        asks.push(("zzz", "partners".to_owned(), "8.8.8.8".to_owned()));
        let snapshot = found(&asks);
        state.look(&snapshot);
        let (id, notice) = state.whose_turn(&snapshot).expect("somebody's turn");
        state.order.serve(id);
        state.memory.told(&snapshot.notices[id], notice);
        told.push(id.name.clone());
    }
    for name in ["typo", "partners"] {
        let turn = told.iter().position(|told| told == name);
        assert!(turn.is_some_and(|turn| turn < 6), "{name}: {told:?}");
    }
    let floods: BTreeSet<&String> = told
        .iter()
        .filter(|name| name.starts_with("flood"))
        .collect();
    assert!(
        floods.len() >= 36,
        "each of its own has its turn, too: {told:?}"
    );
}
