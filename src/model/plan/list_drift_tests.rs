//! The drift of network lists and of routes to them, and its repair.

use std::collections::BTreeSet;
use std::time::Duration;

use ipnet::Ipv4Net;

use super::list_tests::{lists_of, names};
use super::repair_tests::{Scene, dns, leads_to, lose_gateway, release, resources, text, told};
use super::tests::{Bench, stack_of};
use super::*;
use crate::model::base::settings::{OnDrift, PrefixLists};
use crate::model::cloud::live::Failed;
use crate::model::cloud::prefix_list::{ListState, PrefixList};
use crate::model::cloud::status::Status;
use crate::model::desired::template::Template;
use crate::model::drift::tracker::MAX_REPAIRS;
use crate::model::plan::refusals::Refusals;

/// Returns a stack with one list, and an EC2 that matches it.
fn listed() -> Scene {
    let mut scene = Scene::new();
    let mut fresh = Bench::new(&[("dns", "8.8.8.8")]);
    fresh.settings.prefix_lists = PrefixLists::Always;
    let Action::Create(template) = fresh.plan().action else {
        panic!("{}", fresh.plan());
    };
    scene.bench.live = Live::Ours(Box::new(stack_of(&template)));
    scene.bench.settings.prefix_lists = PrefixLists::Always;
    show(&mut scene, "NetworkList01", "pl-1");
    for table in scene.bench.network.worker_tables.values_mut() {
        table.routes.remove(&dns());
        table.listed = 100;
    }
    let plan = scene.plan();
    assert_eq!((plan.action, plan.drifts), (Action::Keep, vec![]));
    scene
}

/// Lets EC2 show a list with the network, and a route to the list in each table.
fn show(scene: &mut Scene, logical: &str, physical: &str) {
    scene.seen.ids.insert(text(logical), text(physical));
    let list = PrefixList {
        max_entries: 100,
        entries: BTreeSet::from([dns()]),
        ..PrefixList::default()
    };
    scene.seen.lists.insert(text(physical), list);
    for table in scene.bench.network.worker_tables.values_mut() {
        let route = leads_to(&format!("nat-{}", table.zone));
        table.list_routes.insert(text(physical), route);
    }
}

/// Lets EC2 show neither lists nor routes to them.
fn lose_lists(scene: &mut Scene) {
    scene.seen.lists.clear();
    for table in scene.bench.network.worker_tables.values_mut() {
        table.list_routes.clear();
        table.listed = 0;
    }
}

/// Lets EC2 show neither lists nor routes to them, after each of all repairs.
fn lose_for_good(scene: &mut Scene) {
    lose_lists(scene);
    let plan = scene.plan_after(MAX_REPAIRS);
    assert_eq!(plan.action, Action::Keep, "{plan}");
    assert_eq!(
        told(&plan),
        [Reason::DriftRepairFailed, Reason::PrefixListChanged]
    );
}

/// Returns the next change of the stack.
fn next(scene: &mut Scene) -> Template {
    match scene.plan() {
        Plan {
            action: Action::Prepare(template),
            ..
        } => template,
        plan => panic!("{plan}"),
    }
}

/// Returns the entries of a template's lists.
fn entries(template: &Template) -> Vec<(String, Vec<String>)> {
    let lists = lists_of(template).unwrap().into_iter();
    let nets = |nets: BTreeSet<Ipv4Net>| nets.iter().map(Ipv4Net::to_string).collect();
    lists.map(|(id, list)| (id, nets(list.entries))).collect()
}

fn route(scene: &mut Scene) -> &mut crate::model::cloud::network::Route {
    let table = scene.bench.network.worker_tables.get_mut("rtb-a").unwrap();
    table.list_routes.get_mut("pl-1").unwrap()
}

fn list(scene: &mut Scene) -> &mut PrefixList {
    scene.seen.lists.get_mut("pl-1").unwrap()
}

