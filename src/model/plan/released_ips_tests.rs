//! A zone that is added asks AWS for its released static IP, and holds up nobody.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::tests::Bench;
use super::*;
use crate::model::cloud::released_ips::Asked;
use crate::model::cloud::static_ip::{Account, StaticIp};
use crate::model::persisted::ledger::Ledger;
use crate::model::plan::types::Action;

const IP: &str = "198.51.100.3";

fn lost(zone: &str) -> Lost {
    (zone.to_owned(), IP.to_owned())
}

/// Makes the ledger know a static IP of the zone, which was released.
fn release(bench: &mut Bench, zone: &str, ip: &str) {
    let allocation = format!("eipalloc-{zone}");
    let mut gone = BTreeSet::from([allocation.clone()]);
    if let Account::Listed { gone: others, .. } = &bench.network.headroom.account {
        gone.extend(others.iter().cloned());
    }
    bench.network.headroom.account = Account::Listed {
        addresses: [].into(),
        gone,
    };
    let mut ledger = bench.ledger.take().unwrap_or_else(|| Ledger::new("egress"));
    let ip = ip.to_owned();
    let known = StaticIp { ip, allocation };
    ledger.static_ips.insert(zone.to_owned(), known);
    bench.ledger = Some(ledger);
}

/// Returns a stack of two zones, and a flag that names a third one, whose static IP was released.
fn third() -> Bench {
    let mut bench = Bench::live(&[("dns", "8.8.8.8")]);
    let c = ("c".to_owned(), "172.31.66.0/28".parse().unwrap());
    bench.settings.zones.extend([c]);
    release(&mut bench, "c", IP);
    bench
}

fn eips(plan: &Plan) -> Value {
    let (Action::Create(template) | Action::Prepare(template)) = &plan.action else {
        panic!("{plan}");
    };
    let text: Value = serde_json::from_str(&template.text).unwrap();
    let all = text["Resources"].as_object().unwrap().clone();
    let is_eip = |(_, body): &(String, Value)| body["Type"] == "AWS::EC2::EIP";
    let address = |(id, body): (String, Value)| (id, body["Properties"]["Address"].clone());
    all.into_iter().filter(is_eip).map(address).collect()
}

fn is_told(plan: &Plan) -> bool {
    let mut problems = plan.problems.iter();
    problems.any(|it| it.reason == Reason::StaticIpLost && it.message().contains(IP))
}

fn asked(bench: &mut Bench, lost: Lost, times: u32, left: u64) {
    let left = Duration::from_secs(left);
    let asked = &mut bench.network.headroom.ip_waits.asked;
    asked.insert(lost, Asked { times, left });
}

#[test]
fn a_zone_that_is_added_asks_for_its_released_ip_after_all_routes() {
    let mut bench = third();
    bench.ask(&[("dns", "8.8.8.8"), ("more", "9.9.9.9")]);
    let plan = bench.plan();
    assert_eq!(eips(&plan), json!({ "EIPa": null, "EIPb": null }));
    assert!(is_told(&plan) && plan.recovers.is_none(), "{plan}");
    bench.ask(&[("dns", "8.8.8.8")]);
    let plan = bench.plan();
    let with_c = json!({ "EIPa": null, "EIPb": null, "EIPc": IP });
    assert_eq!(eips(&plan), with_c, "{plan}");
    assert_eq!(plan.recovers, Some(lost("c")));
    let Action::Prepare(template) = &plan.action else {
        panic!("{plan}");
    };
    let text: Value = serde_json::from_str(&template.text).unwrap();
    assert_eq!(text["Resources"]["EIPc"]["DeletionPolicy"], "Retain");
    assert!(is_told(&plan), "{plan}");
}

#[test]
fn it_is_asked_for_a_few_times_and_then_a_permission_counts() {
    let mut bench = third();
    bench.settings.new_eips = [lost("c")].into();
    // No permission comes before the first attempt.
    assert_eq!(bench.plan().recovers, Some(lost("c")));
    assert_eq!(
        bench.reasons(),
        [Reason::StaticIpLost, Reason::NoRouteTableInZone]
    );
    asked(&mut bench, lost("c"), 1, 60);
    let plan = bench.plan();
    assert_eq!(eips(&plan)["EIPc"], Value::Null, "{plan}");
    assert!(plan.recovers.is_none() && !is_told(&plan), "{plan}");
    bench.settings.new_eips.clear();
    let plan = bench.plan();
    assert_eq!(plan.action, Action::Keep, "{plan}");
    assert_eq!(plan.again, Some(Duration::from_secs(60)));
    assert!(is_told(&plan), "{plan}");
    asked(&mut bench, lost("c"), 3, 0);
    assert_eq!(bench.plan().recovers, Some(lost("c")));
    asked(&mut bench, lost("c"), 4, 0);
    let plan = bench.plan();
    assert_eq!(plan.action, Action::Keep, "{plan}");
    assert!(plan.again.is_none() && is_told(&plan), "{plan}");
}

#[test]
fn a_stack_is_created_without_the_zone_unless_no_zone_has_a_static_ip() {
    let mut bench = Bench::new(&[("dns", "8.8.8.8")]);
    release(&mut bench, "a", IP);
    let plan = bench.plan();
    assert_eq!(eips(&plan), json!({ "EIPb": null }), "{plan}");
    assert!(is_told(&plan) && plan.recovers.is_none(), "{plan}");
    release(&mut bench, "b", "198.51.100.4");
    let plan = bench.plan();
    assert_eq!(eips(&plan), json!({ "EIPa": IP }), "{plan}");
    assert_eq!(plan.recovers, Some(lost("a")));
    // It was given away: the other one is asked for.
    asked(&mut bench, lost("a"), 1, 60);
    let plan = bench.plan();
    assert_eq!(eips(&plan), json!({ "EIPb": "198.51.100.4" }), "{plan}");
    let b = ("b".to_owned(), "198.51.100.4".to_owned());
    assert_eq!(plan.recovers, Some(b.clone()));
    asked(&mut bench, b, 1, 60);
    let plan = bench.plan();
    assert_eq!(plan.action, Action::Refuse, "{plan}");
    assert_eq!(plan.again, Some(Duration::from_secs(60)));
}

#[test]
fn an_ip_that_is_asked_for_needs_room_for_one_more() {
    let mut bench = third();
    bench.network.headroom.addresses = Some(0);
    let plan = bench.plan();
    assert_eq!(plan.action, Action::Keep, "{plan}");
    assert!(is_told(&plan), "{plan}");
}

#[test]
fn an_ip_is_missed_until_the_zone_has_it_or_another_one() {
    let mut bench = third();
    assert!(bench.plan().misses(&lost("c")));
    let plan = Plan {
        announced_ips: [("c".to_owned(), vec![IP.to_owned()])].into(),
        ..bench.plan()
    };
    assert!(!plan.misses(&lost("c")));
    release(&mut bench, "c", "198.51.100.9");
    assert!(!bench.plan().misses(&lost("c")));
}

#[test]
fn a_stream_of_edits_does_not_postpone_it_for_ever() {
    let mut bench = third();
    bench.ask(&[("dns", "8.8.8.8"), ("more", "9.9.9.9")]);
    assert!(bench.plan().postponed);
    bench.network.headroom.ip_waits.is_overdue = true;
    assert_eq!(bench.plan().recovers, Some(lost("c")));
}
