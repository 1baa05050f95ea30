//! What is known of each cluster's ConfigMaps, merged: informers write, the control loop reads.

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

/// Bytes of one reason that is shown.
const MAX_REASON: usize = 400;
/// How long a cluster may be in doubt before a problem reports it: watches are renewed all the time.
const TOLD_AFTER: Duration = Duration::from_secs(4);
/// How long a problem reports that a cluster went back to an older state.
const WENT_BACK: Duration = Duration::from_secs(600);

/// The boards of all clusters. Cheap to clone.
#[derive(Clone)]
pub(super) struct Boards {
    sender: watch::Sender<Option<Snapshot>>,
    /// What is known before the first snapshot is published; None afterwards.
    early: Arc<Mutex<Option<Early>>>,
    /// Whether the loop goes by a snapshot in which a cluster was unsure.
    taken_in_doubt: Arc<AtomicBool>,
}

#[derive(Default)]
struct Early {
    snapshot: Snapshot,
    /// Clusters that have neither been listed and watched nor failed.
    silent: BTreeSet<String>,
}

/// Where one cluster's informer writes what it knows.
pub(super) struct Board {
    cluster: String,
    boards: Boards,
    /// The last thing that went wrong, so that it is logged once.
    error: Option<String>,
    /// Since when events may have been missed.
    doubted: Option<Instant>,
    /// When it went back to an older state.
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
    /// Notes an object as it is now.
    pub(super) fn set(&self, id: ObjectId, object: Object) {
        if let Some(why) = &object.unreadable {
            tracing::debug!(source = shown(&self.cluster), object = %id, "a ConfigMap cannot be read: {why}");
        }
        self.boards.change(&self.cluster, false, |snapshot| {
            let before = snapshot.objects.insert(id, object.clone());
            object::bound(&mut snapshot.objects);
            before.is_none_or(|before| before.asks() != object.asks())
        });
    }

    /// Notes that an object is gone.
    pub(super) fn delete(&self, id: &ObjectId) {
        self.boards.change(&self.cluster, false, |snapshot| {
            snapshot.objects.remove(id).is_some()
        });
    }

    /// Notes all objects that there are.
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

    /// Notes that events may be missed from now on. This wakes nobody and reports nothing yet: mostly it ends at once.
    pub(super) fn doubt(&mut self) {
        self.doubted.get_or_insert_with(Instant::now);
        let source = shown(&self.cluster);
        self.boards.change(&self.cluster, false, |snapshot| {
            snapshot.unsure.insert(source);
            false
        });
    }

    /// Notes that the API server answers, and sends what happens.
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

    /// Notes that the cluster shows an older state than before, as after a restore from a backup. Returns the text of the problem.
    pub(super) fn went_back(&mut self, from: u64, to: u64) -> String {
        let source = shown(&self.cluster);
        let text = format!(
            "it went back from version {from} to {to}, as after a restore from a backup; all ConfigMaps have been listed again"
        );
        tracing::warn!(source, "{text}");
        self.still_back(Instant::now(), text.clone());
        text
    }

    /// Notes that it did so some time ago.
    pub(super) fn still_back(&mut self, since: Instant, why: String) {
        let source = shown(&self.cluster);
        self.went_back = Some(since);
        self.boards.change(&self.cluster, false, |snapshot| {
            snapshot.went_back.insert(source, why);
            true
        });
    }

    /// A cluster that was listed once keeps what it had; one that was not stays missing, with the reason.
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

/// What makes it worth a look.
fn asks<'a>((id, object): (&'a ObjectId, &'a Object)) -> (&'a ObjectId, impl PartialEq + use<'a>) {
    (id, object.asks())
}

/// What people read for a cluster.
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
