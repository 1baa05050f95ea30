//! Zones whose NAT gateway does not exist, and other zones that are not affected.

use std::collections::BTreeSet;
use std::time::Duration;

use super::repair_tests::{Scene, dns, leads_to, lose_gateway, resources, text};
use super::*;
use crate::model::base::reason::Reason;
use crate::model::base::settings::OnDrift;
use crate::model::cloud::live::{Effect, Failed};
use crate::model::cloud::status::Status;
use crate::model::drift::Drift;
use crate::model::drift::tracker::{MAX_REPAIRS, Watch};
use crate::model::plan::refusals::Refusals;

/// EC2 refuses a route to a gateway that does not exist, and would fail the whole change.
#[test]
fn a_zone_that_cannot_be_repaired_holds_up_no_other() {
    let at_rest = |mut scene: Scene| {
        scene.bench.settings.drift = OnDrift::Report;
        scene
    };
    // No route is removed that could not be added again.
    let retarget = |scene: &mut Scene| {
        let worker = scene.bench.network.worker_tables.get_mut("rtb-a").unwrap();
        worker.routes.insert(dns(), leads_to("pcx-1"));
    };
    let mut lost = Scene::new();
    lose_gateway(&mut lost);
    lost.seen.addresses.remove("ip-a");
    retarget(&mut lost);
    lost.tried_to_recover(4);
    let mut spent = Scene::new();
    lose_gateway(&mut spent);
    spent.plan_after(MAX_REPAIRS);
    let mut told = Scene::new();
    lose_gateway(&mut told);
    for mut scene in [lost, spent, at_rest(told)] {
        retarget(&mut scene);
        scene
            .bench
            .ask(&[("dns", "8.8.8.8/31"), ("other", "9.9.9.9")]);
        scene.plan();
        let plan = scene.plan();
        let Action::Prepare(template) = &plan.action else {
            panic!("{plan}");
        };
        let ids = resources(template);
        assert!(
            ids.contains(&text("RouteToNATrtbbz9x9x9x9y32")),
            "{ids:?} {plan}"
        );
        assert!(ids.contains(&text("RouteToNATrtbbz8x8x8x8y31")));
        assert!(ids.contains(&text("RouteToNATrtbaz8x8x8x8y32")), "{ids:?}");
        assert!(
            !ids.iter()
                .any(|id| id.contains("rtbaz9") || id.contains("rtbaz8x8x8x8y31"))
        );
        assert!(!ids.contains(&text("RouteToNATrtbbz8x8x8x8y32")));
    }
    // Without readings of the gateways, the state of the routes decides.
    let mut scene = Scene::new();
    scene.bench.settings.drift = OnDrift::Off;
    let worker = scene.bench.network.worker_tables.get_mut("rtb-a").unwrap();
    worker.routes.get_mut(&dns()).unwrap().blackhole = true;
    scene.bench.ask(&[("dns", "8.8.8.8"), ("other", "9.9.9.9")]);
    scene.bench.watch = Watch::new(None);
    let Action::Prepare(template) = scene.bench.plan().action else {
        panic!("{}", scene.bench.plan());
    };
    let ids = resources(&template);
    assert!(ids.contains(&text("RouteToNATrtbbz9x9x9x9y32")));
    assert!(!ids.contains(&text("RouteToNATrtbaz9x9x9x9y32")));
}

/// CloudFormation would turn the route to the new gateway, and fail since EC2 lacks the route.
#[test]
fn a_route_that_is_gone_and_not_wanted_is_no_obstacle_to_its_gateway() {
    let mut scene = Scene::new();
    lose_gateway(&mut scene);
    let worker = scene.bench.network.worker_tables.get_mut("rtb-a").unwrap();
    worker.routes.remove(&dns());
    scene.bench.ask(&[("other", "9.9.9.9")]);
    let Action::Prepare(template) = scene.plan_after(1).action else {
        panic!("{}", scene.plan());
    };
    let ids = resources(&template);
    assert!(ids.contains(&text("NATGatewayaAnew1")));
    assert!(
        !ids.contains(&text("RouteToNATrtbaz8x8x8x8y32"))
            && ids.contains(&text("RouteToNATrtbbz8x8x8x8y32"))
    );
}

