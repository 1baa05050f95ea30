//! More static IPs exist before they are used, an IP in use stays in use, and none is ever lost.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::repair_tests::{Scene, lose_gateway, text, told};
use super::*;
use crate::model::base::reason::Reason;
use crate::model::base::settings::Eips;
use crate::model::cloud::live::{ChangeSetState, Effect};
use crate::model::cloud::static_ip::Account;
use crate::model::cloud::static_ip::AccountAddress;
use crate::model::desired::template::Template;
use crate::model::persisted::ledger::Ledger;
use crate::model::plan::types::Action;

pub(super) fn eips(per_zone: u8, in_use: u8) -> Eips {
    Eips { per_zone, in_use }
}

/// Two zones at rest, and an account with these addresses besides.
pub(super) fn scene(wanted: Eips, account: &[(&str, AccountAddress)]) -> Scene {
    let mut scene = Scene::new();
    let outputs = [("EIPa", "ip-a"), ("EIPb", "ip-b")];
    let outputs = outputs.map(|(id, ip)| (text(id), text(ip)));
    scene.bench.stack().outputs = outputs.into();
    scene.bench.ledger = Some(Ledger::new("egress"));
    scene.bench.settings.eips = wanted;
    let addresses = account.iter().cloned();
    scene.bench.network.headroom.account = Account::Listed {
        addresses: addresses.map(|(id, it)| (text(id), it)).collect(),
        gone: BTreeSet::new(),
    };
    scene
}

pub(super) fn template(plan: &Plan) -> Template {
    let Action::Prepare(template) = &plan.action else {
        panic!("{plan}");
    };
    template.clone()
}

pub(super) fn read(template: &str) -> Value {
    serde_json::from_str(template).unwrap()
}

pub(super) fn used(template: &str, gateway: &str) -> Value {
    read(template)["Resources"][gateway]["Properties"][SECONDARY].clone()
}

/// CloudFormation does what the plan prepares, and EC2 shows it.
pub(super) fn done(scene: &mut Scene, plan: &Plan) {
    let template = template(plan);
    let text_of = read(&template.text);
    let stack = scene.bench.stack();
    stack.template.clone_from(&template.text);
    for (id, output) in text_of["Outputs"].as_object().unwrap() {
        let value = output["Value"].as_str();
        let known = stack.outputs.get(id).cloned();
        let ip = value.map(text).or(known);
        let ip = ip.unwrap_or_else(|| format!("ip-{id}"));
        stack.outputs.insert(id.clone(), ip.clone());
        scene.seen.ids.insert(id.clone(), ip.clone());
        let address = scene.seen.addresses.entry(ip.clone()).or_default();
        if address.allocation.is_empty() {
            address.allocation = format!("eipalloc-{ip}");
        }
    }
    for zone in ["a", "b"] {
        let mut gateways = text_of["Resources"].as_object().unwrap().iter();
        let (_, gateway) = gateways
            .find(|(id, _)| id.starts_with(&format!("NATGateway{zone}")))
            .unwrap();
        let list = gateway["Properties"][SECONDARY].as_array();
        let list: Vec<String> = list
            .into_iter()
            .flatten()
            .map(|it| text(it.as_str().unwrap()))
            .collect();
        let mut ips = Vec::new();
        for (ip, address) in &mut scene.seen.addresses {
            if list.contains(&address.allocation) {
                address.held_by = Some(format!("eni-{zone}"));
                ips.push(ip.clone());
            }
        }
        if let Some(seen) = scene.seen.gateways.get_mut(&format!("nat-{zone}")) {
            seen.secondary_ips = ips;
        }
    }
}

/// A scene where each zone has two static IPs and uses so many.
pub(super) fn settled(in_use: u8) -> Scene {
    let mut scene = scene(eips(2, in_use), &[]);
    for _ in 0..2 * in_use {
        let plan = scene.plan();
        scene.bench.ledger.clone_from(&plan.ledger);
        done(&mut scene, &plan);
    }
    let plan = scene.plan();
    assert_eq!(plan.action, Action::Keep, "{plan}");
    scene.bench.ledger = plan.ledger;
    scene
}

