//! Stores the [`Ledger`] in a ConfigMap of the controller. It is read once per term and written when it changes, before the step that
//! depends on it. The ledger can be large, and anyone who may edit a ConfigMap can change it in each pass. So changes that no step depends
//! on can be deferred: they stay in memory for a while. Changes that the next leader needs, such as a new entry, are written as soon as the
//! size of the last write allows. Changes that only affect waiting times are written at most every 30 s.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kube::{Api, Client};
use tracing::Instrument as _;

use self::object::{LedgerConfigMap, WriteError, text};
use crate::clock::Instant;
use crate::config_map::ConfigMap;
use crate::lease::term::Term;
use crate::model::base::ids::EntryId;
use crate::model::persisted::ledger::Ledger;
use crate::model::persisted::recall::Recall;
use crate::{clock, spans};

mod object;

/// The key of the document in the ConfigMap.
pub const KEY: &str = "ledger.json";
/// The pause after a request that failed.
const AGAIN: Duration = Duration::from_secs(15);
/// How often the ledger is read again if nothing is written: it may have been deleted.
const REFRESH: Duration = Duration::from_secs(300);
/// The minimum time between two writes of changes that the next leader does not need.
const PACE: Duration = Duration::from_secs(30);
/// The rate of deferred writes that the next leader needs, in bytes per second. After a document of 10 KB the next write waits a sixth of a
/// second, and after a full document 12 s: 4 MB a minute.
const BYTES_PER_SECOND: u32 = 64 << 10;

/// A clock that returns the time since 1970.
pub type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// Returns the wall clock of this machine.
pub fn wall_clock() -> Clock {
    // A clock before 1970 counts as 1970.
    Arc::new(|| {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
    })
}

/// The ConfigMap of the ledger, and the stack and clusters it belongs to.
#[derive(Clone, Debug)]
pub struct LedgerLocation {
    pub namespace: String,
    pub name: String,
    pub stack_name: String,
    /// The names of the watched clusters, as in [`ObjectId`].
    pub clusters: BTreeSet<String>,
}

/// Reads and writes the ledger for a leader.
pub struct LedgerStore {
    store: Option<LedgerConfigMap>,
    clock: Clock,
    bytes_per_second: u32,
    cache: CachedLedger,
}

/// The ledger as this term knows it.
#[derive(Default)]
struct CachedLedger {
    /// The ledger as last read or written, with deferred changes; None if it is not known.
    ledger: Option<Ledger>,
    /// Whether the cached ledger has deferred changes.
    dirty: bool,
    /// Whether the next leader needs some of the deferred changes.
    urgent: bool,
    /// The entries that the document lacks, or has with an outdated network.
    unrecorded: BTreeSet<EntryId>,
    /// The time of the last deferred write.
    last_deferred: Option<Instant>,
    last_write: Option<Instant>,
    /// The ConfigMap; None if it does not exist.
    object: Option<ConfigMap>,
    /// Why the ledger cannot be read or written.
    last_error: Option<String>,
    /// The time of the last request.
    asked: Option<Instant>,
    /// The time of the last conflict with another writer.
    conflict: Option<Instant>,
    returned: bool,
}

impl LedgerStore {
    pub fn new(client: Client, location: LedgerLocation, clock: Clock) -> Self {
        let api = Api::namespaced(client, &location.namespace);
        Self {
            store: Some(LedgerConfigMap { api, location }),
            clock,
            bytes_per_second: BYTES_PER_SECOND,
            cache: CachedLedger::default(),
        }
    }

    /// Creates a store without a ledger, for runs without a cluster.
    pub fn disabled() -> Self {
        Self {
            store: None,
            clock: wall_clock(),
            bytes_per_second: BYTES_PER_SECOND,
            cache: CachedLedger::default(),
        }
    }

    #[cfg(test)]
    pub fn with_rate(self, bytes_per_second: u32) -> Self {
        Self {
            bytes_per_second,
            ..self
        }
    }

    /// Starts a new term, and drops the cache, which may be outdated. Returns the time since 1970.
    pub fn begin_term(&mut self) -> Duration {
        self.cache = CachedLedger::default();
        (self.clock)()
    }

    /// Reads the ledger if it is unknown, or was last read long ago. Returns it after the first read of a term only.
    pub async fn read(&mut self) -> Option<&Ledger> {
        let store = self.store.as_ref()?;
        let rest = match (&self.cache.ledger, &self.cache.last_error) {
            (Some(_), Some(_)) => return None,
            (Some(_), None) => REFRESH,
            (None, _) => AGAIN,
        };
        if self.cache.asked.is_some_and(|at| clock::since(at) < rest) {
            return None;
        }
        self.cache.asked = Some(clock::now());
        let read = store.get().instrument(spans::step("read ledger"));
        match read.await {
            Ok((object, ledger)) => {
                self.cache.last_error = None;
                // If the ledger was deleted or created without content, it is written again from memory. Deferred changes are
                // kept unless another writer has changed the ConfigMap.
                let is_ours = self.cache.dirty && version(&object) == version(&self.cache.object);
                let has_content = object.as_ref().and_then(text).is_some();
                if (has_content && !is_ours) || self.cache.ledger.is_none() {
                    self.cache.holds(ledger);
                }
                self.cache.object = object;
            }
            // The ledger in memory is still used. If it is outdated, the next write fails with a conflict.
            Err(_) if self.cache.ledger.is_some() => {}
            Err(why) => self.cache.last_error = Some(why),
        }
        let first = !std::mem::replace(&mut self.cache.returned, self.cache.ledger.is_some());
        self.cache.ledger.as_ref().filter(|_| first)
    }

