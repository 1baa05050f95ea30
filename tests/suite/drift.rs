//! EC2 is changed behind CloudFormation's back: it is found, and set right by a change of the stack.

use serde_json::json;

use crate::replica::{Launch, Replica};
use crate::stage::{EXAMPLE, EXAMPLE_CIDRS, Stage};
use crate::standin::{REGION, actions};
use crate::wait;

/// A replica that looks for drift as often as may be set.
pub fn looking(stage: &Stage) -> Launch {
    stage.replica("r1").flag("drift-interval", "10s")
}

/// A stack for the example, kept by a replica.
pub async fn kept(stage: &Stage, launch: Launch) -> Replica {
    let replica = launch.start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    replica
}

/// The worker table of a zone, by the zone's letter.
fn table(stage: &Stage, letter: &str) -> String {
    let zone = format!("{REGION}{letter}");
    let tables = stage.aws.routes().into_keys();
    let found = tables.filter(|(_, of)| *of == zone).map(|(table, _)| table);
    found.last().unwrap()
}

fn remove_route(stage: &Stage, letter: &str) {
    let table = table(stage, letter);
    let fields = [
        ("RouteTableId", table.as_str()),
        ("DestinationCidrBlock", "8.8.8.8/32"),
    ];
    stage.aws.call("ec2", "DeleteRoute", &fields);
}

const REVERTED: [&str; 2] = ["CreateChangeSet", "ExecuteChangeSet"];

#[tokio::test]
async fn a_route_that_was_removed_is_put_back() {
    let stage = Stage::open("drift-missing").await;
    let replica = kept(&stage, looking(&stage)).await;
    let exits = stage.aws.exits();
    let mark = stage.aws.mark();
    remove_route(&stage, "a");
    assert_eq!(stage.routed(&EXAMPLE_CIDRS).await, exits);
    replica.said(&["RouteMissing", "8.8.8.8/32"]).unwrap();
    wait::until("told that it is over", || {
        replica.said(&["no longer", "RouteMissing"])
    })
    .await;
    assert_eq!(actions(&stage.writes_at_rest(mark).await), REVERTED);
}

#[tokio::test]
async fn a_route_that_leads_elsewhere_is_led_back() {
    let stage = Stage::open("drift-retarget").await;
    let replica = kept(&stage, looking(&stage)).await;
    let exits = stage.aws.exits();
    let mark = stage.aws.mark();
    let elsewhere = exits[&format!("{REGION}b")].gateway.clone();
    let table = table(&stage, "a");
    let fields = [
        ("RouteTableId", table.as_str()),
        ("DestinationCidrBlock", "8.8.8.8/32"),
        ("NatGatewayId", elsewhere.as_str()),
    ];
    stage.aws.call("ec2", "ReplaceRoute", &fields);
    assert_eq!(stage.routed(&EXAMPLE_CIDRS).await, exits);
    replica.said(&["RouteRetargeted", &elsewhere]).unwrap();
    assert_eq!(actions(&stage.writes_at_rest(mark).await), REVERTED);
}

#[tokio::test]
async fn where_drift_cannot_be_reverted_the_route_goes_out_and_in() {
    for (mode, before) in [
        ("unsupported", &["CreateChangeSet"][..]),
        ("fails", &["CreateChangeSet", "DeleteChangeSet"]),
        ("no_effect", &REVERTED),
    ] {
        let stage = Stage::open("drift-out-in").await;
        stage.aws.settings(json!({ "revert_drift": mode }));
        let _replica = kept(&stage, looking(&stage)).await;
        let exits = stage.aws.exits();
        let mark = stage.aws.mark();
        remove_route(&stage, "a");
        assert_eq!(stage.routed(&EXAMPLE_CIDRS).await, exits, "{mode}");
        let writes = stage.writes_at_rest(mark).await;
        assert_eq!(
            actions(&writes),
            [before, &REVERTED, &REVERTED].concat(),
            "{mode}"
        );
        let calls = stage.aws.log_since(mark).len();
        wait::measured(&format!(
            "a route repaired where REVERT_DRIFT is {mode}: {calls} calls"
        ));
        assert!(calls < 150, "{calls}");
    }
}

#[tokio::test]
async fn in_report_mode_drift_is_only_told() {
    let stage = Stage::open("drift-report").await;
    let launch = looking(&stage).flag("drift-detection", "report");
    let replica = kept(&stage, launch).await;
    let mark = stage.aws.mark();
    remove_route(&stage, "a");
    wait::until("told", || replica.said(&["RouteMissing", "restore it"])).await;
    assert_eq!(actions(&stage.writes_at_rest(mark).await), [""; 0]);
}
