//! The static IP of a live zone is replaced only if the operator has named the zone and the address.

use std::time::Duration;

use super::super::tests::{Bench, ready, texts};
use super::*;
use crate::model::cloud::live::{Change, ChangeSet, ChangeSetState, Effect, Live};
use crate::model::cloud::static_ip::{Account, AccountAddress};
use crate::model::plan::types::Action;

const OLD: &str = "198.51.100.1";
const NEW: &str = "203.0.113.7";

fn address(ip: &str) -> AccountAddress {
    AccountAddress {
        ip: ip.to_owned(),
        ..AccountAddress::default()
    }
}

/// Returns a stack of zones a and b, an account with one more address, and flags that name it for zone a.
fn bench() -> Bench {
    let mut bench = Bench::live(&[("dns", "8.8.8.8")]);
    bench.stack().outputs = texts(&[("EIPa", OLD), ("EIPb", "198.51.100.2")]);
    bench.settings.allocations = texts(&[("a", "eipalloc-7")]);
    bench.settings.replaced = ["a".to_owned()].into();
    let mut own = address(OLD);
    own.held_by = Some("eni-1".to_owned());
    let addresses = [("eipalloc-1", own), ("eipalloc-7", address(NEW))];
    bench.network.headroom.account = Account::Listed {
        addresses: addresses
            .map(|(id, address)| (id.to_owned(), address))
            .into(),
        gone: BTreeSet::new(),
    };
    bench
}

fn shown(bench: &mut Bench) -> &mut AccountAddress {
    let Account::Listed { addresses, .. } = &mut bench.network.headroom.account else {
        unreachable!()
    };
    addresses.get_mut("eipalloc-7").unwrap()
}

fn prepared(plan: &Plan) -> serde_json::Value {
    let Action::Prepare(template) = &plan.action else {
        panic!("{plan}");
    };
    serde_json::from_str(&template.text).unwrap()
}

/// Returns the plan's change set as CloudFormation computes it.
fn computed(plan: &Plan) -> ChangeSet {
    let mut set = ready(plan, Effect::Modify);
    set.changes
        .retain(|change| change.resource_type != "output");
    for change in &mut set.changes {
        change.effect = match change.logical_id.as_str() {
            "NATGatewaya" => Effect::MayReplace,
            "EIPa" => Effect::Remove,
            _ => Effect::Modify,
        };
    }
    set.changes.push(Change {
        logical_id: "RouteToNATrtbaz8x8x8x8y32".to_owned(),
        resource_type: "AWS::EC2::Route".to_owned(),
        effect: Effect::Modify,
        dynamic_on: vec!["NATGatewaya".to_owned()],
    });
    set
}

/// Returns the stack after the replacement.
fn replaced() -> Bench {
    let mut bench = bench();
    let Action::Prepare(template) = bench.plan().action else {
        panic!("{}", bench.plan());
    };
    bench.stack().template = template.text;
    bench.stack().outputs = texts(&[("EIPa", NEW), ("EIPb", "198.51.100.2")]);
    bench.network.headroom.account = Account::NotAsked;
    bench
}

#[test]
fn only_the_gateway_of_the_named_zone_is_replaced() {
    let mut bench = bench();
    bench.ask(&[("dns", "8.8.8.8"), ("more", "9.9.9.9")]);
    let plan = bench.plan();
    let text = prepared(&plan);
    let gateway = &text["Resources"]["NATGatewaya"]["Properties"];
    assert_eq!(gateway["AllocationId"], "eipalloc-7");
    assert!(text["Resources"]["EIPa"].is_null());
    assert_eq!(text["Outputs"]["EIPa"]["Value"], NEW);
    let ids: Vec<&str> = plan.differences.iter().map(|it| it.id.as_str()).collect();
    assert_eq!(ids, ["NATGatewaya", "EIPa", "EIPa"], "{plan}");
    assert!(!plan.needs_proof(), "no source can say anything about it");
    let set = computed(&plan);
    bench.stack().change_sets = vec![set.clone()];
    let executes = bench.plan();
    assert_eq!(executes.action.name(), "ExecuteChangeSet", "{executes}");
    assert_eq!(executes.new_zones, ["a".to_owned()].into());
    // No other resource is replaced with the gateway.
    for id in ["NATGatewayb", "NATSubneta", "EIPb"] {
        let mut more = set.clone();
        more.changes[0].logical_id = id.to_owned();
        bench.stack().change_sets = vec![more];
        let plan = bench.plan();
        assert_eq!(plan.action.name(), "DeleteChangeSet", "{id}: {plan}");
        assert_eq!(plan.new_zones, ["a".to_owned()].into());
    }
}

