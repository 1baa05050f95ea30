//! Every status that a stack can have: the stack enters it, the leader observes it, and the stack leaves it. The table in
//! deploy/docs/statuses.md has the maximum number of calls for that. Each test reads its own row, so the two cannot differ.

mod case;

use case::Case;
use serde_json::json;

use crate::golang::GoStack;
use crate::stage::{EXAMPLE, EXAMPLE_CIDRS, STACK};

const MORE: [&str; 3] = ["192.112.0.0/21", "8.8.8.8/32", "9.9.9.9/32"];

/// A stack at rest leaves its status with the next change.
async fn at_rest(case: &mut Case, status: &str) {
    case.enters(status).await;
    case.time_flows();
    case.more().await;
    case.leaves(status, &MORE).await;
}

/// The failed route waits for minutes, and no other route waits with it.
async fn others_go_on(case: &Case, status: &str) {
    case.stage
        .config_map("egress-t3", &[("dns", "1.1.1.1")])
        .await;
    let others = [&EXAMPLE_CIDRS[..], &["1.1.1.1/32"]].concat();
    case.leaves(status, &others).await;
}

/// An update that fails at its new route.
async fn failing_update(name: &str, rollback_fails: bool) -> Case {
    let case = Case::routed(name, &[]).await;
    case.fails("resource_fails", "*9x9x9x9*");
    if rollback_fails {
        case.fails("rollback_fails", "*");
    }
    case.stop_time();
    case.more().await;
    case
}

#[tokio::test]
async fn create_in_progress() {
    let mut case = Case::open("create-in-progress", &[]).await;
    case.stop_time();
    case.stage.config_map("egress-t1", &EXAMPLE).await;
    case.enters("CREATE_IN_PROGRESS").await;
    case.leaves("CREATE_IN_PROGRESS", &EXAMPLE_CIDRS).await;
}

#[tokio::test]
async fn create_complete() {
    let mut case = Case::routed("create-complete", &[]).await;
    at_rest(&mut case, "CREATE_COMPLETE").await;
}

#[tokio::test]
async fn create_failed() {
    let mut case = Case::open("create-failed", &[]).await;
    case.fails("resource_fails", "NATGateway*");
    GoStack::default().send(&case.stage, "CreateStack", &[("OnFailure", "DO_NOTHING")]);
    case.stage.config_map("egress-t1", &EXAMPLE).await;
    case.enters("CREATE_FAILED").await;
    case.leaves_without_a_zone("CREATE_FAILED", &EXAMPLE_CIDRS)
        .await;
}

#[tokio::test]
async fn rollback_in_progress() {
    let mut case = Case::open("rollback-in-progress", &[]).await;
    case.fails("resource_fails", "NATGateway*");
    case.stop_time();
    case.stage.config_map("egress-t1", &EXAMPLE).await;
    case.enters("ROLLBACK_IN_PROGRESS").await;
    case.leaves_without_a_zone("ROLLBACK_IN_PROGRESS", &EXAMPLE_CIDRS)
        .await;
}

#[tokio::test]
async fn rollback_complete() {
    let mut case = Case::open("rollback-complete", &[]).await;
    case.fails("resource_fails", "NATGateway*");
    case.stop_time();
    case.stage.config_map("egress-t1", &EXAMPLE).await;
    case.enters("ROLLBACK_COMPLETE").await;
    case.leaves_without_a_zone("ROLLBACK_COMPLETE", &EXAMPLE_CIDRS)
        .await;
}

#[tokio::test]
async fn rollback_failed() {
    let mut case = Case::open("rollback-failed", &[]).await;
    case.fails("resource_fails", "NATGateway*");
    case.fails("delete_fails", "NATSubnet*");
    case.stop_time();
    case.stage.config_map("egress-t1", &EXAMPLE).await;
    case.enters("ROLLBACK_FAILED").await;
    case.leaves_without_a_zone("ROLLBACK_FAILED", &EXAMPLE_CIDRS)
        .await;
}

