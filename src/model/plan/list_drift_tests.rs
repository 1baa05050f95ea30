//! The drift of network lists and of routes to them, and its repair.

use std::collections::BTreeSet;

use super::repair_tests::{Scene, dns, leads_to, release, resources, text, told};
use super::tests::{Bench, stack_of};
use super::*;
use crate::model::base::settings::PrefixLists;
use crate::model::cloud::prefix_list::{ListState, PrefixList};

/// Returns a stack with one list, and an EC2 that matches it.
fn listed() -> Scene {
    let mut scene = Scene::new();
    let mut fresh = Bench::new(&[("dns", "8.8.8.8")]);
    fresh.settings.prefix_lists = PrefixLists::Always;
    let Action::Create(template) = fresh.plan().action else {
        panic!("{}", fresh.plan());
    };
    scene.bench.live = Live::Ours(Box::new(stack_of(&template)));
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
    }
}

fn route(scene: &mut Scene) -> &mut crate::model::cloud::network::Route {
    let table = scene.bench.network.worker_tables.get_mut("rtb-a").unwrap();
    table.list_routes.get_mut("pl-1").unwrap()
}

fn list(scene: &mut Scene) -> &mut PrefixList {
    scene.seen.lists.get_mut("pl-1").unwrap()
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