/// CloudFormation would fail to turn the routes of a deleted table to the new gateway.
#[test]
fn a_deleted_table_is_no_obstacle_to_the_new_gateway() {
    let mut bench = bench();
    bench.network.worker_tables.remove("rtb-a");
    let text = prepared(&bench.plan());
    assert_eq!(
        text["Resources"]["NATGatewaya"]["Properties"]["AllocationId"],
        "eipalloc-7"
    );
    assert!(text["Resources"]["RouteToNATrtbaz8x8x8x8y32"].is_null());
    assert!(!text["Resources"]["RouteToNATrtbbz8x8x8x8y32"].is_null());
}

#[test]
fn a_zone_that_is_not_named_keeps_its_static_ip() {
    let mut bench = bench();
    let set = computed(&bench.plan());
    bench.settings.replaced.clear();
    bench.stack().change_sets = vec![set];
    let plan = bench.plan();
    assert_eq!(plan.action.name(), "DeleteChangeSet", "{plan}");
    // A replacement in another zone has no effect on this one.
    bench.stack().change_sets.clear();
    bench.settings.replaced = ["b".to_owned()].into();
    let plan = bench.plan();
    assert_eq!(plan.action, Action::Keep, "{plan}");
    assert!(plan.undecided.is_empty());
}

#[test]
fn once_replaced_it_stays_whatever_the_flags_of_another_replica_say() {
    let mut bench = replaced();
    let plan = bench.plan();
    assert_eq!(plan.action, Action::Keep, "{plan}");
    assert!(plan.problems.is_empty() && plan.surveyed().is_empty());
    assert_eq!(plan.static_ips["a"], NEW);
    // An older replica names no address, or the former one.
    bench.settings.replaced.clear();
    bench.settings.allocations.clear();
    let plan = bench.plan();
    assert!(plan.action == Action::Keep && plan.problems.is_empty());
    bench.settings.allocations = texts(&[("a", "eipalloc-1")]);
    let plan = bench.plan();
    assert_eq!(plan.action, Action::Keep, "{plan}");
    assert_eq!(bench.reasons(), [Reason::StaticIpKept]);
}

#[test]
fn the_address_is_asked_for_and_the_zone_waits_for_the_answer() {
    let mut bench = bench();
    bench.network.headroom.account = Account::NotAsked;
    let plan = bench.plan();
    assert_eq!(plan.action, Action::Keep, "{plan}");
    assert_eq!(plan.surveyed(), ["a".to_owned()].into());
    assert!(plan.new_zones.is_empty() && plan.problems.is_empty());
    bench.network.headroom.account = Account::Unanswered("denied".to_owned());
    assert_eq!(bench.reasons(), [Reason::StaticIpKept]);
}

#[test]
fn an_address_that_cannot_be_used_leaves_the_zone_as_it_is_and_holds_up_nobody() {
    type Bend = fn(&mut Bench);
    let cases: [(Bend, &str); 6] = [
        (
            |it| shown(it).held_by = Some("eni-9".to_owned()),
            "eni-9 has",
        ),
        (
            |it| shown(it).group = Some("eu-west-1-lon-1".to_owned()),
            "the network border group eu-west-1-lon-1, and the zone needs one of the region",
        ),
        (
            |it| shown(it).managed_by = Some("alb".to_owned()),
            "managed by the service alb",
        ),
        (
            |it| it.settings.allocations = texts(&[("a", "eipalloc-8")]),
            "does not show eipalloc-8",
        ),
        (
            |it| _ = it.network.headroom.nat_gateways.insert("a".to_owned(), 0),
            "no more NAT gateways in this zone",
        ),
        (
            |it| {
                let key = ("a".to_owned(), "172.31.64.0/28".parse().unwrap());
                let later = &mut it.network.headroom.later;
                later.insert(key, Duration::from_secs(60));
            },
            "failed; the controller tries again",
        ),
    ];
    for (bend, says) in cases {
        let mut bench = bench();
        bend(&mut bench);
        let plan = bench.plan();
        assert_eq!(plan.action, Action::Keep, "{says}: {plan}");
        assert_eq!(bench.reasons(), [Reason::StaticIpKept], "{says}");
        let text = plan.problems[0].message();
        assert!(text.contains(says) && text.contains(OLD), "{text}");
        bench.ask(&[("dns", "8.8.8.8"), ("more", "9.9.9.9")]);
        let routes = prepared(&bench.plan())["Resources"].clone();
        assert!(routes["NATGatewaya"]["Properties"]["AllocationId"].is_object());
    }
}

#[test]
fn an_attempt_that_failed_is_remembered_until_the_flag_goes() {
    let mut bench = bench();
    let key = ("a".to_owned(), "172.31.64.0/28".parse().unwrap());
    let later = &mut bench.network.headroom.later;
    later.insert(key.clone(), Duration::from_secs(60));
    let plan = bench.plan();
    assert_eq!(plan.later.keys().collect::<Vec<_>>(), [&key]);
    assert_eq!(plan.again, Some(Duration::from_secs(60)));
    assert!(plan.surveyed().is_empty());
    bench.settings.replaced.clear();
    assert!(bench.plan().later.is_empty());
}