#[test]
fn a_second_ip_exists_before_it_is_used() {
    let mut scene = scene(eips(2, 1), &[]);
    let listed = std::mem::take(&mut scene.bench.network.headroom.account);
    let plan = scene.plan();
    assert_eq!(plan.action, Action::Keep, "EC2 has to be asked: {plan}");
    assert_eq!((plan.surveyed().len(), plan.more_eips()), (2, 2));
    scene.bench.network.headroom.account = listed;
    let plan = scene.plan();
    let made = template(&plan).text;
    let eip = &read(&made)["Resources"]["EIP2a"];
    assert_eq!(eip["DeletionPolicy"], "RetainExceptOnCreate", "{plan}");
    assert_eq!(eip["UpdateReplacePolicy"], "Retain");
    assert_eq!(used(&made, "NATGatewaya"), Value::Null, "nothing uses it");
    assert!(!made.contains("EIP2b"), "one zone after the other");
    let ids: Vec<&str> = plan.differences.iter().map(|it| it.id.as_str()).collect();
    assert_eq!(ids, ["EIP2a", "EIP2a"], "{plan}");
    assert_eq!(plan.new_zones, ["a".to_owned()].into());
    done(&mut scene, &plan);
    let plan = scene.plan();
    done(&mut scene, &plan);
    let plan = scene.plan();
    assert_eq!(
        (&plan.action, told(&plan)),
        (&Action::Keep, vec![]),
        "{plan}"
    );
    let announced = [("a", "ip-EIP2a"), ("b", "ip-EIP2b")];
    let announced = announced.map(|(zone, ip)| (text(zone), vec![text(ip)]));
    assert_eq!(plan.announced_ips, announced.into());
    assert!(plan.secondary_ips.is_empty() && plan.surveyed().is_empty());
    let further = &plan.ledger.unwrap().further_ips["a"][&2];
    assert_eq!(further.allocation, "eipalloc-ip-EIP2a");
    assert_eq!(further.used_since, None);
    // Edits of tenants leave it alone.
    scene.bench.ask(&[("dns", "8.8.8.8"), ("more", "9.9.9.9")]);
    let plan = scene.plan();
    let ids: Vec<&str> = plan.differences.iter().map(|it| it.id.as_str()).collect();
    assert!(ids.iter().all(|id| id.starts_with("Route")), "{ids:?}");
}

#[test]
fn it_is_used_when_the_flags_say_so() {
    let mut scene = settled(1);
    let announced = scene.plan().announced_ips;
    scene.bench.settings.eips = eips(2, 2);
    let plan = scene.plan();
    let made = template(&plan).text;
    assert_eq!(used(&made, "NATGatewaya")[0], "eipalloc-ip-EIP2a");
    let [only] = &plan.differences[..] else {
        panic!("{plan}");
    };
    assert!(only.id == "NATGatewaya" && !only.is_loss(), "{plan}");
    let change = ("NATGatewaya", "NatGateway", Effect::Modify);
    scene.change_set(&template(&plan), &[change]);
    let executes = scene.plan();
    assert!(
        matches!(executes.action, Action::Execute { .. }),
        "{executes}"
    );
    let replaces = ("NATGatewaya", "NatGateway", Effect::MayReplace);
    scene.change_set(&template(&plan), &[replaces]);
    let refused = scene.plan();
    assert!(
        matches!(refused.action, Action::Discard { .. }),
        "{refused}"
    );
    scene.bench.stack().change_sets.clear();
    done(&mut scene, &plan);
    let plan = scene.plan();
    done(&mut scene, &plan);
    let plan = scene.plan();
    assert_eq!(
        (&plan.action, told(&plan)),
        (&Action::Keep, vec![]),
        "{plan}"
    );
    assert_eq!(plan.secondary_ips, announced);
    assert!(plan.announced_ips.is_empty());
    assert!(
        plan.ledger.unwrap().further_ips["b"][&2]
            .used_since
            .is_some()
    );
}

