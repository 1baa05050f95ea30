//! A zone that comes back gets its additional static IPs from the same allocations, and never a new one while it is to get one back.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use super::super::tests::{Bench, kinds, texts};
use super::*;
use crate::model::base::settings::OnEmpty;
use crate::model::cloud::more_ips::IpStep;
use crate::model::cloud::released_ips::{Asked, TRIES};
use crate::model::persisted::ledger::Ledger;
use crate::model::plan::diff::Kind;
use crate::model::plan::types::{Action, Plan};

const FREE: Option<&str> = None;

/// Returns a stack of zones a and b with one static IP each, a flag that asks for two, and a ledger with these additional IPs of zone a.
fn back(former: &[(u8, &str)]) -> Bench {
    let mut bench = Bench::live(&[("dns", "8.8.8.8")]);
    bench.stack().outputs = texts(&[("EIPa", "198.51.100.1"), ("EIPb", "198.51.100.2")]);
    bench.settings.eips_per_zone = 2;
    let mut ledger = Ledger::new("egress");
    for (number, id) in former {
        ledger.note_more("a".to_owned(), *number, ip(id));
    }
    bench.ledger = Some(ledger);
    shows(&mut bench, &[]);
    bench
}

fn ip(id: &str) -> StaticIp {
    StaticIp {
        ip: id.replace("eipalloc-", "203.0.113."),
        allocation: id.to_owned(),
    }
}

/// The account has these static IPs: allocation id, holder, and the logical id in CloudFormation's tag.
fn shows(bench: &mut Bench, shown: &[(&str, Option<&str>, &str)]) {
    let address = |(id, holder, logical): &(&str, Option<&str>, &str)| {
        let address = AccountAddress {
            ip: ip(id).ip,
            held_by: holder.map(str::to_owned),
            tags: texts(&[(STACK_NAME, "egress"), (LOGICAL_ID, logical)]),
            ..AccountAddress::default()
        };
        ((*id).to_owned(), address)
    };
    bench.network.headroom.account = Account::Listed {
        addresses: shown.iter().map(address).collect(),
        gone: BTreeSet::new(),
    };
}

/// Returns the template of the plan's change.
fn template(plan: &Plan) -> serde_json::Value {
    let Action::Prepare(template) = &plan.action else {
        panic!("{plan}");
    };
    serde_json::from_str(&template.text).unwrap()
}

/// Carries out the plan's change, whose literal outputs the stack shows.
fn carry_out(bench: &mut Bench) {
    let text = template(&bench.plan());
    bench.stack().template = text.to_string();
    for (id, output) in text["Outputs"].as_object().unwrap() {
        if let Some(ip) = output["Value"].as_str() {
            bench.stack().outputs.insert(id.clone(), ip.to_owned());
        }
    }
}

/// Returns the zones that wait for a static IP, with the reasons and texts.
fn waits(plan: &Plan) -> Vec<(Reason, String)> {
    let of_ips = [Reason::StaticIpUndecided, Reason::StaticIpLost];
    let problems = plan.problems.iter();
    let problems = problems.filter(|it| of_ips.contains(&it.reason));
    problems.map(|it| (it.reason, it.message())).collect()
}

#[test]
fn a_zone_gets_its_additional_ip_from_the_same_allocation_and_uses_it() {
    let mut bench = back(&[(2, "eipalloc-7")]);
    shows(&mut bench, &[("eipalloc-7", FREE, "EIPaNo2")]);
    // No quota is needed for it.
    bench.network.headroom.addresses = Some(0);
    let plan = bench.plan();
    assert_eq!(kinds(&plan), [(Kind::Add, "EIPaNo2".to_owned())], "{plan}");
    let text = template(&plan);
    assert_eq!(text["Outputs"]["EIPaNo2"]["Value"], "203.0.113.7");
    assert!(text["Resources"]["EIPaNo2"].is_null());
    carry_out(&mut bench);
    let plan = bench.plan();
    assert_eq!(plan.announced_ips["a"], ["203.0.113.7"], "{plan}");
    assert!(plan.kept_ips.is_empty(), "{plan}");
    bench.settings.eips_per_zone = 1;
    bench.settings.eips_in_use = 2;
    let plan = bench.plan();
    assert_eq!(
        kinds(&plan),
        [(Kind::Modify, "NATGatewaya".to_owned())],
        "{plan}"
    );
    assert!(!plan.differences[0].is_replacement());
    carry_out(&mut bench);
    let plan = bench.plan();
    assert_eq!(plan.action, Action::Keep, "{plan}");
    assert_eq!(plan.secondary_ips["a"], ["203.0.113.7"]);
    assert!(plan.announced_ips.is_empty());
    // A change of routes keeps the output, the use and the allocation id.
    bench.ask(&[("dns", "8.8.8.8"), ("more", "9.9.9.9")]);
    let plan = bench.plan();
    let mut differences = plan.differences.iter();
    assert!(
        differences.all(|it| it.resource_type == "AWS::EC2::Route"),
        "{plan}"
    );
    let text = template(&plan);
    assert_eq!(text["Outputs"]["EIPaNo2"]["Value"], "203.0.113.7");
    let gateway = &text["Resources"]["NATGatewaya"]["Properties"];
    assert_eq!(gateway["SecondaryAllocationIds"], json!(["eipalloc-7"]));
    let table = &text["Resources"]["NATSubnetRouteTablea"]["Metadata"];
    assert_eq!(
        table["AdditionalStaticIPs"],
        json!({ "EIPaNo2": "eipalloc-7" })
    );
}