    pub fn recall(&self) -> Recall<'_> {
        match (&self.store, &self.cache.last_error, &self.cache.ledger) {
            (None, ..) => Recall::Nowhere,
            (Some(_), Some(why), ledger) => Recall::Unavailable(why, ledger.as_ref()),
            (Some(_), None, Some(ledger)) => Recall::Known(ledger),
            (Some(_), None, None) => Recall::Unavailable("the ledger has not been read yet", None),
        }
    }

    /// Returns the ARN of our stack from the ledger, if it is known.
    pub fn stack(&self) -> Option<&str> {
        self.cache.ledger.as_ref()?.stack.as_deref()
    }

    /// Returns when deferred changes, or entries that could not be recorded, can be written. None if there are none.
    pub fn flush_due(&self) -> Option<Duration> {
        let cache = &self.cache;
        (cache.dirty || !cache.unrecorded.is_empty()).then(|| cache.rest(self.bytes_per_second))
    }

    /// Returns the entries that a later leader would not know, or would know with an earlier network. If the ledger has no content, there
    /// are none: then a later leader removes nothing while an entry is refused.
    pub fn unrecorded(&self) -> &BTreeSet<EntryId> {
        &self.cache.unrecorded
    }

    /// Writes the ledger if it has changed. If no step `depends` on the change, the write may be deferred. Returns false if the plan must
    /// be made again, because it used a ledger that is no longer valid.
    pub async fn write(&mut self, term: &Term, next: Option<Ledger>, depends: bool) -> bool {
        let (Some(store), Some(next)) = (&self.store, next) else {
            return true;
        };
        let cache = &mut self.cache;
        let waits =
            cache.last_error.is_some() && cache.asked.is_some_and(|at| clock::since(at) < AGAIN);
        let has_content = cache.object.as_ref().and_then(text).is_some();
        let is_known = has_content && cache.last_error.is_none();
        let is_stored = is_known && !cache.dirty && cache.ledger.as_ref() == Some(&next);
        if !is_stored {
            cache.compare(&next);
        }
        if waits || is_stored {
            return true;
        }
        if is_known && !depends && !cache.rest(self.bytes_per_second).is_zero() {
            cache.ledger = Some(next);
            cache.dirty = true;
            return true;
        }
        if !depends {
            cache.last_deferred = Some(clock::now());
        }
        cache.asked = Some(clock::now());
        cache.last_write = cache.asked;
        let put = store.put(cache.object.as_ref(), &next);
        let put = put.instrument(spans::step("write ledger"));
        let written = term.bound(put).await;
        let relied = cache.last_error.is_none();
        match written {
            // The term is over, so the step will not be applied either.
            Err(_over) => return true,
            Ok(Ok(object)) => {
                cache.last_error = None;
                cache.object = Some(object);
                cache.holds(next);
                return true;
            }
            Ok(Err(WriteError::Conflict)) => {
                let location = &store.location;
                cache.last_error = Some(format!(
                    "another writer changes the ledger {}/{}: leave it to the controller",
                    location.namespace, location.name
                ));
                cache.ledger = None;
                cache.dirty = false;
                // The first conflict is retried at once, further ones after a pause.
                if cache
                    .conflict
                    .replace(clock::now())
                    .is_none_or(|at| clock::since(at) > AGAIN)
                {
                    cache.asked = None;
                }
            }
            Ok(Err(WriteError::Other(why))) => cache.last_error = Some(why),
        }
        !relied
    }
}

impl CachedLedger {
    /// Records that the document now contains this ledger.
    fn holds(&mut self, ledger: Ledger) {
        self.ledger = Some(ledger);
        (self.dirty, self.urgent) = (false, false);
        self.unrecorded.clear();
    }

    /// Records the changes of `next` that the document lacks.
    fn compare(&mut self, next: &Ledger) {
        let is_empty = self.object.as_ref().and_then(text).is_none();
        let Some(known) = self.ledger.as_ref().filter(|_| !is_empty) else {
            return self.unrecorded.clear();
        };
        self.urgent |= next.must_outlive(known);
        self.unrecorded.extend(next.newer(known).cloned());
        self.unrecorded.retain(|entry| next.asked(entry).is_some());
    }

    /// Returns how much longer a deferred write must wait.
    fn rest(&self, bytes_per_second: u32) -> Duration {
        let left = |at: Option<Instant>, pace: Duration| {
            at.map_or(Duration::ZERO, |at| pace.saturating_sub(clock::since(at)))
        };
        if self.last_error.is_some() {
            return left(self.asked, PACE);
        }
        let patient = left(self.last_deferred, PACE);
        if !self.urgent {
            return patient;
        }
        let bytes = self.object.as_ref().and_then(text).map_or(0, String::len);
        let pace = Duration::from_secs(bytes as u64) / bytes_per_second.max(1);
        left(self.last_write, pace).min(patient)
    }
}

fn version(object: &Option<ConfigMap>) -> Option<&str> {
    object.as_ref()?.metadata.resource_version.as_deref()
}

#[cfg(test)]
#[path = "ledger_store_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "ledger_store_pace_tests.rs"]
mod pace_tests;
