//! The control loop: campaign, lead, and run one pass after the other while leading. It decides when to run a pass, never what to do.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tracing::{Instrument as _, Span};

use crate::clock::Instant;
use crate::cluster::Cluster;
use crate::lease::election::Election;
use crate::lease::term::Term;
use crate::ledger_store::LedgerStore;
use crate::model::base::settings::Settings;
use crate::model::drift::tracker::Watch;
use crate::model::input::request::Snapshot;
use crate::model::persisted::grace::Grace;
use crate::model::schedule::{Outcome, Schedule};
use crate::provider::{Provider, ProviderError, Retry};
use crate::reconcile::{LeaderState, Pass, PassInput};
use crate::report::liveness::Liveness;
use crate::report::reporter::Reporter;
use crate::retry::Backoff;
use crate::source::{Source, Watching};
use crate::{clock, reconcile, spans};

/// The first wait after a pass that failed.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The minimum time between two passes that source changes start. The first pass after a quiet time starts immediately.
const PACE: Duration = Duration::from_secs(1);
/// The same minimum during a stream of edits, because AWS throttles the calls of an account.
const STREAM_PACE: Duration = Duration::from_secs(3);
/// Edits form a stream after this many passes in a row for which an edit had to wait.
const STREAM: u32 = 5;
/// The maximum delay of a pass after the edit was allowed to start it, if the edit had to wait. A busy machine starts passes late.
const WAITED: Duration = Duration::from_millis(500);
/// The number of passes at the start of a term without the minimum time, because sources are listed one after the other.
const FIRST_PASSES: u32 = 8;

/// The configuration of the controller.
#[derive(Clone, Debug)]
pub struct ControllerConfig {
    pub settings: Settings,
    pub empty_grace_period: Duration,
    pub resync_interval: Duration,
    /// The interval of drift detection in EC2; None if it is off.
    pub drift_interval: Option<Duration>,
    pub dry_run: bool,
    /// The cluster that the stack belongs to.
    pub cluster: Cluster,
}

impl ControllerConfig {
    /// Returns a schedule without any attempts.
    fn schedule(&self) -> Schedule {
        Schedule::new(self.resync_interval, Watch::new(self.drift_interval))
    }
}

pub struct Controller<P, E> {
    provider: P,
    election: E,
    source: Source,
    config: ControllerConfig,
    memory: LeaderState,
    reporter: Arc<Reporter>,
    liveness: Liveness,
}

/// Why a term of leadership ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Stopped,
    Lost,
}

impl<P: Provider, E: Election> Controller<P, E> {
    pub fn new(
        provider: P,
        election: E,
        source: Source,
        config: ControllerConfig,
        ledger: LedgerStore,
        reporter: Reporter,
        liveness: Liveness,
    ) -> Self {
        let memory = LeaderState {
            schedule: config.schedule(),
            grace: Grace::new(config.empty_grace_period),
            ledger,
            cluster: config.cluster.clone(),
            rules: None,
        };
        Self {
            provider,
            election,
            source,
            config,
            memory,
            reporter: Arc::new(reporter),
            liveness,
        }
    }

    /// Runs until `stop` resolves. Leads whenever possible, and releases the Lease at the end.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        loop {
            let term = tokio::select! {
                biased;
                () = &mut stop => return,
                term = self.election.campaign() => term,
            };
            self.reporter.begin_term();
            let reporter = Arc::clone(&self.reporter);
            let end = tokio::select! {
                biased;
                end = self.lead(&term, stop.as_mut()) => end,
                // Runs beside the passes, so that a slow API server does not delay a pass.
                never = reporter.write(&term) => match never {},
            };
            self.reporter.end_term();
            match end {
                End::Stopped => return self.election.release(term).await,
                End::Lost => drop(term),
            }
        }
    }

    /// Leads for as long as the term lasts. Only a leader reads the sources, so a follower makes no requests for them.
    async fn lead(
        &mut self,
        term: &Term,
        mut stop: std::pin::Pin<&mut impl Future<Output = ()>>,
    ) -> End {
        let mut watching = self.source.start();
        let mut leading = LeaderTerm::new(&self.config, &mut self.memory, term);
        loop {
            tokio::select! {
                biased;
                () = &mut stop => return End::Stopped,
                () = term.ended() => return End::Lost,
                () = changed(&mut watching, leading.wakes_from) => leading.woken = true,
                () = clock::sleep_until(leading.next) => leading.woken = false,
            }
            let Some(snapshot) = watching.snapshot() else {
                leading.next = clock::now() + FIRST_RETRY;
                continue;
            };
            leading.reading = None;
            let _busy = self.liveness.busy();
            // When the term ends, the pass is dropped together with its call in flight, and is never polled again.
            tokio::select! {
                biased;
                () = &mut stop => return End::Stopped,
                () = term.ended() => return End::Lost,
                () = leading.pass(&self.provider, term, (snapshot, &self.source), &self.config, &self.reporter) => {}
            }
        }
    }
}

/// Resolves when a source has changed, but not before `earliest`. Earlier changes are not lost. Cancel safe.
async fn changed(source: &mut Watching, earliest: Instant) {
    clock::sleep_until(earliest).await;
    source.changed().await;
}

