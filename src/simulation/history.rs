//! One history: faults, then time to settle, then a time without calls.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::bugs::Bug;
use super::churn;
use super::director::Director;
use super::invariants::{Invariant, Violation};
use super::late_typo;
use super::replica::{replica, settings};
use super::script::{REPLICAS, Script};
use super::world::World;
use crate::lease::tests::process::Process;
use crate::lease::tests::secs;
use crate::provider::memory::MemoryProvider;

/// A Lease lasts for a quarter of a minute, or a minute if it was edited by hand; a failed call is repeated after five minutes
/// at most, and the third failure of the same change is waited out for a minute and a half.
pub const SETTLED: Duration = Duration::from_secs(900);
/// How long all must have been as asked for before it counts as settled: what was on its way by then has landed, and the grace
/// period of a large removal, which is no change yet, is over.
const CALM: Duration = Duration::from_secs(80);
/// Passes a minute when nothing is to be done: what may still be repaired is looked at every five seconds.
const MOST_PASSES: f64 = 20.0;
/// A look for drift comes in this time, by any clock.
const LOOK: Duration = Duration::from_secs(150);

/// A route that AWS refused is tried again in this time.
const PATIENCE: Duration = Duration::from_secs(2_700);

/// The result of a history.
#[derive(Debug, Default, PartialEq)]
pub struct History {
    pub lines: Vec<String>,
    pub wrong: Option<Violation>,
    pub terms: usize,
    pub calls: usize,
    pub failures: usize,
    /// From the end of the faults until all was as asked for.
    pub settled_after: Duration,
    /// How long the history was in its own time.
    pub lasted: Duration,
}

pub fn run(script: &Script, bug: Bug) -> History {
    // What nobody else draws comes from the seed as well.
    fastrand::seed(script.seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(history(script, bug))
}

async fn history(script: &Script, bug: Bug) -> History {
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
    History {
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
    let patience = if script.refuses() {
        PATIENCE
    } else {
        Duration::ZERO
    };
    let settled = settled + patience;
    let wrong = || world.shared().wrong.is_some();
    while Instant::now() < world.faults_until && !wrong() {
        step(world, world.faults_until).await;
    }
    world.note("the faults are over");
    let mut after = settle(world, settled, world.faults_until).await;
    world.judge_status();
    if !wrong() && world.account.take_all() {
        world.note("AWS takes every route again");
        settle(world, PATIENCE + settled, Instant::now()).await;
    }
    if let Some(value) = script.late_typo().filter(|_| !wrong()) {
        late_typo::make(world, value);
        settle(world, settled, Instant::now()).await;
        world.judge_status();
    }
    if let Some((habit, gap)) = script.churn().filter(|_| !wrong()) {
        churn::play(world, habit, gap).await;
        after = after.max(settle(world, settled, Instant::now()).await);
    }
    // What was refused is tried again in its own time.
    let is_quiet =
        world.shared().refused.is_empty() && !world.is_retry_due() && !world.may_recover();
    if let Some(what) = world.another_ip().filter(|_| !wrong()) {
        world.fail(Invariant::StaticIpsStay, what);
    }
    if is_quiet && !wrong() {
        world.be_quiet();
    }
    let (end, passes) = (Instant::now() + quiet, world.shared().passes);
    while !wrong() && Instant::now() < end {
        step(world, end).await;
    }
    if let Some(what) = world.unsettled().filter(|_| is_quiet && !wrong()) {
        world.fail(
            Invariant::StaysQuiet,
            format!("after {quiet:?} of quiet {what}"),
        );
    }
    let passes = world.shared().passes - passes;
    if !wrong() && passes as f64 > MOST_PASSES * quiet.as_secs_f64() / 60.0 {
        let text = format!("{passes} passes in {quiet:?} in which nothing was to be done");
        world.fail(Invariant::Paced, text);
    }
    after
}

/// Waits until all has been as asked for, for a while, which comes `within` a time `from` some moment: how long it took.
async fn settle(world: &World, within: Duration, from: Instant) -> Duration {
    let wrong = || world.shared().wrong.is_some();
    let mut calm = Instant::now();
    let (mut last, mut calls) = (None, world.shared().calls);
    while !wrong() && calm.elapsed() < calm_enough(world) {
        step(world, Instant::now() + secs(1.0)).await;
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
            if calm > from + within {
                let text = format!("after {within:?} without faults {what}");
                world.fail(Invariant::Settles, text);
            }
        }
    }
    calm - from
}

/// Until the operation under way ends, a second has passed or `next` has come: calls and edits are looked at when they are made.
pub async fn step(world: &World, next: Instant) {
    let (_, ends) = world.account.stamp();
    let second = next.min(Instant::now() + secs(1.0));
    sleep_until(ends.map_or(second, |ends| ends.min(second))).await;
    world.judge();
    world.harm_again();
    world.judge();
}
