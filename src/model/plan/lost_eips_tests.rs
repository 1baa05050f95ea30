//! A released static IP is recovered, or the zone waits without harm to other zones.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::repair_tests::{Scene, lose_gateway, release, text, told};
use super::*;
use crate::model::base::reason::Reason;
use crate::model::cloud::live::{ChangeSetState, Effect};
use crate::model::desired::template::Template;
use crate::model::drift::tracker::Watch;
use crate::model::persisted::ledger::Ledger;
use crate::model::plan::diff;

const RECOVERY: [(&str, &str, Effect); 3] = [
    ("EIPaAnew1", "EIP", Effect::Add),
    ("NATGatewaya", "NatGateway", Effect::MayReplace),
    ("EIPa", "EIP", Effect::Remove),
];

fn lost() -> Scene {
    let mut scene = Scene::new();
    release(&mut scene, "a");
    scene
}

/// Returns the template that the next plan prepares, after the loss was seen twice.
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

/// Executes the prepared change, as far as the plan counts it.
fn try_it(scene: &mut Scene, template: &Template) {
    scene.change_set(template, &RECOVERY);
    let plan = scene.plan();
    assert!(matches!(plan.action, Action::Execute { .. }), "{plan}");
    assert_eq!(plan.repairs, ["EIPa recovery of the static IP ip-a"]);
    scene.bench.watch.tried(&plan.repairs);
}

/// The change set may give the zone a static IP that other flags named.
#[test]
fn a_change_set_of_another_plan_replaces_no_gateway() {
    let mut scene = lost();
    let template = prepared(&mut scene);
    let fingerprint = template.fingerprint.chars().rev().collect();
    let zones = template.zones.chars().rev().collect();
    let other = Template {
        fingerprint,
        zones,
        ..template
    };
    scene.change_set(&other, &RECOVERY);
    let plan = scene.plan();
    assert!(!matches!(plan.action, Action::Execute { .. }), "{plan}");
}

#[test]
fn a_released_static_ip_is_asked_for_before_anything_else() {
    let mut scene = lost();
    let template = prepared(&mut scene);
    let resources = resources(&template);
    let eip = json!({
        "Type": "AWS::EC2::EIP",
        "Properties": { "Domain": "vpc", "Address": "ip-a" },
        "DeletionPolicy": "Retain",
        "UpdateReplacePolicy": "Retain",
    });
    assert_eq!(
        (&resources["EIPaAnew1"], &resources["EIPa"]),
        (&eip, &Value::Null)
    );
    let allocation = json!({ "Fn::GetAtt": ["EIPaAnew1", "AllocationId"] });
    assert_eq!(
        resources["NATGatewaya"]["Properties"]["AllocationId"],
        allocation
    );
    assert!(resources["EIPb"]["Properties"]["Address"].is_null());
    try_it(&mut scene, &template);
}

