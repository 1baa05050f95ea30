//! Failing operations and late answers: no endless loop, no double work, and a recovery once the cause is gone.

use serde_json::json;

use crate::stage::{EXAMPLE, EXAMPLE_CIDRS, STACK, Stage};
use crate::standin::actions;
use crate::wait;

#[tokio::test]
async fn a_creation_that_fails_once_is_tidied_up_and_made_again() {
    let stage = Stage::open("create-fails").await;
    let fault = json!({ "kind": "resource_fails", "logical_id": "NATGateway*", "times": 1, "message": "no capacity" });
    stage.aws.fault(fault);
    let replica = stage.replica("r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    wait::until("told", || {
        replica.said(&["ROLLBACK_COMPLETE", "no capacity"])
    })
    .await;
    // The failed zone waits.
    let exits = stage.routed(&EXAMPLE_CIDRS).await;
    assert_eq!(
        actions(&stage.aws.writes_since(0)),
        ["CreateStack", "DeleteStack", "CreateStack"]
    );
    let addresses = stage.aws.state()["addresses"].as_array().unwrap().len();
    assert_eq!((exits.len(), addresses), (2, 2));
}

/// A stack that was never created has nothing to lose, so its remains do not block the next one.
#[tokio::test]
async fn what_does_not_go_with_a_failed_creation_is_left_behind_and_named() {
    let stage = Stage::open("left-behind").await;
    let fails = json!({ "kind": "resource_fails", "logical_id": "NATGateway*", "times": 1 });
    stage.aws.fault(fails);
    let stuck = json!({ "kind": "delete_fails", "logical_id": "NATSubnetRouteTableeucentral1a" });
    stage.aws.fault(stuck);
    let replica = stage.replica("r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    let named = ["left behind", "by hand: NATSubnetRouteTableeucentral1a"];
    wait::until("told", || replica.said(&named)).await;
    stage.exits_of(2).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    assert_eq!(
        actions(&stage.aws.writes_since(0)),
        [
            "CreateStack",
            "DeleteStack",
            "DeleteStack",
            "DeleteStack",
            "CreateStack"
        ]
    );
    assert_eq!(stage.aws.state()["addresses"].as_array().unwrap().len(), 2);
}

/// Each attempt costs an operator's attention and three EIPs for a while.
#[tokio::test]
async fn a_creation_that_always_fails_is_not_tried_in_a_loop() {
    let stage = Stage::open("create-loop").await;
    stage.aws.fault(
        json!({ "kind": "resource_fails", "logical_id": "NATGateway*", "message": "no capacity" }),
    );
    let mut replica = stage.replica("r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    let creations = || {
        let log = stage.aws.log_since(0);
        log.into_iter()
            .filter(|entry| entry.action == "CreateStack")
            .collect::<Vec<_>>()
    };
    // The first attempt without a zone comes immediately, because it is another stack. The same stack waits.
    let after_the_first = || {
        let tries = creations();
        let first = tries.first().map_or(0, |first| first.t);
        tries.iter().map(|it| it.t - first).collect::<Vec<_>>()
    };
    wait::until("all zones are tried again", || {
        let last = after_the_first().pop().unwrap_or_default();
        wait::check(last >= 7_000, || format!("the last try after {last} ms"))
    })
    .await;
    let tries = after_the_first();
    wait::measured(&format!(
        "creations that failed were tried after {tries:?} ms"
    ));
    let early = tries.iter().filter(|after| **after < 7_000).count();
    assert!(
        early <= 3,
        "one for all three zones, one without the first, one without two: {tries:?}"
    );
    stage.aws.clear_faults();
    replica.assert_well();
}

#[tokio::test]
async fn an_update_that_fails_is_rolled_back_and_not_tried_in_a_loop() {
    let stage = Stage::open("update-fails").await;
    let replica = stage.replica("r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    let exits = stage.routed(&EXAMPLE_CIDRS).await;
    let fault =
        json!({ "kind": "resource_fails", "logical_id": "*9x9x9x9*", "message": "route limit" });
    stage.aws.fault(fault);
    let mark = stage.aws.mark();
    stage.config_map("egress-t2", &[("dns", "9.9.9.9")]).await;
    wait::until("told", || replica.said(&["route limit"])).await;
    assert_eq!(stage.routed(&EXAMPLE_CIDRS).await, exits);
    stage.two_more_looks().await;
    stage.two_more_looks().await;
    assert_eq!(
        stage.aws.count_since(mark, "ExecuteChangeSet"),
        1,
        "patience"
    );
    // A later request is not delayed by the failure.
    stage.aws.clear_faults();
    stage.config_map("egress-t2", &[("dns", "1.1.1.1")]).await;
    assert_eq!(
        stage
            .routed(&[&EXAMPLE_CIDRS[..], &["1.1.1.1/32"]].concat())
            .await,
        exits
    );
}

/// Every DescribeStacks returns an old state for a while, as AWS may.
#[tokio::test]
async fn stale_answers_lead_to_no_second_operation() {
    let stage = Stage::open("stale").await;
    stage
        .aws
        .settings(json!({ "stale_describe_ms": 1500, "stale_events_ms": 500 }));
    let replica = stage.replica("r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    stage.config_map("egress-t1", &[("dns", "9.9.9.9")]).await;
    stage.routed(&["9.9.9.9/32"]).await;
    stage.config_map("egress-t1", &EXAMPLE).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    let mut operations = stage.writes_at_rest(0).await;
    // A watch that ends during an edit holds removals back for a moment, so an edit may need more than one change set.
    operations.retain(|entry| entry.action != "CreateChangeSet");
    assert_eq!(operations.remove(0).action, "CreateStack");
    let mut executed: Vec<_> = operations.iter().map(|entry| &entry.change_set).collect();
    executed.sort();
    executed.dedup();
    assert!(executed.len() == operations.len() && executed.len() >= 2);
    for entry in &operations {
        assert_eq!(entry.action, "ExecuteChangeSet");
        assert_eq!(
            entry.result.as_deref(),
            Some("ok"),
            "none runs beside another"
        );
    }
    assert_eq!(stage.aws.stacks().keys().collect::<Vec<_>>(), [STACK]);
    let doubt = ["CloudFormation shows CREATE_COMPLETE", "UPDATE_IN_PROGRESS"];
    replica.said(&doubt).unwrap();
}

/// The documentation of ExecuteChangeSet says that a failed change stays as it is without DisableRollback.
#[tokio::test]
async fn a_change_that_fails_is_rolled_back_whatever_the_default_is() {
    let stage = Stage::open("rollback-default").await;
    stage
        .aws
        .settings(json!({ "disable_rollback_default": "true" }));
    let _replica = stage.replica("r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    let fault = json!({ "kind": "resource_fails", "logical_id": "*9x9x9x9*", "message": "no" });
    stage.aws.fault(fault);
    let mark = stage.aws.mark();
    stage.config_map("egress-t2", &[("dns", "9.9.9.9")]).await;
    wait::until("the change has failed", || {
        let executed = stage.aws.count_since(mark, "ExecuteChangeSet");
        let stacks = stage.aws.stacks();
        let ended =
            stacks[STACK].ends_with("ROLLBACK_COMPLETE") || stacks[STACK].ends_with("_FAILED");
        wait::check(executed > 0 && ended, || format!("{stacks:?}"))
    })
    .await;
    assert_eq!(stage.aws.stacks()[STACK], "UPDATE_ROLLBACK_COMPLETE");
}

/// CloudFormation deletes change sets asynchronously, and may remember a name for longer than the change set.
#[tokio::test]
async fn the_same_change_has_another_name_each_time() {
    let stage = Stage::open("names").await;
    let _replica = stage.replica("r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    let more = [&EXAMPLE_CIDRS[..], &["9.9.9.9/32"]].concat();
    for _ in 0..2 {
        stage.config_map("egress-t2", &[("dns", "9.9.9.9")]).await;
        stage.routed(&more).await;
        stage.delete_config_map("egress-t2").await;
        stage.routed(&EXAMPLE_CIDRS).await;
    }
    let log = stage.aws.writes_since(0).into_iter();
    let made = log.filter(|entry| entry.action == "CreateChangeSet");
    let mut names: Vec<String> = made.filter_map(|entry| entry.change_set).collect();
    let content = |name: &String| name.split("-e").next().unwrap().to_owned();
    assert_eq!(names.len(), 4, "{names:?}");
    assert_eq!(content(&names[0]), content(&names[2]), "the same content");
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 4, "{names:?}");
}

/// The status of a change set that validation refuses names no resource.
#[tokio::test]
async fn why_validation_refuses_a_change_set_is_read_once_and_told() {
    let stage = Stage::open("validation").await;
    let replica = stage.replica("r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    let exits = stage.routed(&EXAMPLE_CIDRS).await;
    let fault = json!({ "kind": "validation_fails", "logical_id": "*9x9x9x9*", "message": "no such table" });
    stage.aws.fault(fault);
    let mark = stage.aws.mark();
    stage.config_map("egress-t2", &[("dns", "9.9.9.9")]).await;
    let told = ["AWS::EarlyValidation", "AWS::EC2::Route", "no such table"];
    wait::until("told", || replica.said(&told)).await;
    stage.two_more_looks().await;
    let count = |action: &str| stage.aws.count_since(mark, action);
    let asked = count("DescribeEvents");
    assert!((1..=count("CreateChangeSet")).contains(&asked), "{asked}");
    assert_eq!(stage.routed(&EXAMPLE_CIDRS).await, exits);

    // Without the right, the same happens without the cause.
    stage.delete_config_map("egress-t2").await;
    stage.aws.clear_faults();
    let fault = json!({ "kind": "validation_fails", "logical_id": "*1x1x1x1*", "message": "no other table" });
    stage.aws.fault(fault);
    let denied = json!({ "kind": "access_denied", "action": "DescribeEvents" });
    stage.aws.fault(denied);
    let mark = stage.aws.mark();
    stage.config_map("egress-t3", &[("dns", "1.1.1.1")]).await;
    wait::until("refused and discarded", || {
        let deleted = stage.aws.count_since(mark, "DeleteChangeSet");
        let denied = stage.aws.count_since(mark, "DescribeEvents");
        wait::check(deleted > 0 && denied > 0, || format!("{deleted} {denied}"))
    })
    .await;
    replica.said(&["no other table"]).unwrap_err();
    stage.aws.clear_faults();
    stage.config_map("egress-t4", &[("dns", "9.9.9.9")]).await;
    let all = [&EXAMPLE_CIDRS[..], &["1.1.1.1/32", "9.9.9.9/32"]].concat();
    assert_eq!(stage.routed(&all).await, exits);
}
