//! Waits between attempts, and the start of the next pass.

use super::*;
use crate::model::cloud::more_ips::IpStep;
use crate::model::cloud::status::Status;

const RESYNC: Duration = Duration::from_secs(300);

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

#[test]
fn looks_follow_the_age_of_the_operation_not_their_number() {
    let mut schedule = Schedule::new(RESYNC, Watch::default());
    assert_eq!(
        schedule.next(Outcome::Started, seconds(100)),
        Some(FIRST_POLL)
    );
    for _ in 0..50 {
        assert_eq!(
            schedule.next(Outcome::UnderWay, seconds(100)),
            Some(FIRST_POLL)
        );
    }
    assert_eq!(
        schedule.next(Outcome::UnderWay, seconds(110)),
        Some(seconds(5))
    );
    assert_eq!(
        schedule.next(Outcome::UnderWay, seconds(500)),
        Some(LAST_POLL)
    );
    assert_eq!(
        schedule.next(Outcome::UnderWay, seconds(1_900)),
        Some(seconds(60)),
        "somebody else's, or stuck"
    );
    assert_eq!(
        schedule.next(Outcome::UnderWay, seconds(100_000)),
        Some(RESYNC)
    );
    assert_eq!(
        schedule.next(Outcome::Started, seconds(1_000)),
        Some(FIRST_POLL),
        "a new one"
    );
    assert_eq!(
        schedule.next(Outcome::Settled(None), seconds(1_001)),
        Some(RESYNC)
    );
    assert_eq!(
        schedule.next(Outcome::Settled(Some(seconds(7))), seconds(1_001)),
        Some(seconds(7))
    );
    assert_eq!(schedule.next(Outcome::Failed, seconds(1_001)), None);
    for nothing in [
        Outcome::Settled(Some(Duration::ZERO)),
        Outcome::Held(Duration::ZERO),
    ] {
        assert_eq!(schedule.next(nothing, seconds(1_001)), Some(SHORTEST));
    }
}

#[test]
fn the_same_is_not_tried_again_at_once() {
    let mut schedule = Schedule::new(RESYNC, Watch::default());
    let template = |fingerprint: &str| {
        Action::Create(crate::model::desired::template::Template {
            fingerprint: fingerprint.to_owned(),
            ..Default::default()
        })
    };
    let plan = |action| Plan {
        action,
        ..Plan::default()
    };
    let (one, two) = (plan(template("one")), plan(template("two")));
    let mut now = Duration::ZERO;
    let mut waits = Vec::new();
    for _ in 0..12 {
        schedule.tries(&one, now, 0.5);
        let wait = schedule.held(&one, now).expect("it waits");
        assert_eq!(
            schedule.held(&two, now),
            None,
            "another template is not held up"
        );
        now += wait;
        assert_eq!(schedule.held(&one, now), None);
        waits.push(wait);
    }
    assert_eq!(
        (waits[0], waits[1], waits[11]),
        (FIRST_PATIENCE, FIRST_PATIENCE * 2, LAST_PATIENCE)
    );
    schedule.tries(&one, now, 0.5);
    schedule.tries(&plan(Action::Protect(true)), now, 0.5);
    assert!(
        schedule.held(&one, now).is_some(),
        "what came between changes nothing"
    );
    schedule.succeeded(&Plan::default(), seconds(0));
    assert_eq!(schedule.held(&one, now), None, "success forgets");
}

#[test]
fn a_new_leader_waits_for_what_was_done_and_not_for_what_was_cut_off() {
    let plan = |action| Plan {
        action,
        ..Plan::default()
    };
    let execute = plan(Action::Execute {
        change_set: "one".to_owned(),
    });
    let protect = plan(Action::Protect(true));
    let mut former = Schedule::new(RESYNC, Watch::default());
    let waits = |former: &Schedule, plan: &Plan| {
        let mut next = Schedule::new(RESYNC, Watch::default());
        let tries = former.tries_made(seconds(1_000));
        next.recall(&tries, seconds(1_001), seconds(1));
        next.held(plan, seconds(1)).is_some()
    };
    former.tries(&execute, Duration::ZERO, 0.5);
    former.tries(&protect, Duration::ZERO, 0.5);
    assert!(waits(&former, &protect) && !waits(&former, &execute));
    former.tries(&execute, Duration::ZERO, 0.5);
    assert!(waits(&former, &execute), "twice is no accident");

    let prepare = |status: &str| Plan {
        status: Some(Status::read(status)),
        ..plan(Action::Prepare(
            crate::model::desired::template::Template::default(),
        ))
    };
    let untouched = prepare("UPDATE_COMPLETE");
    former.tries(&untouched, Duration::ZERO, 0.5);
    assert!(former.held(&untouched, Duration::ZERO).is_some());
    assert!(!waits(&former, &untouched));
    assert!(waits(&former, &prepare("UPDATE_ROLLBACK_COMPLETE")));
    former.tries(&untouched, Duration::ZERO, 0.5);
    assert!(waits(&former, &untouched));
}