#[test]
fn without_the_flags_nothing_differs() {
    let mut scene = scene(Eips::default(), &[]);
    let plan = scene.plan();
    assert_eq!((plan.action.clone(), told(&plan)), (Action::Keep, vec![]));
    assert!(plan.surveyed().is_empty() && plan.announced_ips.is_empty());
    assert!(!plan.ledger.unwrap().text().contains("further"));
}

/// The template of another plan may give the gateway another IP, which partners do not know yet.
#[test]
fn a_change_set_of_another_plan_gives_no_gateway_an_ip() {
    let mut scene = settled(1);
    scene.bench.settings.eips = eips(2, 2);
    let mut other = template(&scene.plan());
    other.fingerprint = other.fingerprint.chars().rev().collect();
    other.zones = other.zones.chars().rev().collect();
    let change = ("NATGatewaya", "NatGateway", Effect::Modify);
    scene.change_set(&other, &[change]);
    let plan = scene.plan();
    assert!(matches!(plan.action, Action::Prepare(_)), "{plan}");
}

#[test]
fn an_ip_in_use_stays_in_use_and_one_that_is_not_stays_in_the_account() {
    let mut scene = settled(2);
    for flags in [eips(2, 1), eips(1, 1)] {
        scene.bench.settings.eips = flags;
        let plan = scene.plan();
        let kept = vec![Reason::StaticIpKept; 2];
        assert_eq!((&plan.action, told(&plan)), (&Action::Keep, kept), "{plan}");
    }
    let mut scene = settled(1);
    scene.bench.settings.eips = eips(1, 1);
    let plan = scene.plan();
    let ids: Vec<&str> = plan.differences.iter().map(|it| it.id.as_str()).collect();
    assert_eq!(ids, ["EIP2a", "EIP2a"], "{plan}");
    let changes = [("EIP2a", "EIP", Effect::Remove)];
    scene.change_set(&template(&plan), &changes);
    let executes = scene.plan();
    assert!(
        matches!(executes.action, Action::Execute { .. }),
        "{executes}"
    );
    let more = [changes[0], ("EIPa", "EIP", Effect::Remove)];
    scene.change_set(&template(&plan), &more);
    let refused = scene.plan();
    assert!(
        matches!(refused.action, Action::Discard { .. }),
        "{refused}"
    );
    scene.bench.stack().change_sets.clear();
    done(&mut scene, &plan);
    scene.bench.stack().outputs.remove("EIP2a");
    let plan = scene.plan();
    let kept: Vec<&str> = plan.kept_ips.iter().map(|it| it.ip.as_str()).collect();
    assert_eq!(kept, ["ip-EIP2a"], "{plan}");
}

/// Without the attributes CloudFormation would release it.
#[test]
fn it_is_retained_before_the_stack_gives_it_up() {
    let mut scene = settled(1);
    let bare = read(&scene.bench.stack().template);
    let mut bare = bare.clone();
    let eip = bare["Resources"]["EIP2a"].as_object_mut().unwrap();
    eip.remove("DeletionPolicy");
    scene.bench.stack().template = bare.to_string();
    scene.bench.settings.eips = eips(1, 1);
    let plan = scene.plan();
    let made = read(&template(&plan).text);
    assert_eq!(
        made["Resources"]["EIP2a"]["DeletionPolicy"],
        "RetainExceptOnCreate"
    );
}

/// It was released and allocated by hand: the stack knows the former allocation.
#[test]
fn an_ip_that_somebody_had_back_is_used_by_its_new_allocation() {
    let mut scene = settled(1);
    let address = scene.seen.addresses.get_mut("ip-EIP2a").unwrap();
    address.allocation = text("eipalloc-again");
    scene.bench.settings.eips = eips(2, 2);
    let made = template(&scene.plan()).text;
    assert_eq!(used(&made, "NATGatewaya")[0], "eipalloc-again");
}