#[test]
fn a_number_stays_with_its_ip() {
    let mut bench = back(&[(2, "eipalloc-7"), (3, "eipalloc-8")]);
    bench.settings.eips_per_zone = 3;
    shows(
        &mut bench,
        &[
            ("eipalloc-7", Some("eni-9"), "EIPaNo2"),
            ("eipalloc-8", FREE, "EIPaNo3"),
        ],
    );
    let plan = bench.plan();
    assert_eq!(kinds(&plan), [(Kind::Add, "EIPaNo3".to_owned())], "{plan}");
    assert!(waits(&plan).is_empty(), "{plan}");
    carry_out(&mut bench);
    // The zone waits for the other one, and the other zone gets its own.
    let plan = bench.plan();
    let told = waits(&plan);
    assert_eq!(told.len(), 1, "{plan}");
    assert!(
        told[0].1.contains("203.0.113.7") && told[0].1.contains("eni-9"),
        "{told:?}"
    );
    assert!(kinds(&plan).iter().all(|(_, id)| id == "EIPbNo2"), "{plan}");
}

#[test]
fn an_ip_in_doubt_is_waited_for_and_holds_up_no_other_zone() {
    let mut bench = back(&[(2, "eipalloc-7")]);
    let is_told = |bench: &Bench, reason, what: &str| {
        let plan = bench.plan();
        let told = waits(&plan);
        assert_eq!(told.len(), 1, "{plan}");
        assert!(told[0].0 == reason && told[0].1.contains(what), "{told:?}");
        assert!(kinds(&plan).iter().all(|(_, id)| id == "EIPbNo2"), "{plan}");
    };
    is_told(&bench, Reason::StaticIpUndecided, "does not say");
    shows(&mut bench, &[("eipalloc-7", Some("eni-9"), "EIPaNo2")]);
    is_told(&bench, Reason::StaticIpUndecided, "eni-9");
    shows(&mut bench, &[]);
    if let Account::Listed { gone, .. } = &mut bench.network.headroom.account {
        gone.insert("eipalloc-7".to_owned());
    }
    let lost = ("a".to_owned(), "203.0.113.7".to_owned());
    bench.settings.new_eips = [lost.clone()].into();
    // AWS is asked for it first, whatever the operator permits.
    let plan = bench.plan();
    let asks = json!({
        "Type": "AWS::EC2::EIP",
        "Properties": { "Domain": "vpc", "Address": "203.0.113.7" },
        "DeletionPolicy": "Retain",
        "UpdateReplacePolicy": "Retain",
    });
    assert_eq!(template(&plan)["Resources"]["EIPaNo2"], asks, "{plan}");
    assert_eq!(plan.recovers, Some(lost.clone()));
    assert_eq!(waits(&plan)[0].0, Reason::StaticIpLost);
    bench.settings.new_eips.clear();
    let remedy = "--allow-new-eips=a=203.0.113.7";
    for (times, left) in [(1, 60), (TRIES, 0)] {
        let left = Duration::from_secs(left);
        let asked = [(lost.clone(), Asked { times, left })];
        bench.network.headroom.ip_waits.asked = asked.into();
        is_told(&bench, Reason::StaticIpLost, remedy);
    }
    let failed = IpStep {
        zone: "a".to_owned(),
        exist: 2,
        used: 1,
    };
    let wait = Duration::from_secs(60);
    bench.network.headroom.ip_waits.steps = [(failed, wait)].into();
    is_told(&bench, Reason::StaticIpLost, remedy);
    bench.network.headroom.ip_waits.steps.clear();
    // A person allocates it again, or permits a new one.
    let mut again = back(&[(2, "eipalloc-7")]);
    let other = AccountAddress {
        ip: "203.0.113.7".to_owned(),
        ..AccountAddress::default()
    };
    again.network.headroom.account = Account::Listed {
        addresses: [("eipalloc-77".to_owned(), other)].into(),
        gone: ["eipalloc-7".to_owned()].into(),
    };
    let table = &template(&again.plan())["Resources"]["NATSubnetRouteTablea"]["Metadata"];
    assert_eq!(table["AdditionalStaticIPs"]["EIPaNo2"], "eipalloc-77");
    bench.settings.new_eips = [lost].into();
    let plan = bench.plan();
    assert!(
        waits(&plan).is_empty() && bench.reasons().is_empty(),
        "{plan}"
    );
    assert_eq!(
        template(&plan)["Resources"]["EIPaNo2"]["Type"],
        "AWS::EC2::EIP"
    );
}

