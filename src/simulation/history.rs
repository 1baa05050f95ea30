//! One history: faults, then peace, then quiet.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::bugs::Bug;
use super::faults;
use super::replica::{replica, settings};
use super::world::{REPLICAS, World};
use crate::lease::tests::process::Process;
use crate::lease::tests::secs;
use crate::provider::memory::MemoryProvider;

const FAULTS: Duration = Duration::from_secs(1_200);
/// The last freeze may last a minute, a Lease a quarter of one, a failed call is repeated after five minutes at most, and the
/// third failure of the same change is waited out for a minute and a half.
pub const SETTLED: Duration = Duration::from_secs(900);
const QUIET: Duration = Duration::from_secs(3_600);
/// For bugs that do not show in quiet times: half the work of a history is an hour of renewals.
const SHORT_QUIET: Duration = Duration::from_secs(60);

/// What there is to tell about a history.
#[derive(Debug, Default, PartialEq)]
pub struct Story {
    pub lines: Vec<String>,
    pub wrong: Option<String>,
    pub terms: usize,
    pub calls: usize,
    pub failures: usize,
    /// From the end of the faults until all was as asked for.
    pub settled_after: Duration,
}

pub fn run(seed: u64, bug: Bug) -> Story {
    // What the controller leaves to chance comes from the seed as well.
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(history(bug))
}

async fn history(bug: Bug) -> Story {
    let account = MemoryProvider::new(MemoryProvider::network_for(&settings().zones));
    let pace = secs([1.5, 6.0, 30.0, 90.0][fastrand::usize(0..4)]);
    let world = Arc::new(World::new(bug, account, FAULTS, pace));
    let (mut processes, mut orders) = (Vec::new(), Vec::new());
    for who in 0..REPLICAS {
        let process = Process::new();
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(replica(Arc::clone(&world), who, process.clone(), receiver));
        processes.push(process);
        orders.push(sender);
    }
    let kept = orders.clone();
    tokio::spawn(faults::processes(Arc::clone(&world), processes, orders));
    tokio::spawn(faults::edits(Arc::clone(&world)));
    let settled_after = play(&world).await;
    drop(kept);
    let mut shared = world.shared();
    Story {
        lines: std::mem::take(&mut shared.history),
        wrong: shared.wrong.take(),
        terms: shared.terms,
        calls: shared.calls,
        failures: shared.failures,
        settled_after,
    }
}

/// Looks at the world after every step until its end, or until something is wrong.
async fn play(world: &World) -> Duration {
    let wrong = || world.shared().wrong.is_some();
    while world.faulty() && !wrong() {
        sleep(secs(0.5)).await;
        world.judge();
    }
    world.note("the faults are over");
    // The last edits are made within this time.
    let mut calm = Instant::now();
    while !wrong() && calm.elapsed() < secs(200.0) {
        sleep(secs(0.5)).await;
        world.judge();
        if world.unsettled().is_some() {
            calm = Instant::now();
        }
        if let Some(what) = world
            .unsettled()
            .filter(|_| Instant::now() > world.faults_until + SETTLED)
        {
            world.fail(format!("{SETTLED:?} after the faults {what}"));
        }
    }
    let after = calm - world.faults_until;
    if !wrong() {
        world.be_quiet();
    }
    let long = matches!(world.bug, Bug::None | Bug::NeverContent);
    let end = Instant::now() + if long { QUIET } else { SHORT_QUIET };
    while !wrong() && Instant::now() < end {
        sleep(secs(10.0)).await;
        world.judge();
    }
    if let Some(what) = world.unsettled().filter(|_| !wrong()) {
        world.fail(format!("after a quiet hour {what}"));
    }
    after
}
