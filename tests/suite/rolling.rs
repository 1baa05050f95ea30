//! Rolling replacement under a stream of edits, as the Deployment does it: a new replica is ready before an old one goes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::replica::Replica;
use crate::stage::Stage;
use crate::wait;

/// Between two edits.
const PACE: Duration = Duration::from_millis(200);
/// How long edits are watched where nothing is replaced.
const CALM: Duration = Duration::from_secs(6);

/// Edits a ConfigMap, each time to another network, until it is told to stop; how long each edit took until it was
/// routed. An edit that was overtaken by the next one before it was routed took as long as that one.
async fn edits(stage: &Stage, name: &str, stop: &AtomicBool) -> Vec<Duration> {
    let mut waiting: BTreeMap<usize, Instant> = BTreeMap::new();
    let mut took = Vec::new();
    let (mut number, mut next) = (0, Instant::now());
    // Each edit's network stays, so that no edit is overtaken.
    let cidr = |number: usize| format!("198.51.{}.{}/32", number / 100, number % 100 * 2);
    let mut data: Vec<(String, String)> = Vec::new();
    let give_up = Instant::now() + Duration::from_secs(180);
    while !stop.load(Ordering::Relaxed) || !waiting.is_empty() {
        assert!(Instant::now() < give_up, "not routed: {waiting:?}");
        if Instant::now() >= next && !stop.load(Ordering::Relaxed) {
            data.push((format!("net{number}"), cidr(number)));
            // The oldest go, so that the stack keeps its size.
            let first = data.len().saturating_sub(40);
            let shown: Vec<(&str, &str)> = data[first..]
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_str()))
                .collect();
            next += PACE;
            let asked = Instant::now();
            stage.config_map(name, &shown).await;
            waiting.insert(number, asked);
            number += 1;
        }
        let routes = stage.aws.routes();
        let routed = |number: usize| {
            let cidr = cidr(number);
            routes.values().all(|table| table.contains_key(&cidr))
        };
        let done: Vec<usize> = waiting.keys().copied().filter(|it| routed(*it)).collect();
        for number in done {
            took.extend(waiting.remove(&number).map(|asked| asked.elapsed()));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    took
}

fn longest(took: &[Duration]) -> Duration {
    took.iter().max().copied().unwrap_or_default()
}

/// Replaces them all, one by one; where the leader goes first, as few others as possible lead.
async fn replace(stage: &Stage, replicas: &mut Vec<Replica>) {
    let count = replicas.len();
    for number in 1..=count {
        let new = stage
            .replica(&format!("new{number}"))
            .default_lease()
            .start();
        wait::until("ready", || new.answers("/readyz")).await;
        // It stands by when it has seen who leads.
        wait::until("it stands by", || new.said(&["another replica leads"])).await;
        replicas.push(new);
        // The worst order: always the leader, where it is an old one.
        let leader = stage.some_leader().await;
        let old = |replica: &Replica| !replica.name.starts_with("new");
        let leads = |replica: &Replica| old(replica) && replica.name == leader;
        let index = replicas
            .iter()
            .position(leads)
            .or_else(|| replicas.iter().position(old));
        let mut gone = replicas.remove(index.expect("an old one is left"));
        let (status, _) = gone.terminate().await;
        assert!(status.success(), "{status}");
    }
}

async fn replacement(count: usize) {
    let stage = Stage::alone("rolling").await;
    let mut replicas: Vec<Replica> = (1..=count)
        .map(|number| stage.replica(&format!("r{number}")).default_lease().start())
        .collect();
    stage.config_map("egress-t1", &[("dns", "9.9.9.9")]).await;
    stage.routed(&["9.9.9.9/32"]).await;

    let stop = AtomicBool::new(false);
    let calm = async {
        tokio::time::sleep(CALM).await;
        stop.store(true, Ordering::Relaxed);
    };
    let (before, ()) = tokio::join!(edits(&stage, "egress-calm", &stop), calm);
    stage.delete_config_map("egress-calm").await;
    stage.routed(&["9.9.9.9/32"]).await;

    stop.store(false, Ordering::Relaxed);
    let transitions = stage.transitions().await;
    let rolling = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        replace(&stage, &mut replicas).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        stop.store(true, Ordering::Relaxed);
    };
    let (during, ()) = tokio::join!(edits(&stage, "egress-rolling", &stop), rolling);
    let changes = stage.transitions().await - transitions;
    wait::measured(&format!(
        "{count} replicas replaced under edits: {changes} changes of the leader; {} edits routed after at most {:.2} s, \
         {} without a replacement after at most {:.2} s",
        during.len(),
        longest(&during).as_secs_f64(),
        before.len(),
        longest(&before).as_secs_f64(),
    ));
    assert!((1..=count as u64).contains(&changes), "{changes}");
    let more = longest(&during).saturating_sub(longest(&before));
    // On a quiet machine it is less than one second.
    assert!(more < Duration::from_secs(4), "{during:?} {before:?}");
}

#[tokio::test]
async fn two_replicas_are_replaced_under_edits() {
    replacement(2).await;
}

#[tokio::test]
async fn three_replicas_are_replaced_under_edits() {
    replacement(3).await;
}
