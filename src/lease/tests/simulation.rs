//! Random histories: replicas that stop, crash and come back, a network that loses and delays messages, and users who edit the Lease. Two
//! Terms must never overlap, and a replica must lead after the faults have ended.
//!
//! A Term that is over stays over, so it is sufficient to check all other Terms when a new one begins. `SEED=7 cargo test --lib
//! lease::tests::simulation` replays one history and prints it; `HISTORIES=10000` runs that many.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use serde_json::json;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::super::{Election, LeaseElection, Spawn, TermGuard};
use super::fake::{Ask, FakeApi, Fate, Net};
use super::process::Process;
use super::secs;

const REPLICAS: usize = 4;

/// The events so far, and the state as an outside observer knows it.
struct World {
    api: FakeApi,
    start: Instant,
    faults_until: Instant,
    /// Whether users delete and empty the Lease. Then epochs may start again at zero.
    hands: bool,
    processes: Vec<Process>,
    shared: Mutex<Shared>,
}

#[derive(Default)]
struct Shared {
    guards: Vec<Option<(u64, TermGuard)>>,
    history: Vec<String>,
    wrong: Option<String>,
    terms: usize,
    last_epoch: u64,
}

impl World {
    fn note(&self, what: String) {
        let line = format!("{:12.3} {what}", self.start.elapsed().as_secs_f64());
        self.shared.lock().unwrap().history.push(line);
    }

    fn faulty(&self) -> bool {
        Instant::now() < self.faults_until
    }

    fn leads(&self, who: usize, epoch: u64, guard: TermGuard) {
        self.note(format!("replica {who} leads in epoch {epoch}"));
        let mut shared = self.shared.lock().unwrap();
        shared.terms += 1;
        let rivals = self.lasting(&shared);
        if !rivals.is_empty() {
            shared.wrong = Some(format!("epoch {epoch} began while {rivals:?} lasted"));
        }
        if epoch <= shared.last_epoch && !self.hands {
            shared.wrong = Some(format!("epoch {epoch} after {}", shared.last_epoch));
        }
        shared.last_epoch = epoch;
        shared.guards[who] = Some((epoch, guard));
    }

    /// Returns the epochs of terms that are not over, each on the clock of its machine.
    fn lasting(&self, shared: &Shared) -> Vec<u64> {
        let terms = shared.guards.iter().zip(&self.processes);
        let lasting = terms.filter_map(|(term, process)| {
            let (epoch, guard) = term.as_ref()?;
            let over = process.by_its_clock(|| guard.is_over());
            (!over).then_some(*epoch)
        });
        lasting.collect()
    }

    fn leaders(&self) -> usize {
        self.lasting(&self.shared.lock().unwrap()).len()
    }
}

/// Draws a delay, usually short and sometimes long.
fn delay(rng: &mut Rng, most: f64) -> Duration {
    match rng.u32(0..100) {
        0..90 => secs(rng.f64() * 0.02),
        90..97 => secs(rng.f64() * 3.0),
        _ => secs(rng.f64() * most),
    }
}

fn fate(rng: &mut Rng, cut: &mut Instant, ask: Ask) -> Fate {
    let now = Instant::now();
    if rng.u32(0..600) == 0 {
        *cut = now + secs(rng.f64() * 60.0);
    }
    // The cut either lets requests through and drops responses, or drops both.
    let lost = now < *cut;
    let events = ask == Ask::Event;
    Fate {
        before: if events {
            secs(rng.f64() * 0.02)
        } else {
            delay(rng, 40.0)
        },
        request_lost: lost && rng.bool() || rng.u32(0..200) < 3,
        after: if events {
            Duration::ZERO
        } else {
            delay(rng, 40.0)
        },
        answer_lost: lost || rng.u32(0..200) < 3,
        again: (rng.u32(0..100) == 0).then(|| delay(rng, 40.0)),
        status: (rng.u32(0..100) < 2).then(|| *rng.choice([429, 500, 503, 404].iter()).unwrap()),
    }
}

async fn replica(world: Arc<World>, who: usize, process: Process, mut rng: Rng) {
    for start in 0.. {
        let net = Net::good();
        let (mut luck, mut cut, watched) = (rng.fork(), Instant::now(), Arc::clone(&world));
        net.set(move |ask| {
            if watched.faulty() {
                fate(&mut luck, &mut cut, ask)
            } else {
                Fate::default()
            }
        });
        let of = process.clone();
        let spawn: Spawn = Arc::new(move |task| tokio::spawn(of.run(task)));
        let election = world
            .api
            .replica_over(&format!("r{who}-{start}"), &net, spawn);
        life(&world, who, election, &mut rng).await;
        world.note(format!("replica {who} crashed"));
        sleep(secs(rng.f64() * 30.0)).await;
    }
}

