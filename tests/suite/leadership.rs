//! Only the leader writes, another replica always takes over, and a restart changes nothing.

use std::collections::BTreeSet;

use crate::replica::Replica;
use crate::stage::{EXAMPLE, EXAMPLE_CIDRS, Stage};
use crate::standin::{Entry, actions};
use crate::wait;

fn keys(entries: &[Entry]) -> BTreeSet<String> {
    entries
        .iter()
        .filter_map(|entry| entry.access_key.clone())
        .collect()
}

fn take(replicas: &mut Vec<Replica>, name: &str) -> Replica {
    let index = replicas
        .iter()
        .position(|replica| replica.name == name)
        .unwrap();
    replicas.remove(index)
}

#[tokio::test]
async fn after_sigterm_another_replica_takes_over() {
    let stage = Stage::open("handover").await;
    let mut replicas: Vec<_> = ["r1", "r2", "r3"]
        .map(|name| stage.replica(name).start())
        .into();
    stage.config_map("egress-t1", &EXAMPLE).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    let first = stage.some_leader().await;
    let mut old = take(&mut replicas, &first);
    let before = stage.aws.log_since(0);
    assert_eq!(
        keys(
            &before
                .iter()
                .filter(|entry| entry.mutating)
                .cloned()
                .collect::<Vec<_>>()
        ),
        keys_of(&old)
    );

    let mark = stage.aws.mark();
    let (status, took) = old.terminate().await;
    wait::measured(&format!(
        "leader ended {:.2} s after SIGTERM",
        took.as_secs_f64()
    ));
    assert_eq!(status.code(), Some(0));
    assert!(took.as_secs_f64() < 3.0, "{took:?}");
    let start = std::time::Instant::now();
    let second = wait::until_async("another leads", async || match stage.leader().await? {
        name if name == first => Err(format!("{name} still has the Lease")),
        name => Ok(name),
    })
    .await;
    wait::measured(&format!(
        "next leader {:.2} s after the release",
        start.elapsed().as_secs_f64()
    ));
    assert!(
        start.elapsed().as_secs_f64() < 4.0,
        "a released Lease is taken at once: {:?}",
        start.elapsed()
    );
    stage.config_map("egress-t2", &[("dns", "9.9.9.9")]).await;
    stage
        .routed(&[&EXAMPLE_CIDRS[..], &["9.9.9.9/32"]].concat())
        .await;
    let new = take(&mut replicas, &second);
    assert_eq!(keys(&stage.aws.writes_since(mark)), keys_of(&new));
    let reads = stage.aws.log_since(mark);
    assert!(
        !reads
            .iter()
            .any(|entry| entry.access_key.as_ref() == Some(&old.access_key) && entry.mutating)
    );
}

fn keys_of(replica: &Replica) -> BTreeSet<String> {
    BTreeSet::from([replica.access_key.clone()])
}

#[tokio::test]
async fn after_a_crash_another_replica_takes_over() {
    let stage = Stage::open("crash").await;
    let mut replicas: Vec<_> = ["r1", "r2"].map(|name| stage.replica(name).start()).into();
    stage.config_map("egress-t1", &EXAMPLE).await;
    // While the stack is being created.
    stage
        .aws
        .settings(serde_json::json!({ "operation_ms": 3000 }));
    wait::until("CreateStack", || {
        wait::check(stage.aws.count_since(0, "CreateStack") > 0, || {
            "none".to_owned()
        })
    })
    .await;
    let first = stage.some_leader().await;
    take(&mut replicas, &first).kill();
    let start = std::time::Instant::now();
    let survivor = &replicas[0];
    wait::until("the other leads", || survivor.said(&["this replica leads"])).await;
    wait::measured(&format!(
        "next leader {:.2} s after a crash, Lease of 4 s",
        start.elapsed().as_secs_f64()
    ));
    stage.config_map("egress-t2", &[("dns", "9.9.9.9")]).await;
    stage
        .routed(&[&EXAMPLE_CIDRS[..], &["9.9.9.9/32"]].concat())
        .await;
    assert_eq!(stage.aws.count_since(0, "CreateStack"), 1);
}