#[test]
fn tries_are_few_far_between_and_hold_up_nobody() {
    let mut scene = lost();
    let mut tries = 0;
    // EC2 is read once a minute.
    for minute in 0..300 {
        let plan = scene.plan();
        if let Action::Prepare(template) = &plan.action
            && template.text.contains("\"Address\"")
        {
            let template = template.clone();
            try_it(&mut scene, &template);
            tries += 1;
            // CloudFormation rolled back. The change set that is left is discarded, and does not count again.
            scene.bench.stack().change_sets[0].state = ChangeSetState::Executed;
            let plan = scene.plan();
            if let Action::Discard { .. } = plan.action {
                assert_eq!(plan.repairs, [""; 0], "{plan}");
            }
            scene.bench.stack().change_sets.clear();
        } else if minute > 1 {
            let only = [Reason::StaticIpLost, Reason::NatGatewayGone];
            assert_eq!(
                (told(&plan), &plan.action),
                (only.to_vec(), &Action::Keep),
                "{plan}"
            );
            scene.bench.ask(&[("dns", "8.8.8.8"), ("other", "9.9.9.9")]);
            let others = scene.plan();
            assert!(matches!(others.action, Action::Prepare(_)), "{others}");
            scene.bench.ask(&[("dns", "8.8.8.8")]);
        }
    }
    assert_eq!(tries, 4);
    let message = scene.plan().problems[0].message();
    for part in [
        "allocate-address --domain vpc --address ip-a",
        "--allow-new-eips=a=ip-a",
        "quick",
    ] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_later_leader_knows_the_tries() {
    let mut scene = lost();
    for _ in 0..2 {
        let template = loop {
            if let Action::Prepare(template) = scene.plan().action {
                break template;
            }
        };
        try_it(&mut scene, &template);
        scene.bench.stack().change_sets.clear();
    }
    let made = scene.bench.watch.repairs_made();
    assert_eq!(made.values().map(|it| it.times).collect::<Vec<_>>(), [2]);
    let drift = scene.plan().drifts[0].clone();
    let mut watch = Watch::new(Some(Duration::from_secs(60)));
    watch.begin(Duration::from_secs(1_000), true);
    watch.recall(&made, Duration::from_secs(1_000));
    assert!(matches!(watch.recovery(&drift), Recovery::Waits(2, _)));
}

#[test]
fn a_new_static_ip_comes_after_one_try_and_does_not_ask_for_the_old_one() {
    let mut scene = lost();
    scene.allow_new_eips();
    let first = prepared(&mut scene);
    assert!(first.text.contains("\"Address\":\"ip-a\""));
    try_it(&mut scene, &first);
    scene.bench.stack().change_sets.clear();
    assert!(matches!(scene.plan().action, Action::Revert(_)));
    let keys: Vec<String> = scene.plan().drifts.iter().map(Drift::key).collect();
    scene.bench.watch.tried(&keys);
    let next = prepared(&mut scene);
    assert!(resources(&next)["EIPaAnew1"].is_object());
    assert!(!next.text.contains("\"Address\""), "{}", next.text);

    // The same holds for the loss of an IP that was recovered before.
    let mut scene = lost();
    scene.bench.stack().template = first.text.clone();
    scene.seen.ids.insert(text("EIPaAnew1"), text("ip-a"));
    scene.allow_new_eips();
    let second = prepared(&mut scene);
    assert!(resources(&second)["EIPaAnew2"]["Properties"]["Address"] == "ip-a");
    let again = [
        ("EIPaAnew2", "EIP", Effect::Add),
        ("EIPaAnew1", "EIP", Effect::Remove),
    ];
    scene.change_set(&second, &again);
    let plan = scene.plan();
    scene.bench.watch.tried(&plan.repairs);
    scene.bench.stack().change_sets.clear();
    for _ in 0..2 {
        let keys: Vec<String> = scene.plan().drifts.iter().map(Drift::key).collect();
        scene.bench.watch.tried(&keys);
    }
    let new = prepared(&mut scene);
    let new = resources(&new)["EIPaAnew2"].clone();
    assert!(
        new.is_object() && new["Properties"]["Address"].is_null(),
        "{new}"
    );
}

/// The worst that a plan could do to a recovered static IP is to change the template's `Address`.
#[test]
fn no_plan_changes_the_address_of_a_live_eip() {
    let mut scene = lost();
    let template = prepared(&mut scene);
    let mut scene = Scene::new();
    scene.bench.stack().template = template.text.clone();
    scene.seen.ids.insert(text("EIPaAnew1"), text("ip-a"));
    assert_eq!(scene.plan().action, Action::Keep);
    type Edit = fn(&mut Scene);
    let edits: [Edit; 4] = [
        |scene| scene.bench.ask(&[("dns", "8.8.8.8"), ("other", "9.9.9.9")]),
        |scene| scene.bench.ask(&[("other", "9.9.9.9")]),
        lose_gateway,
        |scene| _ = scene.bench.settings.tags.insert(text("cost"), text("1")),
    ];
    for edit in edits {
        edit(&mut scene);
        let plan = scene.plan_after(1);
        let Action::Prepare(next) = &plan.action else {
            panic!("{plan}");
        };
        let eip = |template| resources(template)["EIPaAnew1"].clone();
        assert_eq!(eip(next), eip(&template), "{plan}");
    }
    // A template without the `Address`, or with another one, is refused.
    let stack = scene.bench.stack();
    let live = Layout::read(&stack.template, &stack.parameters).unwrap();
    for other in [",\"Address\":\"ip-a\"", "ip-a"] {
        let mut wrong = template.clone();
        wrong.text = match other {
            "ip-a" => template
                .text
                .replace("\"Address\":\"ip-a\"", "\"Address\":\"ip-b\""),
            _ => template.text.replace("\"Address\":\"ip-a\",", ""),
        };
        assert_ne!(wrong.text, template.text);
        let differences = diff::between(&live, &wrong, &scene.bench.plan().request);
        let refusal = diff::refusal(&differences, &[], |_| false);
        assert!(
            refusal.is_some_and(|why| why.contains("EIPaAnew1")),
            "{differences:?}"
        );
    }
}

#[test]
fn one_change_asks_for_one_static_ip_and_the_others_follow() {
    let mut scene = lost();
    release(&mut scene, "b");
    let first = prepared(&mut scene);
    let asks = |template: &Template, id: &str| resources(template)[id].is_object();
    assert!(asks(&first, "EIPaAnew1") && asks(&first, "EIPb"));
    try_it(&mut scene, &first);
    scene.bench.stack().change_sets.clear();
    let second = loop {
        let Action::Prepare(template) = scene.plan().action else {
            panic!("{}", scene.plan());
        };
        if template.text != first.text {
            break template;
        }
    };
    assert!(asks(&second, "EIPa") && asks(&second, "EIPbAnew1"));
}

#[test]
fn an_eip_that_would_be_released_with_its_stack_is_retained_first() {
    let mut scene = lost();
    let stack = scene.bench.stack();
    for attribute in [
        r#""DeletionPolicy":"RetainExceptOnCreate","#,
        r#","UpdateReplacePolicy":"Retain""#,
    ] {
        stack.template = stack.template.replace(attribute, "");
    }
    let first = prepared(&mut scene);
    assert!(!first.text.contains("\"Address\"") && first.text.contains("RetainExceptOnCreate"));
    scene.bench.stack().template = first.text;
    assert!(prepared(&mut scene).text.contains("\"Address\":\"ip-a\""));
}

#[test]
fn a_static_ip_that_is_back_under_another_allocation_id_is_used() {
    let mut scene = Scene::new();
    lose_gateway(&mut scene);
    let mut ledger = Ledger::new("egress");
    let known = |allocation: &str| StaticIp {
        ip: text("ip-a"),
        allocation: text(allocation),
    };
    ledger.static_ips = [(text("a"), known("eipalloc-1"))].into();
    scene.bench.ledger = Some(ledger);
    scene.seen.addresses.get_mut("ip-a").unwrap().allocation = text("eipalloc-1");
    // Under the same allocation id, the drift is reverted as usual.
    assert!(matches!(scene.plan().action, Action::Revert(_)));
    scene.seen.addresses.get_mut("ip-a").unwrap().allocation = text("eipalloc-2");
    let template = prepared(&mut scene);
    let layout = Layout::read(&template.text, &template.parameters).unwrap();
    assert_eq!(layout.names().given[&text("a")], known("eipalloc-2"));
    assert!(resources(&template)["EIPa"].is_null());
    // The ledger knows the new id once the zone uses it.
    let noted = scene.plan().ledger.unwrap().static_ips;
    assert_eq!(noted[&text("a")], known("eipalloc-1"));
}