/// The state of one term of leadership, from pass to pass.
///
/// A user who may edit a ConfigMap can cause a pass with each edit. So such passes are rate limited. While an operation runs, or after
/// a failed call, edits wait for the next poll or retry. A plan that was refused is computed again when its input changes, and keeps
/// its backoff.
struct LeaderTerm<'a> {
    began: Instant,
    /// The start of the term as time since 1970.
    wall: Duration,
    next: Instant,
    /// The time of the next pass if the ledger did not have to be written earlier.
    due: Instant,
    /// The earliest time at which a source change starts a pass: never before the end of the last pass.
    wakes_from: Instant,
    /// Whether a change of a source started this pass.
    woken: bool,
    /// The number of passes in a row for which an edit had to wait.
    stream: u32,
    passes: u32,
    failures: Backoff,
    /// Whether the last pass ended with a refusal.
    refused: bool,
    memory: &'a mut LeaderState,
    /// The span of the takeover, until the first decision.
    takeover: Option<Span>,
    /// The span of the first read of the sources.
    reading: Option<Span>,
}

impl<'a> LeaderTerm<'a> {
    /// Starts a term. State from an earlier term of this replica may be outdated, so it is read from the ledger.
    fn new(config: &ControllerConfig, memory: &'a mut LeaderState, term: &Term) -> Self {
        let takeover = spans::takeover(term.epoch());
        let now = clock::now();
        memory.schedule = config.schedule();
        memory.grace = Grace::new(config.empty_grace_period);
        memory.rules = None;
        Self {
            began: now,
            wall: memory.ledger.begin_term(),
            next: now,
            due: now,
            wakes_from: now,
            woken: false,
            stream: 0,
            passes: 0,
            failures: Backoff::new(FIRST_RETRY, config.resync_interval),
            refused: false,
            memory,
            reading: Some(spans::step_of(&takeover, "read sources")),
            takeover: Some(takeover),
        }
    }

    async fn pass<P: Provider>(
        &mut self,
        provider: &P,
        term: &Term,
        (snapshot, source): (Snapshot, &Source),
        config: &ControllerConfig,
        reporter: &Reporter,
    ) {
        let started = clock::now();
        let input = PassInput {
            snapshot: &snapshot,
            source,
            settings: &config.settings,
            dry_run: config.dry_run,
            began: self.wall,
            now: started - self.began,
            jitter: fastrand::f64(),
        };
        let span = spans::pass(term.epoch());
        let pass = reconcile::pass(provider, term, self.memory, &input);
        let result = pass.instrument(span.clone()).await;
        record(&span, &result);
        drop(span);
        if result.is_ok() {
            self.takeover = None;
        }
        let wait = self.wait(&result);
        self.next = clock::now() + wait;
        let wakes_from = self.wakes_from(&result, &snapshot, started);
        self.wakes_from = wakes_from.max(clock::now());
        reporter.record_pass(result, snapshot, clock::since(started), wait);
    }

    fn wait(&mut self, result: &Result<Pass, ProviderError>) -> Duration {
        let (outcome, slow) = match result {
            Ok(pass) => (pass.outcome, false),
            Err(error) => (Outcome::Failed, error.retry == Retry::Slowly),
        };
        let refused = result.is_ok() && outcome == Outcome::Failed;
        let left = self.due.saturating_duration_since(clock::now());
        let early = self.woken || !left.is_zero();
        let again = std::mem::replace(&mut self.refused, refused) && refused && early;
        let wait = match self.memory.schedule.next(outcome, clock::since(self.began)) {
            Some(wait) => {
                self.failures.reset();
                wait
            }
            None if again => left.max(FIRST_RETRY),
            None if slow => self.failures.slow(),
            None => self.failures.next(),
        };
        self.due = clock::now() + wait;
        // A pass that failed has no ledger to write.
        let owes = result.as_ref().ok().and(self.memory.ledger.flush_due());
        owes.map_or(wait, |owes| wait.min(owes.max(PACE)))
    }

    /// Returns the earliest time at which a source change starts the next pass, after a pass with this start and result.
    fn wakes_from(
        &mut self,
        result: &Result<Pass, ProviderError>,
        snapshot: &Snapshot,
        started: Instant,
    ) -> Instant {
        self.passes = self.passes.saturating_add(1);
        if self.woken {
            let waited = started.saturating_duration_since(self.wakes_from) < WAITED;
            self.stream = match waited {
                true => (self.stream + 1).min(2 * STREAM),
                false => self.stream / 2,
            };
        }
        let pace = if self.stream < STREAM {
            PACE
        } else {
            STREAM_PACE
        };
        match result.as_ref().map(|pass| pass.outcome) {
            Err(_) | Ok(Outcome::Started | Outcome::UnderWay) => self.next,
            Ok(_) if self.passes <= FIRST_PASSES && !snapshot.missing.is_empty() => started,
            Ok(_) if self.woken => started + pace,
            Ok(_) => self.wakes_from.min(started + pace),
        }
    }
}

/// Records the result of a pass in its span.
fn record(span: &Span, result: &Result<Pass, ProviderError>) {
    match result {
        Ok(pass) => {
            span.record("egress.action", pass.plan.action.name());
            span.record("egress.outcome", pass.outcome_name());
            let problems = spans::number(pass.plan.problems.len());
            span.record("egress.problems", problems);
        }
        Err(error) => spans::failed(span, error.reason),
    }
}

#[cfg(test)]
#[path = "controller_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "controller_ledger_tests.rs"]
mod ledger_tests;

#[cfg(test)]
#[path = "controller_pace_tests.rs"]
mod pace_tests;

#[cfg(test)]
#[path = "controller_idle_tests.rs"]
mod idle_tests;
