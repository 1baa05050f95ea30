//! The [`Term`]: proof that this replica leads, and until when.
//!
//! A Term is measured on the local monotonic clock, from before the request that took or renewed the Lease. A candidate that waits for
//! the Lease to expire starts counting later, so every Term has ended before another one can start.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use crate::clock::{self, Instant};
use tokio::sync::Notify;

/// The term of leadership is over: the work was not started, or was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this replica's term of leadership is over: leave the work to the leader, or campaign again"
)]
pub struct TermOver;

struct Shared {
    epoch: u64,
    /// The time at which the Term ends. `None` is final: the Term was lost, released or dropped.
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

    /// Ends the Term. Returns false if it had ended before.
    fn finish(&self) -> bool {
        let lasted = self.end().take().is_some();
        self.changed.notify_waiters();
        lasted
    }

    async fn ended(&self) {
        loop {
            // The waiter is registered before `end` is read, so that no change is missed in between.
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

/// Proof that this replica holds the Lease. Every mutating call needs a `&Term` and ends before the Term does.
///
/// A Term cannot be cloned, and only this module's siblings can create one. Renewals of the Lease extend it; a Term that is over stays
/// over. Dropping it ends it, and its renewals.
#[must_use = "dropping a Term gives up leadership"]
pub struct Term {
    shared: Arc<Shared>,
}

impl Term {
    /// Creates a Term that lasts until `end` unless it is extended, and the handle that extends and ends it.
    pub(super) fn begin(epoch: u64, end: Instant) -> (Self, TermHandle) {
        let shared = Arc::new(Shared {
            epoch,
            end: Mutex::new(Some(end)),
            changed: Notify::new(),
        });
        let handle = TermHandle {
            shared: Arc::clone(&shared),
        };
        (Self { shared }, handle)
    }

    /// Returns the number of this term, the Lease's `leaseTransitions`. A later term of any replica has a greater number.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.shared.epoch
    }

    /// Returns how long the Term lasts without another renewal; zero if it is over.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.shared.remaining()
    }

    /// Whether the Term is over: expired, lost or released. A Term that is over stays over.
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
            // The clock is read at every poll, because a timer fires late if the process was stopped.
            if self.is_over() || ended.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(TermOver));
            }
            work.as_mut().poll(cx).map(Ok)
        })
        .await
    }

    /// Returns a copyable view of this Term for code that cannot borrow it, such as an interceptor inside an SDK's client.
    #[must_use]
    pub fn guard(&self) -> TermGuard {
        TermGuard {
            shared: Arc::clone(&self.shared),
        }
    }

    pub(super) fn is_of(&self, handle: &TermHandle) -> bool {
        Arc::ptr_eq(&self.shared, &handle.shared)
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

/// Shows whether a [`Term`] still lasts. It does not extend the Term and proves nothing: a mutating call still needs the Term.
#[derive(Clone)]
pub struct TermGuard {
    shared: Arc<Shared>,
}

impl TermGuard {
    /// The same as [`Term::is_over`].
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.remaining().is_zero()
    }

    /// The same as [`Term::remaining`].
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

/// Extends a Term at each renewal, and ends it when leadership is lost or released.
#[derive(Clone)]
pub(super) struct TermHandle {
    shared: Arc<Shared>,
}

impl TermHandle {
    /// Extends the Term to `end`. Returns false if the Term is already over, which is final.
    pub(super) fn extend(&self, end: Instant) -> bool {
        match &mut *self.shared.end() {
            Some(old) if *old > clock::now() => *old = end.max(*old),
            _ => return false,
        }
        self.shared.changed.notify_waiters();
        true
    }

    /// Ends the Term. Returns false if it was already released, lost or dropped.
    pub(super) fn end(&self) -> bool {
        self.shared.finish()
    }

    /// Whether the Term expired, rather than being released, lost or dropped.
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
