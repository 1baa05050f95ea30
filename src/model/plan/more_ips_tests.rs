//! Additional static IPs are added one after the other, each alone, and none is ever given up.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::tests::{Bench, kinds, ready, texts};
use super::*;
use crate::model::cloud::live::Effect;
use crate::model::cloud::part_names::{Part, part_name};
use crate::model::cloud::retention::is_retained;
use crate::model::cloud::static_ip::Account;
use crate::model::persisted::ledger::Ledger;
use crate::model::plan::diff::Kind;
use crate::model::plan::types::Action;

/// Returns a stack of zones a and b, an account with room, and a flag that asks for two static IPs a zone.
fn bench() -> Bench {
    let mut bench = Bench::live(&[("dns", "8.8.8.8")]);
    bench.stack().outputs = texts(&[("EIPa", "198.51.100.1"), ("EIPb", "198.51.100.2")]);
    bench.settings.eips_per_zone = 2;
    bench.network.headroom.account = Account::Listed {
        addresses: BTreeMap::new(),
        gone: BTreeSet::new(),
    };
    bench
}

fn step(zone: &str) -> IpStep {
    IpStep {
        zone: zone.to_owned(),
        exist: 2,
        used: 1,
    }
}

/// Carries out the plan's change.
fn carry_out(bench: &mut Bench, ip: &str) {
    let plan = bench.plan();
    let Action::Prepare(template) = &plan.action else {
        panic!("{plan}");
    };
    let id = plan.differences[0].id.clone();
    bench.stack().template.clone_from(&template.text);
    bench.stack().outputs.insert(id, ip.to_owned());
}

#[test]
fn each_zone_gets_its_ips_one_after_the_other_and_each_alone() {
    let mut bench = bench();
    let plan = bench.plan();
    let id = part_name("a", Part::MoreEip(2));
    assert_eq!(
        kinds(&plan),
        [(Kind::Add, id.clone()), (Kind::Add, id.clone())],
        "the EIP and its output: {plan}"
    );
    assert!(plan.differences.iter().all(|it| !it.names_owner()));
    let Action::Prepare(template) = &plan.action else {
        panic!("{plan}");
    };
    let text: serde_json::Value = serde_json::from_str(&template.text).unwrap();
    assert!(is_retained(&text["Resources"][&id]));
    assert_eq!(text["Outputs"][&id]["Value"]["Ref"], id.as_str());
    // The change set is executed, and a later leader knows of the attempt.
    let mut set = ready(&plan, Effect::Add);
    set.changes.retain(|it| it.resource_type != "output");
    bench.stack().change_sets = vec![set.clone()];
    let executes = bench.plan();
    assert!(
        matches!(executes.action, Action::Execute { .. }),
        "{executes}"
    );
    assert_eq!(executes.ip_step, Some(step("a")));
    // A change set with an unplanned change is discarded, and the step waits.
    set.changes[0].effect = Effect::MayReplace;
    bench.stack().change_sets = vec![set];
    let given_up = bench.plan();
    assert!(
        matches!(given_up.action, Action::Discard { .. }),
        "{given_up}"
    );
    assert_eq!(given_up.ip_step, Some(step("a")));
    bench.stack().change_sets.clear();
    carry_out(&mut bench, "203.0.113.1");
    assert_eq!(bench.plan().ip_step, Some(step("b")));
    carry_out(&mut bench, "203.0.113.2");
    let plan = bench.plan();
    assert_eq!(plan.action, Action::Keep, "{plan}");
    assert!(
        plan.problems.is_empty() && plan.surveyed().is_empty(),
        "{plan}"
    );
    assert_eq!(plan.announced_ips["a"], ["203.0.113.1"]);
    assert_eq!(plan.static_ips["a"], "198.51.100.1");
}

/// After a change that failed without a reason, routes wait until nothing else is left to do. The steps of many zones would take hours.
#[test]
fn routes_that_wait_for_another_attempt_go_before_additional_ips() {
    let mut bench = bench();
    bench.ask(&[("dns", "8.8.8.8"), ("new", "9.9.9.9")]);
    bench.network.headroom.refused.additions = Some(0);
    let plan = bench.plan();
    assert_eq!(plan.ip_step, None, "{plan}");
    let ids: Vec<&str> = plan.differences.iter().map(|it| it.id.as_str()).collect();
    assert!(ids.iter().all(|id| id.contains("9x9x9x9")), "{ids:?}");
    assert!(!ids.is_empty(), "{plan}");
    bench.ask(&[("dns", "8.8.8.8")]);
    assert_eq!(bench.plan().ip_step, Some(step("a")), "no route waits");
}

