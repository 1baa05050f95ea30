//! The loop: campaign, lead, and while leading one pass after the other. It decides when, never what.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tracing::{Instrument as _, Span};

use crate::clock::Instant;
use crate::cluster::Cluster;
use crate::lease::election::Election;
use crate::lease::term::Term;
use crate::ledger::Book;
use crate::model::base::settings::Settings;
use crate::model::drift::tracker::Watch;
use crate::model::input::request::Snapshot;
use crate::model::persisted::grace::Grace;
use crate::model::schedule::{Outcome, Schedule};
use crate::provider::{Provider, ProviderError, Retry};
use crate::reconcile::{Frame, Memory, Pass};
use crate::report::pulse::Pulse;
use crate::report::teller::Teller;
use crate::retry::Backoff;
use crate::source::{Source, Watching};
use crate::{clock, reconcile, spans};

/// Failures of passes: the first is retried after about a second.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// From one pass that a source has asked for to the next one. The first after a quiet time is made at once.
const PACE: Duration = Duration::from_secs(1);
/// Passes of a term that need not keep that pace: sources are listed one after the other.
const FIRST_PASSES: u32 = 8;

/// What the controller was told at its start.
#[derive(Clone, Debug)]
pub struct Conduct {
    pub settings: Settings,
    pub empty_grace_period: Duration,
    pub resync_interval: Duration,
    /// How often EC2 is looked at for drift; None: never.
    pub drift_interval: Option<Duration>,
    pub dry_run: bool,
    /// The cluster that the stack belongs to.
    pub cluster: Cluster,
}

impl Conduct {
    /// One that has tried nothing yet.
    fn schedule(&self) -> Schedule {
        Schedule::new(self.resync_interval, Watch::new(self.drift_interval))
    }
}

pub struct Controller<P, E> {
    provider: P,
    election: E,
    source: Source,
    conduct: Conduct,
    memory: Memory,
    teller: Arc<Teller>,
    pulse: Pulse,
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
        conduct: Conduct,
        book: Book,
        teller: Teller,
        pulse: Pulse,
    ) -> Self {
        let memory = Memory {
            schedule: conduct.schedule(),
            grace: Grace::new(conduct.empty_grace_period),
            book,
            cluster: conduct.cluster.clone(),
        };
        Self {
            provider,
            election,
            source,
            conduct,
            memory,
            teller: Arc::new(teller),
            pulse,
        }
    }

    /// Runs until `stop` resolves: leads whenever it can, and gives the Lease up at the end.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        loop {
            let term = tokio::select! {
                biased;
                () = &mut stop => return,
                term = self.election.campaign() => term,
            };
            self.teller.leads();
            let teller = Arc::clone(&self.teller);
            let end = tokio::select! {
                biased;
                end = self.lead(&term, stop.as_mut()) => end,
                // Beside the passes, so that a slow API server holds up none of them.
                never = teller.write(&term) => match never {},
            };
            self.teller.follows();
            match end {
                End::Stopped => return self.election.release(term).await,
                End::Lost => drop(term),
            }
        }
    }

    /// Leads for as long as the term lasts. Sources are read only here, so a follower costs nothing.
    async fn lead(
        &mut self,
        term: &Term,
        mut stop: std::pin::Pin<&mut impl Future<Output = ()>>,
    ) -> End {
        let mut watching = self.source.start();
        let mut reign = Reign::new(&self.conduct, &mut self.memory, term);
        loop {
            tokio::select! {
                biased;
                () = &mut stop => return End::Stopped,
                () = term.ended() => return End::Lost,
                () = changed(&mut watching, reign.heeds) => reign.woken = true,
                () = clock::sleep_until(reign.next) => reign.woken = false,
            }
            let Some(snapshot) = watching.snapshot() else {
                reign.next = clock::now() + FIRST_RETRY;
                continue;
            };
            reign.reading = None;
            let _busy = self.pulse.busy();
            // Dropping a pass drops the call in flight: nothing of it is polled once the term is over.
            tokio::select! {
                biased;
                () = &mut stop => return End::Stopped,
                () = term.ended() => return End::Lost,
                () = reign.pass(&self.provider, term, (snapshot, &self.source), &self.conduct, &self.teller) => {}
            }
        }
    }
}

