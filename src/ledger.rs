//! Keeps the [`Ledger`] in a ConfigMap of the controller's own: read once per term of leadership, written where it changes, before
//! what it is about is done. It can be large, and whoever may edit a ConfigMap can make it change at every pass: what nothing live
//! depends on yet is written at a pace of its own, and known to this leader until then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::PostParams;
use kube::{Api, Client};
use tracing::Instrument as _;

use crate::clock::{Instant, timeout};
use crate::lease::term::Term;
use crate::model::persisted::ledger::{Ledger, LedgerError};
use crate::model::persisted::recall::Recall;
use crate::{clock, spans};

/// The key of the document in the ConfigMap.
pub const KEY: &str = "ledger.json";
/// What people see as its maker.
const MANAGER: &str = "kube-static-egress-controller";
/// Of one request.
const PATIENCE: Duration = Duration::from_secs(5);
/// After a request that failed.
const AGAIN: Duration = Duration::from_secs(15);
/// How often it is read although nothing is to be written: it may have been deleted.
const REFRESH: Duration = Duration::from_secs(300);
/// From one write that nothing depends on to the next one.
const PACE: Duration = Duration::from_secs(30);

/// Time since 1970.
pub type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// The clock of this machine.
pub fn wall_clock() -> Clock {
    // Before 1970 there was no Kubernetes.
    Arc::new(|| {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
    })
}

/// Where the ledger is, and what it is about.
#[derive(Clone, Debug)]
pub struct Place {
    pub namespace: String,
    pub name: String,
    pub stack_name: String,
    /// Names of the clusters that are watched, as [`ObjectId`] has them.
    pub clusters: BTreeSet<String>,
}

struct Shelf {
    api: Api<ConfigMap>,
    place: Place,
}

/// A leader's view of the ledger.
pub struct Book {
    shelf: Option<Shelf>,
    clock: Clock,
    page: Page,
}

/// What is known in one term.
#[derive(Default)]
struct Page {
    /// As it was last read or written, and what has changed since; None: not known.
    ledger: Option<Ledger>,
    /// Something has changed since.
    owed: bool,
    /// The last write that nothing depended on.
    eased: Option<Instant>,
    /// The ConfigMap; None: there is none.
    object: Option<ConfigMap>,
    /// Why it cannot be read or written.
    trouble: Option<String>,
    /// The last request.
    asked: Option<Instant>,
    /// The last time that somebody else's write was in the way.
    conflict: Option<Instant>,
    recalled: bool,
}

enum Fault {
    /// Somebody else has written it meanwhile.
    Conflict,
    Other(String),
}

impl Book {
    pub fn new(client: Client, place: Place, clock: Clock) -> Self {
        let api = Api::namespaced(client, &place.namespace);
        Self {
            shelf: Some(Shelf { api, place }),
            clock,
            page: Page::default(),
        }
    }

    /// Without a cluster to keep it in.
    pub fn nowhere() -> Self {
        Self {
            shelf: None,
            clock: wall_clock(),
            page: Page::default(),
        }
    }

    /// A new term: whatever was known may have changed since. The time now, since 1970.
    pub fn open(&mut self) -> Duration {
        self.page = Page::default();
        (self.clock)()
    }

    /// Reads the ledger if it is not known or has not been looked at for long. It comes back the first time in a term.
    pub async fn read(&mut self) -> Option<&Ledger> {
        let shelf = self.shelf.as_ref()?;
        let rest = match (&self.page.ledger, &self.page.trouble) {
            (Some(_), Some(_)) => return None,
            (Some(_), None) => REFRESH,
            (None, _) => AGAIN,
        };
        if self.page.asked.is_some_and(|at| clock::since(at) < rest) {
            return None;
        }
        self.page.asked = Some(clock::now());
        let read = shelf.get().instrument(spans::step("read ledger"));
        match read.await {
            Ok((object, ledger)) => {
                self.page.trouble = None;
                // One that was deleted, or made again without content, is written again as it was, and what is owed to one that
                // nobody else wrote still is.
                let is_ours = self.page.owed && version(&object) == version(&self.page.object);
                let has_content = object.as_ref().and_then(text).is_some();
                if (has_content && !is_ours) || self.page.ledger.is_none() {
                    self.page.ledger = Some(ledger);
                    self.page.owed = false;
                }
                self.page.object = object;
            }
            // What is known still holds: if it does not, the next write tells.
            Err(_) if self.page.ledger.is_some() => {}
            Err(why) => self.page.trouble = Some(why),
        }
        let first = !std::mem::replace(&mut self.page.recalled, self.page.ledger.is_some());
        self.page.ledger.as_ref().filter(|_| first)
    }

