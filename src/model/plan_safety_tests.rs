//! What must never happen to a route or a static IP.

use std::time::Duration;

use super::tests::{Bench, kinds, texts};
use super::*;
use crate::model::network::Route;

#[test]
fn absence_that_proves_nothing_removes_nothing() {
    let mut bench = Bench::live(&[("dns", "8.8.8.8"), ("more", "9.9.9.9")]);
    bench.settings.on_empty = OnEmpty::Delete;
    bench.ask(&[("dns", "8.8.8.8"), ("more", "9.9.9.")]);
    assert_eq!(
        bench.plan().action,
        Action::Keep,
        "an entry that cannot be read"
    );
    assert!(bench.reasons().contains(&"NotACidr"));
    bench.ask(&[("more", "nonsense")]);
    assert_eq!(
        bench.plan().action,
        Action::Keep,
        "the only one left cannot be read"
    );
    bench.snapshot = Snapshot {
        missing: texts(&[("cluster", "away")]),
        ..Snapshot::default()
    };
    assert_eq!(
        bench.plan().action,
        Action::Keep,
        "a source that is missing"
    );
    bench.ask(&[("new", "1.1.1.1")]);
    let plan = bench.plan();
    assert!(
        matches!(plan.action, Action::Prepare(_)),
        "adding goes on: {plan}"
    );
    assert!(
        kinds(&plan)
            .iter()
            .all(|(kind, _)| *kind == difference::Kind::Add),
        "{plan}"
    );
    bench.snapshot.missing.clear();
    let plan = bench.plan();
    assert!(
        kinds(&plan)
            .iter()
            .any(|(kind, _)| *kind == difference::Kind::Remove),
        "known to be gone: {plan}"
    );
}

#[test]
fn an_empty_set_is_believed_late_and_deletes_only_when_asked() {
    let mut bench = Bench::live(&[("dns", "8.8.8.8")]);
    bench.snapshot = Snapshot::default();
    bench.grace_left = Duration::from_secs(60);
    let plan = bench.plan();
    assert_eq!(
        (plan.action, plan.again),
        (Action::Keep, Some(Duration::from_secs(60)))
    );
    bench.grace_left = Duration::ZERO;
    let plan = bench.plan();
    assert!(matches!(plan.action, Action::Prepare(_)), "{plan}");
    assert!(
        plan.differences
            .iter()
            .all(|difference| difference.id.starts_with("RouteToNAT")),
        "{plan}"
    );
    bench.settings.on_empty = OnEmpty::Delete;
    assert_eq!(bench.plan().action, Action::Delete);
    bench.stack().termination_protection = true;
    assert_eq!(bench.plan().action, Action::Protect(false));
}

#[test]
fn nothing_takes_a_static_ip_away_unless_it_is_allowed() {
    let mut bench = Bench::live(&[("dns", "8.8.8.8")]);
    bench.settings.zones.remove("b");
    assert_eq!(bench.plan().action, Action::Keep);
    assert!(bench.reasons().contains(&"ZoneKept"));
    bench.settings.allow_zone_removal = true;
    let plan = bench.plan();
    assert!(matches!(plan.action, Action::Prepare(_)), "{plan}");
    assert!(
        kinds(&plan).contains(&(difference::Kind::Remove, "EIPb".to_owned())),
        "{plan}"
    );
    assert!(!kinds(&plan).iter().any(|(_, id)| id == "EIPa"), "{plan}");

    let mut bench = Bench::live(&[("dns", "8.8.8.8")]);
    bench
        .settings
        .zones
        .insert("b".to_owned(), "172.31.65.0/28".parse().unwrap());
    assert_eq!(bench.plan().action, Action::Keep);
    assert!(bench.reasons().contains(&"NatCidrKept"));

    let mut bench = Bench::live(&[("dns", "8.8.8.8")]);
    bench.network.vpc_id = "vpc-2".to_owned();
    assert_eq!(bench.plan().action, Action::Refuse);
    assert!(bench.reasons().contains(&"WouldLoseStaticIp"));
}

#[test]
fn a_stranger_in_the_stack_stops_everything() {
    let mut bench = Bench::live(&[("dns", "8.8.8.8")]);
    let stack = bench.stack();
    stack.template = stack.template.replace(
        "\"Resources\":{",
        "\"Resources\":{\"Queue\":{\"Type\":\"AWS::SQS::Queue\"},",
    );
    bench.ask(&[("dns", "9.9.9.9")]);
    assert_eq!(bench.plan().action, Action::Refuse);
}

#[test]
fn what_is_changed_behind_the_stack_is_told() {
    let mut bench = Bench::live(&[("dns", "8.8.8.8")]);
    let cidr = "8.8.8.8/32".parse().unwrap();
    let route = |target: &str, blackhole| Route {
        target: target.to_owned(),
        blackhole,
    };
    let cases = [
        (None, Some("RouteMissing")),
        (Some(route("nat-1", true)), Some("RouteBlackhole")),
        (Some(route("igw-1", false)), Some("RouteRetargeted")),
        (Some(route("nat-1", false)), None),
    ];
    for (found, expected) in cases {
        for table in bench.network.worker_tables.values_mut() {
            table.routes.remove(&cidr);
            table
                .routes
                .extend(found.clone().map(|route| (cidr, route)));
        }
        let told = bench.reasons();
        assert_eq!(
            told,
            expected.map_or(vec![], |reason| vec![reason; 2]),
            "{found:?}"
        );
        assert_eq!(bench.plan().action, Action::Keep, "a report, not a repair");
    }
}
