//! [`Past`]: what outlives a watch of one cluster.
//!
//! A restore stops the API server for longer than a Lease lasts. So the watch after it is mostly that of a new term, even where the
//! same process leads again: it has to know how far the one before had come.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

/// How far a cluster has been seen by this process, and whether it went back. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Past(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    version: String,
    went_back: Option<(Instant, String)>,
}

impl Past {
    /// Returns the version up to which everything was known; empty where nothing was.
    pub(super) fn version(&self) -> String {
        self.lock().version.clone()
    }

    /// Notes the version up to which everything is known.
    pub(super) fn reach(&self, version: &str) {
        version.clone_into(&mut self.lock().version);
    }

    /// Returns when the cluster went back to an older state the last time, and what people read about it.
    pub(super) fn went_back(&self) -> Option<(Instant, String)> {
        self.lock().went_back.clone()
    }

    /// Notes that the cluster went back.
    pub(super) fn note(&self, at: Instant, why: String) {
        self.lock().went_back = Some((at, why));
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
