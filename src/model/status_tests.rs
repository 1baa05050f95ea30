use super::*;

fn entry(key: usize, state: State) -> Entry {
    Entry {
        key: format!("k{key}"),
        asked: "203.0.113.0/24".to_owned(),
        state,
        ..Entry::default()
    }
}

#[test]
fn what_does_not_fit_is_counted_and_what_needs_somebody_stays() {
    let mut status = Status {
        entries: (0..20_000)
            .map(|key| {
                entry(
                    key,
                    [State::Routed, State::Refused][usize::from(key % 10 == 9)],
                )
            })
            .collect(),
        ..Status::default()
    };
    let all = status.clone();
    status.fit(100 << 20);
    assert_eq!(status, all);
    let copy = status.fitting(500_000);
    assert_eq!(status, all);
    status.fit(500_000);
    assert_eq!(status, copy);
    let text = serde_json::to_string(&status).expect("JSON");
    assert!((490_000..=500_000).contains(&text.len()), "{}", text.len());
    assert_eq!(status.entries.len() + status.omitted.entries, 20_000);
    let refused = status
        .entries
        .iter()
        .filter(|entry| entry.state == State::Refused);
    assert_eq!(refused.count(), 2_000, "all of them");
    let keys: Vec<usize> = status
        .entries
        .iter()
        .map(|entry| entry.key[1..].parse().expect("a number"))
        .collect();
    assert!(keys.is_sorted());
    assert_eq!(
        serde_json::from_str::<Status>(&text).expect("a status"),
        status
    );
}

#[test]
fn no_namespace_takes_the_room_of_another() {
    let of = |namespace: &str, key, state| Entry {
        namespace: namespace.to_owned(),
        ..entry(key, state)
    };
    let flood = (0..20_000).map(|key| of("aaa", key, State::Refused));
    let good = (0..50).map(|key| of("zzz", key, [State::Routed, State::Refused][key % 2]));
    let mut status = Status {
        entries: flood.chain(good).collect(),
        ..Status::default()
    };
    status.fit(100_000);
    let ours = status
        .entries
        .iter()
        .filter(|entry| entry.namespace == "zzz");
    assert_eq!(ours.count(), 50, "all of them");
    assert!(status.entries.len() > 500 && status.omitted.entries > 18_000);
}

#[test]
fn progress_alone_is_worth_no_write() {
    let with = |done| {
        let mut status = Status::default();
        let total = Some(24);
        status.stack.progress = Some(Progress { done, total });
        status.timeless()
    };
    assert_eq!(with(1), with(2));
    assert_eq!(with(1), Status::default());
}