/// AWS refuses a route to a list because the zone's gateway was deleted meanwhile: only that table waits, until there is another gateway.
#[test]
fn a_gateway_that_is_gone_is_no_failure_of_a_list() {
    let mut scene = listed();
    scene.bench.settings.drift = OnDrift::Report;
    let ids = names(&scene.bench).list_routes;
    let (id, _) = ids.iter().find(|(_, (of, _))| of == "rtb-a").unwrap();
    let failed = Failed {
        reason: text("The natGateway ID 'nat-a' does not exist"),
        table_is_full: false,
    };
    let stack = scene.bench.stack();
    stack.status = Status::read("UPDATE_ROLLBACK_COMPLETE");
    stack.failed = [(id.clone(), failed)].into();
    let plan = scene.plan();
    assert!(plan.failure.failed && !plan.failure.unexplained);
    let gateways = [((text("rtb-a"), None), text("nat-a"))];
    assert_eq!(plan.failure.gateways, gateways.into());
    let mut refusals = Refusals::default();
    let other: Ipv4Net = "9.9.9.9/32".parse().unwrap();
    let routes = [(text("rtb-a"), other), (text("rtb-b"), other)];
    refusals.tries(&routes.into());
    assert!(refusals.note(&plan.failure, Duration::ZERO, 0.5));
    scene.bench.network.headroom.refused = refusals.set_aside(Duration::ZERO);
    scene.bench.ask(&[("dns", "8.8.8.8"), ("other", "9.9.9.9")]);
    let lacks = |plan: &Plan| {
        let has = |table: &&str| plan.desired.routes.contains(&(text(table), other));
        ["rtb-a", "rtb-b"].into_iter().find(|table| !has(table))
    };
    assert_eq!(lacks(&scene.plan()), Some("rtb-a"));
    scene.seen.ids.insert(text("NATGatewaya"), text("nat-a9"));
    assert_eq!(lacks(&scene.plan()), None);
}

#[test]
fn each_drift_of_lists_has_its_reason() {
    type Harm = fn(&mut Scene);
    let cases: [(Harm, Reason); 7] = [
        (|s| list(s).entries.clear(), Reason::PrefixListChanged),
        (|s| list(s).max_entries = 200, Reason::PrefixListChanged),
        (
            |s| list(s).state = ListState::Failed(text("x")),
            Reason::PrefixListChanged,
        ),
        (|s| s.seen.lists.clear(), Reason::PrefixListChanged),
        (
            |s| {
                let table = s.bench.network.worker_tables.get_mut("rtb-a");
                table.unwrap().list_routes.clear();
            },
            Reason::RouteMissing,
        ),
        (|s| route(s).target = text("nat-b"), Reason::RouteRetargeted),
        (|s| route(s).blackhole = true, Reason::RouteBlackhole),
    ];
    for (harm, reason) in cases {
        let mut scene = listed();
        harm(&mut scene);
        let plan = scene.plan();
        assert_eq!(told(&plan), [reason], "{plan}");
        let is_failed = list(&mut listed()).clone();
        let by_hand = scene
            .seen
            .lists
            .get("pl-1")
            .is_some_and(|it| it.state != is_failed.state);
        let reverts = matches!(plan.action, Action::Revert(_));
        assert_eq!(reverts, !by_hand, "{plan}");
    }
    // A change in progress, or an absence that EC2 does not confirm, proves nothing.
    let mut scene = listed();
    list(&mut scene).entries.clear();
    list(&mut scene).state = ListState::InProgress;
    assert_eq!(told(&scene.plan()), []);
    scene.seen.lists.clear();
    scene.seen.unproven.insert(text("pl-1"));
    assert_eq!(scene.plan().action, Action::Keep);
}

#[test]
fn a_list_whose_reversion_aws_refuses_holds_up_nothing() {
    let mut scene = listed();
    list(&mut scene).max_entries = 200;
    for _ in 0..MAX_REPAIRS {
        let plan = scene.plan();
        assert!(matches!(plan.action, Action::Revert(_)), "{plan}");
        let keys = plan.not_reverted(&scene.bench.watch);
        scene.bench.watch.tried(&keys);
    }
    let plan = scene.plan();
    assert_eq!(plan.action, Action::Keep, "{plan}");
    scene.bench.ask(&[("dns", "8.8.8.8"), ("other", "9.9.9.9")]);
    let second = (text("NetworkList02"), vec![text("9.9.9.9/32")]);
    assert_eq!(entries(&next(&mut scene))[1], second);
}

