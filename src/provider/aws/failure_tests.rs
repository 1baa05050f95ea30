//! Causes, failed resources and rollbacks in a stack's events.

use super::super::event_examples::{event, of_stack};
use super::*;

#[test]
fn the_cause_is_the_first_failure_of_the_last_operation() {
    let failed =
        |id: &str, reason: &str| event(id, "AWS::EC2::Route", "CREATE_FAILED", reason, "t2");
    let events = [
        of_stack("UPDATE_ROLLBACK_COMPLETE", "t2"),
        failed("Route3", "Resource creation cancelled"),
        failed("Route2", "later"),
        failed("Route1", "route already exists"),
        of_stack("UPDATE_IN_PROGRESS", "t2"),
        failed("Route0", "an older operation"),
    ];
    let mut reader = Reader::default();
    assert_eq!(events.iter().position(|event| reader.read(event)), Some(4));
    assert_eq!(
        reader.failure().cause.as_deref(),
        Some("Route1 (AWS::EC2::Route): route already exists")
    );
}

#[test]
fn a_rollback_that_failed_tells_both_failures() {
    let failed =
        |id: &str, reason: &str| event(id, "AWS::EC2::Route", "UPDATE_FAILED", reason, "t2");
    let mut events = vec![
        of_stack("UPDATE_ROLLBACK_FAILED", "t2"),
        failed("Route2", "gone"),
        of_stack("UPDATE_ROLLBACK_IN_PROGRESS", "t2"),
        failed("Route1", "exists"),
        of_stack("UPDATE_IN_PROGRESS", "t2"),
    ];
    let cause = |events: &[StackEvent]| {
        let mut reader = Reader::default();
        assert!(events.iter().any(|event| reader.read(event)));
        reader.failure().cause.unwrap()
    };
    let both = "Route1 (AWS::EC2::Route): exists; and the rollback failed at Route2 (AWS::EC2::Route): gone";
    assert_eq!(cause(&events), both);
    // The rollback was continued and completed: the remaining cause is that of the update.
    events.insert(0, of_stack("UPDATE_ROLLBACK_IN_PROGRESS", "t3"));
    events.insert(0, of_stack("UPDATE_ROLLBACK_COMPLETE", "t3"));
    assert_eq!(cause(&events), "Route1 (AWS::EC2::Route): exists");
}

#[test]
fn what_failed_is_named_and_what_was_cancelled_with_it_is_not() {
    let route =
        |id: &str, status: &str, reason: &str| event(id, "AWS::EC2::Route", status, reason, "t2");
    let full = "Resource handler returned message: \"The maximum number of routes has been reached. (Service: Ec2, Status \
                Code: 400, Request ID: 1-2)\" (RequestToken: 3, HandlerErrorCode: ServiceLimitExceeded)";
    let events = [
        of_stack("UPDATE_ROLLBACK_COMPLETE", "t2"),
        route("Route9", "DELETE_FAILED", "of the rollback's own"),
        of_stack("UPDATE_ROLLBACK_IN_PROGRESS", "t2"),
        route("Route3", "CREATE_FAILED", "Resource creation cancelled"),
        route("Route4", "UPDATE_FAILED", "Resource update cancelled"),
        route("Route2", "CREATE_FAILED", full),
        route("Route1", "UPDATE_FAILED", "no such target"),
        of_stack("UPDATE_IN_PROGRESS", "t2"),
    ];
    let mut reader = Reader::default();
    assert!(events.iter().any(|event| reader.read(event)));
    let failure = reader.failure();
    let named: Vec<(&str, &str, bool)> = failure
        .failed
        .iter()
        .map(|(id, failed)| (id.as_str(), failed.reason.as_str(), failed.table_is_full))
        .collect();
    let full = "The maximum number of routes has been reached.";
    assert_eq!(
        named,
        [("Route1", "no such target", false), ("Route2", full, true)]
    );
    assert_eq!(failure.rollback, Rollback::default());
}

#[test]
fn rollbacks_that_failed_are_counted_and_the_last_one_tells_what_is_stuck() {
    let failed =
        |id: &str, kind: &str, status: &str, reason: &str| event(id, kind, status, reason, "t2");
    let route = "AWS::EC2::Route";
    let events = [
        of_stack("UPDATE_ROLLBACK_FAILED", "t3"),
        failed("Route2", route, "UPDATE_FAILED", "table is gone"),
        failed(
            "Route3",
            route,
            "UPDATE_FAILED",
            "Resource update cancelled",
        ),
        failed("Route4", route, "DELETE_FAILED", "is cleaned up later"),
        of_stack("UPDATE_ROLLBACK_IN_PROGRESS", "t3"),
        of_stack("UPDATE_ROLLBACK_FAILED", "t2"),
        failed("Route5", route, "UPDATE_FAILED", "was stuck before"),
        of_stack("UPDATE_ROLLBACK_IN_PROGRESS", "t2"),
        failed("Route1", route, "UPDATE_FAILED", "exists"),
        of_stack("UPDATE_IN_PROGRESS", "t2"),
    ];
    let mut reader = Reader::default();
    assert!(events.iter().any(|event| reader.read(event)));
    let failure = reader.failure();
    assert_eq!(failure.rollback.failures, 2);
    let stuck: Vec<&String> = failure.rollback.stuck.keys().collect();
    assert_eq!(stuck, ["Route2"]);
    assert_eq!(failure.failed.keys().collect::<Vec<_>>(), ["Route1"]);
}
