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
use crate::model::persisted::ledger::room::ROOM;
use crate::provider::memory::MemoryProvider;

/// The maximum time from the end of the faults until the history has settled. A Lease lasts for 15 s, or 60 s if it was edited by hand; a
/// failed call is retried after at most 5 minutes, and the third failure of a change is followed by a wait of 90 s.
pub const SETTLED: Duration = Duration::from_secs(900);
/// How long the state must be as requested before it counts as settled. By then calls in flight have arrived, and the grace period of a
/// large removal is over.
const CALM: Duration = Duration::from_secs(80);
/// The maximum number of passes per minute when there is nothing to do. A drift that may still be repaired is observed every five seconds.
const MOST_PASSES: f64 = 20.0;
/// The maximum time between two reads of EC2 for drift, on any clock.
const LOOK: Duration = Duration::from_secs(150);

/// The maximum time until a route that AWS refused is tried again.
const PATIENCE: Duration = Duration::from_secs(2_700);
/// The resync interval of the replicas.
pub const RESYNC: Duration = Duration::from_secs(300);

/// The result of a history.
#[derive(Debug, Default, PartialEq)]
pub struct History {
    pub lines: Vec<String>,
    pub wrong: Option<Violation>,
    pub terms: usize,
    pub calls: usize,
    pub failures: usize,
    /// The time from the end of the faults until the history had settled.
    pub settled_after: Duration,
    /// The duration of the history in simulated time.
    pub lasted: Duration,
}

pub fn run(script: &Script, bug: Bug) -> History {
    // All other randomness comes from the seed, too.
    fastrand::seed(script.seed);
    ROOM.set(script.ledger_room());
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
    if world.shared().wrong.is_some() {
        world.note_problems();
    }
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

/// Returns how long the state must be as requested. A lost zone may have more to repair, which only the next read of EC2 finds.
fn calm_enough(world: &World) -> Duration {
    let calm = CALM.max(secs(20.0) + secs(f64::from(world.flags.grace)));
    // After a failure the next pass starts within the resync interval.
    let failed = world
        .published()
        .is_some_and(|it| it.status.failure.is_some());
    let calm = if failed {
        calm.max(RESYNC + secs(20.0))
    } else {
        calm
    };
    match world.lost().zones.is_empty() {
        true => calm,
        false => calm + LOOK,
    }
}

/// Checks the state after every step until the end of the history, or until an invariant is broken.
async fn play(world: &World, script: &Script) -> Duration {
    let quiet = script.quiet;
    // A repair takes one or two operations, and is tried three times.
    let settled = match script.harms() {
        true => SETTLED + 20 * world.pace,
        false => SETTLED,
    };
    let settled = settled
        + 2 * secs(f64::from(world.flags.grace))
        + (4 + world.changes_of_ips()) * world.pace;
    // Where no other network is requested, two refused ones fail creations of the stack in turn.
    let settled = settled + script.refusals().min(2) * PATIENCE;
    let wrong = || world.shared().wrong.is_some();
    while Instant::now() < world.faults_until && !wrong() {
        step(world, world.faults_until).await;
    }
    world.note("the faults are over");
    let mut after = settle(world, settled, world.faults_until).await;
    world.judge_status();
    if !wrong() && world.account.take_all() {
        world.note("AWS accepts every route again");
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
    // A refused route is tried again after its own wait.
    let is_quiet =
        world.shared().refused.is_empty() && !world.is_retry_due() && !world.may_recover();
    // A table that AWS reported as full takes no list until its wait is over.
    let is_quiet = is_quiet && !(world.may_have_lists() && world.was_any_full());
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
        let text = format!("{passes} passes in {quiet:?} without anything to do");
        world.fail(Invariant::Paced, text);
    }
    after
}

/// Waits until the state has been as requested for a while, which must start `within` this time after `from`. Returns how long it took.
async fn settle(world: &World, within: Duration, from: Instant) -> Duration {
    let wrong = || world.shared().wrong.is_some();
    let mut calm = Instant::now();
    let (mut last, mut calls) = (None, world.shared().calls);
    while !wrong() && calm.elapsed() < calm_enough(world) {
        step(world, Instant::now() + secs(1.0)).await;
        world.delete_stray_stack();
        // The state changes only for one of these reasons.
        let reason = world.reason_to_look();
        let (_, unsettled) = match last.take() {
            Some((at, unsettled)) if at == reason => (at, unsettled),
            _ => (reason, world.unsettled()),
        };
        last = Some((reason, unsettled.clone()));
        let more = world.shared().calls;
        let under_way = (more > calls && !world.lost().zones.is_empty())
            .then(|| "a call was sent for a lost zone".to_owned());
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

/// Waits until the operation under way ends, a second has passed, or `next` has come. Calls and edits are checked when they are made.
pub async fn step(world: &World, next: Instant) {
    let (_, ends) = world.account.stamp();
    let second = next.min(Instant::now() + secs(1.0));
    sleep_until(ends.map_or(second, |ends| ends.min(second))).await;
    world.judge();
    world.harm_again();
    if world.bug == Bug::ShortnessForgotten {
        world.forget_shortness();
    }
    world.judge();
}
