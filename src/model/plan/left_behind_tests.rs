//! The reports about resources that a clean-up of the stack could not delete.

use std::time::Duration;

use super::super::tests::Bench;
use super::*;
use crate::model::cloud::left_behind::set_aside;
use crate::model::cloud::network::Route;
use crate::model::cloud::observed::{Gateway, Health};
use crate::model::cloud::status::Status;
use crate::model::drift::tracker::Watch;

fn leave(bench: &mut Bench, kind: &str, id: &str) {
    let left = LeftBehind {
        logical_id: "It".to_owned(),
        resource_type: format!("AWS::EC2::{kind}"),
        reason: "no right; none".to_owned(),
    };
    bench.stack().left_behind.insert(id.to_owned(), left);
}

fn told(bench: &Bench) -> Vec<Problem> {
    let mut problems = bench.plan().problems;
    problems.retain(|it| it.reason == Reason::CleanUpFailed);
    problems
}

/// Records an observation with this NAT gateway.
fn look(bench: &mut Bench, health: Option<Health>) {
    let mut seen = Observed::default();
    if let Some(health) = health {
        let gateway = Gateway {
            health,
            ..Gateway::default()
        };
        seen.gateways.insert("nat-9".to_owned(), gateway);
    }
    set_aside(&bench.stack().left_behind, &mut seen);
    assert!(seen.gateways.is_empty(), "no part of the stack");
    let version = bench.stack().version.clone();
    bench.watch.looked(&version, Ok(seen));
}

#[test]
fn what_was_left_behind_is_told_with_its_id_and_the_command_until_it_is_gone() {
    let mut bench = Bench::live(&[("dns", "8.8.8.8")]);
    bench.watch = Watch::new(Some(Duration::from_secs(60)));
    leave(&mut bench, "NatGateway", "nat-9");
    for health in [None, Some(Health::Well), Some(Health::Leaving)] {
        if health.is_some() {
            look(&mut bench, health);
        }
        let problems = told(&bench);
        let [problem] = problems.as_slice() else {
            panic!("{problems:?}");
        };
        assert!(problem.what.contains("nat-9") && problem.what.contains("no right, none"));
        let remedy = "delete it by hand: aws ec2 delete-nat-gateway --nat-gateway-id nat-9";
        assert_eq!(problem.remedy(), remedy);
    }
    // Also while the stack changes.
    bench.stack().status = Status::UpdateInProgress;
    assert_eq!(told(&bench).len(), 1);
    for health in [Some(Health::Gone), None] {
        look(&mut bench, health);
        assert_eq!(told(&bench), []);
    }
}

#[test]
fn a_route_that_was_left_behind_is_told_while_its_table_has_it() {
    let mut bench = Bench::live(&[("dns", "8.8.8.8")]);
    leave(&mut bench, "Route", "rtb-a|9.9.9.0/24");
    leave(&mut bench, "Route", "rtb-a|pl-1");
    leave(&mut bench, "RouteTable", "rtb-z");
    // The stack has this route again.
    leave(&mut bench, "Route", "rtb-a|8.8.8.8/32");
    assert_eq!(told(&bench), []);
    let route = Route {
        target: "nat-9".to_owned(),
        blackhole: false,
    };
    let table = bench.network.worker_tables.get_mut("rtb-a").unwrap();
    for cidr in ["9.9.9.0/24", "8.8.8.8/32"] {
        table.routes.insert(cidr.parse().unwrap(), route.clone());
    }
    table.list_routes.insert("pl-1".to_owned(), route);
    let told = told(&bench);
    let remedies: Vec<&str> = told.iter().map(Problem::remedy).collect();
    let command = "delete it by hand: aws ec2 delete-route --route-table-id rtb-a";
    let expected = [
        format!("{command} --destination-cidr-block 9.9.9.0/24"),
        format!("{command} --destination-prefix-list-id pl-1"),
    ];
    assert_eq!(remedies, expected);
}

#[test]
fn the_number_of_reports_is_limited() {
    let mut bench = Bench::live(&[("dns", "8.8.8.8")]);
    for number in 0..=MAX_TOLD + 1 {
        leave(&mut bench, "NatGateway", &format!("nat-{number}"));
    }
    let told = told(&bench);
    assert_eq!(told.len(), MAX_TOLD + 1);
    let rest = told.iter().find(|it| it.what.contains("2 more resources"));
    assert!(rest.is_some(), "{told:?}");
}
