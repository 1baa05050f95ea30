//! Replicas whose wall clocks are an hour apart.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::audit::{Terms, accepted};
use crate::replica::Replica;
use crate::stage::{EXAMPLE, EXAMPLE_CIDRS, Stage};
use crate::{testbed, wait};

const HOUR: i64 = 3_600;

/// Returns the library that shifts a process's wall clock, built for this run.
fn library() -> &'static PathBuf {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let path = testbed::directory("skew").join("skew.so");
        let mut compile = Command::new("cc");
        compile.args(["-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o"]);
        compile.arg(&path).arg(testbed::script("skew.c"));
        let status = compile.status();
        let status = status.expect("a C compiler is needed: install gcc or clang as cc");
        assert!(status.success(), "{compile:?}: {status}");
        path
    })
}

fn start(stage: &Stage, name: &str, skew: i64) -> Replica {
    let launch = stage.replica(name).lease(3);
    let launch = launch.env("LD_PRELOAD", library().to_str().unwrap());
    launch.env("SKEW_SECONDS", &skew.to_string()).start()
}

/// Returns how many seconds a replica's clock is ahead of the tests' clock, as its log shows.
fn ahead(replica: &Replica) -> i64 {
    let started = replica.when(&["starting"])[0];
    started.as_second() - Timestamp::now().as_second()
}

#[tokio::test]
async fn wall_clocks_an_hour_apart_change_nothing() {
    let stage = Stage::open("skew").await;
    let mut replicas: Vec<Replica> = [("r1", HOUR), ("r2", 0), ("r3", -HOUR)]
        .map(|(name, skew)| start(&stage, name, skew))
        .into();
    stage.config_map("egress-t1", &EXAMPLE).await;
    let exits = stage.routed(&EXAMPLE_CIDRS).await;
    for (replica, skew) in replicas.iter().zip([HOUR, 0, -HOUR]) {
        let off = ahead(replica) - skew;
        assert!(off.abs() < 120, "{} is {off} s off", replica.name);
    }
    // A Lease that is renewed is never taken, whichever clock its holder has. Each replica leads once.
    let mut terms = Vec::new();
    let mut cidrs = EXAMPLE_CIDRS.map(str::to_owned).to_vec();
    while let Some(leader) = next_leader(&stage, &mut replicas).await {
        let before = stage.transitions().await;
        let start = Instant::now();
        let cidr = format!("198.51.100.{}/32", terms.len() * 2);
        let name = format!("egress-{}", leader.name);
        stage.config_map(&name, &[("net", &cidr)]).await;
        cidrs.push(cidr);
        let all: Vec<&str> = cidrs.iter().map(String::as_str).collect();
        assert_eq!(stage.routed(&all).await, exits);
        let lease = Duration::from_secs(4);
        tokio::time::sleep(lease.saturating_sub(start.elapsed())).await;
        assert_eq!(stage.transitions().await, before, "the Lease was kept");
        terms.push(leader.name.clone());
        crash_or_stop(leader, terms.len()).await;
    }
    assert_eq!(terms.len(), 3);
    let writes = stage.aws.writes_since(0);
    Terms::default().audit(&writes);
    assert_eq!(accepted(&writes, "CreateStack"), 1);
}

/// Removes the leader from the replicas, and returns it.
async fn next_leader(stage: &Stage, replicas: &mut Vec<Replica>) -> Option<Replica> {
    if replicas.is_empty() {
        return None;
    }
    let index = wait::until_async("one of them leads", async || {
        let leader = stage.leader().await?;
        let found = replicas.iter().position(|replica| replica.name == leader);
        found.ok_or_else(|| format!("{leader} leads"))
    });
    let index = index.await;
    Some(replicas.remove(index))
}

/// Ends the leader by a crash or by a signal.
async fn crash_or_stop(mut leader: Replica, round: usize) {
    if round.is_multiple_of(2) {
        leader.kill();
    } else {
        assert!(leader.terminate().await.0.success());
    }
}
