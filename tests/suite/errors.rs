//! Errors around the controller: the log names the remedy, the replica stays alive and ready, and works again once the cause is gone.

use std::path::Path;

use serde_json::json;

use crate::replica::Replica;
use crate::stage::{EXAMPLE, EXAMPLE_CIDRS, STACK, Stage};
use crate::standin::{REGION, actions};
use crate::testbed::Testbed;
use crate::wait;

/// Waits until the replica has logged one line with all of these texts, and checks that it is healthy.
pub async fn told(replica: &mut Replica, texts: &[&str]) {
    wait::until(&format!("the log says {texts:?}"), || replica.said(texts)).await;
    replica.assert_well();
}

/// Creates a worker route table, as the operator does.
fn make_table(stage: &Stage, letter: &str) {
    let made = stage
        .aws
        .call("ec2", "CreateRouteTable", &[("VpcId", &stage.vpc)]);
    let id = made
        .split("<routeTableId>")
        .nth(1)
        .unwrap()
        .split('<')
        .next()
        .unwrap();
    let zone = format!("{REGION}{letter}");
    let tag = [
        ("ResourceId.1", id),
        ("Tag.1.Key", "AvailabilityZone"),
        ("Tag.1.Value", &zone),
    ];
    stage.aws.call("ec2", "CreateTags", &tag);
}

