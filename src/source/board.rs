//! The merged view of each cluster's ConfigMaps. Informers write it, and the control loop reads it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::reader::Listing;
use crate::model::base::ids::ObjectId;
use crate::model::input::object;
use crate::model::input::request::{Object, Snapshot};

/// The maximum length of a published reason, in characters.
const MAX_REASON: usize = 400;
/// How long events may be missing before a problem reports it. Shorter gaps are normal, because watches are renewed all the time.
const TOLD_AFTER: Duration = Duration::from_secs(4);
/// How long a problem reports that a cluster returned to an older state.
const WENT_BACK: Duration = Duration::from_secs(600);

/// The boards of all clusters. Cheap to clone.
#[derive(Clone)]
pub(super) struct Boards {
    sender: watch::Sender<Option<Snapshot>>,
    /// The state before the first snapshot is published; None afterwards.
    early: Arc<Mutex<Option<Early>>>,
    /// Whether the control loop uses a snapshot in which a source was unsure.
    taken_in_doubt: Arc<AtomicBool>,
}

#[derive(Default)]
struct Early {
    snapshot: Snapshot,
    /// Clusters whose informer has neither started a watch nor failed.
    silent: BTreeSet<String>,
}

/// The part of the view that one cluster's informer writes.
pub(super) struct Board {
    cluster: String,
    boards: Boards,
    /// The last error, so that an error that repeats is logged once.
    error: Option<String>,
    /// The time from which events may have been missed.
    doubted: Option<Instant>,
    /// The time at which the cluster returned to an older state.
    went_back: Option<Instant>,
}