/// Runs a process from its start to its crash.
async fn life(world: &World, who: usize, mut election: LeaseElection, rng: &mut Rng) {
    loop {
        // Some campaigns are dropped in the middle.
        let patience = if world.faulty() && rng.u32(0..10) == 0 {
            rng.f64() * 30.0
        } else {
            1e7
        };
        let Ok(term) = timeout(secs(patience), election.campaign()).await else {
            continue;
        };
        world.leads(who, term.epoch(), term.guard());
        let hold = if world.faulty() {
            delay(rng, 600.0) + secs(rng.f64() * 60.0)
        } else {
            secs(1e7)
        };
        let _held = timeout(hold, term.ended()).await;
        if !world.faulty() {
            term.ended().await;
        }
        match rng.u32(0..10) {
            0 => return,
            1..4 => drop(term),
            _ => {
                let epoch = term.epoch();
                election.release(term).await;
                world.note(format!("replica {who} released epoch {epoch}"));
            }
        }
    }
}

async fn faults(world: Arc<World>, processes: Vec<Process>, mut rng: Rng) {
    while world.faulty() {
        sleep(secs(rng.f64() * 60.0)).await;
        let who = rng.usize(0..REPLICAS);
        let pause = secs(rng.f64() * 60.0);
        match rng.u32(0..16) {
            0..8 => {
                world.note(format!("replica {who} stops for {pause:.1?}"));
                processes[who].stop(pause);
            }
            8 if world.hands => world.api.delete(),
            9 if world.hands => world.api.put(json!({})),
            10 if world.hands => world.api.edit(json!({ "holderIdentity": "" })),
            11 if world.hands => world
                .api
                .edit(json!({ "holderIdentity": format!("r{who}-0") })),
            12 if world.hands => world
                .api
                .edit(json!({ "renewTime": null, "acquireTime": null })),
            _ => continue,
        }
        let spec = world.api.spec();
        world.note(format!(
            "the Lease is of {}, epoch {}",
            spec["holderIdentity"], spec["leaseTransitions"]
        ));
    }
}

/// Runs one history. Returns the number of terms, its log, and the violation, if there is one.
async fn history(seed: u64, hours: f64) -> (usize, Vec<String>, Option<String>) {
    fastrand::seed(seed);
    let mut rng = Rng::with_seed(seed);
    let start = Instant::now();
    // The clock rates differ by less than a twentieth, as the lease assumes.
    let rates = [0.9757, 1.0243, 0.99, 1.0];
    let processes = rates.map(|rate| Process::on(rate, None)).to_vec();
    let world = Arc::new(World {
        api: FakeApi::new(),
        start,
        faults_until: start + secs(hours * 3600.0),
        hands: seed % 2 == 1,
        processes: processes.clone(),
        shared: Mutex::new(Shared {
            guards: (0..REPLICAS).map(|_| None).collect(),
            ..Shared::default()
        }),
    });
    for (who, process) in processes.iter().enumerate() {
        let body = replica(Arc::clone(&world), who, process.clone(), rng.fork());
        tokio::spawn(process.run(body));
    }
    tokio::spawn(faults(Arc::clone(&world), processes, rng.fork()));

    // The last faults may last a minute, and the resulting wait for the Lease as long as a lease duration.
    sleep_until(world.faults_until + secs(150.0)).await;
    let leaders = world.leaders();
    sleep(secs(300.0)).await;
    let still = world.leaders();
    let mut shared = world.shared.lock().unwrap();
    if (leaders, still) != (1, 1) && shared.wrong.is_none() {
        shared.wrong = Some(format!(
            "{leaders}, then {still} leaders when the faults had ended"
        ));
    }
    (
        shared.terms,
        std::mem::take(&mut shared.history),
        shared.wrong.take(),
    )
}

fn run(seed: u64, hours: f64) -> (usize, Vec<String>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let (terms, log, wrong) = runtime.block_on(history(seed, hours));
    if let Some(wrong) = wrong {
        let tail = log.len().saturating_sub(60);
        panic!("SEED={seed}: {wrong}\n{}", log[tail..].join("\n"));
    }
    (terms, log)
}

#[test]
fn never_two_terms_at_once_and_in_the_end_one() {
    let hours = 2.0;
    let seed: Option<u64> = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    if let Some(seed) = seed {
        println!("{}", run(seed, hours).1.join("\n"));
        return;
    }
    // Without optimization, a virtual hour takes half a second.
    let usual = if cfg!(debug_assertions) { 20 } else { 200 };
    let histories: u64 = std::env::var("HISTORIES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(usual);
    let half = |odd: u64| {
        (0..histories / 2)
            .map(|n| run(2 * n + odd, hours).0)
            .sum::<usize>()
    };
    let terms = std::thread::scope(|scope| {
        let other = scope.spawn(|| half(1));
        half(0) + other.join().unwrap()
    });
    assert!(
        terms > 20 * usize::try_from(histories).unwrap(),
        "only {terms} terms: the histories are too quiet"
    );
}

#[test]
fn a_seed_replays_its_history() {
    assert!(run(3, 2.0).1 == run(3, 2.0).1, "one seed, two histories");
}
