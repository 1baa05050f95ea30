//! Stores the [`Ledger`] in a ConfigMap of the controller. It is read once per term and written when it changes, before the step that
//! depends on it. The ledger can be large, and anyone who may edit a ConfigMap can change it in each pass. So changes that no step
//! depends on are deferred: they stay in memory and are written at most every 30 s.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kube::api::PostParams;
use kube::{Api, Client};
use tracing::Instrument as _;

use crate::clock::{Instant, timeout};
use crate::config_map::ConfigMap;
use crate::lease::term::Term;
use crate::model::persisted::ledger::{Ledger, LedgerError};
use crate::model::persisted::recall::Recall;
use crate::{clock, spans};

/// The key of the document in the ConfigMap.
pub const KEY: &str = "ledger.json";
/// The value of the labels `name` and `managed-by`.
const MANAGER: &str = "kube-static-egress-controller";
/// The timeout of one request.
const PATIENCE: Duration = Duration::from_secs(5);
/// The pause after a request that failed.
const AGAIN: Duration = Duration::from_secs(15);
/// How often the ledger is read again if nothing is written: it may have been deleted.
const REFRESH: Duration = Duration::from_secs(300);
/// The minimum time between two deferred writes.
const PACE: Duration = Duration::from_secs(30);

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

struct LedgerConfigMap {
    api: Api<ConfigMap>,
    location: LedgerLocation,
}

/// Reads and writes the ledger for a leader.
pub struct LedgerStore {
    store: Option<LedgerConfigMap>,
    clock: Clock,
    cache: CachedLedger,
}

/// What one term knows of the ledger.
#[derive(Default)]
struct CachedLedger {
    /// The ledger as last read or written, with deferred changes; None if it is not known.
    ledger: Option<Ledger>,
    /// Whether there are deferred changes.
    dirty: bool,
    /// The time of the last deferred write.
    last_deferred: Option<Instant>,
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

enum WriteError {
    /// Another writer has changed the ConfigMap.
    Conflict,
    Other(String),
}

impl LedgerStore {
    pub fn new(client: Client, location: LedgerLocation, clock: Clock) -> Self {
        let api = Api::namespaced(client, &location.namespace);
        Self {
            store: Some(LedgerConfigMap { api, location }),
            clock,
            cache: CachedLedger::default(),
        }
    }

    /// Creates a store without a ledger, for runs without a cluster.
    pub fn disabled() -> Self {
        Self {
            store: None,
            clock: wall_clock(),
            cache: CachedLedger::default(),
        }
    }

    /// Starts a new term: what was known may be outdated. Returns the time since 1970.
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
                    self.cache.ledger = Some(ledger);
                    self.cache.dirty = false;
                }
                self.cache.object = object;
            }
            // The ledger in memory is used further. If it is outdated, the next write fails with a conflict.
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

    /// Returns when deferred changes can be written, or None if there are none.
    pub fn flush_due(&self) -> Option<Duration> {
        self.cache.dirty.then(|| self.cache.rest())
    }

    /// Writes the ledger if it has changed. If no step `depends` on the change, the write may be deferred. Returns false if the plan must
    /// be made again, because it was made with a ledger that cannot be used any more.
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
        if waits || is_stored {
            return true;
        }
        if is_known && !depends && !cache.rest().is_zero() {
            cache.ledger = Some(next);
            cache.dirty = true;
            return true;
        }
        if !depends {
            cache.last_deferred = Some(clock::now());
        }
        cache.asked = Some(clock::now());
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
                cache.ledger = Some(next);
                cache.dirty = false;
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
    /// Returns how much longer a deferred write has to wait.
    fn rest(&self) -> Duration {
        self.last_deferred
            .map_or(Duration::ZERO, |at| PACE.saturating_sub(clock::since(at)))
    }
}

fn version(object: &Option<ConfigMap>) -> Option<&str> {
    object.as_ref()?.metadata.resource_version.as_deref()
}

impl LedgerConfigMap {
    fn explain(&self, error: &kube::Error) -> String {
        let LedgerLocation {
            namespace, name, ..
        } = &self.location;
        match error {
            kube::Error::Api(status) if status.code == 403 => format!(
                "the ledger {namespace}/{name} may not be read or written ({}): bind a role with get and update on this \
                 ConfigMap, as deploy/manifests.yaml has it",
                status.message
            ),
            other => format!("the ledger {namespace}/{name} cannot be read or written ({other})"),
        }
    }

    fn slow(&self) -> String {
        let LedgerLocation {
            namespace, name, ..
        } = &self.location;
        format!("the ledger {namespace}/{name}: the API server has not answered for {PATIENCE:?}")
    }

