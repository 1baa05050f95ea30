//! Private ranges, routes to elsewhere and the sum of addresses: refused for new entries, kept for live ones.

use std::collections::BTreeSet;

use super::super::tests::{Bench, stack_of};
use super::super::*;
use crate::model::base::problem::Severity;
use crate::model::base::reason::Reason;
use crate::model::cloud::network::Route;
use crate::model::persisted::ledger::Ledger;

fn lead(bench: &mut Bench, table: &str, cidr: &str, target: &str) {
    let route = Route {
        target: target.to_owned(),
        blackhole: false,
    };
    let table = bench.network.worker_tables.get_mut(table).unwrap();
    table.routes.insert(cidr.parse().unwrap(), route);
}

/// Returns the key, severity and reason of every problem of an entry.
fn said(plan: &Plan) -> BTreeSet<(String, Severity, Reason)> {
    let of = |problem: &Problem| match &problem.subject {
        Subject::Entry(entry) => Some((entry.key.clone(), problem.severity, problem.reason)),
        _ => None,
    };
    plan.problems.iter().filter_map(of).collect()
}

fn routed(plan: &Plan) -> BTreeSet<String> {
    let routes = plan.desired.routes.iter();
    routes.map(|(_, cidr)| cidr.to_string()).collect()
}

/// Returns a stack that was created before the rule existed.
fn adopted(entries: &[(&str, &str)]) -> Bench {
    let mut bench = Bench::new(entries);
    bench.settings.allow_private_ranges = true;
    let Action::Create(template) = bench.plan().action else {
        panic!("{}", bench.plan())
    };
    bench.live = Live::Ours(Box::new(stack_of(&template)));
    bench.settings.allow_private_ranges = false;
    bench
}

#[test]
fn a_new_private_range_is_refused_and_all_others_are_served() {
    let plan = Bench::new(&[("ten", "10.20.0.0/16"), ("dns", "8.8.8.8")]).plan();
    assert_eq!(routed(&plan), BTreeSet::from(["8.8.8.8/32".to_owned()]));
    let refused = ("ten".to_owned(), Severity::Refused, Reason::PrivateRange);
    assert_eq!(said(&plan), BTreeSet::from([refused]));
    let mut bench = Bench::new(&[("ten", "10.20.0.0/16")]);
    bench.settings.allow_private_ranges = true;
    assert!(said(&bench.plan()).is_empty());
    assert_eq!(routed(&bench.plan()).len(), 1);
}

/// Adopted routes stay with and without a ledger, and under every later leader.
#[test]
fn what_an_adopted_stack_routes_stays_with_a_warning() {
    let mut bench = adopted(&[("ten", "10.20.0.0/16"), ("dns", "8.8.8.8")]);
    lead(&mut bench, "rtb-a", "8.0.0.0/8", "tgw-1");
    for ledger in [None, Some(Ledger::new("egress"))] {
        bench.ledger = ledger;
        for _leader in 0..3 {
            let plan = bench.plan();
            assert_eq!(plan.action, Action::Keep, "{plan}");
            let warned = |key: &str, reason| (key.to_owned(), Severity::Warning, reason);
            let both = [
                warned("ten", Reason::PrivateRange),
                warned("dns", Reason::RoutedElsewhere),
            ];
            assert_eq!(said(&plan), BTreeSet::from(both));
            bench.ledger = plan.ledger;
        }
    }
    bench.ask(&[
        ("ten", "10.20.0.0/16"),
        ("dns", "8.8.8.8"),
        ("new", "10.30.0.0/16"),
        ("more", "8.8.4.4"),
    ]);
    let plan = bench.plan();
    assert_eq!(plan.action, Action::Keep, "{plan}");
    let refused = |key: &str, reason| (key.to_owned(), Severity::Refused, reason);
    assert!(said(&plan).contains(&refused("new", Reason::PrivateRange)));
    assert!(said(&plan).contains(&refused("more", Reason::RoutedElsewhere)));
    bench.ask(&[("dns", "8.8.8.8")]);
    assert!(
        matches!(bench.plan().action, Action::Prepare(_)),
        "it may go"
    );
}

/// A repair may remove a route from the stack for a moment: the ledger knows that the route was live.
#[test]
fn what_was_accepted_before_comes_back() {
    let both = [("ten", "10.20.0.0/16"), ("dns", "8.8.8.8")];
    let mut bench = adopted(&both);
    bench.ledger = Some(Ledger::new("egress"));
    bench.ledger = bench.plan().ledger;
    let without = Bench::live(&[("dns", "8.8.8.8")]);
    bench.live = without.live;
    let plan = bench.plan();
    assert!(matches!(plan.action, Action::Prepare(_)), "{plan}");
    assert_eq!(routed(&plan).len(), 2);
    bench.ledger = None;
    assert_eq!(routed(&bench.plan()).len(), 1, "nobody knows of it");
}

