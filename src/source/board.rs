//! What is known of each cluster's ConfigMaps, merged: informers write, the control loop reads.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::watcher::{self, Event};
use tokio::sync::watch;

use super::kubernetes::TokenError;
use crate::model::annotation;
use crate::model::request::{Object, ObjectId, Snapshot};

/// Of one reason that is shown.
const MAX_REASON: usize = 400;

/// The boards of all clusters. Cheap to clone.
#[derive(Clone)]
pub(super) struct Boards {
    sender: watch::Sender<Option<Snapshot>>,
    /// What is known before the first snapshot is published; None afterwards.
    early: Arc<Mutex<Option<Early>>>,
}

#[derive(Default)]
struct Early {
    snapshot: Snapshot,
    /// Clusters that have neither been listed nor failed.
    silent: BTreeSet<String>,
}

/// Where one cluster's informer writes what it knows.
pub(super) struct Board {
    cluster: String,
    boards: Boards,
    /// Objects of a list under way: they replace the others when it is complete, never before.
    listing: BTreeMap<ObjectId, Object>,
    /// The last thing that went wrong, so that it is logged once.
    error: Option<String>,
}

impl Boards {
    pub(super) fn new<'a>(
        sender: watch::Sender<Option<Snapshot>>,
        clusters: impl Iterator<Item = &'a str>,
    ) -> Self {
        let mut early = Early::default();
        for cluster in clusters {
            early.silent.insert(cluster.to_owned());
            let why = "its ConfigMaps have not been listed yet";
            early
                .snapshot
                .missing
                .insert(shown(cluster), why.to_owned());
        }
        Self {
            sender,
            early: Arc::new(Mutex::new(Some(early))),
        }
    }

    pub(super) fn board(&self, cluster: &str) -> Board {
        let (cluster, boards) = (cluster.to_owned(), self.clone());
        Board {
            cluster,
            boards,
            listing: BTreeMap::new(),
            error: None,
        }
    }

    /// The first snapshot, of those that have been heard of so far. Later calls do nothing.
    pub(super) fn publish(&self) {
        let mut early = self.lock();
        if let Some(known) = early.take() {
            self.sender.send_replace(Some(known.snapshot));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Early>> {
        self.early.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Readers wake up only when something did change that is asked for. `heard`: the cluster has been listed, or has failed to be.
    fn change(&self, cluster: &str, heard: bool, change: impl FnOnce(&mut Snapshot) -> bool) {
        let mut early = self.lock();
        if let Some(known) = early.as_mut() {
            change(&mut known.snapshot);
            if heard {
                known.silent.remove(cluster);
            }
            if known.silent.is_empty() {
                drop(early);
                self.publish();
            }
            return;
        }
        self.sender
            .send_if_modified(|snapshot| snapshot.as_mut().is_some_and(change));
    }
}

impl Board {
    /// Notes an event. True when it proves that the cluster answers.
    pub(super) fn take(&mut self, event: Event<ConfigMap>) -> bool {
        // It only announces a list: nothing has been asked yet.
        let answered = !matches!(event, Event::Init);
        if answered && self.error.take().is_some() {
            let source = shown(&self.cluster);
            self.boards.change(&self.cluster, false, |snapshot| {
                snapshot.stale.remove(&source).is_some()
            });
            tracing::info!(
                source = shown(&self.cluster),
                "ConfigMaps can be read again"
            );
        }
        match event {
            Event::Init => self.listing.clear(),
            Event::InitApply(object) => {
                let (id, object) = reduced(object, &self.cluster);
                self.listing.insert(id, object);
            }
            Event::InitDone => self.listed(),
            Event::Apply(object) => {
                let (id, object) = reduced(object, &self.cluster);
                let change = |snapshot: &mut Snapshot| {
                    let before = snapshot.objects.insert(id, object.clone());
                    before.is_none_or(|before| before.asks() != object.asks())
                };
                self.boards.change(&self.cluster, false, change);
            }
            Event::Delete(object) => {
                let (id, _) = reduced(object, &self.cluster);
                self.boards.change(&self.cluster, false, |snapshot| {
                    snapshot.objects.remove(&id).is_some()
                });
            }
        }
        answered
    }

    fn listed(&mut self) {
        let listed = std::mem::take(&mut self.listing);
        let cluster = self.cluster.as_str();
        self.boards.change(cluster, true, |snapshot| {
            let was_missing = snapshot.missing.remove(&shown(cluster)).is_some();
            let known = snapshot.objects.iter();
            let known = known.filter(|(id, _)| id.cluster == cluster);
            let same = known.map(asks).eq(listed.iter().map(asks));
            snapshot.objects.retain(|id, _| id.cluster != cluster);
            snapshot.objects.extend(listed);
            was_missing || !same
        });
    }

    /// A cluster that was listed once keeps what it had; one that was not stays missing, with the reason.
    pub(super) fn failed(&mut self, error: &watcher::Error) {
        let source = shown(&self.cluster);
        if let watcher::Error::WatchError(status) = error
            && status.code == 410
        {
            tracing::debug!(source, "the watch was too old; listing anew");
            return;
        }
        let text = explain(error);
        if self.error.as_ref() == Some(&text) {
            tracing::debug!(source, "{text}");
        } else {
            tracing::warn!(source, "{text}");
        }
        self.error = Some(text.clone());
        self.boards.change(&self.cluster, true, |snapshot| {
            let kind = match snapshot.missing.contains_key(&source) {
                true => &mut snapshot.missing,
                false => &mut snapshot.stale,
            };
            kind.insert(source, text.clone()) != Some(text)
        });
    }
}

/// What makes it worth a look.
fn asks<'a>((id, object): (&'a ObjectId, &'a Object)) -> (&'a ObjectId, impl PartialEq + use<'a>) {
    (id, object.asks())
}

/// What people read for a cluster.
fn shown(name: &str) -> String {
    if name.is_empty() {
        "Kubernetes API server".to_owned()
    } else {
        format!("Kubernetes API server {name}")
    }
}

/// Only what is needed stays in memory.
fn reduced(object: ConfigMap, cluster: &str) -> (ObjectId, Object) {
    let id = ObjectId {
        cluster: cluster.to_owned(),
        namespace: object.metadata.namespace.unwrap_or_default(),
        name: object.metadata.name.unwrap_or_default(),
    };
    let mut reduced = Object {
        binary_keys: object.binary_data.map_or(0, |data| data.len()),
        annotations: annotation::ours(&object.metadata.annotations.unwrap_or_default()),
        ..Object::default()
    };
    reduced.set_uid(&object.metadata.uid.unwrap_or_default());
    for (key, value) in object.data.iter().flatten() {
        reduced.put(key, value);
    }
    (id, reduced)
}

/// What to do about it.
fn explain(error: &watcher::Error) -> String {
    let cause = match error {
        watcher::Error::InitialListFailed(cause)
        | watcher::Error::WatchStartFailed(cause)
        | watcher::Error::WatchFailed(cause) => cause,
        watcher::Error::WatchError(status) => {
            return format!("the API server ended the watch: {}", status.message);
        }
        watcher::Error::NoResourceVersion => {
            return "the API server answered without a resource version".to_owned();
        }
    };
    let text = match cause {
        kube::Error::Api(status) if status.code == 403 => format!(
            "its ConfigMaps may not be read ({}): bind a role with list and watch on configmaps, or set --namespace",
            status.message
        ),
        kube::Error::Api(status) if status.code == 401 => {
            "it does not accept our credentials: check the service account's token, --credentials-dir or the kubeconfig"
                .to_owned()
        }
        kube::Error::Api(status) => format!("it answered {} ({})", status.code, status.message),
        kube::Error::Service(cause) if cause.is::<TokenError>() => cause.to_string(),
        other => format!("it cannot be reached ({}): check its address, its certificate authority and the network", root(other)),
    };
    text.chars().take(MAX_REASON).collect()
}

/// The innermost cause: the layers around it only say that there is one.
fn root(error: &kube::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = inner.to_string();
        source = inner.source();
    }
    text
}

#[cfg(test)]
#[path = "board_tests.rs"]
mod tests;