/// A route of a deleted table cannot be turned to the new gateway, and CloudFormation cannot restore it.
#[test]
fn a_deleted_table_is_no_obstacle_to_its_gateway() {
    let mut scene = Scene::new();
    lose_gateway(&mut scene);
    scene.bench.network.worker_tables.remove("rtb-a");
    scene.plan();
    let plan = scene.plan();
    let Action::Prepare(template) = &plan.action else {
        panic!("{plan}");
    };
    let ids = resources(template);
    assert!(ids.contains(&text("NATGatewayaAnew1")), "{ids:?}");
    assert!(
        !ids.iter().any(|id| id.contains("rtba"))
            && ids.contains(&text("RouteToNATrtbbz8x8x8x8y32")),
        "{ids:?}"
    );
    // EC2 does not confirm that the table is deleted.
    scene.bench.network.unproven.insert(text("rtb-a"));
    let plan = scene.plan_after(1);
    let Action::Prepare(template) = &plan.action else {
        panic!("{plan}");
    };
    assert!(resources(template).contains(&text("RouteToNATrtbaz8x8x8x8y32")));
}

#[test]
fn a_repair_counts_where_it_is_tried() {
    let mut scene = Scene::new();
    lose_gateway(&mut scene);
    let Action::Prepare(template) = scene.plan_after(1).action else {
        panic!("{}", scene.plan());
    };
    let renamed = [
        ("NATGatewayaAnew1", "NatGateway", Effect::Add),
        ("NATGatewaya", "NatGateway", Effect::Remove),
        ("RouteToNATrtbaz8x8x8x8y32", "Route", Effect::Modify),
    ];
    scene.change_set(&template, &renamed);
    // By now there is other drift that the change set does not repair.
    scene.bench.network.associations.remove("subnet-b");
    let mut keys: Vec<String> = scene.plan().drifts.iter().map(Drift::key).collect();
    assert_eq!(keys.len(), 2, "{keys:?}");
    keys.retain(|key| key.contains("Association"));
    scene.bench.watch.tried(&keys);
    let plan = scene.plan();
    assert!(matches!(plan.action, Action::Execute { .. }), "{plan}");
    assert_eq!(plan.repairs, ["NATGatewaya NatGatewayGone is gone"]);
}

/// The gateway is deleted between plan and change: AWS refuses the zone's route because of the gateway, not because of the network.
#[test]
fn a_route_that_was_refused_for_its_gateway_waits_only_for_another_gateway() {
    let mut scene = Scene::new();
    lose_gateway(&mut scene);
    scene.bench.settings.drift = OnDrift::Report;
    scene.bench.ask(&[("dns", "8.8.8.8"), ("other", "9.9.9.9")]);
    let stack = scene.bench.stack();
    stack.status = Status::read("UPDATE_ROLLBACK_COMPLETE");
    let failed = Failed {
        reason: text("The natGateway ID 'nat-a' does not exist"),
        table_is_full: false,
    };
    stack.failed = [(text("RouteToNATrtbaz9x9x9x9y32"), failed)].into();
    let mut refusals = Refusals::default();
    let other: ipnet::Ipv4Net = "9.9.9.9/32".parse().unwrap();
    let routes = [(text("rtb-a"), other), (text("rtb-b"), other)];
    refusals.tries(&routes.into());
    let now = Duration::from_secs(9);
    assert!(refusals.note(&scene.plan().failure, now, 0.5));
    // The next leader knows it as well.
    let mut next = Refusals::default();
    next.recall(&refusals.kept(Duration::ZERO), Duration::ZERO, now);
    let adds = |plan: &Plan| {
        let added = plan.differences.iter().map(|it| it.id.clone());
        added.collect::<BTreeSet<String>>()
    };
    let [a, b] = ["RouteToNATrtbaz9x9x9x9y32", "RouteToNATrtbbz9x9x9x9y32"].map(text);
    for refusals in [refusals, next] {
        let mut scene = Scene::new();
        lose_gateway(&mut scene);
        scene.bench.settings.drift = OnDrift::Report;
        scene.bench.ask(&[("dns", "8.8.8.8"), ("other", "9.9.9.9")]);
        scene.bench.network.headroom.refused = refusals.set_aside(now);
        let plan = scene.plan();
        assert_eq!(adds(&plan), BTreeSet::from([b.clone()]), "{plan}");
        // An answer of EC2 that shows the same gateway again proves nothing.
        scene.seen.gateways = Scene::new().seen.gateways;
        let plan = scene.plan();
        assert_eq!(adds(&plan), BTreeSet::from([b.clone()]), "{plan}");
        let gateway = scene.seen.gateways.remove("nat-a").unwrap();
        scene.seen.gateways.insert(text("nat-a9"), gateway);
        scene.seen.ids.insert(text("NATGatewaya"), text("nat-a9"));
        let plan = scene.plan();
        assert_eq!(
            adds(&plan),
            BTreeSet::from([a.clone(), b.clone()]),
            "{plan}"
        );
        let told = |it: &Problem| it.reason == Reason::RouteRefused;
        assert!(!plan.problems.iter().any(told), "{plan}");
    }
}

