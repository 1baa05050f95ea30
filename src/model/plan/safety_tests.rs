//! Changes of routes and static IPs that must never happen.

use std::time::Duration;

use super::tests::{Bench, kinds, texts};
use super::*;
use crate::model::base::reason::Reason;
use crate::model::base::settings::OnEmpty;
use crate::model::cloud::live::{Change, Effect};
use crate::model::cloud::network::{Route, WorkerTable};
use crate::model::cloud::status::Status;
use crate::model::input::request::Snapshot;

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
    assert!(bench.reasons().contains(&Reason::NotACidr));
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
            .all(|(kind, _)| *kind == diff::Kind::Add),
        "{plan}"
    );
    bench.snapshot.missing.clear();
    let plan = bench.plan();
    assert!(
        kinds(&plan)
            .iter()
            .any(|(kind, _)| *kind == diff::Kind::Remove),
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
        (Action::Keep, Some(Duration::from_secs(6)))
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
    assert_eq!(bench.plan().action.name(), "DeleteStack");
    bench.stack().termination_protection = true;
    assert_eq!(bench.plan().action, Action::Protect(false));
}

#[test]
fn a_source_in_doubt_removes_nothing_however_empty_it_looks() {
    let stale = |bench: &mut Bench| bench.snapshot.stale = texts(&[("cluster", "401")]);
    let unsure = |bench: &mut Bench| bench.snapshot.unsure = ["cluster".to_owned()].into();
    let missing = |bench: &mut Bench| bench.snapshot.missing = texts(&[("cluster", "away")]);
    let doubts: [fn(&mut Bench); 3] = [stale, unsure, missing];
    for doubt in doubts {
        for on_empty in [OnEmpty::Keep, OnEmpty::Delete] {
            let mut bench = Bench::live(&[("dns", "8.8.8.8"), ("more", "9.9.9.9")]);
            bench.settings.on_empty = on_empty;
            bench.settings.max_removal = 10;
            bench.snapshot = Snapshot::default();
            doubt(&mut bench);
            assert_eq!(bench.plan().action, Action::Keep, "{on_empty:?}");
            bench.ask(&[("dns", "8.8.8.8")]);
            let plan = bench.plan();
            assert_eq!(plan.action, Action::Keep, "not one route: {plan}");
            bench.stack().status = Status::read("DELETE_FAILED");
            bench.snapshot.objects.clear();
            assert_eq!(bench.plan().action, Action::Refuse, "nor the rest");
        }
    }
}

#[test]
fn the_last_zones_stay_until_another_one_has_a_nat_gateway() {
    let mut bench = Bench::live(&[("dns", "8.8.8.8")]);
    let c = ("c".to_owned(), "172.31.66.0/28".parse().unwrap());
    bench.settings.zones = [c].into();
    bench.settings.remove_zones = ["a".to_owned(), "b".to_owned()].into();
    // The account has no room for zone c yet.
    bench.network.headroom.addresses = Some(0);
    let plan = bench.plan();
    assert_eq!(plan.action, Action::Keep, "{plan}");
    assert!(bench.reasons().contains(&Reason::ZoneKept));
    bench.network.headroom.addresses = None;
    let plan = bench.plan();
    assert!(matches!(plan.action, Action::Prepare(_)), "{plan}");
    let removes = |(kind, _): &(diff::Kind, String)| *kind == diff::Kind::Remove;
    assert!(!kinds(&plan).iter().any(removes), "{plan}");
    bench.settings.remove_zones.remove("b");
    let gone = (diff::Kind::Remove, "NATGatewaya".to_owned());
    assert!(kinds(&bench.plan()).contains(&gone));
}

