//! AWS on a bad day: calls are throttled, fail, or break off before or after they took effect, and credentials end. No route is lost, no
//! change is made twice, and the number of calls stays bounded.

use std::collections::BTreeSet;

use serde_json::json;

use crate::errors::told;
use crate::stage::{EXAMPLE, EXAMPLE_CIDRS, STACK, Stage};
use crate::standin::Entry;
use crate::wait;

/// Makes four edits under the given faults, and waits until each is routed. Returns the calls.
async fn bad_day(stage: &Stage, faults: &[(&str, f64)]) -> Vec<Entry> {
    for (kind, probability) in faults {
        stage
            .aws
            .fault(json!({ "kind": kind, "probability": probability }));
    }
    let mut replica = stage.replica("r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    let exits = stage.routed(&EXAMPLE_CIDRS).await;
    for dns in ["9.9.9.9", "1.1.1.1"] {
        stage.config_map("egress-t2", &[("dns", dns)]).await;
        let cidr = format!("{dns}/32");
        let all = [&EXAMPLE_CIDRS[..], &[&cidr]].concat();
        assert_eq!(stage.routed(&all).await, exits);
    }
    stage.delete_config_map("egress-t2").await;
    assert_eq!(stage.routed(&EXAMPLE_CIDRS).await, exits);
    replica.assert_well();
    let log = stage.aws.log_since(0);
    let hit = log.iter().filter(|entry| entry.fault.is_some()).count();
    wait::measured(&format!(
        "{faults:?}: {} calls of AWS for a creation and three changes, {hit} of them with a fault",
        log.len()
    ));
    assert!(hit > 5, "the day was not bad");
    assert!(log.len() < 400, "{} calls", log.len());
    log
}

/// Returns how many calls took effect, whatever their responses were.
fn carried_out(log: &[Entry], action: &str) -> usize {
    let done = |entry: &&Entry| {
        let after = ["reset_after", "error500_after", "page_after"];
        let despite = entry
            .fault
            .as_deref()
            .is_some_and(|fault| after.contains(&fault));
        entry.action == action && (entry.result.as_deref() == Some("ok") || despite)
    };
    log.iter().filter(done).count()
}

fn nothing_is_done_twice(stage: &Stage, log: &[Entry]) {
    assert_eq!(stage.aws.stacks().into_keys().collect::<Vec<_>>(), [STACK]);
    let addresses: Vec<_> = stage.aws.state()["addresses"].as_array().unwrap().clone();
    assert_eq!(addresses.len(), 3);
    // A call that is sent again with the same token after a lost response is one operation.
    let executions: BTreeSet<_> = log
        .iter()
        .filter(|entry| entry.action == "ExecuteChangeSet")
        .filter_map(|entry| entry.change_set.clone())
        .collect();
    assert!(carried_out(log, "CreateStack") >= 1);
    assert!((3..=4).contains(&executions.len()), "{executions:?}");
    assert_eq!(carried_out(log, "DeleteStack"), 0);
}

#[tokio::test]
async fn a_third_of_all_calls_is_throttled() {
    let stage = Stage::open("throttled").await;
    let log = bad_day(&stage, &[("throttle", 0.3)]).await;
    nothing_is_done_twice(&stage, &log);
}

#[tokio::test]
async fn calls_fail_and_break_off_before_and_after_they_are_carried_out() {
    let stage = Stage::open("broken").await;
    let faults = [
        ("error500", 0.08),
        ("error500_after", 0.08),
        ("reset_before", 0.08),
        ("reset_after", 0.08),
    ];
    let log = bad_day(&stage, &faults).await;
    nothing_is_done_twice(&stage, &log);
}

/// A proxy answers with a page of its own, before and after AWS has carried out the call.
#[tokio::test]
async fn pages_come_in_place_of_answers() {
    let stage = Stage::open("pages").await;
    let log = bad_day(&stage, &[("page", 0.1), ("page_after", 0.1)]).await;
    nothing_is_done_twice(&stage, &log);
}

/// The credentials of a role are revoked early. The next call gets new ones.
#[tokio::test]
async fn a_role_whose_credentials_are_refused_gets_new_ones() {
    let stage = Stage::open("role").await;
    let mut replica = stage.replica("r1").role().start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    let exits = stage.routed(&EXAMPLE_CIDRS).await;
    let keys = || -> BTreeSet<String> {
        let log = stage.aws.log_since(0).into_iter();
        log.filter(|entry| entry.action == "DescribeStacks")
            .filter_map(|entry| entry.access_key)
            .collect()
    };
    let first = keys();
    assert_eq!(first.len(), 1);
    for kind in ["expired_token", "invalid_credentials"] {
        for key in keys() {
            let fault = json!({ "kind": kind, "access_key": key });
            stage.aws.fault(fault);
        }
        let dns = match kind {
            "expired_token" => "9.9.9.9",
            _ => "1.1.1.1",
        };
        stage.config_map("egress-t2", &[("dns", dns)]).await;
        let cidr = format!("{dns}/32");
        let all = [&EXAMPLE_CIDRS[..], &[&cidr]].concat();
        assert_eq!(stage.routed(&all).await, exits);
    }
    told(&mut replica, &["calls succeed again"]).await;
    assert_eq!(keys().len(), 3);
    let loads = stage.aws.log_since(0);
    let loads = loads
        .iter()
        .filter(|entry| entry.action == "AssumeRoleWithWebIdentity");
    assert!(loads.count() <= 6);
}

/// A standby has credentials before it needs them, and sends no other request to AWS.
#[tokio::test]
async fn a_follower_has_its_credentials_ready() {
    let stage = Stage::open("warm").await;
    let _leader = stage.replica("r1").start();
    stage.some_leader().await;
    let _follower = stage.replica("r2").role().start();
    wait::until("the follower has credentials", || {
        let log = stage.aws.log_since(0);
        let got = log
            .iter()
            .any(|entry| entry.action == "AssumeRoleWithWebIdentity");
        wait::check(got, || "it has asked for none".to_owned())
    })
    .await;
    assert_eq!(stage.leader().await.unwrap(), "r1");
}

/// A bucket that denies access delays only the changes that need it.
#[tokio::test]
async fn a_bucket_that_denies_is_told_and_loses_nothing() {
    let stage = Stage::open("bucket-denies").await;
    stage.aws.bucket("templates");
    let mut replica = stage
        .replica("r1")
        .arg("--cf-template-bucket=templates")
        .start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    let exits = stage.routed(&EXAMPLE_CIDRS).await;
    stage
        .aws
        .fault(json!({ "kind": "access_denied", "service": "s3" }));
    let many: Vec<(String, String)> = (0..120)
        .map(|number| (format!("k{number}"), format!("203.0.{number}.0/25")))
        .collect();
    let data: Vec<(&str, &str)> = many.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    stage.config_map("egress-t2", &data).await;
    told(&mut replica, &["AccessDenied", "s3:PutObject"]).await;
    assert_eq!(stage.routed(&EXAMPLE_CIDRS).await, exits);
    stage.aws.clear_faults();
    let cidrs = many.iter().map(|(_, cidr)| cidr.as_str());
    let all: Vec<&str> = EXAMPLE_CIDRS.into_iter().chain(cidrs).collect();
    assert_eq!(stage.routed(&all).await, exits);
}
