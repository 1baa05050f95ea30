//! Renews a Lease and extends its Term, for as long as both last.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{self, Instant, sleep_until};

use super::client::{Attempt, ErrorKind, LeaseClient};
use super::config::ElectionConfig;
use super::observation::LeaseState;
use super::status::StatusWriter;
use super::term::TermHandle;

/// The pause after another writer changed the Lease, because it may write again.
const AFTER_CONFLICT: Duration = Duration::from_millis(100);

pub(super) struct Renewer {
    pub(super) config: ElectionConfig,
    pub(super) client: Arc<LeaseClient>,
    pub(super) known: LeaseState,
    pub(super) status: StatusWriter,
    pub(super) handle: TermHandle,
    /// When the write that began the Term was sent.
    pub(super) sent: Instant,
}

impl Renewer {
    /// Runs until the Term is over, and logs why it ended.
    pub(super) async fn run(self) {
        let reason = tokio::select! {
            biased;
            reason = self.keep() => reason,
            // The Term can end while a request waits for its response, or while the process is stopped.
            () = self.handle.ended() => if self.handle.ran_out() {
                "the Lease was not renewed in time".into()
            } else {
                "the Term was dropped".into()
            },
        };
        self.status.ends(self.handle.epoch(), &reason);
        self.handle.end();
    }

    /// Renews until the Lease is lost. Returns the reason.
    async fn keep(&self) -> String {
        let mut next = self.sent + self.config.renew_every();
        let mut failing_since = None;
        loop {
            sleep_until(next).await;
            // Read before the request, and so before another candidate can see the renewal and start counting.
            let sent = clock::now();
            match self.client.take_or_renew(self.limit()).await {
                Attempt::Ours(_) => {
                    if !self.handle.extend(sent + self.config.term()) {
                        return "the renewal was answered too late".into();
                    }
                    self.status.renewed(sent, false);
                    failing_since = None;
                    next = sent + self.config.renew_every();
                }
                Attempt::NotOurs => {
                    let seen = self.known.seen();
                    self.status.saw(seen.as_ref());
                    let holder = seen.and_then(|seen| seen.holder);
                    let holder = holder.as_deref().unwrap_or("nobody");
                    return format!("the Lease is no longer ours, it is held by {holder}");
                }
                Attempt::Failed(fault) => {
                    self.status.renewal_failed();
                    if fault.kind == ErrorKind::Deleted {
                        return "the Lease was deleted".into();
                    }
                    let wait = if fault.kind == ErrorKind::Conflict {
                        AFTER_CONFLICT
                    } else {
                        self.status.failed(&fault.text);
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

    /// Returns the timeout of a renewal: half of the remaining Term, so that a second request is possible, and at least a retry period.
    fn limit(&self) -> Duration {
        let left = self.handle.remaining();
        (left / 2).max(self.config.retry_period).min(left)
    }
}
