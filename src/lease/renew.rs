//! Keeps a Lease, and extends its Term, for as long as both last.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{self, Instant, sleep_until};

use super::config::ElectionConfig;
use super::lock::{Attempt, Kind, Lock};
use super::seen::Known;
use super::term::Tenure;
use super::view::Board;

/// How long to wait after somebody else wrote the Lease: they may be about to write again.
const AFTER_CONFLICT: Duration = Duration::from_millis(100);

pub(super) struct Renewer {
    pub(super) config: ElectionConfig,
    pub(super) lock: Arc<Lock>,
    pub(super) known: Known,
    pub(super) board: Board,
    pub(super) tenure: Tenure,
    /// When the write that began the Term was sent.
    pub(super) sent: Instant,
}

impl Renewer {
    /// Runs until the Term is over. Whatever ends the Term from here is logged here.
    pub(super) async fn run(self) {
        let reason = tokio::select! {
            biased;
            reason = self.keep() => reason,
            // Under an attempt that still waits for an answer, or while the process was stopped.
            () = self.tenure.ended() => if self.tenure.ran_out() {
                "the Lease was not renewed in time".into()
            } else {
                "the Term was dropped".into()
            },
        };
        self.board.ends(self.tenure.epoch(), &reason);
        self.tenure.end();
    }

    /// Renews until it is no use any more; returns why.
    async fn keep(&self) -> String {
        let mut next = self.sent + self.config.renew_every();
        let mut failing_since = None;
        loop {
            sleep_until(next).await;
            // Before the request, and thus before anybody can see the renewal and start counting.
            let sent = clock::now();
            match self.lock.take_or_renew(self.limit()).await {
                Attempt::Ours(_) => {
                    if !self.tenure.extend(sent + self.config.term()) {
                        return "the renewal was answered too late".into();
                    }
                    self.board.renewed(sent, false);
                    failing_since = None;
                    next = sent + self.config.renew_every();
                }
                Attempt::NotOurs => {
                    let seen = self.known.seen();
                    self.board.saw(seen.as_ref());
                    let holder = seen.and_then(|seen| seen.holder);
                    let holder = holder.as_deref().unwrap_or("nobody");
                    return format!("the Lease is no longer ours, it is held by {holder}");
                }
                Attempt::Failed(fault) => {
                    self.board.renewal_failed();
                    if fault.kind == Kind::Deleted {
                        return "the Lease was deleted".into();
                    }
                    let wait = if fault.kind == Kind::Conflict {
                        AFTER_CONFLICT
                    } else {
                        self.board.failed(&fault.text);
                        self.config.retry_period
                    };
                    let now = clock::now();
                    let since = *failing_since.get_or_insert(sent);
                    if now >= since + self.config.renew_deadline {
                        let text = fault.text;
                        return format!("renewals failed for {:.1?}: {text}", now - since);
                    }
                    next = now.max(sent + wait);
                }
            }
        }
    }

    /// Half of what is left, so that a request that gets lost leaves time for another one, and at least a retry period.
    fn limit(&self) -> Duration {
        let left = self.tenure.remaining();
        (left / 2).max(self.config.retry_period).min(left)
    }
}