    pub fn recall(&self) -> Recall<'_> {
        match (&self.shelf, &self.page.trouble, &self.page.ledger) {
            (None, ..) => Recall::Nowhere,
            (Some(_), Some(why), ledger) => Recall::Unavailable(why, ledger.as_ref()),
            (Some(_), None, Some(ledger)) => Recall::Known(ledger),
            (Some(_), None, None) => Recall::Unavailable("the ledger has not been read yet", None),
        }
    }

    /// ARN of our stack, as far as the ledger knows it.
    pub fn stack(&self) -> Option<&str> {
        self.page.ledger.as_ref()?.stack.as_deref()
    }

    /// How much later a pass has to come by to write what is owed; None: nothing is.
    pub fn owes(&self) -> Option<Duration> {
        self.page.owed.then(|| self.page.rest())
    }

    /// Writes the ledger if it has changed, and if something `depends` on that or its time has come. False: the plan that it comes
    /// from was made with a ledger that does not hold any more; it has to be made again, and then without.
    pub async fn write(&mut self, term: &Term, next: Option<Ledger>, depends: bool) -> bool {
        let (Some(shelf), Some(next)) = (&self.shelf, next) else {
            return true;
        };
        let page = &mut self.page;
        let waits = page.trouble.is_some() && page.asked.is_some_and(|at| clock::since(at) < AGAIN);
        let has_content = page.object.as_ref().and_then(text).is_some();
        let is_known = has_content && page.trouble.is_none();
        let is_stored = is_known && !page.owed && page.ledger.as_ref() == Some(&next);
        if waits || is_stored {
            return true;
        }
        if is_known && !depends && !page.rest().is_zero() {
            page.ledger = Some(next);
            page.owed = true;
            return true;
        }
        if !depends {
            page.eased = Some(clock::now());
        }
        page.asked = Some(clock::now());
        let put = shelf.put(page.object.as_ref(), &next);
        let put = put.instrument(spans::step("write ledger"));
        let written = term.bound(put).await;
        let relied = page.trouble.is_none();
        match written {
            // Nor will anything else be done.
            Err(_over) => return true,
            Ok(Ok(object)) => {
                page.trouble = None;
                page.object = Some(object);
                page.ledger = Some(next);
                page.owed = false;
                return true;
            }
            Ok(Err(Fault::Conflict)) => {
                let place = &shelf.place;
                page.trouble = Some(format!(
                    "somebody else writes the ledger {}/{}, too: leave it to the controller",
                    place.namespace, place.name
                ));
                page.ledger = None;
                page.owed = false;
                // At once, but not for ever.
                if page
                    .conflict
                    .replace(clock::now())
                    .is_none_or(|at| clock::since(at) > AGAIN)
                {
                    page.asked = None;
                }
            }
            Ok(Err(Fault::Other(why))) => page.trouble = Some(why),
        }
        !relied
    }
}

impl Page {
    /// How much longer what nothing depends on is not written.
    fn rest(&self) -> Duration {
        self.eased
            .map_or(Duration::ZERO, |at| PACE.saturating_sub(clock::since(at)))
    }
}

fn version(object: &Option<ConfigMap>) -> Option<&str> {
    object.as_ref()?.metadata.resource_version.as_deref()
}

impl Shelf {
    fn explain(&self, error: &kube::Error) -> String {
        let Place {
            namespace, name, ..
        } = &self.place;
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
        let Place {
            namespace, name, ..
        } = &self.place;
        format!("the ledger {namespace}/{name}: the API server has not answered for {PATIENCE:?}")
    }

