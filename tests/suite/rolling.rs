//! Rolling replacement under a stream of edits, as the Deployment does it: a new replica is ready before an old one goes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::replica::Replica;
use crate::stage::Stage;
use crate::wait;

/// Between two edits.
const PACE: Duration = Duration::from_millis(200);
/// Networks that are asked for at once.
const WINDOW: usize = 40;
/// How long edits are watched where nothing is replaced.
const CALM: Duration = Duration::from_secs(6);

/// Edits of one ConfigMap, each to one more network.
pub struct Edits {
    name: &'static str,
    /// The first two numbers of all its networks.
    range: &'static str,
    data: Vec<(String, String)>,
}

impl Edits {
    /// What another stream has asked for a moment ago is no news: the controller's patience may still be with that template.
    pub fn of(name: &'static str, range: &'static str) -> Self {
        let data = Vec::new();
        Self { name, range, data }
    }

    /// Edits until it is told to stop; how long each edit took until it was routed. The oldest networks go, so that the
    /// stack keeps its size; what has been routed may not be without a route before.
    pub async fn stream(&mut self, stage: &Stage, stop: &AtomicBool) -> Vec<Duration> {
        let mut waiting: BTreeMap<usize, Instant> = BTreeMap::new();
        let mut took = Vec::new();
        let mut next = Instant::now();
        let give_up = Instant::now() + Duration::from_secs(180);
        while !stop.load(Ordering::Relaxed) || !waiting.is_empty() {
            assert!(Instant::now() < give_up, "not routed: {waiting:?}");
            // What waits for its route stays asked for.
            let room = waiting.len() < WINDOW / 2;
            if Instant::now() >= next && room && !stop.load(Ordering::Relaxed) {
                next += PACE;
                let asked = Instant::now();
                waiting.insert(self.edit(stage).await, asked);
            }
            let routes = stage.aws.routes();
            let first = self.data.len().saturating_sub(WINDOW);
            for (number, (_, cidr)) in self.data.iter().enumerate().skip(first) {
                let routed = routes.values().all(|table| table.contains_key(cidr));
                match waiting.get(&number).map(Instant::elapsed) {
                    Some(elapsed) if routed => {
                        waiting.remove(&number);
                        took.push(elapsed);
                    }
                    Some(_) => {}
                    None => assert!(routed, "the route to {cidr} was dropped"),
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        took
    }

    async fn edit(&mut self, stage: &Stage) -> usize {
        let number = self.data.len();
        // Apart, so that none is merged with the next.
        let cidr = format!("{}.{}.{}/32", self.range, number / 100, number % 100 * 2);
        self.data.push((format!("net{number}"), cidr));
        let shown = self.data[self.data.len().saturating_sub(WINDOW)..].iter();
        let shown: Vec<(&str, &str)> = shown
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        stage.config_map(self.name, &shown).await;
        number
    }
}

pub fn longest(took: &[Duration]) -> Duration {
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

    let mut first = Edits::of("egress-calm", "198.51");
    let mut second = Edits::of("egress-rolling", "198.52");
    let stop = AtomicBool::new(false);
    let calm = async {
        tokio::time::sleep(CALM).await;
        stop.store(true, Ordering::Relaxed);
    };
    let (before, ()) = tokio::join!(first.stream(&stage, &stop), calm);
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
    let (during, ()) = tokio::join!(second.stream(&stage, &stop), rolling);
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
