//! Refusals that are remembered.

use super::*;

#[test]
fn what_somebody_has_spoilt_in_the_ledger_is_left_out() {
    let kept = |not_before| Kept {
        times: 2,
        not_before,
        why: "w".repeat(2 * MAX_WHY),
    };
    let routes = [
        ("rtb-1 8.8.8.8/32".to_owned(), kept(u64::MAX)),
        ("rtb-1 nonsense".to_owned(), kept(1)),
        ("rtb-2".to_owned(), kept(1)),
    ];
    let kepts = Kepts {
        routes: routes.into(),
        operation: None,
    };
    let mut refusals = Refusals::default();
    let (began, now) = (Duration::from_secs(5_000), Duration::from_secs(10));
    refusals.recall(&kepts, began, now);
    let aside = refusals.set_aside(now).routes;
    let waits = |net: Option<&str>, table: &str| {
        let key = (table.to_owned(), net.map(|net| net.parse().unwrap()));
        aside.get(&key).map(|waits| waits.left)
    };
    assert_eq!(aside.len(), 2);
    assert_eq!(waits(None, "rtb-2"), Some(Duration::ZERO));
    assert_eq!(waits(Some("8.8.8.8/32"), "rtb-1"), Some(4 * FIRST * 3 / 2));
    assert!(aside.values().all(|waits| waits.why.len() <= MAX_WHY));
}

#[test]
fn no_more_than_some_are_remembered() {
    let mut refusals = Refusals::default();
    for number in 0..2 * MAX {
        let failure = Failure {
            operation: Some(number.to_string()),
            failed: true,
            routes: [((format!("rtb-{number}"), None), String::new())].into(),
            ..Failure::default()
        };
        assert!(refusals.note(&failure, Duration::ZERO, 0.5));
    }
    assert_eq!(refusals.set_aside(Duration::ZERO).routes.len(), MAX);
}