    async fn get(&self) -> Result<(Option<ConfigMap>, Ledger), String> {
        let location = &self.location;
        let found = timeout(PATIENCE, self.api.get(&location.name)).await;
        let object = match found.map_err(|_| self.slow())? {
            Ok(object) => Some(object),
            Err(kube::Error::Api(status)) if status.code == 404 => None,
            Err(error) => return Err(self.explain(&error)),
        };
        let new = Ledger::new(&location.stack_name);
        let Some(text) = object.as_ref().and_then(text) else {
            return Ok((object, new));
        };
        match Ledger::read(text, &location.stack_name, &location.clusters) {
            Ok(ledger) => Ok((object, ledger)),
            Err(error @ LedgerError::Newer(_)) => Err(format!(
                "the ledger {}/{} cannot be used: {error}",
                location.namespace, location.name
            )),
            Err(error @ LedgerError::NotOurs) => {
                let LedgerLocation {
                    namespace, name, ..
                } = location;
                tracing::warn!(
                    "the ledger {namespace}/{name} is replaced by an empty one: {error}"
                );
                Ok((object, new))
            }
        }
    }

    /// Replaces the version that was read, or creates the ConfigMap.
    async fn put(&self, old: Option<&ConfigMap>, ledger: &Ledger) -> Result<ConfigMap, WriteError> {
        let written = timeout(PATIENCE, self.send(old, ledger)).await;
        written.map_err(|_| WriteError::Other(self.slow()))?
    }

    fn fault(&self, error: &kube::Error) -> WriteError {
        match error {
            kube::Error::Api(status) if status.code == 409 => WriteError::Conflict,
            _ => WriteError::Other(self.explain(error)),
        }
    }

    /// Explains why the ledger was not created. The chart creates it, and the chart's role has no permission to.
    fn not_created(&self, error: &kube::Error) -> WriteError {
        let LedgerLocation {
            namespace, name, ..
        } = &self.location;
        match error {
            kube::Error::Api(status) if status.code == 403 => WriteError::Other(format!(
                "the ledger {namespace}/{name} does not exist and may not be created ({}): install the chart again or apply \
                 deploy/manifests.yaml, which create it",
                status.message
            )),
            error => self.fault(error),
        }
    }

    async fn send(
        &self,
        old: Option<&ConfigMap>,
        ledger: &Ledger,
    ) -> Result<ConfigMap, WriteError> {
        let name = &self.location.name;
        let mut object = old.cloned().unwrap_or_default();
        object.metadata.name = Some(name.clone());
        let labels = object.metadata.labels.get_or_insert_default();
        for key in ["name", "managed-by"] {
            // Helm recognizes its own objects by `managed-by`, so existing values stay.
            let label = labels.entry(format!("app.kubernetes.io/{key}"));
            label.or_insert_with(|| MANAGER.to_owned());
        }
        object.data = Some(BTreeMap::from([(KEY.to_owned(), ledger.text())]));
        let how = PostParams::default();
        if old.is_some() {
            match self.api.replace(name, &how, &object).await {
                // The ConfigMap was deleted.
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(kube::Error::Api(status)) if status.code == 409 => {
                    return self.fill(object, &kube::Error::Api(status)).await;
                }
                other => return other.map_err(|error| self.fault(&error)),
            }
        }
        object.metadata.resource_version = None;
        object.metadata.uid = None;
        match self.api.create(&how, &object).await {
            // The API server checks the permission to create before it checks whether the object exists.
            Err(kube::Error::Api(status)) if [403, 409].contains(&status.code) => {
                self.fill(object, &kube::Error::Api(status)).await
            }
            made => made.map_err(|error| self.fault(&error)),
        }
    }

    /// Writes into a ConfigMap that was created in the meantime, if it has no ledger yet. `why` is the error of the first attempt.
    async fn fill(
        &self,
        mut object: ConfigMap,
        why: &kube::Error,
    ) -> Result<ConfigMap, WriteError> {
        let there = match self.api.get(&self.location.name).await {
            Err(kube::Error::Api(status)) if status.code == 404 => {
                return Err(self.not_created(why));
            }
            there => there.map_err(|error| self.fault(&error))?,
        };
        if text(&there).is_some() {
            return Err(WriteError::Conflict);
        }
        let content = object.data.take();
        object = there;
        object.data = content;
        let how = PostParams::default();
        let filled = self.api.replace(&self.location.name, &how, &object).await;
        filled.map_err(|error| self.fault(&error))
    }
}

/// Returns the document. The chart creates the ConfigMap without one.
fn text(object: &ConfigMap) -> Option<&String> {
    object.data.as_ref()?.get(KEY)
}

#[cfg(test)]
#[path = "ledger_store_tests.rs"]
mod tests;
