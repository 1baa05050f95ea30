//! The times of reads of EC2, and the recorded observations.

use super::*;
use crate::model::cloud::live::Stack;
use crate::model::drift::kind::DriftKind;
use crate::model::drift::{Cure, Place};

const INTERVAL: Duration = Duration::from_secs(300);

fn drift(cure: Cure) -> Drift {
    Drift {
        id: "one".to_owned(),
        place: Place::Zone("a".to_owned()),
        kind: DriftKind::RouteMissing,
        expected: String::new(),
        seen: String::new(),
        cure,
    }
}

/// Records a read at this time with these drifts.
fn look(watch: &mut Watch, seconds: u64, drifts: &[Drift]) {
    watch.begin(Duration::from_secs(seconds), true);
    watch.looked("1", Ok(Observed::default()));
    watch.note(drifts, true, false);
}

#[test]
fn an_account_that_says_it_is_full_is_put_to_the_test_now_and_then() {
    let mut watch = Watch::new(None);
    let hours = |hours: u64| Duration::from_secs(hours * 3_600);
    let mut full = |at: Duration| {
        watch.begin(at, true);
        watch.is_full(false)
    };
    assert!(full(hours(1)) && full(hours(6)));
    let tested = hours(7);
    assert!(!full(tested) && !full(tested + Duration::from_secs(600)));
    assert!(full(hours(8)) && full(hours(13)));
    assert!(!full(hours(14)));
    assert!(!watch.is_full(true));
    watch.begin(hours(15), true);
    assert!(watch.is_full(false), "it was not full meanwhile");
}

#[test]
fn looks_are_an_interval_apart_and_after_each_change_of_the_stack() {
    let mut watch = Watch::new(Some(INTERVAL));
    assert!(watch.is_due("1"), "the first pass of a term");
    look(&mut watch, 1_000, &[]);
    assert!(!watch.is_due("1") && watch.is_due("2"));
    watch.begin(Duration::from_secs(1_200), true);
    assert_eq!(watch.next(), Some(Duration::from_secs(100)));
    watch.begin(Duration::from_secs(1_300), true);
    assert!(watch.is_due("1"));
    watch.begin(Duration::from_secs(9_000), false);
    assert_eq!(watch.next(), None, "there is nothing to look at");
    let off = Watch::new(None);
    assert!(!off.is_due("1") && off.next().is_none());
}

#[test]
fn while_something_may_be_repaired_looks_follow_quickly_but_not_for_ever() {
    let mut watch = Watch::new(Some(INTERVAL));
    look(&mut watch, 0, &[drift(Cure::ByHand("help".into()))]);
    assert_eq!(watch.next(), Some(INTERVAL));
    let route = drift(Cure::Retake);
    look(&mut watch, 0, std::slice::from_ref(&route));
    assert_eq!(watch.next(), Some(AGAIN));
    assert!(!watch.is_firm(&route));
    look(&mut watch, 5, std::slice::from_ref(&route));
    assert!(watch.is_firm(&route));
    watch.note(std::slice::from_ref(&route), false, false);
    assert_eq!(watch.next(), Some(INTERVAL), "it is only told");
    look(&mut watch, HURRY.as_secs(), &[route]);
    assert_eq!(watch.next(), Some(INTERVAL));
}

fn stack(id: &str) -> Live {
    Live::Ours(Box::new(Stack {
        id: id.to_owned(),
        ..Stack::default()
    }))
}

#[test]
fn another_stack_begins_without_the_repairs_of_the_one_before() {
    let mut watch = Watch::new(Some(INTERVAL));
    let route = drift(Cure::Retake);
    // The records of an earlier leader belong to the existing stack.
    let made = Repairs {
        times: 1,
        until: 3_600,
    };
    watch.recall(&[(route.key(), made)].into(), Duration::ZERO);
    watch.follow(&stack("arn:one"));
    look(&mut watch, 0, std::slice::from_ref(&route));
    watch.follow(&stack("arn:one"));
    assert_eq!(watch.stage(&route), Stage::Tried);
    for next in [stack("arn:two"), Live::Absent] {
        watch.tried(&[route.key()]);
        look(&mut watch, 0, std::slice::from_ref(&route));
        watch.follow(&next);
        assert_eq!(watch.stage(&route), Stage::New);
        assert!(watch.is_due("1") && watch.repairs_made().is_empty());
    }
}