#[test]
fn without_a_ledger_the_tags_of_cloudformation_name_zone_and_number() {
    let mut bench = back(&[]);
    shows(
        &mut bench,
        &[
            ("eipalloc-8", FREE, "EIPaNo2"),
            ("eipalloc-9", FREE, "EIPbNo2"),
        ],
    );
    let outputs = &template(&bench.plan())["Outputs"];
    assert_eq!(outputs["EIPaNo2"]["Value"], "203.0.113.8");
    shows(
        &mut bench,
        &[
            ("eipalloc-7", FREE, "EIPaNo2"),
            ("eipalloc-8", FREE, "EIPaNo2"),
        ],
    );
    let plan = bench.plan();
    assert_eq!(waits(&plan).len(), 1, "{plan}");
    assert!(kinds(&plan).iter().all(|(_, id)| id == "EIPbNo2"), "{plan}");
}

#[test]
fn without_an_answer_of_ec2_no_zone_gets_a_new_one() {
    let mut bench = back(&[]);
    bench.network.headroom.account = Account::Unanswered("denied".to_owned());
    let plan = bench.plan();
    assert_eq!(plan.action, Action::Keep, "{plan}");
    assert_eq!(waits(&plan).len(), 2, "{plan}");
}

#[test]
fn an_ip_outside_of_the_stack_leaves_it_with_its_zone() {
    let mut bench = back(&[(2, "eipalloc-7")]);
    shows(&mut bench, &[("eipalloc-7", FREE, "EIPaNo2")]);
    carry_out(&mut bench);
    bench.settings.zones.remove("a");
    bench.settings.remove_zones = ["a".to_owned()].into();
    let plan = bench.plan();
    let gone = (Kind::Remove, "EIPaNo2".to_owned());
    assert_eq!(kinds(&plan).iter().filter(|it| **it == gone).count(), 1);
    let mut bench = back(&[(2, "eipalloc-7")]);
    shows(&mut bench, &[("eipalloc-7", FREE, "EIPaNo2")]);
    carry_out(&mut bench);
    bench.ask(&[]);
    bench.settings.on_empty = OnEmpty::Delete;
    bench.grace_left = std::time::Duration::ZERO;
    assert!(matches!(bench.plan().action, Action::Delete { .. }));
}

#[test]
fn ips_that_the_flags_name_come_first_and_in_their_order() {
    let mut bench = back(&[(2, "eipalloc-7")]);
    bench.settings.eips_per_zone = 4;
    let named = ["eipalloc-8", "eipalloc-9"].map(str::to_owned);
    bench.settings.more_allocations = [("a".to_owned(), named.to_vec())].into();
    shows(
        &mut bench,
        &[
            ("eipalloc-7", FREE, "EIPaNo2"),
            ("eipalloc-9", FREE, "of another stack"),
        ],
    );
    let plan = bench.plan();
    let told = waits(&plan);
    assert!(
        told.len() == 1 && told[0].1.contains("eipalloc-8"),
        "{plan}"
    );
    assert!(kinds(&plan).iter().all(|(_, id)| id == "EIPbNo2"), "{plan}");
    shows(
        &mut bench,
        &[
            ("eipalloc-7", FREE, "EIPaNo2"),
            ("eipalloc-8", FREE, "of another stack"),
            ("eipalloc-9", FREE, "of another stack"),
        ],
    );
    for _ in 0..3 {
        carry_out(&mut bench);
    }
    let outputs = bench.stack().outputs.clone();
    let ips = ["EIPaNo2", "EIPaNo3", "EIPaNo4"].map(|id| outputs[id].as_str());
    assert_eq!(ips, ["203.0.113.8", "203.0.113.9", "203.0.113.7"]);
    // One that is named later takes no other one's place, and that is told.
    assert!(bench.reasons().is_empty(), "{}", bench.plan());
    let named = &mut bench.settings.more_allocations;
    named.get_mut("a").unwrap().push("eipalloc-6".to_owned());
    let ledger = bench.ledger.as_mut().unwrap();
    for (number, id) in [(2, "eipalloc-8"), (3, "eipalloc-9"), (4, "eipalloc-7")] {
        ledger.note_more("a".to_owned(), number, ip(id));
    }
    assert_eq!(bench.reasons(), [Reason::StaticIpKept]);
    let told = bench.plan().problems[0].message();
    assert!(told.contains("eipalloc-6"), "{told}");
}