/// A drift that cannot be repaired fails the whole change.
#[test]
fn the_last_repair_of_a_zone_is_tried_apart_from_other_zones() {
    let mut scene = Scene::new();
    lose_gateway(&mut scene);
    let worker = scene.bench.network.worker_tables.get_mut("rtb-b").unwrap();
    worker.routes.remove(&dns());
    let repairs = |plan: &Plan| {
        let Action::Prepare(template) = &plan.action else {
            panic!("{plan}");
        };
        let ids = resources(template);
        let renewed = ids.contains(&text("NATGatewayaAnew1"));
        (renewed, !ids.contains(&text("RouteToNATrtbbz8x8x8x8y32")))
    };
    assert_eq!(repairs(&scene.plan_after(1)), (true, true));
    let keys: Vec<String> = scene.plan().drifts.iter().map(Drift::key).collect();
    scene.bench.watch.tried(&keys);
    assert_eq!(repairs(&scene.plan()), (true, false));
    let of_a = |plan: &Plan| {
        let drifts = plan.drifts.iter();
        let drifts = drifts.filter(|drift| !drift.id.contains("rtbb"));
        drifts.map(Drift::key).collect::<Vec<_>>()
    };
    let keys = of_a(&scene.plan());
    scene.bench.watch.tried(&keys);
    assert_eq!(repairs(&scene.plan()), (false, true));
}

/// A change of a resource that does not exist would fail, too.
#[test]
fn nothing_of_a_zone_that_cannot_be_repaired_is_changed() {
    let mut scene = Scene::new();
    lose_gateway(&mut scene);
    scene.seen.subnets.remove("subnet-a");
    scene.plan_after(MAX_REPAIRS);
    // The tags are missing by mistake, or after the first half of a repair.
    let tags = ",\"Tags\":[{\"Key\":\"Name\",\"Value\":\"nat-a\"}]";
    let stack = scene.bench.stack();
    assert!(stack.template.contains(tags), "{}", stack.template);
    stack.template = stack.template.replace(tags, "");
    scene.plan();
    assert_eq!(scene.plan().action, Action::Keep);
    scene.bench.ask(&[("dns", "8.8.8.8"), ("other", "9.9.9.9")]);
    let plan = scene.plan();
    let ids: Vec<&str> = plan.differences.iter().map(|it| it.id.as_str()).collect();
    assert_eq!(ids, ["RouteToNATrtbbz9x9x9x9y32"], "{plan}");
}

#[test]
fn a_nat_subnet_with_another_route_to_the_internet_holds_up_nobody() {
    let mut scene = Scene::new();
    let stack = scene.bench.stack();
    let mut template: serde_json::Value = serde_json::from_str(&stack.template).unwrap();
    let resources = template["Resources"].as_object_mut().unwrap();
    resources.remove("NATSubnetRoutea").unwrap();
    stack.template = template.to_string();
    let lead = |scene: &mut Scene, target: Option<&str>| {
        let tables = &mut scene.bench.network.other_tables;
        let routes = &mut tables.get_mut("rtb-nat-a").unwrap().routes;
        routes.clear();
        routes.extend(target.map(|target| (ipnet::Ipv4Net::default(), leads_to(target))));
    };
    lead(&mut scene, Some("vpce-1"));
    scene.bench.ask(&[("dns", "8.8.8.8"), ("other", "9.9.9.9")]);
    let adds = |plan: &Plan| {
        let added = plan.differences.iter().map(|it| it.id.clone());
        added.collect::<BTreeSet<String>>()
    };
    let plan = scene.plan();
    let routes = ["RouteToNATrtbaz9x9x9x9y32", "RouteToNATrtbbz9x9x9x9y32"].map(text);
    assert_eq!(adds(&plan), BTreeSet::from(routes), "{plan}");
    let told = |problem: &&Problem| {
        let subject = Subject::RouteTable(text("rtb-nat-a"));
        problem.subject == subject && problem.reason == Reason::RouteExists
    };
    let told = plan.problems.iter().find(told).expect("it is told");
    assert!(told.message().contains("vpce-1"), "{}", told.message());
    lead(&mut scene, None);
    assert!(adds(&scene.plan()).contains("NATSubnetRoutea"));
}
