//! How long no replica decides when one leader stops and the next one starts.

use std::time::Duration;

use crate::replica::Replica;
use crate::stage::{EXAMPLE, EXAMPLE_CIDRS, Stage};
use crate::wait::{self, is_long};

const DECIDED: &str = "took over: that was the first decision";
const GONE: &str = "this replica no longer leads";

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

/// Waits until a replica stands by, so that it is ready for the next handover.
async fn stands_by(replica: &Replica) {
    wait::until("it stands by", || replica.said(&["another replica leads"])).await;
}

/// Stops the leader by SIGTERM. Returns the time from its last moment as the leader to the next leader's first decision, by their logs.
async fn hand_over(replicas: &mut Vec<Replica>) -> Duration {
    let leads = |replica: &Replica| replica.said(&["this replica leads"]).is_ok();
    let index = wait::until("a leader", || {
        replicas.iter().position(leads).ok_or_else(|| "none".into())
    })
    .await;
    let mut old = replicas.remove(index);
    old.terminate().await;
    let gone = *old.when(&[GONE]).last().expect("it led");
    let decided = wait::until("the next leader decides", || {
        let mut times = replicas.iter().flat_map(|replica| replica.when(&[DECIDED]));
        times.next().ok_or_else(|| "nobody has decided".to_owned())
    })
    .await;
    decided
        .duration_since(gone)
        .try_into()
        .expect("it is later")
}

/// Runs this many handovers, each to a process that has never led.
async fn hand_overs(stage: &Stage, count: usize) -> Vec<Duration> {
    let mut numbers = 1..;
    let mut start = || {
        let name = format!("r{}", numbers.next().unwrap());
        stage.replica(&name).default_lease().start()
    };
    let mut replicas = vec![start(), start(), start()];
    stage.config_map("egress-t1", &EXAMPLE).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    let mut durations = Vec::new();
    for _ in 0..count {
        for replica in &replicas {
            if replica.said(&["this replica leads"]).is_err() {
                stands_by(replica).await;
            }
        }
        durations.push(hand_over(&mut replicas).await);
        replicas.push(start());
    }
    durations.sort_unstable();
    durations
}

fn told(what: &str, sorted: &[Duration]) -> (Duration, Duration) {
    let at = |share: usize| sorted[(sorted.len() * share / 100).min(sorted.len() - 1)];
    wait::measured(&format!(
        "release to first decision{what}: median {:.0} ms, p99 {:.0} ms, most {:.0} ms of {} handovers",
        milliseconds(at(50)),
        milliseconds(at(99)),
        milliseconds(at(100)),
        sorted.len()
    ));
    (at(50), at(100))
}

#[tokio::test]
async fn the_next_leader_decides_at_once() {
    let stage = Stage::alone("handovers").await;
    let durations = hand_overs(&stage, if is_long() { 200 } else { 15 }).await;
    let (median, _) = told("", &durations);
    // A quiet machine takes a tenth of that.
    assert!(median < Duration::from_secs(1), "{durations:?}");
}

#[tokio::test]
async fn the_next_leader_decides_within_a_second_where_aws_is_slow() {
    let stage = Stage::alone("slow-handovers").await;
    let slow = serde_json::json!({ "kind": "delay", "action": "*", "ms": 100 });
    stage.aws.fault(slow);
    let durations = hand_overs(&stage, if is_long() { 20 } else { 5 }).await;
    let (median, _) = told(" with 100 ms more per call of AWS", &durations);
    assert!(median < Duration::from_secs(3), "{durations:?}");
}