#[test]
fn a_flag_that_is_lowered_takes_no_ip_away() {
    let mut bench = bench();
    carry_out(&mut bench, "203.0.113.1");
    bench.settings.eips_per_zone = 1;
    let plan = bench.plan();
    assert_eq!(
        (&plan.action, plan.differences.len()),
        (&Action::Keep, 0),
        "{plan}"
    );
    assert_eq!(bench.reasons(), [Reason::StaticIpKept]);
    let text = plan.problems[0].message();
    assert!(text.contains("--aws-eips-per-zone=2"), "{text}");
    // A change of routes does not alter the additional IP.
    bench.ask(&[("dns", "8.8.8.8"), ("more", "9.9.9.9")]);
    let plan = bench.plan();
    let routes = plan.differences.iter();
    assert!(
        routes
            .clone()
            .all(|it| it.resource_type == "AWS::EC2::Route"),
        "{plan}"
    );
    // The IP leaves the stack with its zone, and stays in the account.
    bench.settings.zones.remove("a");
    bench.settings.remove_zones = ["a".to_owned()].into();
    let plan = bench.plan();
    let is_removed = |it: &(Kind, String)| *it == (Kind::Remove, "EIPaNo2".to_owned());
    assert_eq!(
        kinds(&plan).iter().filter(|it| is_removed(it)).count(),
        2,
        "{plan}"
    );
}

#[test]
fn routes_come_first_and_what_failed_waits() {
    let mut bench = bench();
    bench.ask(&[("dns", "8.8.8.8"), ("more", "9.9.9.9")]);
    let plan = bench.plan();
    assert!(
        plan.ip_step.is_none() && plan.differences.len() == 2,
        "{plan}"
    );
    bench.ask(&[("dns", "8.8.8.8")]);
    let wait = Duration::from_secs(60);
    bench.network.headroom.ip_waits.steps = [(step("a"), wait)].into();
    let plan = bench.plan();
    assert_eq!(plan.ip_step, Some(step("b")), "{plan}");
    assert_eq!(plan.ip_waits, [step("a")].into());
    assert_eq!(plan.again, Some(wait));
    assert_eq!(bench.reasons(), [Reason::LimitReached]);
    bench.network.headroom.ip_waits.steps.clear();
    bench.network.headroom.addresses = Some(0);
    let plan = bench.plan();
    assert_eq!(plan.action, Action::Keep, "{plan}");
    assert_eq!(bench.reasons(), [Reason::LimitReached; 2]);
    // No IP is added before EC2 was asked about the account.
    bench.network.headroom.account = Account::NotAsked;
    let plan = bench.plan();
    assert_eq!(
        (&plan.action, plan.surveyed()),
        (&Action::Keep, ["a", "b"].map(str::to_owned).into())
    );
}

/// Users edit without a pause.
#[test]
fn edits_do_not_postpone_an_ip_for_ever() {
    let mut bench = bench();
    assert!(!bench.plan().postponed);
    bench.ask(&[("dns", "8.8.8.8"), ("more", "9.9.9.9")]);
    let plan = bench.plan();
    assert!(plan.postponed && plan.ip_step.is_none(), "{plan}");
    bench.network.headroom.ip_waits.is_overdue = true;
    let plan = bench.plan();
    assert_eq!(plan.ip_step, Some(step("a")), "{plan}");
    assert!(kinds(&plan).iter().all(|(_, id)| id == "EIPaNo2"), "{plan}");
    bench.network.headroom.refused.additions = Some(0);
    assert!(bench.plan().ip_step.is_none(), "refused routes go first");
    bench.network.headroom.refused.additions = None;
    // What cannot be made holds up no edit.
    bench.network.headroom.addresses = Some(0);
    let plan = bench.plan();
    assert!(plan.postponed && plan.ip_step.is_none(), "{plan}");
    assert_eq!(plan.differences.len(), 2, "{plan}");
}

#[test]
fn a_stack_that_is_to_go_gets_no_more_ips() {
    let mut bench = bench();
    bench.ask(&[]);
    bench.settings.on_empty = OnEmpty::Delete;
    bench.grace_left = Duration::from_secs(60);
    assert!(bench.plan().ip_step.is_none());
}

/// Returns the same world with both IPs of each zone announced, and a flag by which both carry traffic.
fn announced() -> Bench {
    let mut bench = bench();
    carry_out(&mut bench, "203.0.113.1");
    carry_out(&mut bench, "203.0.113.2");
    assert_eq!(bench.plan().action, Action::Keep);
    bench.settings.eips_in_use = 2;
    bench
}

fn used(zone: &str) -> IpStep {
    IpStep {
        used: 2,
        ..step(zone)
    }
}

