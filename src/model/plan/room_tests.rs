//! Routes that are only kept make room for requested ones, and a full table is named.

use super::*;
use crate::model::base::reason::Reason;

/// Returns a world in a large removal: 100 of 150 networks are not requested any more, and 150 new ones are.
fn large_removal() -> Bench {
    let mut bench = bench(&many(0..150));
    bench.settings.max_removal = 50;
    bench.grace_left = Duration::from_secs(60);
    done(&mut bench);
    ask(&mut bench, &many(100..300));
    bench
}

fn message(plan: &Plan, reason: Reason) -> String {
    let mut problems = plan.problems.iter();
    let found = problems.find(|problem| problem.reason == reason);
    found.map(|problem| problem.message()).unwrap_or_default()
}

/// The attack: a team takes all the room and gives it up, so that other teams would wait ten minutes longer.
#[test]
fn what_a_large_removal_keeps_gives_way_to_what_is_requested() {
    let mut bench = large_removal();
    let plan = bench.plan();
    assert!(matches!(plan.action, Action::Prepare(_)), "{plan}");
    assert_eq!(waiting(&plan), [""; 0]);
    assert_eq!(plan.desired.routes.len(), 488, "all the room is used");
    let told = message(&plan, Reason::LargeRemovalWaits);
    assert!(
        told.contains("44 of 150 networks keep") && told.contains("56 more lose theirs"),
        "{told}"
    );
    // An early removal is confirmed by listing the sources again.
    assert!(plan.grace.large_removal.is_some());
    bench.large_removal = plan.grace.large_removal;
    done(&mut bench);
    let plan = bench.plan();
    assert_eq!(plan.action, Action::Keep, "{plan}");
    // Without new entries, all kept routes stay.
    ask(&mut bench, &many(100..110));
    let plan = bench.plan();
    assert_eq!(plan.action, Action::Keep, "{plan}");
}

#[test]
fn in_a_full_table_what_is_kept_goes_first_and_then_there_is_room() {
    let mut bench = bench(&many(0..20));
    bench.settings.max_removal = 50;
    bench.grace_left = Duration::from_secs(60);
    bench.settings.route_table_quota = Some(21);
    done(&mut bench);
    ask(&mut bench, &many(15..23));
    let plan = done(&mut bench);
    assert_eq!(waiting(&plan).len(), 3, "{plan}");
    assert!(
        plan.differences.iter().all(|it| it.kind == Kind::Remove),
        "{plan}"
    );
    bench.large_removal = plan.grace.large_removal;
    let plan = done(&mut bench);
    assert_eq!(waiting(&plan), [""; 0], "{plan}");
    assert_eq!(
        plan.desired.routes.len(),
        40,
        "12 that nobody requests still stay"
    );
    assert_eq!(bench.plan().action, Action::Keep);
}

/// While a source is in doubt, it is unknown which networks are requested.
#[test]
fn nothing_gives_way_while_a_source_is_in_doubt() {
    let mut bench = large_removal();
    let stale = ("one".to_owned(), "401".to_owned());
    bench.snapshot.stale.extend([stale]);
    let plan = bench.plan();
    assert!(
        plan.differences.iter().all(|it| it.kind == Kind::Add),
        "{plan}"
    );
    assert!(!waiting(&plan).is_empty());
}

/// An entry is routed from all tables or from none: otherwise the node would decide whether its traffic has a static IP.
#[test]
fn one_full_table_is_named_and_a_new_entry_waits_in_all() {
    let mut bench = Bench::live(&[("dns", "8.8.8.8")]);
    bench.settings.route_table_quota = Some(5);
    let full = bench.network.worker_tables.get_mut("rtb-a").unwrap();
    for n in 0..4 {
        let route = Route {
            target: "tgw-1".to_owned(),
            blackhole: false,
        };
        full.routes
            .insert(format!("192.168.{n}.0/24").parse().unwrap(), route);
    }
    bench.ask(&[("dns", "8.8.8.8"), ("web", "9.9.9.9")]);
    let plan = bench.plan();
    assert_eq!(plan.action, Action::Keep, "{plan}");
    assert_eq!(waiting(&plan), ["web"]);
    let of_table = |problem: &&Problem| matches!(problem.subject, Subject::RouteTable(_));
    let tables: Vec<&Problem> = plan.problems.iter().filter(of_table).collect();
    let [only] = tables.as_slice() else {
        panic!("{tables:?}")
    };
    assert_eq!(only.subject, Subject::RouteTable("rtb-a".to_owned()));
    assert!(
        only.message().contains("it is full") && only.message().contains("takes 5"),
        "{only}"
    );
}
