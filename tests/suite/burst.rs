//! Many changes at the same time become few updates, and a single change takes effect immediately.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::stage::Stage;
use crate::wait;

#[tokio::test]
async fn fifty_config_maps_at_once_are_at_most_two_updates() {
    let stage = Stage::alone("burst").await;
    let _replica = stage.replica("r1").start();
    stage.config_map("egress-t0", &[("dns", "9.9.9.9")]).await;
    stage.routed(&["9.9.9.9/32"]).await;
    stage
        .aws
        .settings(json!({ "operation_ms": 3000, "changeset_ms": 300 }));
    let mark = stage.aws.mark();
    let names: Vec<String> = (1..=50).map(|number| format!("egress-{number}")).collect();
    let cidrs: Vec<String> = (1..=50)
        .map(|number| format!("198.51.{}.0/25", number * 2))
        .collect();
    let start = std::time::Instant::now();
    let all = names.iter().zip(&cidrs).map(|(name, cidr)| {
        let stage = &stage;
        async move { stage.config_map(name, &[("net", cidr)]).await }
    });
    futures::future::join_all(all).await;
    wait::measured(&format!(
        "50 ConfigMaps applied in {:.2} s",
        start.elapsed().as_secs_f64()
    ));
    let mut expected: Vec<&str> = cidrs.iter().map(String::as_str).collect();
    expected.push("9.9.9.9/32");
    stage.routed(&expected).await;
    let took = start.elapsed().as_secs_f64();
    let updates = stage.aws.count_since(mark, "ExecuteChangeSet")
        + stage.aws.count_since(mark, "CreateStack");
    let prepared = stage.aws.count_since(mark, "CreateChangeSet");
    wait::measured(&format!(
        "50 ConfigMaps: {updates} stack updates from {prepared} change sets, all routed after {took:.1} s \
         (an update takes 3 s)"
    ));
    assert!((1..=2).contains(&updates), "{updates} updates");
}

/// Waits until no replica has called AWS for longer than the poll interval of a short operation.
async fn quiet(stage: &Stage) {
    wait::until("no more calls", || {
        let last = stage.aws.log_since(0).into_iter().rev();
        let last = last.filter(|entry| entry.of_replica()).map(|entry| entry.t);
        let at = last.max().map(|at| UNIX_EPOCH + Duration::from_millis(at));
        let age = at.and_then(|at| at.elapsed().ok());
        let is_quiet = age.is_none_or(|age| age > Duration::from_secs(1));
        wait::check(is_quiet, || format!("{age:?}"))
    })
    .await;
}

/// Measured from the API server's response to the first CloudFormation call that changes the stack.
#[tokio::test]
async fn a_single_change_reaches_cloudformation_at_once() {
    let stage = Stage::alone("latency").await;
    let _replica = stage.replica("r1").start();
    stage.config_map("egress", &[("dns", "9.9.9.9")]).await;
    stage.routed(&["9.9.9.9/32"]).await;
    let mut delays = Vec::new();
    for number in 0..20 {
        let cidr = format!("198.51.100.{number}/32");
        // While an operation runs, and until its end was observed, only polls start passes.
        quiet(&stage).await;
        let mark = stage.aws.mark();
        let before = SystemTime::now();
        stage.config_map("egress", &[("dns", &cidr)]).await;
        let first = wait::until("a mutating call", || {
            stage
                .aws
                .writes_since(mark)
                .first()
                .cloned()
                .ok_or_else(|| "none".to_owned())
        })
        .await;
        let called = UNIX_EPOCH + Duration::from_millis(first.t);
        // The log has a resolution of one millisecond.
        delays.push(called.duration_since(before).unwrap_or_default());
        stage.routed(&[&cidr]).await;
    }
    delays.sort_unstable();
    let median = delays[delays.len() / 2];
    wait::measured(&format!(
        "ConfigMap to CloudFormation: median {} ms, fastest {} ms, slowest {} ms of {}",
        median.as_millis(),
        delays[0].as_millis(),
        delays[delays.len() - 1].as_millis(),
        delays.len()
    ));
    assert!(median < Duration::from_secs(2), "{delays:?}");
}
