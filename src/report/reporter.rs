//! Reports the result of each pass to log, metrics and status. A problem is logged when it appears and when it is resolved, and each
//! step is logged with its reason.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::lease::Term;
use crate::model::input::request::Snapshot;
use crate::model::plan::types::Action;
use crate::provider::ProviderError;
use crate::reconcile::Pass;
use crate::report::cluster_writer::ClusterWriter;
use crate::report::metrics::Metrics;
use crate::report::problem_log::{self, ProblemLog};
use crate::report::status_publisher::{StatusPublisher, causes};

/// The maximum length of a logged error with its sources, in bytes.
const MAX_CAUSE: usize = 1_000;

/// Reports for the control loop: log, metrics, status and Events.
pub struct Reporter {
    metrics: Metrics,
    publisher: StatusPublisher,
    /// None if the process writes to no cluster.
    writer: Option<ClusterWriter>,
    /// Whether the plan's text is printed to standard output when it changes, as in a dry run.
    print: bool,
    last: Mutex<Last>,
}

#[derive(Default)]
struct Last {
    /// The numbers of ConfigMaps and entries that the last pass read.
    read: Option<(usize, usize)>,
    problem_log: ProblemLog,
    summary: String,
    text: String,
    static_ips: BTreeMap<String, String>,
    secondary_ips: BTreeMap<String, Vec<String>>,
    announced_ips: BTreeMap<String, Vec<String>>,
    error: Option<String>,
    /// Whether this term of leadership has made a plan.
    decided: bool,
}

impl Reporter {
    pub fn new(metrics: Metrics, print: bool) -> Self {
        Self {
            metrics,
            publisher: StatusPublisher::default(),
            writer: None,
            print,
            last: Mutex::default(),
        }
    }

    /// Adds the status and the writer into the cluster.
    pub fn with(self, publisher: StatusPublisher, writer: Option<ClusterWriter>) -> Self {
        if let Some(writer) = &writer {
            publisher.follow_leader(writer.leader_status());
        }
        Self {
            publisher,
            writer,
            ..self
        }
    }

    /// Writes into the cluster for as long as the term lasts. Never returns.
    pub async fn write(&self, term: &Term) -> Infallible {
        match &self.writer {
            Some(writer) => writer.write(term, self.publisher.subscribe()).await,
            None => std::future::pending().await,
        }
    }

    /// Starts a new term of leadership, which reports everything again.
    pub fn begin_term(&self) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Last {
            problem_log: std::mem::take(&mut last.problem_log).next_term(),
            ..Last::default()
        };
        drop(last);
        self.publisher.begin_term();
    }

    pub fn end_term(&self) {
        self.metrics.forget_plan();
        self.publisher.end_term();
    }

    pub fn record_pass(
        &self,
        result: Result<Pass, ProviderError>,
        snapshot: Snapshot,
        took: Duration,
        next: Duration,
    ) {
        self.tell(&result, &snapshot, took, next);
        self.publisher.record_pass(result, snapshot, next);
    }

    fn tell(
        &self,
        result: &Result<Pass, ProviderError>,
        snapshot: &Snapshot,
        took: Duration,
        next: Duration,
    ) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(pass) => {
                last.tell_read(snapshot);
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
                // Figures are ignored: an error with another count, time or request id is the same error.
                let same = Some(problem_log::skeleton(&text));
                if last.error == same {
                    tracing::debug!(reason = error.reason, retry_in = ?next, "{text}");
                } else {
                    let cause = causes(error.source.as_deref().map(|it| it as _), MAX_CAUSE);
                    tracing::error!(reason = error.reason, retry_in = ?next, cause, "{text}");
                    last.error = same;
                }
            }
        }
    }
}

impl Last {
    /// Logs how many ConfigMaps and entries were read, if that has changed. If nothing is routed, operators look for this line first.
    fn tell_read(&mut self, snapshot: &Snapshot) {
        let entries = snapshot.objects.values().map(|object| object.data.len());
        let read = (snapshot.objects.len(), entries.sum());
        if self.read != Some(read) {
            let (config_maps, entries) = read;
            tracing::info!(config_maps, entries, "read the labelled ConfigMaps");
            self.read = Some(read);
        }
    }

    fn tell(&mut self, pass: &Pass, next: Duration, print: bool) {
        let plan = &pass.plan;
        self.problem_log.tell(&plan.problems);
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
        let more = [
            ("secondary", &plan.secondary_ips, &mut self.secondary_ips),
            ("announced", &plan.announced_ips, &mut self.announced_ips),
        ];
        for (which, now, before) in more {
            if now != before {
                for (zone, ips) in now {
                    tracing::info!(zone, "{which} IPs {}", ips.join(", "));
                }
                before.clone_from(now);
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_causes_are_shown_once() {
        let io = std::io::Error::other("no route");
        let error = kube::Error::Service(Box::new(std::io::Error::other(io)));
        assert_eq!(causes(Some(&error), MAX_CAUSE), "ServiceError: no route");
        assert_eq!(causes(None, MAX_CAUSE), "");
        let long = std::io::Error::other("x".repeat(5_000));
        assert!(causes(Some(&long), MAX_CAUSE).len() < 1_100);
    }
}
