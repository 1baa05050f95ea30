//! [`Past`]: the state of one cluster's watch that later watches need.
//!
//! A restore stops the API server for longer than a Lease lasts. So the next watch usually belongs to a new term, even if the same process
//! leads again, and it has to know which version the previous watch reached.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

/// The version that this process has seen of a cluster, and whether the cluster returned to an older one. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Past(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    version: String,
    went_back: Option<(Instant, String)>,
}

impl Past {
    /// Returns the last version up to which events were known; empty if there is none.
    pub(super) fn version(&self) -> String {
        self.lock().version.clone()
    }

    /// Records the version up to which events are known.
    pub(super) fn reach(&self, version: &str) {
        version.clone_into(&mut self.lock().version);
    }

    /// Returns when the cluster last returned to an older state, and the text of the problem.
    pub(super) fn went_back(&self) -> Option<(Instant, String)> {
        self.lock().went_back.clone()
    }

    /// Records that the cluster returned to an older state.
    pub(super) fn note(&self, at: Instant, why: String) {
        self.lock().went_back = Some((at, why));
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
