//! A rolling update during a stream of edits, as the Deployment does it: a new replica is ready before an old one ends.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::replica::Replica;
use crate::stage::Stage;
use crate::wait;

/// The time between two edits.
const PACE: Duration = Duration::from_millis(200);
/// The number of networks that are requested at the same time.
const WINDOW: usize = 40;
/// How long edits are measured without a rolling update.
const CALM: Duration = Duration::from_secs(6);

/// Edits of one ConfigMap, of which each adds a network.
pub struct Edits {
    name: &'static str,
    /// The first two numbers of all its networks.
    range: &'static str,
    data: Vec<(String, String)>,
}

impl Edits {
    /// Each stream needs its own networks: a failed attempt of another stream's template could still delay the same template.
    pub fn of(name: &'static str, range: &'static str) -> Self {
        let data = Vec::new();
        Self { name, range, data }
    }

    /// Edits until `stop` is set. Returns how long each edit took until its network was routed. The oldest networks are removed, so that
    /// the stack keeps its size. A routed network must not lose its route before.
    pub async fn stream(&mut self, stage: &Stage, stop: &AtomicBool) -> Vec<Duration> {
        let mut waiting: BTreeMap<usize, Instant> = BTreeMap::new();
        let mut took = Vec::new();
        let mut next = Instant::now();
        let give_up = Instant::now() + Duration::from_secs(180);
        while !stop.load(Ordering::Relaxed) || !waiting.is_empty() {
            assert!(Instant::now() < give_up, "not routed: {waiting:?}");
            // Networks that wait for their routes stay requested.
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
        // The networks are not neighbours, so they are not merged.
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

/// Replaces all replicas, one by one. The leader goes first, so few replicas lead in between.
async fn replace(stage: &Stage, replicas: &mut Vec<Replica>) {
    let count = replicas.len();
    for number in 1..=count {
        let new = stage
            .replica(&format!("new{number}"))
            .default_lease()
            .start();
        wait::until("ready", || new.answers("/readyz")).await;
        // A replica stands by once it has observed the leader.
        wait::until("it stands by", || new.said(&["another replica leads"])).await;
        replicas.push(new);
        // The worst order: the leader goes first, if it is an old replica.
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
    // On a quiet machine, an edit takes less than one second longer.
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