#[tokio::test]
async fn an_unknown_stack_status_is_looked_at_and_never_touched() {
    let stage = Stage::open("status").await;
    let mut replica = stage.replica("r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    let mark = stage.aws.mark();
    stage.aws.post(
        "stack-status",
        &json!({ "stack": STACK, "status": "QUANTUM_COMPLETE" }),
    );
    stage.config_map("egress-t2", &[("dns", "9.9.9.9")]).await;
    told(
        &mut replica,
        &["UnknownStatus", "QUANTUM_COMPLETE", "by hand"],
    )
    .await;
    assert_eq!(actions(&stage.writes_at_rest(mark).await), [""; 0]);
    stage.aws.post(
        "stack-status",
        &json!({ "stack": STACK, "status": "UPDATE_COMPLETE" }),
    );
    stage
        .routed(&[&EXAMPLE_CIDRS[..], &["9.9.9.9/32"]].concat())
        .await;
}

#[tokio::test]
async fn a_vpc_without_internet_gateway() {
    let stage = Stage::with_world("gateway", json!({ "internet_gateway": false })).await;
    let mut replica = stage.replica("r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    told(
        &mut replica,
        &["NoInternetGateway", &stage.vpc, "attach one"],
    )
    .await;
    let made = stage.aws.call("ec2", "CreateInternetGateway", &[]);
    let id = made
        .split("<internetGatewayId>")
        .nth(1)
        .unwrap()
        .split('<')
        .next()
        .unwrap();
    let attached = [("InternetGatewayId", id), ("VpcId", stage.vpc.as_str())];
    stage.aws.call("ec2", "AttachInternetGateway", &attached);
    stage.routed(&EXAMPLE_CIDRS).await;
}

#[tokio::test]
async fn a_vpc_without_worker_route_tables() {
    let stage = Stage::with_world("no-tables", json!({ "tables_per_zone": 0 })).await;
    let mut replica = stage.replica("r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    told(
        &mut replica,
        &["NoRouteTables", &stage.vpc, "AvailabilityZone="],
    )
    .await;
    assert_eq!(actions(&stage.writes_at_rest(0).await), [""; 0]);
    for letter in ["a", "b", "c"] {
        make_table(&stage, letter);
    }
    assert_eq!(stage.routed(&EXAMPLE_CIDRS).await.len(), 3);
}

#[tokio::test]
async fn a_zone_without_a_route_table() {
    let zones = json!({ "zones": [format!("{REGION}a"), format!("{REGION}b")] });
    let stage = Stage::with_world("no-table", zones).await;
    let mut replica = stage.replica("r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    let zone = format!("zone {REGION}c");
    told(
        &mut replica,
        &["NoRouteTableInZone", &zone, "tag the workers' route table"],
    )
    .await;
    let exits = stage.routed(&EXAMPLE_CIDRS).await;
    make_table(&stage, "c");
    assert_eq!(stage.aws.routes().len(), 3);
    assert_eq!(stage.routed(&EXAMPLE_CIDRS).await, exits);
}

#[tokio::test]
async fn credentials_that_aws_does_not_accept() {
    let stage = Stage::open("credentials").await;
    stage
        .aws
        .settings(json!({ "known_access_keys": ["AKIASOMEBODYELSE0000"] }));
    let mut replica = stage.replica("r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    told(
        &mut replica,
        &["NoCredentials", "IRSA", "AWS_ACCESS_KEY_ID"],
    )
    .await;
    stage.aws.settings(json!({ "known_access_keys": null }));
    stage.routed(&EXAMPLE_CIDRS).await;
}

#[tokio::test]
async fn calls_that_iam_denies() {
    let stage = Stage::open("denied").await;
    for action in ["DescribeRouteTables", "DescribeStacks", "CreateStack"] {
        stage
            .aws
            .fault(json!({ "kind": "access_denied", "action": action }));
    }
    let mut replica = stage.replica("r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    told(
        &mut replica,
        &["AccessDenied", "allow ", "to the controller's role"],
    )
    .await;
    stage.aws.clear_faults();
    stage
        .aws
        .fault(json!({ "kind": "access_denied", "action": "CreateStack" }));
    told(
        &mut replica,
        &[
            "AccessDenied",
            "allow cloudformation:CreateStack to the controller's role",
        ],
    )
    .await;
    stage.aws.clear_faults();
    stage.routed(&EXAMPLE_CIDRS).await;
    told(&mut replica, &["calls succeed again"]).await;
}

#[tokio::test]
async fn an_api_server_that_is_away_at_the_start_and_later() {
    let testbed = Testbed::start("away");
    let stage = Stage::on(&testbed, "away").await;
    testbed.stop_apiserver();
    // In all namespaces, as in most installations.
    let mut replica = stage.replica("r1").without("namespace").start();
    told(&mut replica, &["Lease", "refused"]).await;
    assert_eq!(stage.aws.mark(), 0, "AWS is not called without the Lease");
    testbed.restart_apiserver();
    stage.config_map("egress-t1", &EXAMPLE).await;
    let exits = stage.routed(&EXAMPLE_CIDRS).await;

    testbed.stop_apiserver();
    wait::until("leadership is given up", || {
        replica.said(&["this replica no longer leads"])
    })
    .await;
    replica.assert_well();
    let mark = stage.aws.mark();
    testbed.restart_apiserver();
    stage.config_map("egress-t2", &[("dns", "9.9.9.9")]).await;
    assert_eq!(
        stage
            .routed(&[&EXAMPLE_CIDRS[..], &["9.9.9.9/32"]].concat())
            .await,
        exits
    );
    assert_eq!(
        actions(&stage.aws.writes_since(mark)),
        ["CreateChangeSet", "ExecuteChangeSet"]
    );
}

#[tokio::test]
async fn flags_that_contradict_each_other_are_all_reported_at_once() {
    let directory = crate::testbed::directory("flags");
    let launch = crate::replica::Launch::new(directory, "r1", "default", 1)
        .flag("resync-interval", "soon")
        .flag("leader-elect-renew-deadline", "9s")
        .arg("--aws-az=eu-central-1d");
    let output = launch.command().args(launch.arguments()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    for flag in [
        "--resync-interval",
        "--leader-elect-renew-deadline",
        "--aws-nat-cidr-block",
    ] {
        assert!(text.contains(flag), "{flag} is not in: {text}");
    }
    assert!(Path::new(crate::replica::PROGRAM).exists());
}