/// The ledger is a ConfigMap, so a user may write any number into it.
#[test]
fn a_count_that_is_as_high_as_can_be_stays_so() {
    let protect = Plan {
        action: Action::Protect(true),
        ..Plan::default()
    };
    let mut former = Schedule::new(RESYNC, Watch::default());
    former.tries(&protect, Duration::ZERO, 0.5);
    let mut tries = former.tries_made(Duration::ZERO);
    for made in tries.values_mut() {
        (made.times, made.not_before) = (u32::MAX, u64::MAX);
    }
    let mut next = Schedule::new(RESYNC, Watch::default());
    next.recall(&tries, Duration::ZERO, Duration::ZERO);
    let now = seconds(100_000);
    assert_eq!(next.held(&protect, now), None, "no wait is for ever");
    for _ in 0..3 {
        next.tries(&protect, now, 0.5);
        assert_eq!(next.tried(&protect, now).0, u32::MAX);
    }
}

#[test]
fn a_zone_that_could_not_be_added_waits_while_all_else_goes_well() {
    let zone = || ("a".to_owned(), "10.0.0.0/28".parse().expect("a network"));
    let mut adds = Plan {
        action: Action::Execute {
            change_set: "one".to_owned(),
        },
        new_zones: ["a".to_owned()].into(),
        ..Plan::default()
    };
    adds.desired.zones.extend([zone()]);
    let mut schedule = Schedule::new(RESYNC, Watch::default());
    schedule.tries(&adds, Duration::ZERO, 0.5);
    // The change takes time, and so does its rollback.
    let mut seen = Plan {
        status: Some(Status::UpdateRollbackComplete),
        ..Plan::default()
    };
    let failed = seconds(1_000);
    assert!(schedule.zones_failed(&seen, failed, 0.5));
    assert!(!schedule.zones_failed(&seen, failed, 0.5), "once");
    seen.later = schedule.later(failed);
    assert_eq!(seen.later, [(zone(), FIRST_ZONE_PATIENCE)].into());
    schedule.succeeded(&seen, seconds(0));
    assert_eq!(schedule.held(&adds, failed), None);
    let over = failed + FIRST_ZONE_PATIENCE;
    assert!(schedule.later(over).is_empty(), "it is tried again");
    schedule.tries(&adds, over, 0.5);
    assert!(schedule.zones_failed(&seen, over, 0.5));
    let twice = schedule.later(over);
    assert_eq!(twice, [(zone(), FIRST_ZONE_PATIENCE * 2)].into());
    schedule.succeeded(&Plan::default(), seconds(0));
    assert!(schedule.later(over).is_empty(), "it is there");
}

#[test]
fn a_released_static_ip_is_asked_for_again_until_the_zone_has_it() {
    let lost = ("a".to_owned(), "198.51.100.1".to_owned());
    let plan = |action| Plan {
        action,
        recovers: Some(lost.clone()),
        ..Plan::default()
    };
    let mut schedule = Schedule::new(RESYNC, Watch::default());
    schedule.tries(&plan(Action::Prepare(Default::default())), seconds(0), 0.5);
    assert!(schedule.ip_waits(seconds(0)).asked.is_empty());
    let execute = Action::Execute {
        change_set: "one".to_owned(),
    };
    schedule.tries(&plan(execute), seconds(0), 0.5);
    schedule.tries(&plan(Action::Create(Default::default())), seconds(10), 0.5);
    let asked = |schedule: &Schedule| schedule.ip_waits(seconds(20)).asked(&lost);
    let (times, left) = (2, seconds(230));
    assert_eq!(asked(&schedule), Asked { times, left });
    schedule.succeeded(&Plan::default(), seconds(20));
    assert_eq!(asked(&schedule).times, 2, "the zone has no static IP");
    let mut next = Schedule::new(RESYNC, Watch::default());
    next.recall(&schedule.tries_made(seconds(0)), seconds(0), seconds(20));
    assert_eq!(asked(&next).times, 2);
    let has = Plan {
        static_ips: [lost.clone()].into(),
        ..Plan::default()
    };
    schedule.succeeded(&has, seconds(20));
    assert_eq!(asked(&schedule), Asked::default());
}

#[test]
fn a_static_ip_that_edits_postpone_has_its_turn() {
    let plan = |action, postponed| Plan {
        action,
        postponed,
        ..Plan::default()
    };
    let edits = || plan(Action::Prepare(Default::default()), true);
    let mut schedule = Schedule::new(RESYNC, Watch::default());
    let is_overdue = |schedule: &Schedule, at| schedule.ip_waits(seconds(at)).is_overdue;
    schedule.postpones(&edits(), seconds(0));
    schedule.postpones(&plan(Action::Wait, false), seconds(300));
    schedule.postpones(&edits(), seconds(599));
    assert!(!is_overdue(&schedule, 599) && is_overdue(&schedule, 600));
    // Its change is prepared, and then executed.
    let step = |action| Plan {
        ip_step: Some(IpStep {
            zone: "a".to_owned(),
            exist: 2,
            used: 1,
        }),
        ..plan(action, false)
    };
    schedule.postpones(&step(Action::Prepare(Default::default())), seconds(601));
    assert!(is_overdue(&schedule, 610));
    let change_set = "one".to_owned();
    schedule.postpones(&step(Action::Execute { change_set }), seconds(610));
    assert!(!is_overdue(&schedule, 610));
    // A change that cannot be made waits for its next turn.
    schedule.postpones(&edits(), seconds(700));
    assert!(is_overdue(&schedule, 1_300));
    schedule.postpones(&edits(), seconds(1_300));
    assert!(!is_overdue(&schedule, 1_899) && is_overdue(&schedule, 1_900));
    schedule.postpones(&plan(Action::Keep, false), seconds(1_900));
    assert!(!is_overdue(&schedule, 1_900));
}