#[test]
fn the_zones_own_address_is_no_other() {
    let mut bench = bench();
    bench.settings.allocations = texts(&[("a", "eipalloc-1")]);
    let plan = bench.plan();
    assert_eq!(plan.action, Action::Keep, "{plan}");
    assert!(plan.problems.is_empty(), "{plan}");
}

#[test]
fn an_eip_of_an_older_stack_is_retained_first() {
    let mut bench = bench();
    let mut text: serde_json::Value = serde_json::from_str(&bench.stack().template).unwrap();
    let body = text["Resources"]["EIPa"].as_object_mut().unwrap();
    body.remove("DeletionPolicy");
    bench.stack().template = text.to_string();
    let plan = bench.plan();
    let resources = prepared(&plan)["Resources"].clone();
    assert!(crate::model::cloud::retention::is_retained(
        &resources["EIPa"]
    ));
    assert!(resources["NATGatewaya"]["Properties"]["AllocationId"].is_object());
    assert!(plan.new_zones.is_empty() && plan.replaced.is_none());
}

/// The Go controller numbered its resources.
#[test]
fn a_stack_with_other_names_shows_the_new_static_ip_under_the_zones_name() {
    let mut bench = bench();
    let text = bench.stack().template.replace("EIPa", "EIP1");
    bench.stack().template = text.replace("NATGatewaya", "NATGateway1");
    bench.stack().outputs = texts(&[("EIP1", OLD), ("EIPb", "198.51.100.2")]);
    let Action::Prepare(template) = bench.plan().action else {
        panic!("{}", bench.plan());
    };
    let text: serde_json::Value = serde_json::from_str(&template.text).unwrap();
    let gateway = &text["Resources"]["NATGateway1"]["Properties"];
    assert_eq!(gateway["AllocationId"], "eipalloc-7");
    assert!(text["Outputs"]["EIP1"].is_null());
    assert_eq!(text["Outputs"]["EIPa"]["Value"], NEW);
    bench.stack().template = template.text;
    bench.stack().outputs = texts(&[("EIPa", NEW), ("EIPb", "198.51.100.2")]);
    let plan = bench.plan();
    assert_eq!(plan.action, Action::Keep, "{plan}");
    assert_eq!(plan.static_ips["a"], NEW);
}

#[test]
fn a_change_set_for_another_address_is_not_executed() {
    let mut bench = bench();
    bench.stack().change_sets = vec![computed(&bench.plan())];
    let other = address("203.0.113.8");
    let Account::Listed { addresses, .. } = &mut bench.network.headroom.account else {
        unreachable!()
    };
    addresses.insert("eipalloc-8".to_owned(), other);
    bench.settings.allocations = texts(&[("a", "eipalloc-8")]);
    let plan = bench.plan();
    let gateway = prepared(&plan)["Resources"]["NATGatewaya"].clone();
    assert_eq!(gateway["Properties"]["AllocationId"], "eipalloc-8");
}

#[test]
fn one_zone_after_the_other_is_replaced() {
    let mut bench = bench();
    let Account::Listed { addresses, .. } = &mut bench.network.headroom.account else {
        unreachable!()
    };
    addresses.insert("eipalloc-8".to_owned(), address("203.0.113.8"));
    bench.settings.allocations = texts(&[("a", "eipalloc-7"), ("b", "eipalloc-8")]);
    bench.settings.replaced = ["a".to_owned(), "b".to_owned()].into();
    let plan = bench.plan();
    assert_eq!(plan.replaced.as_deref(), Some("a"));
    let resources = prepared(&plan)["Resources"].clone();
    assert!(resources["NATGatewayb"]["Properties"]["AllocationId"].is_object());
    // The first zone's replacement cannot be made now.
    shown(&mut bench).held_by = Some("eni-9".to_owned());
    assert_eq!(bench.plan().replaced.as_deref(), Some("b"));
}

#[test]
fn the_ledger_notes_the_new_static_ip_although_the_outputs_are_old() {
    let mut bench = replaced();
    bench.ledger = Some(crate::model::persisted::ledger::Ledger::new("egress"));
    bench.stack().outputs = texts(&[("EIPa", OLD), ("EIPb", "198.51.100.2")]);
    let noted = bench.plan().ledger.unwrap().static_ips;
    let new = StaticIp {
        ip: NEW.to_owned(),
        allocation: "eipalloc-7".to_owned(),
    };
    assert_eq!(noted, [("a".to_owned(), new)].into());
    assert!(matches!(bench.live, Live::Ours(_)));
    let _ready = ChangeSetState::Ready;
}