#[test]
fn each_try_is_followed_by_a_look_and_the_third_is_the_last() {
    let mut watch = Watch::new(Some(INTERVAL));
    let route = drift(Cure::Retake);
    look(&mut watch, 0, std::slice::from_ref(&route));
    for stage in [Stage::New, Stage::Tried, Stage::Last] {
        assert_eq!(watch.stage(&route), stage);
        watch.tried(&[route.key()]);
        assert!(watch.is_due("1"));
        look(&mut watch, 0, std::slice::from_ref(&route));
    }
    assert_eq!(watch.stage(&route), Stage::Spent);
    assert_eq!(watch.next(), Some(INTERVAL));
    look(&mut watch, MEMORY.as_secs(), &[]);
    assert_eq!(watch.stage(&route), Stage::New, "it has been well for long");
}

/// The ledger is a ConfigMap, so a user may write any number into it.
#[test]
fn a_count_of_the_ledger_that_is_as_high_as_can_be_stays_so() {
    let mut watch = Watch::new(Some(INTERVAL));
    let route = drift(Cure::Retake);
    let made = Repairs {
        times: u32::MAX,
        until: u64::MAX,
    };
    watch.begin(Duration::ZERO, true);
    watch.recall(&[(route.key(), made)].into(), Duration::ZERO);
    watch.tried(&[route.key()]);
    assert_eq!(watch.repairs_made()[&route.key()].times, u32::MAX);
    assert_eq!(watch.stage(&route), Stage::Spent);
}

#[test]
fn a_later_leader_goes_on_counting() {
    let mut first = Watch::new(Some(INTERVAL));
    let route = drift(Cure::Retake);
    look(&mut first, 10_000, std::slice::from_ref(&route));
    assert!(first.repairs_made().is_empty(), "nothing was tried");
    first.tried(&[route.key(), route.key()]);
    let told = first.repairs_made();
    look(&mut first, 10_100, std::slice::from_ref(&route));
    assert_eq!(
        first.repairs_made(),
        told,
        "it is not written at every look"
    );

    let later = |seconds: u64| {
        let now = Duration::from_secs(seconds);
        let mut watch = Watch::new(Some(INTERVAL));
        watch.begin(now, true);
        watch.recall(&told, now);
        watch
    };
    let mut second = later(10_100);
    assert_eq!(second.stage(&route), Stage::Last);
    assert_eq!(second.repairs_made(), told);
    second.recall(&told, Duration::from_secs(10_200));
    second.tried(&[route.key()]);
    assert_eq!(second.stage(&route), Stage::Spent);
    // One leader whose clock was ahead, and one from long ago.
    let mut behind = later(0);
    look(&mut behind, MEMORY.as_secs() + GRAIN, &[]);
    assert_eq!(behind.stage(&route), Stage::New);
    assert_eq!(
        later(10_000 + 2 * MEMORY.as_secs()).stage(&route),
        Stage::New
    );
}

#[test]
fn static_ips_without_a_stack_are_asked_for_once_an_interval_and_only_if_there_are_any() {
    let ips =
        |ips: &[&str]| -> BTreeSet<String> { ips.iter().map(|ip| (*ip).to_owned()).collect() };
    let mut watch = Watch::new(Some(INTERVAL));
    watch.begin(INTERVAL * 9, false);
    assert!(!watch.asks_for(&ips(&[])), "nothing is kept");
    assert!(watch.asks_for(&ips(&["198.51.100.1"])));
    let seen = BTreeMap::from([("198.51.100.1".to_owned(), Address::default())]);
    watch.has_shown(ips(&["198.51.100.1"]), Some(seen));
    assert!(!watch.asks_for(&ips(&["198.51.100.1"])));
    assert!(watch.asks_for(&ips(&["198.51.100.2"])), "another question");
    watch.begin(INTERVAL * 10, false);
    assert!(watch.asks_for(&ips(&["198.51.100.1"])));
    // A failed request keeps the known addresses, and is not repeated immediately.
    watch.has_shown(ips(&["198.51.100.1"]), None);
    assert!(!watch.asks_for(&ips(&["198.51.100.1"])));
    assert!(watch.address("198.51.100.1").is_some() && watch.address("198.51.100.2").is_none());
    assert!(
        !Watch::new(None).asks_for(&ips(&["198.51.100.1"])),
        "EC2 is not to be looked at"
    );
    // A deleted stack leaves its static IPs in the account.
    watch.follow(&stack("one"));
    watch.follow(&Live::Absent);
    assert!(watch.address("198.51.100.1").is_some());
}