#[tokio::test]
async fn followers_never_call_aws() {
    let stage = Stage::open("followers").await;
    let mut replicas: Vec<_> = ["r1", "r2", "r3"]
        .map(|name| stage.replica(name).start())
        .into();
    stage.config_map("egress-t1", &EXAMPLE).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    let leader = take(&mut replicas, &stage.some_leader().await);
    stage.two_more_looks().await;
    let log = stage.aws.log_since(0);
    let wrote: Vec<Entry> = log.iter().filter(|entry| entry.mutating).cloned().collect();
    assert_eq!(keys(&wrote), keys_of(&leader));
    for follower in &mut replicas {
        let called = log
            .iter()
            .any(|entry| entry.access_key.as_ref() == Some(&follower.access_key));
        assert!(!called, "{} called AWS as a follower", follower.name);
        follower.assert_well();
    }
}

#[tokio::test]
async fn a_restart_of_all_replicas_writes_nothing() {
    let stage = Stage::open("restart").await;
    let mut replicas: Vec<_> = ["r1", "r2"].map(|name| stage.replica(name).start()).into();
    stage.config_map("egress-t1", &EXAMPLE).await;
    stage
        .config_map(
            "egress-t2",
            &[("a", "198.51.100.0/25"), ("b", "198.51.100.128/25")],
        )
        .await;
    let cidrs = [&EXAMPLE_CIDRS[..], &["198.51.100.0/24"]].concat();
    let exits = stage.routed(&cidrs).await;
    for replica in &mut replicas {
        assert_eq!(replica.terminate().await.0.code(), Some(0));
    }
    let mark = stage.aws.mark();
    let _replicas = ["r4", "r5"].map(|name| stage.replica(name).start());
    wait::until_async("a new leader", async || {
        match stage.leader().await?.as_str() {
            "r4" | "r5" => Ok(()),
            other => Err(other.to_owned()),
        }
    })
    .await;
    assert_eq!(actions(&stage.writes_at_rest(mark).await), [""; 0]);
    assert_eq!(stage.routed(&cidrs).await, exits);
}

/// An earlier holder may still act, so a new Lease is not taken immediately.
#[tokio::test]
async fn the_first_installation_waits_for_one_lease_duration() {
    let stage = Stage::open("first").await;
    stage.new_lease().await;
    let start = std::time::Instant::now();
    let _replica = stage.replica("r1").start();
    stage.some_leader().await;
    let took = start.elapsed().as_secs_f64();
    wait::measured(&format!(
        "first leader ever {took:.1} s after the start, Lease of 4 s"
    ));
    assert!(took >= 4.0, "{took}");
}

/// The leader wakes up in the middle of its work, long after its term has ended.
#[tokio::test]
async fn a_leader_that_was_frozen_writes_nothing_when_it_wakes() {
    let stage = Stage::open("frozen").await;
    let mut replicas: Vec<_> = ["r1", "r2"].map(|name| stage.replica(name).start()).into();
    stage.config_map("egress-t1", &EXAMPLE).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    let mut frozen = take(&mut replicas, &stage.some_leader().await);
    frozen.signal("-STOP");
    let mark = stage.aws.mark();
    stage.config_map("egress-t2", &[("dns", "9.9.9.9")]).await;
    let successor = &replicas[0];
    wait::until("the other leads", || {
        successor.said(&["this replica leads"])
    })
    .await;
    frozen.signal("-CONT");
    stage
        .routed(&[&EXAMPLE_CIDRS[..], &["9.9.9.9/32"]].concat())
        .await;
    wait::until("the old one knows", || {
        frozen.said(&["this replica no longer leads"])
    })
    .await;
    assert_eq!(keys(&stage.writes_at_rest(mark).await), keys_of(successor));
    frozen.assert_well();
}
