//! The drift for which a change set with REVERT_DRIFT is made.

use super::repair_tests::{Scene, lose_gateway, resources, text};
use super::*;
use crate::model::cloud::live::Effect;

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