#[tokio::test]
async fn update_in_progress() {
    let mut case = Case::routed("update-in-progress", &[]).await;
    case.stop_time();
    case.more().await;
    case.enters("UPDATE_IN_PROGRESS").await;
    case.leaves("UPDATE_IN_PROGRESS", &MORE).await;
}

#[tokio::test]
async fn update_complete_cleanup_in_progress() {
    let mut case = Case::routed("update-cleanup", &[]).await;
    case.stop_time();
    case.stage
        .config_map("egress-t1", &[("dns", "9.9.9.9")])
        .await;
    let status = "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS";
    case.enters(status).await;
    case.leaves(status, &["9.9.9.9/32"]).await;
}

#[tokio::test]
async fn update_complete() {
    let mut case = Case::routed("update-complete", &[]).await;
    case.stage.config_map("egress-t1", &EXAMPLE[..1]).await;
    case.stage.routed(&EXAMPLE_CIDRS[..1]).await;
    case.stage.config_map("egress-t1", &EXAMPLE).await;
    case.stage.routed(&EXAMPLE_CIDRS).await;
    at_rest(&mut case, "UPDATE_COMPLETE").await;
}

#[tokio::test]
async fn update_failed() {
    let mut case = Case::open("update-failed", &[]).await;
    let stack = GoStack::default();
    stack.make(&case.stage).await;
    case.stage.config_map("egress-t1", &EXAMPLE).await;
    case.stage.routed(&EXAMPLE_CIDRS).await;
    case.fails("resource_fails", "*9x9x9x9*");
    case.stop_time();
    let more = GoStack {
        cidrs: &MORE,
        ..stack
    };
    more.send(&case.stage, "UpdateStack", &[("DisableRollback", "true")]);
    case.enters("UPDATE_FAILED").await;
    case.leaves("UPDATE_FAILED", &EXAMPLE_CIDRS).await;
}

#[tokio::test]
async fn update_rollback_in_progress() {
    let mut case = failing_update("update-rollback", false).await;
    case.enters("UPDATE_ROLLBACK_IN_PROGRESS").await;
    others_go_on(&case, "UPDATE_ROLLBACK_IN_PROGRESS").await;
}

#[tokio::test]
async fn update_rollback_complete_cleanup_in_progress() {
    let mut case = failing_update("rollback-cleanup", false).await;
    let status = "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS";
    case.enters(status).await;
    others_go_on(&case, status).await;
}

#[tokio::test]
async fn update_rollback_complete() {
    let mut case = failing_update("rolled-back", false).await;
    case.enters("UPDATE_ROLLBACK_COMPLETE").await;
    others_go_on(&case, "UPDATE_ROLLBACK_COMPLETE").await;
}

#[tokio::test]
async fn update_rollback_failed() {
    let mut case = failing_update("rollback-fails", true).await;
    case.enters("UPDATE_ROLLBACK_FAILED").await;
    others_go_on(&case, "UPDATE_ROLLBACK_FAILED").await;
}

/// A route that can never be rolled back, for example because its table was deleted.
#[tokio::test]
async fn what_keeps_a_rollback_from_its_end_is_skipped() {
    let case = Case::routed("rollback-skips", &[]).await;
    let before = case.stage.aws.exits();
    case.fails("resource_fails", "*9x9x9x9*");
    let stuck = json!({ "kind": "rollback_fails", "logical_id": "*9x9x9x9*", "message": "gone" });
    case.stage.aws.fault(stuck);
    let mark = case.stage.aws.mark();
    case.more().await;
    case.stage
        .config_map("egress-t3", &[("dns", "1.1.1.1")])
        .await;
    let others = [&EXAMPLE_CIDRS[..], &["1.1.1.1/32"]].concat();
    assert_eq!(case.stage.routed(&others).await, before);
    let continued = case.stage.aws.count_since(mark, "ContinueUpdateRollback");
    assert_eq!(continued, 3, "the third continuation skips the route");
}