#[test]
fn a_route_to_a_list_is_taken_out_and_put_back() {
    let mut scene = listed();
    let table = scene.bench.network.worker_tables.get_mut("rtb-a");
    table.unwrap().list_routes.clear();
    let Action::Prepare(template) = scene.plan_after(1).action else {
        panic!("{}", scene.plan());
    };
    let has = resources(&template);
    assert!(!has.contains(&text("RouteToNATrtbazNetworkList01")));
    assert!(
        has.contains(&text("NetworkList01")) && has.contains(&text("RouteToNATrtbbzNetworkList01"))
    );
    scene.bench.stack().template = template.text;
    let plan = scene.plan();
    let added: Vec<&str> = plan.differences.iter().map(|it| it.id.as_str()).collect();
    assert_eq!(added, ["RouteToNATrtbazNetworkList01"], "{plan}");
    assert!(matches!(plan.action, Action::Prepare(_)), "{plan}");
}

#[test]
fn a_list_that_is_gone_is_made_again() {
    let mut scene = listed();
    lose_lists(&mut scene);
    let Action::Prepare(template) = scene.plan_after(1).action else {
        panic!("{}", scene.plan());
    };
    let has = resources(&template);
    assert!(has.contains(&text("NetworkList01Anew1")) && !has.contains(&text("NetworkList01")));
    scene.bench.stack().template = template.text;
    show(&mut scene, "NetworkList01Anew1", "pl-2");
    let plan = scene.plan();
    assert_eq!((plan.action, plan.drifts), (Action::Keep, vec![]));
}

/// The static IP of a zone is lost for good, so no route to its gateway can be created.
#[test]
fn a_list_is_made_again_although_a_zone_has_no_gateway() {
    type Harm = fn(&mut Scene);
    let harms: [Harm; 2] = [lose_lists, |s| list(s).entries.clear()];
    for harm in harms {
        let mut scene = listed();
        release(&mut scene, "a");
        route(&mut scene).blackhole = true;
        scene.tried_to_recover(4);
        harm(&mut scene);
        let Action::Prepare(template) = scene.plan_after(1).action else {
            panic!("{}", scene.plan());
        };
        let has = resources(&template);
        let lists = has.iter().filter(|id| id.starts_with("NetworkList"));
        assert_eq!(lists.collect::<Vec<_>>(), ["NetworkList01Anew1"]);
        let routes = has.iter().filter(|id| id.ends_with("zNetworkList01"));
        assert_eq!(routes.collect::<Vec<_>>(), ["RouteToNATrtbbzNetworkList01"]);
        scene.bench.stack().template = template.text;
        let plan = scene.plan();
        assert!(!matches!(plan.action, Action::Prepare(_)), "{plan}");
    }
}

/// The same change gives the zone a new static IP, and with it another NAT gateway.
#[test]
fn a_list_keeps_its_route_to_a_gateway_that_the_same_change_creates() {
    let mut scene = listed();
    release(&mut scene, "a");
    route(&mut scene).blackhole = true;
    scene.allow_new_eips();
    scene.tried_to_recover(4);
    lose_lists(&mut scene);
    let Action::Prepare(template) = scene.plan_after(1).action else {
        panic!("{}", scene.plan());
    };
    let has = resources(&template);
    for id in [
        "EIPaAnew1",
        "NetworkList01Anew1",
        "RouteToNATrtbazNetworkList01",
        "RouteToNATrtbbzNetworkList01",
    ] {
        assert!(has.contains(&text(id)), "{id}: {has:?}");
    }
}

#[test]
fn a_list_that_somebody_deletes_again_and_again_takes_no_new_networks() {
    let first = (text("NetworkList01"), vec![text("8.8.8.8/32")]);
    let second = (text("NetworkList02"), vec![text("9.9.9.9/32")]);
    let both = [("dns", "8.8.8.8"), ("other", "9.9.9.9")];
    let mut scene = listed();
    lose_for_good(&mut scene);
    scene.bench.ask(&both);
    assert_eq!(entries(&next(&mut scene)), [first.clone(), second.clone()]);

    // The same list without a repair.
    let mut scene = listed();
    scene.bench.settings.drift = OnDrift::Report;
    lose_lists(&mut scene);
    scene.bench.ask(&both);
    assert_eq!(entries(&next(&mut scene)), [first.clone(), second.clone()]);

    // The list exists, and one of its routes is deleted again and again.
    let mut scene = listed();
    let table = scene.bench.network.worker_tables.get_mut("rtb-a").unwrap();
    table.list_routes.clear();
    let plan = scene.plan_after(MAX_REPAIRS);
    assert_eq!(plan.action, Action::Keep, "{plan}");
    scene.bench.ask(&both);
    assert_eq!(entries(&next(&mut scene)), [first, second]);
    // The route is back.
    show(&mut scene, "NetworkList01", "pl-1");
    let nets = vec![text("8.8.8.8/32"), text("9.9.9.9/32")];
    assert_eq!(entries(&next(&mut scene)), [(text("NetworkList01"), nets)]);
}

