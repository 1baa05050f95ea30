//! The drift for which a change set with REVERT_DRIFT is made.

use std::collections::BTreeMap;

use ipnet::Ipv4Net;

use super::repair_tests::{Scene, dns, leads_to, lose_gateway, resources, text};
use super::*;
use crate::model::base::reason::Reason;
use crate::model::cloud::live::Effect;
use crate::model::cloud::network::Route;

#[test]
fn what_only_changes_the_record_does_no_harm_and_repairs_nothing() {
    let mut scene = Scene::new();
    lose_gateway(&mut scene);
    let Action::Revert(template) = scene.plan().action else {
        panic!("{}", scene.plan());
    };
    let gateway = ("NATGatewaya", "NatGateway", Effect::Add);
    let recorded = ("EIPa", "EIP", Effect::Record);
    scene.change_set(&template, &[gateway, recorded]);
    let plan = scene.plan();
    assert!(matches!(plan.action, Action::Execute { .. }), "{plan}");
    scene.change_set(&template, &[("NATGatewaya", "NatGateway", Effect::Record)]);
    let plan = scene.plan();
    assert!(matches!(plan.action, Action::Discard { .. }), "{plan}");
}

#[test]
fn what_no_change_set_can_revert_is_made_anew_at_once() {
    let mut unassociated = Scene::new();
    unassociated.bench.network.associations.remove("subnet-b");
    let mut moved = Scene::new();
    let gateway = moved.seen.gateways.get_mut("nat-b").unwrap();
    gateway.public_ip = Some(text("ip-of-others"));
    moved.seen.addresses.get_mut("ip-b").unwrap().held_by = None;
    for (mut scene, new) in [
        (unassociated, "NATSubnetRouteTableAssociationbAnew1"),
        (moved, "NATGatewaybAnew1"),
    ] {
        let plan = scene.plan();
        assert_eq!(plan.action, Action::Keep, "EC2 may show it late: {plan}");
        let plan = scene.plan();
        let Action::Prepare(template) = &plan.action else {
            panic!("{plan}");
        };
        assert!(resources(template).contains(&text(new)), "{plan}");
    }
}

/// A change set that adds a route to a full table is rolled back.
#[test]
fn a_lost_route_waits_for_room_in_its_table() {
    let mut scene = Scene::new();
    scene.bench.settings.route_table_quota = Some(5);
    fn table(scene: &mut Scene) -> &mut BTreeMap<Ipv4Net, Route> {
        &mut scene
            .bench
            .network
            .worker_tables
            .get_mut("rtb-a")
            .unwrap()
            .routes
    }
    table(&mut scene).remove(&dns());
    let Action::Revert(template) = scene.plan().action else {
        panic!("{}", scene.plan());
    };
    let route = template::route_name("rtb-a", dns());
    scene.change_set(&template, &[(&route, "Route", Effect::Add)]);
    assert!(matches!(scene.plan().action, Action::Execute { .. }));
    // Others fill the table before the change set is executed.
    let others = (0..5).map(|n| format!("192.168.{n}.0/24").parse().unwrap());
    let others: Vec<Ipv4Net> = others.take(5 - table(&mut scene).len()).collect();
    table(&mut scene).extend(others.iter().map(|cidr| (*cidr, leads_to("tgw-1"))));
    let plan = scene.plan();
    assert!(matches!(plan.action, Action::Discard { .. }), "{plan}");
    scene.bench.stack().change_sets.clear();
    for _ in 0..3 {
        let plan = scene.plan();
        assert_eq!(plan.action, Action::Keep, "{plan}");
        let mut problems = plan.problems.iter();
        let told = problems.find(|problem| problem.reason == Reason::RouteMissing);
        let told = told.expect("the drift").message();
        assert!(
            told.contains("once there is room") && told.contains("takes 5"),
            "{told}"
        );
    }
    table(&mut scene).remove(&others[0]);
    let plan = scene.plan();
    assert!(matches!(plan.action, Action::Revert(_)), "{plan}");
}