#[tokio::test]
async fn delete_in_progress() {
    let mut case = Case::routed("delete-in-progress", &[]).await;
    case.stop_time();
    case.stage
        .aws
        .call("cloudformation", "DeleteStack", &[("StackName", STACK)]);
    case.enters("DELETE_IN_PROGRESS").await;
    case.leaves("DELETE_IN_PROGRESS", &EXAMPLE_CIDRS).await;
}

#[tokio::test]
async fn delete_complete() {
    let mut case = Case::routed("delete-complete", &[]).await;
    case.stop_time();
    case.stage
        .aws
        .call("cloudformation", "DeleteStack", &[("StackName", STACK)]);
    case.comes_to("DELETE_COMPLETE").await;
    case.leaves("DELETE_COMPLETE", &EXAMPLE_CIDRS).await;
}

#[tokio::test]
async fn delete_failed() {
    let flags = [("on-empty", "delete"), ("empty-grace-period", "0s")];
    let mut case = Case::routed("delete-failed", &flags).await;
    case.fails("delete_fails", "NATSubnetRouteTable*");
    case.stop_time();
    case.stage.delete_config_map("egress-t1").await;
    case.enters("DELETE_FAILED").await;
    case.stage.config_map("egress-t1", &EXAMPLE).await;
    case.leaves("DELETE_FAILED", &EXAMPLE_CIDRS).await;
}

#[tokio::test]
async fn review_in_progress() {
    let mut case = Case::open("review-in-progress", &[]).await;
    let stack = GoStack {
        name: STACK,
        ..GoStack::default()
    };
    let change_set = [("ChangeSetName", "by-hand"), ("ChangeSetType", "CREATE")];
    stack.send(&case.stage, "CreateChangeSet", &change_set);
    case.stage.config_map("egress-t1", &EXAMPLE).await;
    // The stack has no tags before it is created, so the controller cannot recognise it as its own.
    case.comes_to("REVIEW_IN_PROGRESS").await;
    case.time_flows();
    case.is_left_alone(&["StackNotOurs", "delete the empty stack"])
        .await;
    case.stage
        .aws
        .call("cloudformation", "DeleteStack", &[("StackName", STACK)]);
    case.leaves("REVIEW_IN_PROGRESS", &EXAMPLE_CIDRS).await;
}

/// The stand-in has no imports: these statuses are set directly, and left as CloudFormation would leave them.
#[tokio::test]
async fn import_complete_and_import_rollback_complete() {
    for status in ["IMPORT_COMPLETE", "IMPORT_ROLLBACK_COMPLETE"] {
        let mut case = Case::routed(&status.to_lowercase().replace('_', "-"), &[]).await;
        case.force(status);
        at_rest(&mut case, status).await;
    }
}

#[tokio::test]
async fn import_in_progress_and_import_rollback_in_progress() {
    for (status, then) in [
        ("IMPORT_IN_PROGRESS", "IMPORT_COMPLETE"),
        ("IMPORT_ROLLBACK_IN_PROGRESS", "IMPORT_ROLLBACK_COMPLETE"),
    ] {
        let mut case = Case::routed(&status.to_lowercase().replace('_', "-"), &[]).await;
        case.force(status);
        case.more().await;
        case.enters(status).await;
        case.is_left_alone(&[&format!("the stack is {status}")])
            .await;
        case.force(then);
        case.leaves(status, &MORE).await;
    }
}

#[tokio::test]
async fn a_failed_rollback_of_an_import_and_a_status_that_nobody_knows() {
    for status in ["IMPORT_ROLLBACK_FAILED", "FUTURE_STATE_X"] {
        let mut case = Case::routed(&status.to_lowercase().replace('_', "-"), &[]).await;
        case.force(status);
        case.more().await;
        case.enters(status).await;
        case.time_flows();
        case.is_left_alone(&["UnknownStatus", status, "by hand"])
            .await;
        case.force("UPDATE_COMPLETE");
        case.leaves(status, &MORE).await;
    }
}