#[test]
fn nothing_takes_a_static_ip_away_unless_it_is_allowed() {
    let mut bench = Bench::live(&[("dns", "8.8.8.8")]);
    bench.settings.zones.remove("b");
    assert_eq!(bench.plan().action, Action::Keep);
    assert!(bench.reasons().contains(&Reason::ZoneKept));
    bench.settings.remove_zones = ["a".to_owned(), "c".to_owned()].into();
    assert_eq!(bench.plan().action, Action::Keep, "another one is named");
    bench.settings.remove_zones = ["b".to_owned()].into();
    let plan = bench.plan();
    assert!(matches!(plan.action, Action::Prepare(_)), "{plan}");
    assert!(
        kinds(&plan).contains(&(diff::Kind::Remove, "EIPb".to_owned())),
        "{plan}"
    );
    assert!(!kinds(&plan).iter().any(|(_, id)| id == "EIPa"), "{plan}");

    let mut bench = Bench::live(&[("dns", "8.8.8.8")]);
    bench
        .settings
        .zones
        .insert("b".to_owned(), "172.31.65.0/28".parse().unwrap());
    assert_eq!(bench.plan().action, Action::Keep);
    assert!(bench.reasons().contains(&Reason::NatCidrKept));

    let mut bench = Bench::live(&[("dns", "8.8.8.8")]);
    bench.network.vpc_id = "vpc-2".to_owned();
    assert_eq!(bench.plan().action, Action::Refuse);
    assert!(bench.reasons().contains(&Reason::StackInAnotherVpc));
    // A change would also delete foreign resources in the stack.
    let mut bench = Bench::live(&[("dns", "8.8.8.8")]);
    let stack = bench.stack();
    let other = r#""Resources":{"Other":{"Type":"AWS::S3::Bucket"},"#;
    stack.template = stack.template.replacen(r#""Resources":{"#, other, 1);
    assert!(stack.template.contains("AWS::S3::Bucket"));
    bench.ask(&[("dns", "9.9.9.9")]);
    assert_eq!(bench.plan().action, Action::Refuse);
    assert!(bench.reasons().contains(&Reason::WouldLoseStaticIp));
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
    assert!(bench.reasons().contains(&Reason::WouldLoseStaticIp));
}

#[test]
fn a_table_that_lost_its_tag_keeps_its_routes() {
    let mut bench = Bench::live(&[("dns", "8.8.8.8"), ("more", "9.9.9.9")]);
    let table = bench.network.worker_tables.remove("rtb-b").unwrap();
    bench
        .network
        .other_tables
        .insert("rtb-b".to_owned(), Default::default());
    assert_eq!(bench.plan().action, Action::Keep);
    assert!(bench.reasons().contains(&Reason::RouteTableKept));
    bench.ask(&[("dns", "8.8.8.8")]);
    let plan = bench.plan();
    assert_eq!(
        plan.differences.len(),
        2,
        "an entry that is removed goes everywhere: {plan}"
    );
    bench.ask(&[("dns", "8.8.8.8"), ("more", "9.9.9.9")]);
    let (tables, others) = (
        bench.network.worker_tables.clone(),
        bench.network.other_tables.clone(),
    );
    for table in bench.network.other_tables.values_mut() {
        table.tags = texts(&[("AvailabilityZone", "none")]);
    }
    assert_eq!(
        bench.plan().differences.len(),
        2,
        "that is how to have them removed"
    );
    (bench.network.worker_tables, bench.network.other_tables) = (tables, others);
    bench.network.other_tables.clear();
    assert_eq!(
        bench.plan().differences.len(),
        2,
        "the table itself is gone"
    );
    bench.snapshot.missing = texts(&[("cluster", "away")]);
    let route = Route {
        target: "nat-a".to_owned(),
        blackhole: false,
    };
    let cidrs = ["8.8.8.8/32", "9.9.9.9/32"].map(|cidr| cidr.parse().unwrap());
    let worker = bench.network.worker_tables.get_mut("rtb-a").unwrap();
    worker
        .routes
        .extend(cidrs.map(|cidr| (cidr, route.clone())));
    let plan = bench.plan();
    assert_eq!(plan.action, Action::Keep, "nothing is removed now");
    assert!(plan.serves_all(), "a table that is gone lacks no route");
    bench.network.unproven.insert("rtb-b".to_owned());
    assert!(!bench.plan().serves_all(), "this one may be there");
    bench.network.unproven.clear();
    bench.snapshot.missing.clear();
    bench.network.worker_tables.insert(
        "rtb-b".to_owned(),
        WorkerTable {
            zone: "typo".to_owned(),
            ..table
        },
    );
    assert_eq!(bench.plan().action, Action::Keep);
    assert!(bench.reasons().contains(&Reason::RouteTableKept));
}

#[test]
fn what_stays_only_because_of_a_typo_is_told_and_adds_nothing() {
    let mut bench = Bench::live(&[("left", "9.9.8.0/25"), ("right", "9.9.8.128/25")]);
    let wide = "9.9.8.0/24".parse().unwrap();
    for table in bench.network.worker_tables.values_mut() {
        let target = "nat-1".to_owned();
        let route = crate::model::cloud::network::Route {
            target,
            blackhole: false,
        };
        table.routes.insert(wide, route);
    }
    bench.ask(&[("left", "9.9.8.0/25"), ("right", "9.9.8.128/2S")]);
    let plan = bench.plan();
    assert_eq!(plan.action, Action::Keep, "{plan}");
    assert!(bench.reasons().contains(&Reason::RemovalsFrozen));
    // The wide route is removed by hand and must not be added again: the readable entry gets a route of its own.
    let table = bench.network.worker_tables.get_mut("rtb-a").unwrap();
    table.routes.remove(&wide);
    let plan = bench.plan();
    let new: Vec<&str> = plan.differences.iter().map(|it| it.id.as_str()).collect();
    assert_eq!(new, ["RouteToNATrtbaz9x9x8x0y25"], "{plan}");
}

#[test]
fn what_others_have_put_on_a_resource_stays() {
    let mut bench = Bench::live(&[("dns", "8.8.8.8")]);
    let stack = bench.stack();
    let mut template: serde_json::Value = serde_json::from_str(&stack.template).unwrap();
    template["Resources"]["EIPa"]["DeletionPolicy"] = "Retain".into();
    let spelling = serde_json::json!({ "Fn::GetAtt": "EIPa.AllocationId" });
    template["Resources"]["NATGatewaya"]["Properties"]["AllocationId"] = spelling.clone();
    template["Resources"]["NATSubneta"]["DeletionPolicy"] = "Retain".into();
    template["Resources"]["NATSubneta"]["Properties"]["Tags"][0]["Value"] = "other".into();
    stack.template = template.to_string();
    bench.ask(&[("dns", "8.8.8.8"), ("more", "9.9.9.9")]);
    let plan = bench.plan();
    let Action::Prepare(made) = &plan.action else {
        panic!("{plan}")
    };
    let made: serde_json::Value = serde_json::from_str(&made.text).unwrap();
    let resources = &made["Resources"];
    assert_eq!(resources["EIPa"]["DeletionPolicy"], "Retain");
    assert_eq!(
        resources["NATGatewaya"]["Properties"]["AllocationId"],
        spelling
    );
    assert_eq!(
        resources["NATSubneta"]["DeletionPolicy"], "Retain",
        "though its tags change"
    );
    assert_eq!(
        resources["NATSubneta"]["Properties"]["Tags"][0]["Value"],
        "nat-a"
    );
}

#[test]
fn a_possible_replacement_counts_unless_what_it_hangs_on_stays() {
    let change = |id: &str, kind: &str, effect, on: &[&str]| Change {
        logical_id: id.to_owned(),
        resource_type: format!("AWS::EC2::{kind}"),
        effect,
        dynamic_on: on.iter().map(|id| (*id).to_owned()).collect(),
    };
    let eip = |effect| change("EIPa", "EIP", effect, &[]);
    let gateway = |on: &[&str]| change("NATGatewaya", "NatGateway", Effect::MayReplace, on);
    let stops = |changes: &[Change]| diff::unplanned(changes, &[], |_| false).is_some();
    assert!(
        !stops(&[eip(Effect::Tags), gateway(&["EIPa"])]),
        "its tags change"
    );
    assert!(stops(&[eip(Effect::MayReplace), gateway(&["EIPa"])]));
    assert!(stops(&[gateway(&["EIPa"])]), "nothing says that it stays");
    assert!(stops(&[eip(Effect::Tags), gateway(&[])]));
    // A property that changes in place was planned, or follows from a planned change.
    assert!(stops(&[eip(Effect::Modify)]));
    let route = |on: &[&str]| change("RouteX", "Route", Effect::Modify, on);
    assert!(stops(&[route(&[])]));
    assert!(stops(&[route(&["NATGatewaya"])]), "that does not change");
    let tagged = [
        eip(Effect::Tags),
        gateway(&["EIPa"]),
        route(&["NATGatewaya"]),
    ];
    assert!(!stops(&tagged));
}
