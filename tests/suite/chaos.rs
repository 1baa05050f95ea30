//! A hundred freezes and partitions at random moments, during edits: no route is lost, no change is made twice, and a former leader writes
//! nothing.
//!
//! `SEED=` replays the same faults: the affected replicas, the kinds, the durations and the edits. The reaction of the replicas also
//! depends on the machine.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use fastrand::Rng;
use futures::future::join_all;

use crate::audit::{self, Terms, accepted};
use crate::linked::Linked;
use crate::proxy::Way;
use crate::stage::{STACK, Stage};
use crate::wait;

const LANES: u64 = 5;
const BLOCKS: usize = 4;
/// The number of faults between two checks that everything is routed.
const ROUNDS: usize = 5;
/// The duration of the Lease in milliseconds.
const LEASE: u64 = 3_000;
const MAPS: usize = 6;

#[derive(Clone, Copy, Debug)]
enum Fault {
    Freeze,
    CutFromKube(Way),
    CutFromAws(Way),
    CutFromBoth(Way),
    /// Connections break, and new connections work.
    Resets,
}

fn fault(rng: &mut Rng) -> Fault {
    let way = [Way::Up, Way::Down, Way::Both][rng.usize(..3)];
    match rng.u8(..10) {
        0..4 => Fault::Freeze,
        4..6 => Fault::CutFromKube(way),
        6..8 => Fault::CutFromAws(way),
        8 => Fault::CutFromBoth(way),
        _ => Fault::Resets,
    }
}

impl Linked {
    fn hit(&self, fault: Fault) {
        match fault {
            Fault::Freeze => self.replica.signal("-STOP"),
            Fault::CutFromKube(way) => self.kube.cut(way),
            Fault::CutFromAws(way) => self.aws.cut(way),
            Fault::CutFromBoth(way) => {
                self.kube.cut(way);
                self.aws.cut(way);
            }
            Fault::Resets => {
                self.kube.reset();
                self.aws.reset();
            }
        }
    }

    fn heal(&self, fault: Fault) {
        if matches!(fault, Fault::Freeze) {
            self.replica.signal("-CONT");
        }
        self.kube.mend();
        self.aws.mend();
    }
}

struct Lane {
    stage: Stage,
    rng: Rng,
    replicas: Vec<Linked>,
    /// The requests of the ConfigMaps.
    maps: BTreeMap<usize, String>,
    edits: usize,
    /// The last request in the stand-in's log that was checked.
    mark: usize,
    longest: Duration,
}

impl Lane {
    fn new(stage: Stage, seed: u64) -> Self {
        let replicas = ["r1", "r2", "r3"].map(|name| stage.linked(name));
        Self {
            stage,
            rng: Rng::with_seed(seed),
            replicas: replicas.into(),
            maps: BTreeMap::new(),
            edits: 0,
            mark: 0,
            longest: Duration::ZERO,
        }
    }

    /// Creates, changes or deletes a ConfigMap.
    async fn edit(&mut self) {
        let map = self.rng.usize(..MAPS);
        let name = format!("egress-{map}");
        self.edits += 1;
        if self.maps.len() > 1 && self.maps.contains_key(&map) && self.rng.u8(..4) == 0 {
            self.maps.remove(&map);
            return self.stage.delete_config_map(&name).await;
        }
        // The networks are not neighbours, so they are not merged.
        let cidr = format!("198.51.{}.{}/32", map, self.rng.u8(..120) * 2);
        self.stage.config_map(&name, &[("net", &cidr)]).await;
        self.maps.insert(map, cidr);
    }

    async fn wait(&mut self, most: u64) {
        let time = Duration::from_millis(self.rng.u64(..most));
        tokio::time::sleep(time).await;
    }

    /// Injects faults, mostly at the leader and in the middle of its work, and waits until all faults are over.
    async fn round(&mut self) {
        let (choice, fault) = (self.rng.usize(..5), fault(&mut self.rng));
        let leader = self.stage.leader().await.unwrap_or_default();
        let leads = |linked: &Linked| linked.replica.name == leader;
        let victim = match (choice, self.replicas.iter().position(leads)) {
            (3.., Some(leader)) => leader,
            (0, Some(leader)) | (1, Some(leader)) => leader,
            _ => choice % self.replicas.len(),
        };
        self.edit().await;
        self.wait(800).await;
        self.replicas[victim].hit(fault);
        self.wait(400).await;
        self.edit().await;
        self.wait(LEASE * 3 / 2).await;
        self.replicas[victim].heal(fault);
        self.wait(300).await;
    }

    /// Checks that every requested network is routed, and that the log shows no invalid change.
    async fn judge(&mut self) {
        let start = Instant::now();
        let cidrs: BTreeSet<&str> = self.maps.values().map(String::as_str).collect();
        self.stage
            .routed(&cidrs.into_iter().collect::<Vec<_>>())
            .await;
        self.longest = self.longest.max(start.elapsed());
        self.stage.two_more_looks().await;
        let mut terms = Terms::default();
        for linked in &mut self.replicas {
            linked.replica.assert_well();
            terms.add(&linked.replica);
        }
        let writes = self.stage.aws.writes_since(0);
        terms.audit(&writes);
        let new: Vec<_> = writes
            .iter()
            .filter(|entry| entry.n > self.mark)
            .cloned()
            .collect();
        let executed = accepted(&new, "ExecuteChangeSet");
        assert!(
            executed <= self.edits,
            "{executed} changes for {} edits",
            self.edits
        );
        assert_eq!(accepted(&writes, "CreateStack"), 1);
        audit::nothing_failed(&self.stage.aws, STACK);
        self.mark = self.stage.aws.mark();
        self.edits = 0;
    }
}

#[tokio::test]
async fn a_hundred_freezes_and_partitions_at_random_moments() {
    let seed = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    wait::measured(&format!("SEED={seed} chooses these faults again"));
    let first = Stage::open("chaos").await;
    let mut stages = Vec::new();
    for _ in 1..LANES {
        stages.push(first.another("chaos").await);
    }
    stages.push(first);
    let lanes = (0..).zip(stages).map(async |(number, stage)| {
        let mut lane = Lane::new(stage, seed + number);
        lane.edit().await;
        for _ in 0..BLOCKS {
            for _ in 0..ROUNDS {
                lane.round().await;
            }
            lane.judge().await;
        }
        (lane.stage.transitions().await, lane.longest)
    });
    let results = join_all(lanes).await;
    let changes: u64 = results.iter().map(|(transitions, _)| transitions).sum();
    let longest = results.iter().map(|(_, longest)| longest).max().unwrap();
    wait::measured(&format!(
        "100 freezes and partitions: {changes} changes of the leader, everything routed {:.1} s after the last of five",
        longest.as_secs_f64()
    ));
}
