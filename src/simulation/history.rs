//! One history: faults, then peace, then quiet.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::bugs::Bug;
use super::director::Director;
use super::laws::{Law, Wrong};
use super::replica::{replica, settings};
use super::script::{REPLICAS, Script};
use super::world::World;
use crate::lease::tests::process::Process;
use crate::lease::tests::secs;
use crate::provider::memory::MemoryProvider;

/// A Lease lasts for a quarter of a minute, or for one if somebody wrote that into it, a failed call is repeated after five minutes
/// at most, and the third failure of the same change is waited out for a minute and a half.
pub const SETTLED: Duration = Duration::from_secs(900);
/// How long all must have been as asked for before it counts as settled: what was on its way by then has landed, and the grace
/// period of a large removal, which is no change yet, is over.
const CALM: Duration = Duration::from_secs(80);
/// A look for drift comes in this time, by any clock.
const LOOK: Duration = Duration::from_secs(150);

/// A route that AWS refused is tried again in this time.
const PATIENCE: Duration = Duration::from_secs(2_700);

/// What there is to tell about a history.
#[derive(Debug, Default, PartialEq)]
pub struct Story {
    pub lines: Vec<String>,
    pub wrong: Option<Wrong>,
    pub terms: usize,
    pub calls: usize,
    pub failures: usize,
    /// From the end of the faults until all was as asked for.
    pub settled_after: Duration,
    /// How long the history was in its own time.
    pub lasted: Duration,
}

pub fn run(script: &Script, bug: Bug) -> Story {
    // What nobody else draws comes from the seed as well.
    fastrand::seed(script.seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(history(script, bug))
}

async fn history(script: &Script, bug: Bug) -> Story {
    let account = MemoryProvider::new(MemoryProvider::network_for(&settings().zones));
    let world = Arc::new(World::new(bug, account, script));
    let mut director = Director {
        world: Arc::clone(&world),
        processes: Vec::new(),
        orders: Vec::new(),
    };
    let mut luck = Rng::with_seed(script.seed.wrapping_mul(3));
    for who in 0..REPLICAS {
        let rate = match (bug, who) {
            (Bug::ClocksApart, 0) => 0.95,
            (Bug::ClocksApart, _) => 1.05,
            _ => script.clock_of(who).0,
        };
        let process = Process::on(rate, Some(luck.u64(..)));
        let (sender, receiver) = mpsc::channel(1);
        let life = replica(
            Arc::clone(&world),
            who,
            process.clone(),
            receiver,
            luck.fork(),
        );
        if script.has(who) {
            tokio::spawn(life);
        }
        director.processes.push(process);
        director.orders.push(sender);
    }
    let kept = director.orders.clone();
    tokio::spawn(director.direct(script.clone()));
    let settled_after = play(&world, script).await;
    drop(kept);
    let mut shared = world.shared();
    Story {
        lines: std::mem::take(&mut shared.history),
        wrong: shared.wrong.take(),
        terms: shared.terms,
        calls: shared.calls,
        failures: shared.failures,
        settled_after,
        lasted: world.start.elapsed(),
    }
}

/// In a zone that is lost there may be more to repair, which the next look for drift finds: it asks for nothing, and is no loss.
fn calm_enough(world: &World) -> Duration {
    let calm = CALM.max(secs(20.0) + secs(f64::from(world.flags.grace)));
    match world.lost().zones.is_empty() {
        true => calm,
        false => calm + LOOK,
    }
}

/// Looks at the world after every step until its end, or until something is wrong.
async fn play(world: &World, script: &Script) -> Duration {
    let quiet = script.quiet;
    // Repairs take an operation, or two, and are tried three times.
    let settled = match script.harms() {
        true => SETTLED + 20 * world.pace,
        false => SETTLED,
    };
    let settled = settled + 2 * secs(f64::from(world.flags.grace)) + 4 * world.pace;
    let settled = settled
        + if script.refuses() {
            PATIENCE
        } else {
            Duration::ZERO
        };
    let wrong = || world.shared().wrong.is_some();
    while Instant::now() < world.faults_until && !wrong() {
        step(world).await;
    }
    world.note("the faults are over");
    let mut calm = Instant::now();
    let (mut last, mut calls) = (None, world.shared().calls);
    while !wrong() && calm.elapsed() < calm_enough(world) {
        step(world).await;
        // Nothing has changed without a reason.
        let reason = world.reason_to_look();
        let (_, unsettled) = match last.take() {
            Some((at, unsettled)) if at == reason => (at, unsettled),
            _ => (reason, world.unsettled()),
        };
        last = Some((reason, unsettled.clone()));
        let more = world.shared().calls;
        let under_way = (more > calls && !world.lost().zones.is_empty())
            .then(|| "something is sent for a zone that is lost".to_owned());
        calls = more;
        if let Some(what) = unsettled.or(under_way) {
            calm = Instant::now();
            if calm > world.faults_until + settled {
                let text = format!("{settled:?} after the faults {what}");
                world.fail(Law::Settles, text);
            }
        }
    }
    let after = calm - world.faults_until;
    if !wrong() && world.account.take_all() {
        settle_refused(world, settled).await;
    }
    // What was refused is tried again in its own time.
    if !wrong() && world.shared().refused.is_empty() {
        world.be_quiet();
    }
    let end = Instant::now() + quiet;
    while !wrong() && Instant::now() < end {
        step(world).await;
    }
    let is_quiet = world.shared().refused.is_empty();
    if let Some(what) = world.unsettled().filter(|_| is_quiet && !wrong()) {
        world.fail(Law::StaysQuiet, format!("after {quiet:?} of quiet {what}"));
    }
    after
}

/// What AWS has refused until now is served as well once its patience is over.
async fn settle_refused(world: &World, settled: Duration) {
    world.note("AWS takes every route again");
    let wrong = || world.shared().wrong.is_some();
    let (since, mut calm) = (Instant::now(), Instant::now());
    while !wrong() && calm.elapsed() < CALM {
        step(world).await;
        if let Some(what) = world.unsettled() {
            calm = Instant::now();
            if since.elapsed() > PATIENCE + settled {
                let text = format!("long after AWS takes every route again {what}");
                world.fail(Law::Settles, text);
            }
        }
    }
}

/// Until the operation under way ends, or a second has passed: calls and edits are looked at when they are made.
async fn step(world: &World) {
    let (_, ends) = world.account.stamp();
    let second = Instant::now() + secs(1.0);
    sleep_until(ends.map_or(second, |ends| ends.min(second))).await;
    world.judge();
    world.harm_again();
    world.judge();
}
