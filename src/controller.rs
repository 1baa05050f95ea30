//! The loop: campaign, lead, and while leading one pass after the other. It decides when, never what.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use crate::lease::election::Election;
use crate::lease::term::Term;
use crate::model::desired::Settings;
use crate::model::request::Snapshot;
use crate::model::schedule::{Outcome, Schedule};
use crate::provider::{Provider, ProviderError, Retry};
use crate::reconcile::{self, Frame, Pass};
use crate::report::pulse::Pulse;
use crate::report::teller::Teller;
use crate::retry::Backoff;
use crate::source::Source;

/// Failures of passes: the first is retried after about a second.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// What the controller was told at its start.
#[derive(Clone, Debug)]
pub struct Conduct {
    pub settings: Settings,
    pub empty_grace_period: Duration,
    pub resync_interval: Duration,
    pub dry_run: bool,
}

pub struct Controller<P, E> {
    provider: P,
    election: E,
    source: Source,
    conduct: Conduct,
    teller: Teller,
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
        teller: Teller,
        pulse: Pulse,
    ) -> Self {
        Self {
            provider,
            election,
            source,
            conduct,
            teller,
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
            self.teller.leads(term.epoch());
            let end = self.lead(&term, stop.as_mut()).await;
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
        let mut source = self.source.start();
        let mut reign = Reign::new(&self.conduct);
        loop {
            tokio::select! {
                biased;
                () = &mut stop => return End::Stopped,
                () = term.ended() => return End::Lost,
                () = source.changed(), if !reign.throttled => {}
                () = tokio::time::sleep_until(reign.next) => {}
            }
            let Some(snapshot) = source.snapshot() else {
                reign.next = Instant::now() + FIRST_RETRY;
                continue;
            };
            let _busy = self.pulse.busy();
            // Dropping a pass drops the call in flight: nothing of it is polled once the term is over.
            tokio::select! {
                biased;
                () = &mut stop => return End::Stopped,
                () = term.ended() => return End::Lost,
                () = reign.pass(&self.provider, term, &snapshot, &self.conduct, &self.teller) => {}
            }
        }
    }
}

/// What a leader remembers from pass to pass: only patience, nothing that a successor would miss.
struct Reign {
    began: Instant,
    next: Instant,
    schedule: Schedule,
    failures: Backoff,
    /// AWS asks for fewer calls: changes wait for the next look.
    throttled: bool,
    /// Since when nobody has asked for anything.
    empty_since: Option<Instant>,
}

impl Reign {
    fn new(conduct: &Conduct) -> Self {
        let now = Instant::now();
        Self {
            began: now,
            next: now,
            schedule: Schedule::new(conduct.resync_interval),
            failures: Backoff::new(FIRST_RETRY, conduct.resync_interval),
            throttled: false,
            empty_since: None,
        }
    }

    async fn pass<P: Provider>(
        &mut self,
        provider: &P,
        term: &Term,
        snapshot: &Snapshot,
        conduct: &Conduct,
        teller: &Teller,
    ) {
        let started = Instant::now();
        self.empty_since = snapshot
            .is_truly_empty()
            .then(|| self.empty_since.unwrap_or(started));
        let grace = conduct.empty_grace_period;
        let frame = Frame {
            snapshot,
            settings: &conduct.settings,
            grace_left: self
                .empty_since
                .map_or(grace, |since| grace.saturating_sub(started - since)),
            dry_run: conduct.dry_run,
            now: started - self.began,
            jitter: fastrand::f64(),
        };
        let result = reconcile::pass(provider, term, &mut self.schedule, &frame).await;
        let wait = self.wait(&result);
        self.next = Instant::now() + wait;
        teller.passed(&result, started.elapsed(), wait);
    }

    fn wait(&mut self, result: &Result<Pass, ProviderError>) -> Duration {
        let (outcome, slow) = match result {
            Ok(pass) => (pass.outcome, false),
            Err(error) => (Outcome::Failed, error.retry == Retry::Slowly),
        };
        self.throttled = slow;
        match self.schedule.next(outcome, self.began.elapsed()) {
            Some(wait) => {
                self.failures.reset();
                wait
            }
            None if slow => self.failures.slow(),
            None => self.failures.next(),
        }
    }
}

#[cfg(test)]
#[path = "controller_tests.rs"]
mod tests;