impl Boards {
    pub(super) fn new<'a>(
        sender: watch::Sender<Option<Snapshot>>,
        taken_in_doubt: Arc<AtomicBool>,
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
            taken_in_doubt,
        }
    }

    pub(super) fn board(&self, cluster: &str) -> Board {
        let (cluster, boards) = (cluster.to_owned(), self.clone());
        Board {
            cluster,
            boards,
            error: None,
            doubted: None,
            went_back: None,
        }
    }

    /// Publishes the first snapshot, with the clusters that have answered so far. Later calls do nothing.
    pub(super) fn publish(&self) {
        let mut early = self.lock();
        if let Some(known) = early.take() {
            self.sender.send_replace(Some(known.snapshot));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Early>> {
        self.early.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the snapshot. Wakes readers only if `change` returns true. `heard`: the cluster's informer has started a watch, or has
    /// failed.
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
    /// Records an added or changed object.
    pub(super) fn set(&self, id: ObjectId, mut object: Object) {
        if let Some(why) = &object.unreadable {
            tracing::debug!(source = shown(&self.cluster), object = %id, "a ConfigMap cannot be read: {why}");
        }
        self.boards.change(&self.cluster, false, |snapshot| {
            let before = snapshot.objects.get(&id);
            object.is_last_read = before.is_some_and(|before| before.is_last_read);
            let before = snapshot.objects.insert(id, object.clone());
            object::bound(&mut snapshot.objects);
            before.is_none_or(|before| before.asks() != object.asks())
        });
    }

    /// Records that an object was deleted. The mark of the last object that is read stays until the next list: only a list shows whether
    /// the namespace still has more.
    pub(super) fn delete(&self, id: &ObjectId) {
        self.boards.change(&self.cluster, false, |snapshot| {
            let Some(object) = snapshot.objects.get_mut(id) else {
                return false;
            };
            if object.is_last_read {
                *object = Object {
                    is_last_read: true,
                    ..Object::default()
                };
            } else {
                snapshot.objects.remove(id);
            }
            true
        });
    }

    /// Records the result of a list.
    pub(super) fn listed(&self, listing: Listing) {
        let listed = listing.objects;
        let cluster = self.cluster.as_str();
        self.boards.change(cluster, false, |snapshot| {
            let was_missing = snapshot.missing.remove(&shown(cluster)).is_some();
            let known = snapshot.objects.iter();
            let known = known.filter(|(id, _)| id.cluster == cluster);
            let same = known.map(asks).eq(listed.iter().map(asks));
            snapshot.objects.retain(|id, _| id.cluster != cluster);
            snapshot.objects.extend(listed);
            object::bound(&mut snapshot.objects);
            was_missing || !same
        });
    }

    /// Records that events may be missed from now on. Wakes no reader and reports nothing yet, because most gaps end within milliseconds.
    pub(super) fn doubt(&mut self) {
        self.doubted.get_or_insert_with(Instant::now);
        let source = shown(&self.cluster);
        self.boards.change(&self.cluster, false, |snapshot| {
            snapshot.unsure.insert(source);
            false
        });
    }

    /// Records that the watch delivers events.
    pub(super) fn is_certain(&mut self) {
        self.doubted = None;
        let source = shown(&self.cluster);
        let is_over = |at: Instant| at.elapsed() > WENT_BACK;
        let is_past = self.went_back.take_if(|at| is_over(*at)).is_some();
        let awaited = &self.boards.taken_in_doubt;
        self.boards.change(&self.cluster, true, |snapshot| {
            let was_unsure = snapshot.unsure.remove(&source);
            let over = is_past && snapshot.went_back.remove(&source).is_some();
            let was_stale = snapshot.stale.remove(&source).is_some();
            was_stale || over || was_unsure && awaited.swap(false, Ordering::Relaxed)
        });
        if self.error.take().is_some() {
            tracing::info!(
                source = shown(&self.cluster),
                "ConfigMaps can be read again"
            );
        }
    }

    /// Records that the cluster shows an older state than before, as after a restore from a backup. Returns the text of the problem.
    pub(super) fn went_back(&mut self, from: u64, to: u64) -> String {
        let source = shown(&self.cluster);
        let text = format!(
            "it returned from version {from} to {to}, as after a restore from a backup; all ConfigMaps have been listed again"
        );
        tracing::warn!(source, "{text}");
        self.still_back(Instant::now(), text.clone());
        text
    }

    /// Records that the cluster returned to an older state at `since`.
    pub(super) fn still_back(&mut self, since: Instant, why: String) {
        let source = shown(&self.cluster);
        self.went_back = Some(since);
        self.boards.change(&self.cluster, false, |snapshot| {
            snapshot.went_back.insert(source, why);
            true
        });
    }

    /// Records a failure. A cluster that was listed before keeps its last objects and becomes stale; any other cluster stays missing.
    pub(super) fn failed(&mut self, why: &str) {
        self.doubt();
        let source = shown(&self.cluster);
        let text: String = why.chars().take(MAX_REASON).collect();
        let lasts = self
            .doubted
            .is_some_and(|since| since.elapsed() >= TOLD_AFTER);
        let mut tells = false;
        self.boards.change(&self.cluster, true, |snapshot| {
            let kind = match snapshot.missing.contains_key(&source) {
                true => &mut snapshot.missing,
                false if lasts => &mut snapshot.stale,
                false => return false,
            };
            tells = true;
            kind.insert(source, text.clone()).as_ref() != Some(&text)
        });
        let source = shown(&self.cluster);
        if !tells || self.error.as_ref() == Some(&text) {
            tracing::debug!(source, "{text}");
        } else {
            tracing::warn!(source, "{text}");
            self.error = Some(text);
        }
    }
}

/// Returns the fields whose change wakes the control loop.
fn asks<'a>((id, object): (&'a ObjectId, &'a Object)) -> (&'a ObjectId, impl PartialEq + use<'a>) {
    (id, object.asks())
}

/// Returns a cluster's name for messages.
pub(super) fn shown(name: &str) -> String {
    if name.is_empty() {
        "Kubernetes API server".to_owned()
    } else {
        format!("Kubernetes API server {name}")
    }
}

#[cfg(test)]
#[path = "board_tests.rs"]
mod tests;