/// Resolves when a source has changed, at this moment at the earliest. What changes before that is not lost. Cancel safe.
async fn changed(source: &mut Watching, earliest: Instant) {
    clock::sleep_until(earliest).await;
    source.changed().await;
}

/// One term, from pass to pass.
///
/// Whoever may edit a ConfigMap can wake a pass as often as they like. So passes that are woken have a pace of their own; while an
/// operation runs there is nothing to be done but to wait for its end, and a call that failed is repeated by its backoff: until
/// then a change is remembered. A plan that was refused is made anew when its input changes, and keeps its backoff.
struct Reign<'a> {
    began: Instant,
    /// The same since 1970.
    wall: Duration,
    next: Instant,
    /// From when on a change of a source wakes a pass.
    heeds: Instant,
    /// Whether a change of a source has woken this pass.
    woken: bool,
    passes: u32,
    failures: Backoff,
    /// Whether the last pass ended with a refusal.
    refused: bool,
    memory: &'a mut Memory,
    /// Until the first decision.
    takeover: Option<Span>,
    /// Until the sources have been read for the first time.
    reading: Option<Span>,
}

impl<'a> Reign<'a> {
    /// What an earlier term of this replica knew may be old: it is taken from the ledger, like another's.
    fn new(conduct: &Conduct, memory: &'a mut Memory, term: &Term) -> Self {
        let takeover = spans::takeover(term.epoch());
        let now = clock::now();
        memory.schedule = conduct.schedule();
        memory.grace = Grace::new(conduct.empty_grace_period);
        Self {
            began: now,
            wall: memory.book.open(),
            next: now,
            heeds: now,
            woken: false,
            passes: 0,
            failures: Backoff::new(FIRST_RETRY, conduct.resync_interval),
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
        conduct: &Conduct,
        teller: &Teller,
    ) {
        let started = clock::now();
        let frame = Frame {
            snapshot: &snapshot,
            source,
            settings: &conduct.settings,
            dry_run: conduct.dry_run,
            began: self.wall,
            now: started - self.began,
            jitter: fastrand::f64(),
        };
        let span = spans::pass(term.epoch());
        let pass = reconcile::pass(provider, term, self.memory, &frame);
        let result = pass.instrument(span.clone()).await;
        tell(&span, &result);
        drop(span);
        if result.is_ok() {
            self.takeover = None;
        }
        let wait = self.wait(&result);
        self.next = clock::now() + wait;
        self.heeds = self.heeds(&result, &snapshot, started);
        teller.passed(result, snapshot, clock::since(started), wait);
    }

    fn wait(&mut self, result: &Result<Pass, ProviderError>) -> Duration {
        let (outcome, slow) = match result {
            Ok(pass) => (pass.outcome, false),
            Err(error) => (Outcome::Failed, error.retry == Retry::Slowly),
        };
        let refused = result.is_ok() && outcome == Outcome::Failed;
        let again = std::mem::replace(&mut self.refused, refused) && refused && self.woken;
        match self.memory.schedule.next(outcome, clock::since(self.began)) {
            Some(wait) => {
                self.failures.reset();
                let owes = self.memory.book.owes();
                owes.map_or(wait, |owes| wait.min(owes.max(PACE)))
            }
            None if again => {
                let left = self.next.saturating_duration_since(clock::now());
                left.max(FIRST_RETRY)
            }
            None if slow => self.failures.slow(),
            None => self.failures.next(),
        }
    }

    /// From when on a change of a source wakes the next pass, after one that `started` then and ended so.
    fn heeds(
        &mut self,
        result: &Result<Pass, ProviderError>,
        snapshot: &Snapshot,
        started: Instant,
    ) -> Instant {
        self.passes = self.passes.saturating_add(1);
        match result.as_ref().map(|pass| pass.outcome) {
            Err(_) | Ok(Outcome::Started | Outcome::UnderWay) => self.next,
            Ok(_) if self.passes <= FIRST_PASSES && !snapshot.missing.is_empty() => started,
            Ok(_) if self.woken => started + PACE,
            Ok(_) => self.heeds.min(started + PACE),
        }
    }
}

/// What the span of a pass says about it.
fn tell(span: &Span, result: &Result<Pass, ProviderError>) {
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
#[path = "controller_pace_tests.rs"]
mod pace_tests;