#[test]
fn an_announced_ip_is_used_by_a_change_of_its_own_and_stays_in_use() {
    let mut bench = announced();
    let plan = bench.plan();
    assert_eq!(plan.ip_step, Some(used("a")));
    assert_eq!(
        kinds(&plan),
        [(Kind::Modify, "NATGatewaya".to_owned())],
        "{plan}"
    );
    assert!(
        !plan.differences[0].is_replacement() && plan.differences[0].what.contains("203.0.113.1")
    );
    bench.stack().change_sets = vec![ready(&plan, Effect::Modify)];
    assert!(matches!(bench.plan().action, Action::Execute { .. }));
    // CloudFormation must change the NAT gateway in place.
    bench.stack().change_sets = vec![ready(&plan, Effect::MayReplace)];
    assert!(matches!(bench.plan().action, Action::Discard { .. }));
    bench.stack().change_sets.clear();
    carry_out(&mut bench, "");
    bench.stack().outputs.remove("NATGatewaya");
    assert_eq!(bench.plan().ip_step, Some(used("b")));
    carry_out(&mut bench, "");
    bench.stack().outputs.remove("NATGatewayb");
    let plan = bench.plan();
    assert_eq!(plan.action, Action::Keep, "{plan}");
    assert_eq!(plan.secondary_ips["a"], ["203.0.113.1"]);
    assert!(plan.announced_ips.is_empty());
    // A lowered flag removes no IP, and a change of routes keeps the IPs.
    bench.settings.eips_in_use = 1;
    bench.ask(&[("dns", "8.8.8.8"), ("more", "9.9.9.9")]);
    let plan = bench.plan();
    let mut differences = plan.differences.iter();
    assert!(
        differences.all(|it| it.resource_type == "AWS::EC2::Route"),
        "{plan}"
    );
    assert_eq!(bench.reasons(), [Reason::StaticIpKept; 2]);
}

#[test]
fn what_no_settled_stack_has_shown_is_not_used() {
    let mut bench = announced();
    bench.stack().outputs.remove("EIPaNo2");
    assert_eq!(bench.plan().ip_step, Some(used("b")));
    // All zones' IPs are announced before one of them is used.
    let mut fresh = self::bench();
    fresh.settings.eips_in_use = 2;
    assert_eq!(fresh.plan().ip_step, Some(step("a")));
    carry_out(&mut fresh, "203.0.113.1");
    assert_eq!(fresh.plan().ip_step, Some(step("b")));
}

/// Carries out the end of the use of an IP of zone a.
fn rests(bench: &mut Bench) {
    carry_out(bench, "");
    bench.stack().outputs.remove("NATGatewaya");
}

#[test]
fn fewer_ips_carry_traffic_only_where_a_flag_names_the_zone() {
    let mut bench = announced();
    for zone in ["a", "b"] {
        carry_out(&mut bench, "");
        bench.stack().outputs.remove(&format!("NATGateway{zone}"));
    }
    bench.settings.eips_in_use = 1;
    assert_eq!(bench.plan().action, Action::Keep);
    bench.settings.replaced = ["a".to_owned()].into();
    let plan = bench.plan();
    assert_eq!(plan.ip_step, Some(step("a")), "{plan}");
    let what = "traffic leaves from 203.0.113.1 no more";
    assert!(plan.differences[0].what.contains(what), "{plan}");
    // CloudFormation must change the NAT gateway in place.
    bench.stack().change_sets = vec![ready(&plan, Effect::MayReplace)];
    assert!(matches!(bench.plan().action, Action::Discard { .. }));
    bench.stack().change_sets = vec![ready(&plan, Effect::Modify)];
    assert!(matches!(bench.plan().action, Action::Execute { .. }));
    bench.stack().change_sets.clear();
    rests(&mut bench);
    let plan = bench.plan();
    assert_eq!(plan.action, Action::Keep, "{plan}");
    assert_eq!(plan.announced_ips["a"], ["203.0.113.1"], "it stays");
    assert_eq!(plan.secondary_ips["b"], ["203.0.113.2"]);
    assert_eq!(bench.reasons(), [Reason::StaticIpKept], "zone b");
}

/// The flags name another IP for the zone than one that it uses.
#[test]
fn an_ip_that_the_flags_do_not_name_rests_first() {
    let mut bench = bench();
    bench.settings.zones.remove("b");
    (bench.settings.eips_per_zone, bench.settings.eips_in_use) = (3, 3);
    carry_out(&mut bench, "203.0.113.1");
    carry_out(&mut bench, "203.0.113.3");
    for _ in 0..2 {
        carry_out(&mut bench, "");
        bench.stack().outputs.remove("NATGatewaya");
    }
    let mut ledger = Ledger::new("egress");
    for (number, ip) in [(2, "203.0.113.1"), (3, "203.0.113.3")] {
        let has = StaticIp {
            ip: ip.to_owned(),
            allocation: format!("eipalloc-{number}"),
        };
        ledger.note_more("a".to_owned(), number, has);
    }
    bench.ledger = Some(ledger);
    bench.settings.eips_in_use = 2;
    bench.settings.replaced = ["a".to_owned()].into();
    let rest = |bench: &Bench| bench.plan().differences[0].what.clone();
    assert!(rest(&bench).contains("203.0.113.3 no more"));
    let named = vec!["eipalloc-3".to_owned()];
    bench.settings.more_allocations = [("a".to_owned(), named)].into();
    assert!(rest(&bench).contains("203.0.113.1 no more"));
}
