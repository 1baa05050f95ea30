//! Refusals that are kept from pass to pass.

use super::*;

#[test]
fn what_somebody_has_spoilt_in_the_ledger_is_left_out() {
    let kept = |not_before| Kept {
        times: 2,
        not_before,
        why: "w".repeat(2 * MAX_WHY),
        gateway: None,
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
fn a_count_that_is_as_high_as_can_be_stays_so() {
    let net: Ipv4Net = "8.8.8.8/32".parse().unwrap();
    let kept = Kept {
        times: u32::MAX,
        ..Kept::default()
    };
    let kepts = Kepts {
        routes: [("rtb-1 8.8.8.8/32".to_owned(), kept)].into(),
        operation: None,
    };
    let mut refusals = Refusals::default();
    refusals.recall(&kepts, Duration::ZERO, Duration::ZERO);
    let failure = Failure {
        operation: Some("again".to_owned()),
        failed: true,
        routes: [(("rtb-1".to_owned(), Some(net)), String::new())].into(),
        ..Failure::default()
    };
    assert!(refusals.note(&failure, Duration::from_secs(1), 0.5));
    let kept = refusals.kept(Duration::ZERO).routes;
    assert_eq!(kept["rtb-1 8.8.8.8/32"].times, u32::MAX);
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

/// Returns the number of changes that fail in six hours for a network that every table refuses, with a retry whenever one is due.
fn failures_in_six_hours(tables: usize) -> usize {
    let net: Ipv4Net = "8.8.8.8/32".parse().unwrap();
    let names: Vec<String> = (0..tables).map(|number| format!("rtb-{number}")).collect();
    let (mut refusals, mut failures) = (Refusals::default(), 0);
    for minute in 0..360 {
        let now = Duration::from_secs(60 * minute);
        let aside = refusals.set_aside(now).routes;
        let is_due = |table: &&String| {
            let waits = aside.get(&((*table).clone(), Some(net)));
            waits.is_none_or(|waits| waits.left.is_zero())
        };
        let tried: BTreeSet<_> = names
            .iter()
            .filter(is_due)
            .map(|it| (it.clone(), net))
            .collect();
        let Some((first, _)) = tried.first().cloned() else {
            continue;
        };
        refusals.tries(&tried);
        failures += 1;
        let failure = Failure {
            operation: Some(failures.to_string()),
            failed: true,
            routes: [((first, Some(net)), "no".to_owned())].into(),
            ..Failure::default()
        };
        assert!(refusals.note(&failure, now, 0.5));
    }
    failures
}

#[test]
fn more_tables_that_refuse_a_network_do_not_mean_more_failures() {
    let one = failures_in_six_hours(1);
    let nine = failures_in_six_hours(9);
    assert!(one <= 16 && nine <= 2 * one, "{one} {nine}");
}
