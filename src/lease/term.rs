//! The [`Term`]: proof that this replica leads, and until when.
//!
//! A Term is counted on the local monotonic clock, from before the request was sent that took or renewed the Lease. Whoever
//! waits for that Lease to run out starts counting later than that, so every Term has ended before another one can begin.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use crate::clock::{self, Instant};
use tokio::sync::Notify;

/// The term of leadership is over: the work it covered was not begun, or was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this replica's term of leadership is over: leave the work to the leader, or campaign again"
)]
pub struct TermOver;

struct Shared {
    epoch: u64,
    /// Until when the Term lasts. `None` is final: it was lost, given up or dropped.
    end: Mutex<Option<Instant>>,
    changed: Notify,
}

impl Shared {
    fn end(&self) -> MutexGuard<'_, Option<Instant>> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remaining(&self) -> Duration {
        let end = *self.end();
        end.map_or(Duration::ZERO, |end| {
            end.saturating_duration_since(clock::now())
        })
    }

    /// False if it had been finished before.
    fn finish(&self) -> bool {
        let lasted = self.end().take().is_some();
        self.changed.notify_waiters();
        lasted
    }

    async fn ended(&self) {
        loop {
            // Listening begins before the end is read, so that no change is missed in between.
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            let Some(end) = *self.end() else {
                return;
            };
            if end <= clock::now() {
                return;
            }
            tokio::select! {
                biased;
                () = changed => {}
                () = clock::sleep_until(end) => {}
            }
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "epoch {}, {:?} left", self.epoch, self.remaining())
    }
}

/// Proof that this replica holds the Lease. Whatever mutates needs a `&Term` and ends before the Term does.
///
/// It cannot be cloned, and only this module's siblings can make one. It is extended behind the owner's back while the Lease
/// is renewed; once over it stays over. Dropping it ends it, and with it the renewals.
#[must_use = "dropping a Term gives up leadership"]
pub struct Term {
    shared: Arc<Shared>,
}

impl Term {
    /// A Term that lasts until `end` unless it is extended, and the handle that extends and ends it.
    pub(super) fn begin(epoch: u64, end: Instant) -> (Self, Tenure) {
        let shared = Arc::new(Shared {
            epoch,
            end: Mutex::new(Some(end)),
            changed: Notify::new(),
        });
        let tenure = Tenure {
            shared: Arc::clone(&shared),
        };
        (Self { shared }, tenure)
    }

    /// The number of this term: the Lease's `leaseTransitions`. A later term of any replica has a greater one.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.shared.epoch
    }

    /// How long the Term lasts if it is not renewed again; zero once it is over.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.shared.remaining()
    }

    /// True once the Term has run out, was lost or was given up; then for ever.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.remaining().is_zero()
    }

    /// Resolves once the Term is over.
    pub async fn ended(&self) {
        self.shared.ended().await;
    }

    /// Runs `work` for as long as the Term lasts.
    ///
    /// # Errors
    /// [`TermOver`] if the Term is over or ends first. `work` is never polled after that, only dropped.
    pub async fn bound<F: Future>(&self, work: F) -> Result<F::Output, TermOver> {
        let mut ended = pin!(self.shared.ended());
        let mut work = pin!(work);
        poll_fn(|cx| {
            // The clock is asked at every poll: a timer fires late when the process was stopped, the clock does not.
            if self.is_over() || ended.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(TermOver));
            }
            work.as_mut().poll(cx).map(Ok)
        })
        .await
    }

    /// A copyable view of this Term for places that cannot borrow it, such as an interceptor inside an SDK's client.
    #[must_use]
    pub fn guard(&self) -> TermGuard {
        TermGuard {
            shared: Arc::clone(&self.shared),
        }
    }

    pub(super) fn is_of(&self, tenure: &Tenure) -> bool {
        Arc::ptr_eq(&self.shared, &tenure.shared)
    }
}

impl Drop for Term {
    fn drop(&mut self) {
        self.shared.finish();
    }
}

impl fmt::Debug for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Term({:?})", self.shared)
    }
}

/// Tells whether a [`Term`] still lasts. It keeps nothing alive and proves nothing: what mutates still needs the Term.
#[derive(Clone)]
pub struct TermGuard {
    shared: Arc<Shared>,
}

impl TermGuard {
    /// As [`Term::is_over`].
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.remaining().is_zero()
    }

    /// As [`Term::remaining`].
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.shared.remaining()
    }
}

impl fmt::Debug for TermGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TermGuard({:?})", self.shared)
    }
}

/// The Lease's side of a Term: extends it at each renewal, ends it when leadership is lost or given up.
#[derive(Clone)]
pub(super) struct Tenure {
    shared: Arc<Shared>,
}

impl Tenure {
    /// Moves the end to `end`. False if the Term was over by now: nothing brings it back.
    pub(super) fn extend(&self, end: Instant) -> bool {
        match &mut *self.shared.end() {
            Some(old) if *old > clock::now() => *old = end.max(*old),
            _ => return false,
        }
        self.shared.changed.notify_waiters();
        true
    }

    /// Ends the Term. False if it had been ended already: given up, lost or dropped.
    pub(super) fn end(&self) -> bool {
        self.shared.finish()
    }

    /// True if the Term ran out by itself, rather than being given up, lost or dropped.
    pub(super) fn ran_out(&self) -> bool {
        let end = *self.shared.end();
        end.is_some_and(|end| end <= clock::now())
    }

    pub(super) fn remaining(&self) -> Duration {
        self.shared.remaining()
    }

    pub(super) async fn ended(&self) {
        self.shared.ended().await;
    }

    pub(super) fn epoch(&self) -> u64 {
        self.shared.epoch
    }
}