/// CloudFormation cannot change a list that EC2 no longer has.
#[test]
fn a_list_that_is_gone_is_made_again_by_the_next_change_of_it() {
    let mut scene = listed();
    scene.bench.ask(&[("dns", "8.8.8.8"), ("other", "9.9.9.9")]);
    let template = next(&mut scene);
    scene.bench.stack().template = template.text;
    list(&mut scene)
        .entries
        .insert("9.9.9.9/32".parse().unwrap());
    lose_for_good(&mut scene);
    scene.bench.ask(&[("dns", "8.8.8.8")]);
    scene.bench.settings.route_table_quota = Some(100);
    assert_eq!(scene.plan().action, Action::Keep, "no room for the list");
    scene.bench.settings.route_table_quota = None;
    let template = next(&mut scene);
    let renewed = (text("NetworkList01Anew1"), vec![text("8.8.8.8/32")]);
    assert_eq!(entries(&template), [renewed]);
    let has = resources(&template);
    assert!(has.contains(&text("RouteToNATrtbazNetworkList01Anew1")));
    assert!(!has.contains(&text("RouteToNATrtbazNetworkList01")));

    // A new table needs a route to the list.
    let mut scene = listed();
    lose_for_good(&mut scene);
    let tables = &mut scene.bench.network.worker_tables;
    let table = tables["rtb-a"].clone();
    tables.insert(text("rtb-c"), table);
    let has = resources(&next(&mut scene));
    assert!(has.contains(&text("RouteToNATrtbczNetworkList01Anew1")));

    // Nobody requests its networks any more.
    let mut scene = listed();
    lose_for_good(&mut scene);
    scene.bench.ask(&[("other", "9.9.9.9")]);
    let second = (text("NetworkList02"), vec![text("9.9.9.9/32")]);
    assert_eq!(entries(&next(&mut scene)), [second]);
}

/// A change of the NAT gateway would fail to turn the routes to the list.
#[test]
fn a_list_that_is_gone_is_made_again_with_the_gateway_of_its_routes() {
    let mut scene = listed();
    lose_for_good(&mut scene);
    lose_gateway(&mut scene);
    let Action::Prepare(template) = scene.plan_after(1).action else {
        panic!("{}", scene.plan());
    };
    let has = resources(&template);
    assert!(has.contains(&text("NATGatewayaAnew1")) && has.contains(&text("NetworkList01Anew1")));
}

#[test]
fn a_list_that_is_gone_keeps_its_room_until_its_repair_is_given_up() {
    let mut scene = listed();
    scene.bench.settings.route_table_quota = Some(102);
    scene.bench.settings.drift = OnDrift::Report;
    lose_lists(&mut scene);
    scene.bench.ask(&[("dns", "8.8.8.8"), ("one", "9.9.9.9")]);
    let template = next(&mut scene);
    assert_eq!(entries(&template).len(), 1);
    assert!(resources(&template).contains(&text("RouteToNATrtbaz9x9x9x9y32")));
    let three = [("dns", "8.8.8.8"), ("one", "9.9.9.9"), ("two", "9.9.9.7")];
    scene.bench.ask(&three);
    let plan = scene.plan();
    assert!(told(&plan).contains(&Reason::LimitReached), "{plan}");

    scene.bench.settings.drift = OnDrift::Repair;
    scene.bench.ask(&[("dns", "8.8.8.8")]);
    lose_for_good(&mut scene);
    scene.bench.ask(&three);
    let plan = scene.plan();
    assert!(!told(&plan).contains(&Reason::LimitReached), "{plan}");
}
