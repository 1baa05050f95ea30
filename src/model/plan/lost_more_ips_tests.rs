//! A released additional static IP of a live zone is recovered, and no route waits for it.

use serde_json::{Value, json};

use super::super::repair_tests::{Scene, lose_gateway, text, told};
use super::*;
use crate::model::base::reason::Reason;
use crate::model::cloud::live::Effect;
use crate::model::cloud::more_ips::of;
use crate::model::desired::template::Template;
use crate::model::plan::more_ip_templates::{
    with_given_ip, with_more_eip, with_used_eip, with_used_given_ip,
};

const IP: &str = "ip-a2";

/// Returns a stack whose zone a uses a second static IP, which was released. `given`: it is no resource of the stack.
fn lost(given: bool) -> Scene {
    let mut scene = Scene::new();
    let stack = scene.bench.stack();
    let (zone, table) = (text("a"), "NATSubnetRouteTablea");
    let second = StaticIp {
        ip: text(IP),
        allocation: text("eipalloc-2"),
    };
    let announced = match given {
        true => with_given_ip(stack, table, (&zone, 2, &second)),
        false => with_more_eip(stack, &zone, 2, None),
    };
    stack.template = announced.unwrap().text;
    let used = match given {
        true => with_used_given_ip(stack, ("NATGatewaya", table), ("EIPaNo2", "eipalloc-2")),
        false => with_used_eip(stack, "NATGatewaya", "EIPaNo2"),
    };
    stack.template = used.unwrap().text;
    stack.outputs.insert(text("EIPaNo2"), text(IP));
    scene.seen.ids.insert(text("EIPaNo2"), text(IP));
    scene
}

/// Returns the template of the next plan, after the loss was seen twice.
fn prepared(scene: &mut Scene) -> Template {
    scene.plan();
    let plan = scene.plan();
    let Action::Prepare(template) = plan.action else {
        panic!("{plan}");
    };
    template
}

fn resources(template: &Template) -> Value {
    let text: Value = serde_json::from_str(&template.text).unwrap();
    text["Resources"].clone()
}

#[test]
fn a_released_additional_ip_is_asked_for_and_used_again() {
    for (given, id) in [(false, "EIPaNo2Anew1"), (true, "EIPaNo2")] {
        let mut scene = lost(given);
        let template = prepared(&mut scene);
        let resources = resources(&template);
        let asks = json!({ "Domain": "vpc", "Address": IP });
        assert_eq!(resources[id]["Properties"], asks, "{}", template.text);
        assert_eq!(resources[id]["DeletionPolicy"], "Retain");
        let used = json!([{ "Fn::GetAtt": [id, "AllocationId"] }]);
        let gateway = &resources["NATGatewaya"]["Properties"];
        assert_eq!(gateway["SecondaryAllocationIds"], used);
        let layout = Layout::read(&template.text, &template.parameters).unwrap();
        let names = layout.names();
        assert_eq!(of(&names, &text("a")), [(2, &text(id))].into());
        let mut changes = vec![
            (id, "EIP", Effect::Add),
            ("NATGatewaya", "NatGateway", Effect::Modify),
        ];
        if !given {
            changes.push(("EIPaNo2", "EIP", Effect::Remove));
        }
        scene.change_set(&template, &changes);
        let plan = scene.plan();
        assert!(matches!(plan.action, Action::Execute { .. }), "{plan}");
        let key = "EIPaNo2 recovery of the additional static IP ip-a2";
        assert_eq!(plan.repairs, [key]);
    }
}

#[test]
fn an_additional_ip_is_given_up_after_an_attempt_and_only_with_a_permission() {
    let mut scene = lost(false);
    scene.bench.settings.new_eips = [(text("a"), text(IP))].into();
    assert!(prepared(&mut scene).text.contains("\"Address\""));
    scene.tried_to_recover(1);
    let given_up = prepared(&mut scene);
    assert!(!given_up.text.contains("EIPaNo2"), "{}", given_up.text);
    scene.bench.settings.new_eips.clear();
    // The zone waits, and routes change.
    scene.tried_to_recover(3);
    let plan = scene.plan();
    assert_eq!(plan.action, Action::Keep, "{plan}");
    assert!(told(&plan).contains(&Reason::StaticIpLost));
    let remedy = "--allow-new-eips=a=ip-a2";
    let mut problems = plan.problems.iter();
    assert!(problems.any(|it| it.message().contains(remedy)), "{plan}");
    scene.bench.ask(&[("dns", "8.8.8.8"), ("other", "9.9.9.9")]);
    assert!(prepared(&mut scene).text.contains("9.9.9.9/32"));
}

#[test]
fn a_nat_gateway_that_is_gone_is_created_again_first() {
    let mut scene = lost(false);
    lose_gateway(&mut scene);
    let template = prepared(&mut scene);
    assert!(!template.text.contains("\"Address\""), "{}", template.text);
    assert!(template.text.contains("NATGatewayaAnew1"));
}
