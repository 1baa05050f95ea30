//! The view of the Lease for metrics, status and readiness.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{self, Instant};
use tokio::sync::watch;

use super::observation::LeaseVersion;

/// What this replica knows of the Lease and of its own renewals. Counts go from the start of the process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeaseView {
    /// The holder of the Lease as last seen; `None` if it has none or nothing is known yet.
    pub holder: Option<String>,
    /// This process's holder identity in the Lease.
    pub us: String,
    /// Whether this replica leads.
    pub leading: bool,
    /// Why this replica leads, or why it stopped; empty before its first term.
    pub why: String,
    /// Since when this replica could have taken the Lease that it took last.
    pub free_since: Option<Instant>,
    /// The Lease's `metadata.uid`, as last seen.
    pub uid: Option<String>,
    /// The Lease's `leaseTransitions`, as last seen.
    pub epoch: u64,
    /// How often the holder was seen to change from one replica to another.
    pub transitions_seen: u64,
    /// Renewals that succeeded.
    pub renewals_ok: u64,
    /// Renewals that failed. The next renewal usually succeeds.
    pub renewals_failed: u64,
    /// When the last successful renewal, or the acquisition, was sent.
    pub last_renewal: Option<Instant>,
    /// How long the last successful renewal, or the acquisition, took.
    pub last_renewal_latency: Option<Duration>,
    /// The error of the last request about the Lease; `None` if it succeeded.
    pub last_error: Option<String>,
}

/// Updates the view from all parts of the election.
#[derive(Clone)]
pub(super) struct StatusWriter {
    view: Arc<watch::Sender<LeaseView>>,
}

impl StatusWriter {
    pub(super) fn new(us: &str) -> Self {
        let view = LeaseView {
            us: us.to_owned(),
            ..LeaseView::default()
        };
        Self {
            view: Arc::new(watch::Sender::new(view)),
        }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<LeaseView> {
        self.view.subscribe()
    }

    /// Records the latest version of the Lease, and logs a new holder.
    pub(super) fn saw(&self, seen: Option<&LeaseVersion>) {
        self.view.send_if_modified(|view| {
            let holder = seen.and_then(|seen| seen.holder.clone());
            let epoch = seen.map_or(view.epoch, |seen| seen.epoch);
            if let Some(seen) = seen {
                view.uid.clone_from(&seen.uid);
            }
            if view.holder == holder && view.epoch == epoch {
                return false;
            }
            if let Some(new) = holder
                .as_ref()
                .filter(|new| view.holder.as_ref() != Some(*new))
            {
                // Neither the first observed holder nor the time between a release and the next holder is a change of the leader.
                if view.epoch != epoch && view.epoch != 0 {
                    view.transitions_seen += 1;
                }
                if *new != view.us {
                    tracing::info!(holder = %new, epoch, "another replica leads");
                }
            }
            view.holder = holder;
            view.epoch = epoch;
            true
        });
    }

    /// Records that this replica starts to lead.
    pub(super) fn begins(&self, epoch: u64, free_since: Instant, why: String) {
        self.view.send_modify(|view| {
            tracing::info!(epoch, us = %view.us, "this replica leads: {why}");
            view.leading = true;
            view.free_since = Some(free_since);
            view.why = why;
        });
    }

    /// Records that this replica stops leading. Only the first call of a term sets the reason.
    pub(super) fn ends(&self, epoch: u64, why: &str) {
        self.view.send_if_modified(|view| {
            if !std::mem::take(&mut view.leading) {
                return false;
            }
            tracing::info!(epoch, "this replica no longer leads: {why}");
            why.clone_into(&mut view.why);
            true
        });
    }

    /// Records the start or the end of a term without a Lease.
    pub(super) fn alone(&self, epoch: Option<u64>) {
        match epoch {
            Some(epoch) => tracing::info!(epoch, "this replica leads: leader election is off"),
            None => tracing::info!("this replica no longer leads: it stops"),
        }
        self.view.send_modify(|view| {
            view.leading = epoch.is_some();
            view.holder = epoch.map(|_| view.us.clone());
            view.epoch = epoch.unwrap_or(view.epoch);
        });
    }

    pub(super) fn renewed(&self, sent: Instant, first: bool) {
        self.view.send_modify(|view| {
            view.renewals_ok += u64::from(!first);
            view.last_renewal = Some(sent);
            view.last_renewal_latency = Some(clock::since(sent));
            view.last_error = None;
        });
    }

    pub(super) fn renewal_failed(&self) {
        self.view.send_modify(|view| view.renewals_failed += 1);
    }

    pub(super) fn succeeded(&self) {
        self.view
            .send_if_modified(|view| view.last_error.take().is_some());
    }

    /// Records an error. An error that repeats is logged once, not at each attempt.
    pub(super) fn failed(&self, error: &str) {
        self.view.send_if_modified(|view| {
            let news = view.last_error.as_deref() != Some(error);
            if news {
                tracing::warn!(
                    error,
                    "the Lease could not be read or written, trying again"
                );
                view.last_error = Some(error.to_owned());
            }
            news
        });
    }
}
