//! A zone that is added gets its former static IP, or waits for the operator to choose.

use std::collections::BTreeSet;

use super::super::tests::{Bench, ready, texts};
use super::*;
use crate::model::base::reason::Reason;
use crate::model::cloud::live::{Effect, Live};
use crate::model::cloud::observed::{Address, Observed};
use crate::model::cloud::released_ips::Asked;
use crate::model::persisted::ledger::Ledger;
use crate::model::plan::types::{Action, Plan};

/// The stack name, allocation id and holder of an IP, and the logical id that CloudFormation's tag shows.
type Shown<'a> = (&'a str, &'a str, Option<&'a str>, &'a str);

/// Returns an account with these static IPs. Each IP is named after its allocation.
fn account(shown: &[Shown<'_>]) -> Account {
    let address = |(stack, allocation, holder, id): &Shown<'_>| {
        let address = AccountAddress {
            ip: ip_of(allocation),
            held_by: holder.map(str::to_owned),
            tags: texts(&[(STACK_NAME, stack), (LOGICAL_ID, id)]),
            ..AccountAddress::default()
        };
        ((*allocation).to_owned(), address)
    };
    Account::Listed {
        addresses: shown.iter().map(address).collect(),
        gone: BTreeSet::new(),
    }
}

fn ip_of(allocation: &str) -> String {
    allocation.replace("eipalloc-", "198.51.100.")
}

fn ip(allocation: &str) -> StaticIp {
    StaticIp {
        ip: ip_of(allocation),
        allocation: allocation.to_owned(),
    }
}