#[test]
fn a_gateway_that_is_made_again_gets_both_ips_back() {
    let mut scene = settled(2);
    lose_gateway(&mut scene);
    let address = scene.seen.addresses.get_mut("ip-EIP2a").unwrap();
    address.held_by = None;
    // The flags of an older replica do not matter.
    scene.bench.settings.eips = eips(1, 1);
    let plan = scene.plan_after(1);
    let made = template(&plan).text;
    let new = &read(&made)["Resources"]["NATGatewayaAnew1"]["Properties"];
    assert_eq!(new[SECONDARY], Value::Null, "{plan}");
    assert_eq!(used(&made, "NATGatewayb")[0], "eipalloc-ip-EIP2b");
    assert!(!read(&made)["Resources"]["EIP2a"].is_null());
    scene
        .seen
        .ids
        .insert(text("NATGatewayaAnew1"), text("nat-a"));
    let mut gateway = scene.seen.gateways["nat-b"].clone();
    (gateway.subnet, gateway.public_ip) = (text("subnet-a"), Some(text("ip-a")));
    gateway.interface = Some(text("eni-a"));
    scene.seen.gateways.insert(text("nat-a"), gateway);
    scene.seen.addresses.get_mut("ip-a").unwrap().held_by = Some(text("eni-a"));
    done(&mut scene, &plan);
    let plan = scene.plan();
    assert_eq!(plan.announced_ips["a"], ["ip-EIP2a"]);
    let made = template(&plan).text;
    assert_eq!(used(&made, "NATGatewayaAnew1")[0], "eipalloc-ip-EIP2a");
}

/// The operator replaces the static IP of the zone, and wants fewer from then on.
#[test]
fn a_zone_whose_ip_is_replaced_uses_as_many_as_the_flags_say() {
    let mut scene = settled(2);
    let mut live = read(&scene.bench.stack().template);
    let gateway = live["Resources"]["NATGatewaya"]["Properties"].as_object_mut();
    gateway.unwrap().remove(SECONDARY);
    scene.bench.stack().template = live.to_string();
    scene
        .seen
        .gateways
        .get_mut("nat-a")
        .unwrap()
        .secondary_ips
        .clear();
    scene.seen.addresses.get_mut("ip-EIP2a").unwrap().held_by = None;
    scene.bench.settings.eips = eips(2, 1);
    let again = template(&scene.plan()).text;
    assert_eq!(used(&again, "NATGatewaya")[0], "eipalloc-ip-EIP2a");
    scene.bench.settings.replaced.insert(text("a"));
    let plan = scene.plan();
    let ledger = plan.ledger.unwrap();
    assert_eq!(ledger.further_ips["a"][&2].used_since, None);
    assert!(ledger.further_ips["b"][&2].used_since.is_some());
    scene.bench.ledger = Some(ledger);
    scene.bench.settings.replaced.clear();
    let plan = scene.plan();
    assert_eq!(plan.action, Action::Keep, "{plan}");
}

#[test]
fn the_zones_last_ip_in_use_is_nobodys_to_drop() {
    let mut scene = settled(2);
    let change = ("NATGatewaya", "NatGateway", Effect::Modify);
    let template = Template {
        text: scene
            .bench
            .stack()
            .template
            .replace("eipalloc-ip-EIP2a", "eipalloc-0"),
        fingerprint: text("0123456789abcdef0123"),
        ..Template::default()
    };
    scene.change_set(&template, &[change]);
    assert_eq!(
        scene.bench.stack().change_sets[0].state,
        ChangeSetState::Ready
    );
    let plan = scene.plan();
    assert!(matches!(plan.action, Action::Discard { .. }), "{plan}");
}