/// The on-premises network announces what an entry requests, and more.
#[test]
fn a_propagated_route_is_elsewhere_and_none_of_the_stack() {
    let mut bench = adopted(&[("dns", "8.8.8.8")]);
    bench.settings.route_table_quota = Some(3);
    let propagate = |bench: &mut Bench, cidr: &str| {
        let table = bench.network.worker_tables.get_mut("rtb-a").unwrap();
        let route = Route {
            target: "vgw-1".to_owned(),
            blackhole: false,
        };
        table.propagated.insert(cidr.parse().unwrap(), route);
    };
    for cidr in ["8.8.8.8/32", "20.0.0.0/16", "20.1.0.0/16"] {
        propagate(&mut bench, cidr);
    }
    let plan = bench.plan();
    assert_eq!(plan.action, Action::Keep, "{plan}");
    assert!(said(&plan).is_empty(), "{plan}");
    bench.ask(&[
        ("dns", "8.8.8.8"),
        ("quad9", "9.9.9.9"),
        ("office", "20.0.7.0/24"),
    ]);
    let plan = bench.plan();
    let refused = (
        "office".to_owned(),
        Severity::Refused,
        Reason::RoutedElsewhere,
    );
    assert_eq!(said(&plan), BTreeSet::from([refused]), "{plan}");
    let both = ["8.8.8.8/32", "9.9.9.9/32"].map(str::to_owned);
    assert_eq!(
        routed(&plan),
        BTreeSet::from(both),
        "the quota counts static routes"
    );
}

/// A working route to any other target counts. A default route does not: every entry takes precedence over it.
#[test]
fn only_working_routes_to_elsewhere_count() {
    for (cidr, target, counts) in [
        ("8.0.0.0/8", "tgw-1", true),
        ("8.0.0.0/8", "pcx-1", true),
        ("8.0.0.0/8", "vgw-1", true),
        ("8.0.0.0/8", "vpce-1", true),
        ("8.0.0.0/8", "eni-1", true),
        ("8.0.0.0/8", "nat-of-another", true),
        ("8.0.0.0/8", "unknown", true),
        ("8.0.0.0/8", "igw-1", false),
        ("8.0.0.0/8", "local", false),
        ("0.0.0.0/0", "tgw-1", false),
        ("0.0.0.0/0", "nat-of-another", false),
        ("0.0.0.0/1", "tgw-1", false),
        ("9.0.0.0/8", "tgw-1", false),
    ] {
        let mut bench = Bench::new(&[("dns", "8.8.8.8")]);
        lead(&mut bench, "rtb-b", cidr, target);
        let said = said(&bench.plan());
        let refused =
            said.contains(&("dns".to_owned(), Severity::Refused, Reason::RoutedElsewhere));
        assert_eq!(refused, counts, "{cidr} {target}: {said:?}");
        let table = bench.network.worker_tables.get_mut("rtb-b").unwrap();
        table
            .routes
            .values_mut()
            .for_each(|route| route.blackhole = true);
        assert!(bench.reasons().is_empty(), "{cidr} {target} is gone");
    }
    let mut bench = Bench::live(&[("wide", "8.0.0.0/9")]);
    lead(&mut bench, "rtb-a", "8.0.0.0/9", "nat-ours");
    lead(&mut bench, "rtb-b", "20.0.0.0/8", "nat-ours");
    bench.ask(&[("wide", "8.0.0.0/9"), ("new", "20.1.0.0/16")]);
    assert!(said(&bench.plan()).is_empty(), "a NAT gateway of ours");
}

#[test]
fn a_config_map_has_its_addresses_and_no_more() {
    let two = [("a", "20.0.0.0/8"), ("b", "21.0.0.0/8")];
    let plan = Bench::new(&two).plan();
    assert_eq!(routed(&plan), BTreeSet::from(["20.0.0.0/8".to_owned()]));
    assert!(said(&plan).contains(&("b".to_owned(), Severity::Refused, Reason::TooManyAddresses)));
    let inside = [
        ("a", "20.0.0.0/8"),
        ("b", "20.1.0.0/16"),
        ("c", "20.0.0.0/9"),
    ];
    assert!(said(&Bench::new(&inside).plan()).is_empty(), "counted once");
    // The entries cover the whole internet in many small steps.
    let slash_ten: Vec<(String, String)> = (0..64)
        .map(|n| {
            (
                format!("k{n:02}"),
                format!("{}.{}.0.0/10", 20 + n / 4, n % 4 * 64),
            )
        })
        .collect();
    let many: Vec<(&str, &str)> = slash_ten.iter().map(|(k, v)| (&**k, &**v)).collect();
    assert_eq!(said(&Bench::new(&many).plan()).len(), 60);

    let mut bench = Bench::new(&two[..1]);
    bench.ask(&two[..1]);
    let first = Bench::live(&two[..1]);
    bench.live = first.live;
    // The newer entry comes first by name, and the older one keeps its route.
    bench.ask(&[("0", "21.0.0.0/8"), ("a", "20.0.0.0/8")]);
    assert_eq!(
        routed(&bench.plan()),
        BTreeSet::from(["20.0.0.0/8".to_owned()])
    );
}
