//! No static IP goes back to AWS with the stack or its zone.

use super::tests::Bench;
use super::*;
use crate::model::base::settings::OnEmpty;
use crate::model::cloud::retention::is_retained;

/// Returns a stack of two zones, as it was created before EIPs were retained.
fn of_before() -> Bench {
    let mut bench = Bench::live(&[("dns", "8.8.8.8")]);
    let stack = bench.stack();
    let mut text: serde_json::Value = serde_json::from_str(&stack.template).unwrap();
    for id in ["EIPa", "EIPb"] {
        let body = text["Resources"][id].as_object_mut().unwrap();
        assert!(body.remove("DeletionPolicy").is_some());
        assert!(body.remove("UpdateReplacePolicy").is_some());
    }
    stack.template = text.to_string();
    bench
}

/// Returns the resources of the template that the plan prepares.
fn prepared(plan: &Plan) -> serde_json::Value {
    let Action::Prepare(template) = &plan.action else {
        panic!("{plan}");
    };
    let text: serde_json::Value = serde_json::from_str(&template.text).unwrap();
    text["Resources"].clone()
}

#[test]
fn a_stack_that_differs_in_nothing_else_is_not_changed() {
    assert_eq!(of_before().plan().action, Action::Keep);
}

#[test]
fn the_next_change_brings_the_attributes() {
    let mut bench = of_before();
    bench.ask(&[("dns", "8.8.8.8"), ("more", "9.9.9.9")]);
    let plan = bench.plan();
    let resources = prepared(&plan);
    assert!(is_retained(&resources["EIPa"]) && is_retained(&resources["EIPb"]));
    assert!(
        plan.differences
            .iter()
            .all(|it| it.resource_type != "AWS::EC2::EIP")
    );
}

#[test]
fn a_zone_that_is_removed_retains_its_eip_first() {
    let mut bench = of_before();
    bench.settings.zones.remove("b");
    bench.settings.remove_zones = ["b".to_owned()].into();
    let plan = bench.plan();
    let resources = prepared(&plan);
    assert!(is_retained(&resources["EIPb"]), "{plan}");
    assert!(resources.get("NATGatewayb").is_some(), "{plan}");
    let Action::Prepare(template) = plan.action else {
        unreachable!()
    };
    bench.stack().template = template.text;
    let resources = prepared(&bench.plan());
    assert!(resources.get("EIPb").is_none());
}

#[test]
fn an_empty_stack_retains_its_eips_before_it_is_deleted() {
    let mut bench = of_before();
    bench.settings.on_empty = OnEmpty::Delete;
    bench.ask(&[]);
    let plan = bench.plan();
    let resources = prepared(&plan);
    assert!(is_retained(&resources["EIPa"]) && is_retained(&resources["EIPb"]));
    let Action::Prepare(template) = plan.action else {
        unreachable!()
    };
    bench.stack().template = template.text;
    let plan = bench.plan();
    assert!(matches!(plan.action, Action::Delete { .. }), "{plan}");
}
