//! The stack's own route tables.

use super::tests::Bench;
use super::*;
use crate::model::base::reason::Reason;
use crate::model::cloud::network::WorkerTable;
use crate::model::cloud::observed::{Gateway, Observed};

/// Puts the workers' tag on one more table, as a user or a stack tag may do.
fn tag(bench: &mut Bench, table: &str) {
    let worker = WorkerTable {
        zone: "a".to_owned(),
        ..WorkerTable::default()
    };
    bench.network.worker_tables.insert(table.to_owned(), worker);
}

fn made_by(bench: &mut Bench, table: &str, stack: &str) {
    let tag = ("aws:cloudformation:stack-id".to_owned(), stack.to_owned());
    let table = bench.network.worker_tables.get_mut(table);
    table.expect("a worker's table").tags.extend([tag]);
}

/// Checks that no route is planned in the table, and that its tag is reported.
fn is_no_workers(bench: &mut Bench, table: &str) {
    bench.ask(&[("dns", "8.8.8.8"), ("more", "9.9.9.9")]);
    let plan = bench.plan();
    assert_eq!(plan.differences.len(), 2, "{plan}");
    assert!(
        plan.desired.routes.iter().all(|(of, _)| of != table),
        "{plan}"
    );
    let told = |problem: &Problem| {
        problem.reason == Reason::NatTableTagged
            && problem.subject == Subject::RouteTable(table.to_owned())
    };
    assert!(plan.problems.iter().any(told), "{plan}");
}

#[test]
fn a_table_that_the_stack_has_made_is_never_a_workers() {
    let mut bench = Bench::live(&[("dns", "8.8.8.8")]);
    tag(&mut bench, "rtb-nat");
    made_by(&mut bench, "rtb-nat", "arn:egress");
    assert_eq!(bench.plan().action, Action::Keep);
    is_no_workers(&mut bench, "rtb-nat");
    // A table of another stack may be a worker table.
    made_by(&mut bench, "rtb-nat", "arn:network");
    assert_eq!(bench.plan().differences.len(), 4);
}

#[test]
fn a_table_that_serves_a_nat_subnet_is_never_a_workers() {
    let mut bench = Bench::live(&[("dns", "8.8.8.8")]);
    tag(&mut bench, "rtb-other");
    associate(&mut bench, "rtb-other");
    is_no_workers(&mut bench, "rtb-other");
    // A failed read shows nothing, and is no reason to make a loop.
    bench.watch.looked("", Err("throttled".to_owned()));
    is_no_workers(&mut bench, "rtb-other");
}

/// Associates the stack's NAT subnet with this table.
fn associate(bench: &mut Bench, table: &str) {
    let association = ("subnet-nat".to_owned(), table.to_owned());
    bench.network.associations.extend([association]);
    let gateway = Gateway {
        subnet: "subnet-nat".to_owned(),
        ..Gateway::default()
    };
    let seen = Observed {
        gateways: [("nat-1".to_owned(), gateway)].into(),
        ..Observed::default()
    };
    bench.watch.looked("", Ok(seen));
}

/// Workers rely on these routes, and the association is the mistake.
#[test]
fn a_workers_table_that_gets_a_nat_subnet_keeps_its_routes_and_gets_no_more() {
    let mut bench = Bench::live(&[("dns", "8.8.8.8")]);
    associate(&mut bench, "rtb-a");
    let plan = bench.plan();
    assert_eq!(plan.action, Action::Keep, "{plan}");
    assert!(bench.reasons().contains(&Reason::NatTableTagged));
    assert!(!bench.reasons().contains(&Reason::RouteTableKept));
    bench.ask(&[("dns", "8.8.8.8"), ("more", "9.9.9.9")]);
    let added = (diff::Kind::Add, "RouteToNATrtbbz9x9x9x9y32".to_owned());
    assert_eq!(super::tests::kinds(&bench.plan()), [added]);
}

#[test]
fn routes_that_were_made_in_such_a_table_are_taken_out() {
    let mut bench = Bench::new(&[("dns", "8.8.8.8")]);
    tag(&mut bench, "rtb-nat");
    let Action::Create(template) = bench.plan().action else {
        panic!("{}", bench.plan())
    };
    bench.live = Live::Ours(Box::new(super::tests::stack_of(&template)));
    assert_eq!(bench.plan().action, Action::Keep);
    made_by(&mut bench, "rtb-nat", "arn:egress");
    let plan = bench.plan();
    let removed = (diff::Kind::Remove, "RouteToNATrtbnatz8x8x8x8y32".to_owned());
    assert_eq!(super::tests::kinds(&plan), [removed], "{plan}");
}