/// Returns a world without a stack, with two zones and a ledger that knows these static IPs.
fn former(known: &[(&str, &str)], shown: &[Shown<'_>]) -> Bench {
    let mut bench = Bench::new(&[("dns", "8.8.8.8")]);
    let mut ledger = Ledger::new("egress");
    let known = known.iter().map(|(zone, it)| ((*zone).to_owned(), ip(it)));
    ledger.static_ips = known.collect();
    bench.ledger = Some(ledger);
    bench.network.headroom.account = account(shown);
    bench
}

/// Returns the template of the stack that the plan creates.
fn created(plan: &Plan) -> serde_json::Value {
    let Action::Create(template) = &plan.action else {
        panic!("{plan}");
    };
    serde_json::from_str(&template.text).unwrap()
}

/// Returns the plan's problems of static IPs, and the allocation ids of the NAT gateways.
fn outcome(bench: &Bench) -> (Vec<(Reason, String)>, Vec<serde_json::Value>) {
    let plan = bench.plan();
    let of_ips = [Reason::StaticIpUndecided, Reason::StaticIpLost];
    let problems = plan.problems.iter();
    let problems = problems.filter(|it| of_ips.contains(&it.reason));
    let problems = problems.map(|it| (it.reason, it.message())).collect();
    let Action::Create(_) = plan.action else {
        return (problems, Vec::new());
    };
    let text = created(&plan);
    let gateway = |zone| text["Resources"][format!("NATGateway{zone}")]["Properties"].clone();
    let used = ["a", "b"].map(|zone| gateway(zone)["AllocationId"].clone());
    let used = used.into_iter().filter(|it| it.is_string());
    (problems, used.collect())
}

#[test]
fn the_ledger_knows_which_static_ips_the_zones_had() {
    let bench = former(
        &[("a", "eipalloc-1"), ("b", "eipalloc-2")],
        &[
            ("egress", "eipalloc-1", None, "EIPb"),
            ("other", "eipalloc-2", None, ""),
        ],
    );
    let text = created(&bench.plan());
    assert_eq!(
        text["Resources"]["NATGatewaya"]["Properties"]["AllocationId"],
        "eipalloc-1"
    );
    assert_eq!(text["Outputs"]["EIPb"]["Value"], "198.51.100.2");
    assert!(text["Resources"]["EIPa"].is_null() && text["Resources"]["EIPb"].is_null());
}

#[test]
fn without_a_ledger_the_tags_of_cloudformation_name_the_zone() {
    let shown = [
        ("egress", "eipalloc-1", None, "EIPaAnew2"),
        ("egress", "eipalloc-2", None, "EIPc"),
        ("other", "eipalloc-3", None, "EIPb"),
    ];
    let (problems, used) = outcome(&former(&[], &shown));
    assert_eq!((problems.len(), used), (0, vec!["eipalloc-1".into()]));
}

#[test]
fn a_zone_waits_where_there_is_a_choice_and_a_flag_makes_it() {
    let cases: [(&[Shown<'_>], &str); 4] = [
        (
            &[
                ("egress", "eipalloc-1", None, "EIPa"),
                ("egress", "eipalloc-2", None, "EIPaAnew1"),
            ],
            "198.51.100.1 (eipalloc-1) and 198.51.100.2 (eipalloc-2)",
        ),
        (
            &[("egress", "eipalloc-1", Some("eni-9"), "EIPa")],
            "eni-9 has now",
        ),
        // The Go controller numbered the zones.
        (
            &[("egress", "eipalloc-1", None, "EIP1")],
            "such as 198.51.100.1",
        ),
        (
            &[
                ("egress", "eipalloc-1", None, "EIPa"),
                ("egress", "eipalloc-2", None, "EIP1"),
            ],
            "2 static IPs",
        ),
    ];
    for (shown, says) in cases {
        let mut bench = former(&[], shown);
        let (problems, _) = outcome(&bench);
        let (reason, text) = &problems[0];
        assert_eq!(*reason, Reason::StaticIpUndecided);
        assert!(text.contains(says), "{text}");
        let mut more = shown.to_vec();
        more.push(("", "eipalloc-7", None, ""));
        more.push(("", "eipalloc-8", None, ""));
        bench.network.headroom.account = account(&more);
        bench.settings.allocations = texts(&[("a", "eipalloc-7"), ("b", "eipalloc-8")]);
        let used = vec!["eipalloc-7".into(), "eipalloc-8".into()];
        assert_eq!(outcome(&bench), (vec![], used));
    }
}

#[test]
fn an_address_that_a_flag_names_is_in_the_account_and_free() {
    let shown = [("", "eipalloc-1", Some("eni-1"), "")];
    let mut bench = former(&[], &shown);
    for (allocation, says) in [("eipalloc-1", "eni-1 has"), ("eipalloc-2", "does not show")] {
        bench.settings.allocations = texts(&[("a", allocation)]);
        let (problems, _) = outcome(&bench);
        assert!(problems[0].1.contains(says), "{problems:?}");
    }
}

#[test]
fn a_former_static_ip_that_is_not_proven_to_be_gone_is_waited_for() {
    let mut bench = former(&[("a", "eipalloc-1")], &[]);
    let (problems, _) = outcome(&bench);
    assert_eq!(problems[0].0, Reason::StaticIpUndecided);
    let Account::Listed { gone, .. } = &mut bench.network.headroom.account else {
        unreachable!()
    };
    gone.insert("eipalloc-1".to_owned());
    assert_eq!(outcome(&bench).0[0].0, Reason::StaticIpLost);
    let lost = ("a".to_owned(), "198.51.100.1".to_owned());
    bench.settings.new_eips = [lost.clone()].into();
    assert_eq!(outcome(&bench).0[0].0, Reason::StaticIpLost);
    // The permission counts after AWS was asked for the IP.
    let asked = Asked {
        times: 1,
        ..Asked::default()
    };
    bench.network.headroom.ip_waits.asked = [(lost, asked)].into();
    assert_eq!(outcome(&bench), (vec![], vec![]));
    let resources = created(&bench.plan())["Resources"].clone();
    assert!(resources["EIPa"].is_object());
}

#[test]
fn without_an_answer_of_ec2_no_zone_gets_another_static_ip() {
    let mut bench = former(&[], &[]);
    bench.network.headroom.account = Account::Unanswered("denied".to_owned());
    let plan = bench.plan();
    assert_eq!(plan.action, Action::Refuse, "{plan}");
    assert!(
        plan.problems
            .iter()
            .any(|it| it.message().contains("denied"))
    );
}

/// Returns a stack of zones a and b. The static IP of zone a is no resource.
fn with_given() -> Bench {
    let mut bench = former(
        &[("a", "eipalloc-1")],
        &[("egress", "eipalloc-1", None, "EIPa")],
    );
    let Action::Create(template) = bench.plan().action else {
        panic!("{}", bench.plan());
    };
    let mut stack = super::super::tests::stack_of(&template);
    stack.outputs = texts(&[("EIPa", "198.51.100.1"), ("EIPb", "198.51.100.2")]);
    bench.live = Live::Ours(Box::new(stack));
    bench.network.headroom.account = Account::NotAsked;
    bench
}

#[test]
fn a_static_ip_that_is_no_resource_stays_and_is_shown() {
    let mut bench = with_given();
    let plan = bench.plan();
    assert_eq!(plan.action, Action::Keep, "{plan}");
    let shown = texts(&[("a", "198.51.100.1"), ("b", "198.51.100.2")]);
    assert_eq!(plan.static_ips, shown);
    bench.ask(&[("dns", "8.8.8.8"), ("more", "9.9.9.9")]);
    let plan = bench.plan();
    assert!(matches!(plan.action, Action::Prepare(_)), "{plan}");
    let routes = |it: &crate::model::plan::diff::Difference| it.id.starts_with("RouteToNAT");
    assert!(plan.differences.iter().all(routes), "{plan}");
    bench.settings.allocations = texts(&[("a", "eipalloc-9")]);
    assert_eq!(bench.reasons(), [Reason::StaticIpKept]);
}

#[test]
fn the_ledger_notes_the_static_ips_of_live_zones_and_keeps_the_others() {
    let mut bench = with_given();
    let mut ledger = bench.ledger.clone().unwrap();
    ledger.static_ips = [("z".to_owned(), ip("eipalloc-26"))].into();
    bench.ledger = Some(ledger);
    let address = Address {
        held_by: None,
        allocation: "eipalloc-2".to_owned(),
    };
    let seen = Observed {
        addresses: [("198.51.100.2".to_owned(), address)].into(),
        ..Observed::default()
    };
    bench.watch.begin(std::time::Duration::ZERO, true);
    bench.watch.looked("", Ok(seen));
    let noted = bench.plan().ledger.unwrap().static_ips;
    let expected = [
        ("a", "eipalloc-1"),
        ("b", "eipalloc-2"),
        ("z", "eipalloc-26"),
    ];
    let expected = expected.map(|(zone, it)| (zone.to_owned(), ip(it)));
    assert_eq!(noted, expected.into());
}

/// The flags name an address for the zone, and another one when the change set is ready.
#[test]
fn a_change_set_of_other_flags_adds_no_zone() {
    let mut bench = Bench::live(&[("dns", "8.8.8.8")]);
    let c = ("c".to_owned(), "172.31.66.0/28".parse().unwrap());
    bench.settings.zones.extend([c]);
    bench.network.headroom.account =
        account(&[("", "eipalloc-7", None, ""), ("", "eipalloc-8", None, "")]);
    bench.settings.allocations = texts(&[("c", "eipalloc-7")]);
    let set = ready(&bench.plan(), Effect::Add);
    let name = set.name.clone();
    bench.stack().change_sets = vec![set];
    let executes =
        |plan: &Plan| matches!(&plan.action, Action::Execute { change_set } if *change_set == name);
    assert!(executes(&bench.plan()));
    bench.ask(&[("dns", "8.8.8.8"), ("more", "9.9.9.9")]);
    assert!(executes(&bench.plan()), "an edit does not hold up the zone");
    bench.settings.allocations = texts(&[("c", "eipalloc-8")]);
    for entries in [
        &[("dns", "8.8.8.8")][..],
        &[("dns", "8.8.8.8"), ("more", "9.9.9.9")],
    ] {
        bench.ask(entries);
        let plan = bench.plan();
        let Action::Prepare(template) = &plan.action else {
            panic!("{plan}");
        };
        assert!(template.text.contains("eipalloc-8"), "{plan}");
    }
    let subnet = "172.31.67.0/28".parse().unwrap();
    bench.settings.allocations = texts(&[("c", "eipalloc-7")]);
    assert!(executes(&bench.plan()));
    bench.settings.zones.insert("c".to_owned(), subnet);
    assert!(!executes(&bench.plan()), "another NAT subnet");
    // An earlier version made the change set, whose name identifies no zones.
    bench
        .settings
        .zones
        .insert("c".to_owned(), "172.31.66.0/28".parse().unwrap());
    let (all, rest) = name.split_once("-z").unwrap();
    bench.stack().change_sets[0].name = format!("{all}{}", &rest[16..]);
    assert!(!matches!(bench.plan().action, Action::Execute { .. }));
}