    async fn get(&self) -> Result<(Option<ConfigMap>, Ledger), String> {
        let place = &self.place;
        let found = timeout(PATIENCE, self.api.get(&place.name)).await;
        let object = match found.map_err(|_| self.slow())? {
            Ok(object) => Some(object),
            Err(kube::Error::Api(status)) if status.code == 404 => None,
            Err(error) => return Err(self.explain(&error)),
        };
        let new = Ledger::new(&place.stack_name);
        let Some(text) = object.as_ref().and_then(text) else {
            return Ok((object, new));
        };
        match Ledger::read(text, &place.stack_name, &place.clusters) {
            Ok(ledger) => Ok((object, ledger)),
            Err(error @ LedgerError::Newer(_)) => Err(format!(
                "the ledger {}/{} cannot be used: {error}",
                place.namespace, place.name
            )),
            Err(error @ LedgerError::NotOurs) => {
                let Place {
                    namespace, name, ..
                } = place;
                tracing::warn!("the ledger {namespace}/{name} is begun anew: {error}");
                Ok((object, new))
            }
        }
    }

    /// Replaces the version that was read, or creates it.
    async fn put(&self, old: Option<&ConfigMap>, ledger: &Ledger) -> Result<ConfigMap, Fault> {
        let written = timeout(PATIENCE, self.send(old, ledger)).await;
        written.map_err(|_| Fault::Other(self.slow()))?
    }

    fn fault(&self, error: &kube::Error) -> Fault {
        match error {
            kube::Error::Api(status) if status.code == 409 => Fault::Conflict,
            _ => Fault::Other(self.explain(error)),
        }
    }

    /// The chart makes the ledger, and the role that comes with it cannot.
    fn not_created(&self, error: &kube::Error) -> Fault {
        let Place {
            namespace, name, ..
        } = &self.place;
        match error {
            kube::Error::Api(status) if status.code == 403 => Fault::Other(format!(
                "the ledger {namespace}/{name} is not there and may not be created ({}): install the chart again or apply \
                 deploy/manifests.yaml, which make it",
                status.message
            )),
            error => self.fault(error),
        }
    }

    async fn send(&self, old: Option<&ConfigMap>, ledger: &Ledger) -> Result<ConfigMap, Fault> {
        let name = &self.place.name;
        let mut object = old.cloned().unwrap_or_default();
        object.metadata.name = Some(name.clone());
        object.metadata.managed_fields = None;
        let labels = object.metadata.labels.get_or_insert_default();
        for key in ["name", "managed-by"] {
            // Helm finds what is its own by the second.
            let label = labels.entry(format!("app.kubernetes.io/{key}"));
            label.or_insert_with(|| MANAGER.to_owned());
        }
        object.data = Some(BTreeMap::from([(KEY.to_owned(), ledger.text())]));
        let how = PostParams::default();
        if old.is_some() {
            match self.api.replace(name, &how, &object).await {
                // Somebody has deleted it.
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
            // The right to create is asked before whether it is there.
            Err(kube::Error::Api(status)) if [403, 409].contains(&status.code) => {
                self.fill(object, &kube::Error::Api(status)).await
            }
            made => made.map_err(|error| self.fault(&error)),
        }
    }

    /// Writes into one that was made meanwhile, if nobody has written anything into it; `why` it could not be written otherwise.
    async fn fill(&self, mut object: ConfigMap, why: &kube::Error) -> Result<ConfigMap, Fault> {
        let there = match self.api.get(&self.place.name).await {
            Err(kube::Error::Api(status)) if status.code == 404 => {
                return Err(self.not_created(why));
            }
            there => there.map_err(|error| self.fault(&error))?,
        };
        if text(&there).is_some() {
            return Err(Fault::Conflict);
        }
        let content = object.data.take();
        object = there;
        object.data = content;
        object.metadata.managed_fields = None;
        let how = PostParams::default();
        let filled = self.api.replace(&self.place.name, &how, &object).await;
        filled.map_err(|error| self.fault(&error))
    }
}

/// The document; the chart makes a ConfigMap without one.
fn text(object: &ConfigMap) -> Option<&String> {
    object.data.as_ref()?.get(KEY)
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
