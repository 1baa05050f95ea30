//! A refusal of AWS for one tenant or zone delays no other.

use std::time::Duration;

use serde_json::json;

use crate::stage::{EXAMPLE, EXAMPLE_CIDRS, Stage};
use crate::standin::actions;
use crate::wait;

/// Returns a message of EC2 as CloudFormation's handler of routes shows it.
fn handler(message: &str, code: &str) -> String {
    format!(
        "Resource handler returned message: \"{message} (Service: Ec2, Status Code: 400, Request ID: 5f2c9a0e)\" \
         (RequestToken: 8a1d, HandlerErrorCode: {code})"
    )
}

fn refuses(stage: &Stage, id: &str, message: &str) {
    stage
        .aws
        .fault(json!({ "kind": "resource_fails", "logical_id": id, "message": message }));
}

/// Returns the worker table of a zone, and its routed networks.
fn worker(stage: &Stage, letter: &str) -> (String, Vec<String>) {
    let zone = Stage::zones(&[letter]);
    let mut tables = stage.aws.routes().into_iter();
    let ((table, _), routes) = tables.find(|((_, of), _)| zone.contains(of)).unwrap();
    (table, routes.into_keys().collect())
}

fn table(stage: &Stage, letter: &str) -> String {
    worker(stage, letter).0
}

fn nets(stage: &Stage, letter: &str) -> Vec<String> {
    worker(stage, letter).1
}

#[tokio::test]
async fn a_route_that_aws_refuses_stops_nobody_else_and_is_made_once_aws_takes_it() {
    let stage = Stage::beside("route-refused", json!({})).await;
    let mut replica = stage.replica("r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    let exits = stage.routed(&EXAMPLE_CIDRS).await;
    let text = handler(
        "The CIDR block 7.7.7.7/32 is not supported",
        "InvalidRequest",
    );
    refuses(&stage, "*7x7x7x7y32", &text);
    let mark = stage.aws.mark();
    stage.config_map("egress-bad", &[("bad", "7.7.7.7")]).await;
    wait::until("told", || {
        replica.said(&["RouteRefused", "7.7.7.7/32 is not supported", "rtb-"])
    })
    .await;
    // One tenant adds a network, another removes one.
    stage.config_map("egress-t2", &[("dns", "9.9.9.9")]).await;
    stage.config_map("egress-t1", &EXAMPLE[..1]).await;
    assert_eq!(stage.routed(&[EXAMPLE_CIDRS[0], "9.9.9.9/32"]).await, exits);
    let tries = stage.aws.count_since(mark, "ExecuteChangeSet");
    assert!(tries <= 4, "{tries} operations");
    stage.aws.clear_faults();
    let all = [EXAMPLE_CIDRS[0], "7.7.7.7/32", "9.9.9.9/32"];
    let begin = std::time::Instant::now();
    // The next attempt comes after 60 to 180 s, drawn at random by that leader.
    while begin.elapsed() < Duration::from_secs(240) && nets(&stage, "a") != all {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(stage.routed(&all).await, exits);
    wait::measured(&format!(
        "a refused route was made {:.0} s after AWS took it",
        begin.elapsed().as_secs_f64()
    ));
    replica.assert_well();
}

#[tokio::test]
async fn a_table_that_is_full_waits_alone_and_removals_go() {
    let stage = Stage::open("table-refused").await;
    let replica = stage.replica("r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    let text = handler(
        "The maximum number of routes has been reached.",
        "ServiceLimitExceeded",
    );
    let table = table(&stage, "a");
    let id = format!("RouteToNAT{}z*", table.replace('-', ""));
    refuses(&stage, &id, &text);
    stage.config_map("egress-t2", &[("dns", "9.9.9.9")]).await;
    stage.config_map("egress-t1", &EXAMPLE[..1]).await;
    wait::until("told", || {
        replica.said(&["RouteRefused", &table, "maximum number of routes"])
    })
    .await;
    wait::until("the others go on", || {
        let (full, other) = (nets(&stage, "a"), nets(&stage, "b"));
        let done = full == [EXAMPLE_CIDRS[0]] && other == [EXAMPLE_CIDRS[0], "9.9.9.9/32"];
        wait::check(done, || format!("{full:?} and {other:?}"))
    })
    .await;
}

/// One of the zones offers no NAT gateways.
#[tokio::test]
async fn a_creation_goes_on_without_a_zone_that_cannot_have_a_nat_gateway() {
    let stage = Stage::open("zone-refused").await;
    let text = handler(
        "NAT Gateway is not available in this availability zone",
        "InvalidRequest",
    );
    refuses(&stage, "NATGatewayeucentral1c", &text);
    let replica = stage.replica("r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    wait::until("two zones serve", || {
        let nets = ["a", "b", "c"].map(|zone| nets(&stage, zone).len());
        wait::check(nets == [2, 2, 0], || format!("{nets:?}"))
    })
    .await;
    wait::until("told", || replica.said(&["ZoneWaits", "eu-central-1c"])).await;
    assert_eq!(
        actions(&stage.aws.writes_since(0)),
        ["CreateStack", "DeleteStack", "CreateStack"]
    );
    // Every announced static IP stays.
    let stays = stage.aws.exits();
    assert_eq!(stays.len(), 2);
}
