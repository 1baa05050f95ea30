//! EC2 is changed outside of CloudFormation. The controller detects the drift, and repairs it by a change of the stack.

use serde_json::json;

use crate::replica::{Launch, Replica};
use crate::stage::{EXAMPLE, EXAMPLE_CIDRS, STACK, Stage};
use crate::standin::{REGION, actions};
use crate::wait;

/// A replica that reads EC2 for drift at the shortest interval.
pub fn looking(stage: &Stage) -> Launch {
    stage.replica("r1").flag("drift-interval", "10s")
}

/// Creates the example's stack with this replica.
pub async fn kept(stage: &Stage, launch: Launch) -> Replica {
    let replica = launch.start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    replica
}

/// Returns the worker table of a zone, by the zone's letter.
fn table(stage: &Stage, letter: &str) -> String {
    let zone = format!("{REGION}{letter}");
    let tables = stage.aws.routes().into_keys();
    let mut found = tables.filter(|(_, of)| *of == zone).map(|(table, _)| table);
    found.next_back().unwrap()
}

pub fn remove_route(stage: &Stage, letter: &str) {
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
    for (mode, listed, before) in [
        ("unsupported", "all", &["CreateChangeSet"][..]),
        ("fails", "all", &["CreateChangeSet", "DeleteChangeSet"]),
        (
            "fails",
            "available",
            &["CreateChangeSet", "DeleteChangeSet"],
        ),
        ("no_effect", "all", &REVERTED),
    ] {
        let stage = Stage::open("drift-out-in").await;
        let settings = json!({ "revert_drift": mode, "listed_change_sets": listed });
        stage.aws.settings(settings);
        let replica = kept(&stage, looking(&stage)).await;
        let exits = stage.aws.exits();
        let mark = stage.aws.mark();
        remove_route(&stage, "a");
        assert_eq!(stage.routed(&EXAMPLE_CIDRS).await, exits, "{mode}");
        // A region without REVERT_DRIFT is not an error.
        let refused = replica.said(&["repaired by another method"]).is_ok();
        assert_eq!(refused, mode == "unsupported");
        for fault in ["ERROR", "calls succeed again"] {
            replica.said(&[fault]).unwrap_err();
        }
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

/// Deletes a route whenever it exists.
#[tokio::test]
async fn a_repair_in_vain_stops_after_the_third() {
    let stage = Stage::open("drift-vain").await;
    let mut replica = kept(&stage, looking(&stage)).await;
    let mark = stage.aws.mark();
    wait::until("given up", || {
        let table = table(&stage, "a");
        let routes = stage.aws.routes();
        let of_table = &routes[&(table, format!("{REGION}a"))];
        let rests = stage
            .aws
            .stacks()
            .values()
            .all(|is| is.ends_with("E_COMPLETE"));
        if rests && of_table.contains_key("8.8.8.8/32") {
            remove_route(&stage, "a");
        }
        replica.said(&["DriftRepairFailed", "find out who changes it"])
    })
    .await;
    // One change set that reverts, and two repairs of two change sets each.
    assert_eq!(stage.aws.count_since(mark, "ExecuteChangeSet"), 5);
    let mark = stage.aws.mark();
    let spent = stage.writes_at_rest(mark).await;
    assert!(spent.is_empty(), "{spent:?}");
    // A later leader knows the repairs.
    let second = stage.replica("r2").flag("drift-interval", "10s").start();
    wait::until("r2 stands by", || second.answers("/readyz")).await;
    replica.terminate().await;
    let mut replica = second;
    wait::until("told by r2", || replica.said(&["DriftRepairFailed"])).await;
    let spent = stage.writes_at_rest(mark).await;
    assert!(spent.is_empty(), "{spent:?}");
    // Other entries are still served.
    stage.config_map("egress-t2", &[("dns", "9.9.9.9")]).await;
    wait::until("another route", || {
        let routes = stage.aws.routes();
        let everywhere = routes.values().all(|of| of.contains_key("9.9.9.9/32"));
        wait::check(everywhere, || format!("{routes:?}"))
    })
    .await;
    replica.assert_well();
}

/// A read of EC2 costs three calls more than the pass: 12 reads per hour are 60 calls.
#[tokio::test]
async fn an_idle_look_takes_five_calls() {
    let stage = Stage::open("drift-idle").await;
    let _replica = kept(&stage, looking(&stage)).await;
    stage.two_more_looks().await;
    let looks = stage.idle_looks(3).await;
    for look in &looks {
        let calls = actions(look);
        for read in ["DescribeStacks", "DescribeRouteTables", "DescribeSubnets"] {
            let count = calls.iter().filter(|call| **call == read).count();
            assert_eq!(count, 1, "{read}: {calls:?}");
        }
    }
    let most = looks.iter().map(Vec::len).max().unwrap();
    wait::measured(&format!("an idle look for drift takes {most} calls"));
    assert!(most <= 5, "{looks:?}");
}

#[tokio::test]
async fn without_the_right_to_look_routes_are_kept_all_the_same() {
    let stage = Stage::open("drift-denied").await;
    let denied = json!({ "kind": "access_denied", "action": "DescribeNatGateways" });
    stage.aws.fault(denied);
    let replica = kept(&stage, looking(&stage)).await;
    let remedy = ["DriftNotSeen", "allow ec2:DescribeNatGateways to"];
    wait::until("told", || replica.said(&remedy)).await;
    remove_route(&stage, "b");
    stage.routed(&EXAMPLE_CIDRS).await;
    stage.aws.clear_faults();
    wait::until("told that it is over", || {
        replica.said(&["no longer", "DriftNotSeen"])
    })
    .await;
}

#[tokio::test]
async fn switched_off_nothing_is_read_or_told() {
    let stage = Stage::open("drift-off").await;
    let launch = looking(&stage).flag("drift-detection", "off");
    let replica = kept(&stage, launch).await;
    let mark = stage.aws.mark();
    remove_route(&stage, "a");
    assert_eq!(actions(&stage.writes_at_rest(mark).await), [""; 0]);
    for action in ["DescribeNatGateways", "ListStackResources"] {
        // At first, the controller asked whether there is room for a NAT gateway.
        assert_eq!(stage.aws.count_since(mark, action), 0);
    }
    replica.said(&["RouteMissing"]).unwrap_err();
}

/// The leader dies while a route is out of the stack. Its successor does not know the reason.
#[tokio::test]
async fn a_repair_survives_its_leader() {
    let stage = Stage::open("drift-failover").await;
    stage.aws.settings(json!({ "revert_drift": "unsupported" }));
    let mut first = kept(&stage, looking(&stage)).await;
    let exits = stage.aws.exits();
    let second = stage.replica("r2").flag("drift-interval", "10s").start();
    wait::until("r2 stands by", || second.answers("/readyz")).await;
    stage.aws.settings(json!({ "operation_ms": 3000 }));
    remove_route(&stage, "a");
    let mark = stage.aws.mark();
    wait::until("the route goes out of the stack", || {
        let executed = stage.aws.count_since(mark, "ExecuteChangeSet");
        wait::check(executed == 1, || format!("{executed} change sets executed"))
    })
    .await;
    first.kill();
    wait::until("r2 leads", || second.said(&["this replica leads"])).await;
    assert_eq!(stage.routed(&EXAMPLE_CIDRS).await, exits);
}

/// CloudFormation has noted two deleted routes, and one is put back by hand. The change set says so, and repairs the other.
#[tokio::test]
async fn what_was_put_back_by_hand_does_not_hold_up_a_repair() {
    let stage = Stage::open("drift-noted").await;
    let mut replica = kept(&stage, looking(&stage)).await;
    let exits = stage.aws.exits();
    replica.kill();
    let mark = stage.aws.mark();
    for letter in ["a", "c"] {
        remove_route(&stage, letter);
    }
    let by_name = [("StackName", STACK)];
    stage
        .aws
        .call("cloudformation", "DetectStackDrift", &by_name);
    wait::until("CloudFormation has noted both", || {
        let drifts = stage
            .aws
            .call("cloudformation", "DescribeStackResourceDrifts", &by_name);
        let noted = drifts.matches("DELETED").count();
        wait::check(noted == 2, || format!("{noted} are noted"))
    })
    .await;
    let table = table(&stage, "a");
    let fields = [
        ("RouteTableId", table.as_str()),
        ("DestinationCidrBlock", "8.8.8.8/32"),
        ("NatGatewayId", &exits[&format!("{REGION}a")].gateway),
    ];
    stage.aws.call("ec2", "CreateRoute", &fields);
    let _replica = looking(&stage).start();
    assert_eq!(stage.routed(&EXAMPLE_CIDRS).await, exits);
    assert_eq!(actions(&stage.writes_at_rest(mark).await), REVERTED);
}

/// CloudFormation reports a difference where there is none. The controller does not use it for a repair.
#[tokio::test]
async fn a_phantom_change_harms_nothing() {
    let stage = Stage::open("drift-phantom").await;
    stage.aws.settings(json!({ "revert_drift": "phantom" }));
    let _replica = kept(&stage, looking(&stage)).await;
    let exits = stage.aws.exits();
    let mark = stage.aws.mark();
    stage.two_more_looks().await;
    assert_eq!(
        actions(&stage.aws.writes_since(mark)),
        [""; 0],
        "all is well"
    );
    remove_route(&stage, "c");
    assert_eq!(stage.routed(&EXAMPLE_CIDRS).await, exits);
    let writes = stage.writes_at_rest(mark).await;
    assert_eq!(actions(&writes), [REVERTED; 3].concat());
}
