//! Tells people what a pass found: each problem once when it appears and once when it is gone, each step with its reason.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::lease::Term;
use crate::model::input::request::Snapshot;
use crate::model::plan::types::Action;
use crate::provider::ProviderError;
use crate::reconcile::Pass;
use crate::report::chronicle::Chronicle;
use crate::report::journal;
use crate::report::journal::Journal;
use crate::report::metrics::Metrics;
use crate::report::scribe::Scribe;

/// All that the control loop tells: log, metrics, status and Events.
pub struct Teller {
    metrics: Metrics,
    chronicle: Chronicle,
    /// None: nothing is written into a cluster.
    scribe: Option<Scribe>,
    /// Dry run: the plan's text goes to standard output whenever it changes.
    print: bool,
    last: Mutex<Last>,
}

#[derive(Default)]
struct Last {
    journal: Journal,
    summary: String,
    text: String,
    static_ips: BTreeMap<String, String>,
    secondary_ips: BTreeMap<String, Vec<String>>,
    error: Option<String>,
    /// Whether this term of leadership has made a plan.
    decided: bool,
}

impl Teller {
    pub fn new(metrics: Metrics, print: bool) -> Self {
        Self {
            metrics,
            chronicle: Chronicle::default(),
            scribe: None,
            print,
            last: Mutex::default(),
        }
    }

    /// Hands on to these, too.
    pub fn with(self, chronicle: Chronicle, scribe: Option<Scribe>) -> Self {
        Self {
            chronicle,
            scribe,
            ..self
        }
    }

    /// Writes into the cluster what there is to tell, for as long as the term lasts; for ever after nothing.
    pub async fn write(&self, term: &Term) -> Infallible {
        match &self.scribe {
            Some(scribe) => scribe.write(term, self.chronicle.issues()).await,
            None => std::future::pending().await,
        }
    }

    /// A new term of leadership begins.
    pub fn leads(&self) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Last {
            journal: std::mem::take(&mut last.journal).next_term(),
            ..Last::default()
        };
        drop(last);
        self.chronicle.leads();
    }

    pub fn follows(&self) {
        self.metrics.forget_plan();
        self.chronicle.follows();
    }

    pub fn passed(
        &self,
        result: Result<Pass, ProviderError>,
        snapshot: Snapshot,
        took: Duration,
        next: Duration,
    ) {
        self.tell(&result, took, next);
        self.chronicle.passed(result, snapshot, next);
    }

    fn tell(&self, result: &Result<Pass, ProviderError>, took: Duration, next: Duration) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(pass) => {
                if last.error.take().is_some() {
                    tracing::info!("calls succeed again");
                }
                self.metrics.passed(pass, took);
                last.tell(pass, next, self.print);
                if !std::mem::replace(&mut last.decided, true)
                    && let Some(took) = self.metrics.took_over()
                {
                    tracing::info!(?took, "took over: that was the first decision");
                }
            }
            Err(error) => {
                self.metrics.failed(error.reason, took);
                let text = error.to_string();
                // Not the text itself: a count, a time or the id of a request in it makes no other error.
                let same = Some(journal::skeleton(&text));
                if last.error == same {
                    tracing::debug!(reason = error.reason, retry_in = ?next, "{text}");
                } else {
                    let cause = error
                        .source
                        .as_ref()
                        .map(ToString::to_string)
                        .unwrap_or_default();
                    tracing::error!(reason = error.reason, retry_in = ?next, cause, "{text}");
                    last.error = same;
                }
            }
        }
    }
}

impl Last {
    fn tell(&mut self, pass: &Pass, next: Duration, print: bool) {
        let plan = &pass.plan;
        self.journal.tell(&plan.problems);
        let summary = plan.summary();
        if summary != self.summary {
            let (stack, setback) = (&plan.stack, plan.setback.as_deref().unwrap_or_default());
            let (applied, (tries, _)) = (pass.applied, pass.tried);
            tracing::info!(stack, applied, tries, next_look = ?next, setback, "{summary}");
            let verbose = plan.action.mutates() && !matches!(plan.action, Action::Execute { .. });
            for difference in plan.differences.iter().filter(|_| verbose) {
                tracing::debug!("{difference}");
            }
            self.summary = summary;
        }
        if plan.static_ips != self.static_ips {
            for (zone, ip) in &plan.static_ips {
                tracing::info!(zone, "static IP {ip}");
            }
            self.static_ips.clone_from(&plan.static_ips);
        }
        if plan.secondary_ips != self.secondary_ips {
            for (zone, ips) in &plan.secondary_ips {
                tracing::info!(zone, "secondary IPs {}", ips.join(", "));
            }
            self.secondary_ips.clone_from(&plan.secondary_ips);
        }
        if print {
            let text = plan.to_string();
            if text != self.text {
                println!("{text}");
                self.text = text;
            }
        }
    }
}
