//! Publishes the leader's findings in the clusters: the status ConfigMap, and Events and annotations on the labelled ConfigMaps. No pass
//! waits for these writes. The status ConfigMap is written when its content changes; Events are rate limited.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::Instant;

use super::annotation_writer::{AnnotationQueue, AnnotationTask, AnnotationWriter};
use super::events::{self, EventType, Events};
use super::fair_order::FairOrder;
use super::leader_status::LeaderStatus;
use super::rate_limiter::RateLimiter;
use super::status_publisher::StatusSnapshot;
use super::write_metrics::{WriteFailure, WriteKind, WriteMetrics, WriteResult, answered};
use crate::config_map::ConfigMap;
use crate::lease::Term;
use crate::model::base::ids::ObjectId;
use crate::model::status::notifications::{Memory, Notice, OfObject};

/// The field manager of the status ConfigMap.
const MANAGER: &str = "kube-static-egress-controller";
/// The suffix that makes the status ConfigMap's name from the Lease's name.
const SUFFIX: &str = "-status";
/// The keys of the status ConfigMap.
pub const STATUS: &str = "status.json";
pub const STATIC_IPS: &str = "static-ips";
const TOLD: &str = "told.json";
/// The minimum time between two writes of the status ConfigMap. `SLOW_PACE` applies after a failed write, and when only the record of
/// written Events has changed.
const PACE: Duration = Duration::from_secs(5);
const SLOW_PACE: Duration = Duration::from_secs(30);

/// The number of tokens that annotations leave for Events.
const FOR_EVENTS: u32 = 10;

/// Returns the name of the status ConfigMap that belongs to a Lease.
pub fn status_name(lease: &str) -> String {
    format!("{lease}{SUFFIX}")
}

/// Writes the status, Events and annotations.
pub struct ClusterWriter {
    api: Api<ConfigMap>,
    name: String,
    /// One writer of Events per cluster.
    events: BTreeMap<String, Events>,
    /// None if annotations are switched off.
    annotations: Option<AnnotationWriter>,
    writes: WriteMetrics,
    failing: AtomicBool,
}

/// What this leader has written in its term, and what is pending.
struct TermState {
    memory: Memory,
    written: Option<Written>,
    /// The earliest time of the next write of the status ConfigMap.
    not_before: Instant,
    limiter: RateLimiter,
    /// Notifications without an Event yet: key of the ConfigMap, and mark.
    untold: BTreeSet<(String, String)>,
    order: FairOrder,
    queue: Option<AnnotationQueue>,
}

#[derive(PartialEq)]
struct Written {
    mark: String,
    memory: Memory,
}

/// The next write.
enum Task<'a> {
    Status,
    Event(&'a ObjectId, &'a Notice),
    Annotations(AnnotationTask),
}

impl ClusterWriter {
    /// Creates a writer. `client` connects to the cluster of the Lease; `events` has one writer per watched cluster.
    pub fn new(
        client: Client,
        namespace: &str,
        lease: &str,
        events: BTreeMap<String, Events>,
        writes: WriteMetrics,
    ) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            name: status_name(lease),
            events,
            annotations: None,
            writes,
            failing: AtomicBool::new(false),
        }
    }

    /// Returns a reader of the status ConfigMap for the time while another replica leads.
    pub(super) fn leader_status(&self) -> LeaderStatus {
        LeaderStatus::new(self.api.clone(), self.name.clone(), STATUS)
    }

    /// Switches annotations on. `namespace` limits them to one namespace, as it limits the informer.
    pub fn annotating(mut self, namespace: Option<String>) -> Self {
        let clients = self.events.iter();
        let clients = clients.map(|(name, events)| (name.clone(), events.client()));
        let annotations = AnnotationWriter::new(clients.collect(), namespace, self.writes.clone());
        self.annotations = Some(annotations);
        self
    }

    /// Writes for as long as the term lasts. Never returns.
    pub async fn write(
        &self,
        term: &Term,
        mut snapshots: watch::Receiver<Option<Arc<StatusSnapshot>>>,
    ) -> Infallible {
        let _over = term.bound(self.follow(&mut snapshots)).await;
        std::future::pending().await
    }

    async fn follow(
        &self,
        snapshots: &mut watch::Receiver<Option<Arc<StatusSnapshot>>>,
    ) -> Infallible {
        let mut state = TermState {
            memory: self.remembered().await,
            written: None,
            not_before: Instant::now(),
            limiter: RateLimiter::full(),
            untold: BTreeSet::new(),
            order: FairOrder::default(),
            queue: self.annotations.as_ref().map(AnnotationWriter::queue),
        };
        snapshots.mark_changed();
        let mut snapshot: Option<Arc<StatusSnapshot>> = None;
        loop {
            let next = snapshot.as_ref().and_then(|snapshot| state.next(snapshot));
            // A due write comes first, so that frequent snapshots cannot postpone it.
            let news = if let (Some(snapshot), Some((due, task))) = (&snapshot, &next)
                && *due <= Instant::now()
            {
                self.carry_out(&mut state, snapshot, task).await;
                snapshots.has_changed().unwrap_or(false)
            } else {
                let due = next.map(|(due, _)| due);
                tokio::select! {
                    () = at(due) => false,
                    changed = snapshots.changed() => match changed {
                        Ok(()) => true,
                        Err(_) => return std::future::pending().await,
                    },
                }
            };
            if news {
                snapshot = snapshots.borrow_and_update().clone();
                if let Some(snapshot) = &snapshot {
                    self.writes.count(
                        WriteKind::Event,
                        WriteResult::Superseded,
                        state.look(snapshot),
                    );
                }
            }
        }
    }

    async fn carry_out(&self, state: &mut TermState, snapshot: &StatusSnapshot, task: &Task<'_>) {
        match task {
            Task::Status => {
                let memory = state.memory.brief();
                let wrote = self.put(snapshot, &memory).await;
                let pace = if wrote { PACE } else { SLOW_PACE };
                state.not_before = Instant::now() + pace;
                if wrote {
                    state.written = Some(Written {
                        mark: snapshot.mark.clone(),
                        memory,
                    });
                }
            }
            Task::Event(id, notice) => {
                state.limiter.take();
                state.order.serve(id);
                let object = &snapshot.notices[*id];
                if let Some(events) = self.events.get(&id.cluster) {
                    let regarding = ObjectReference {
                        api_version: Some("v1".to_owned()),
                        kind: Some("ConfigMap".to_owned()),
                        namespace: Some(id.namespace.clone()),
                        name: Some(id.name.clone()),
                        uid: Some(object.uid.clone()),
                        ..ObjectReference::default()
                    };
                    events.write(regarding, &event(notice)).await;
                }
                // A failed Event is not retried, because the status shows the same problem.
                state.memory.told(object, notice);
                state.untold.remove(&untold(object, notice));
            }
            Task::Annotations(task) => {
                if task.is_write() {
                    state.limiter.take();
                }
                if let (Some(annotations), Some(queue)) = (&self.annotations, &mut state.queue) {
                    annotations.carry_out(queue, task, snapshot).await;
                }
            }
        }
    }

    /// Loads the notifications that already have an Event. If this fails, some Events are written a second time.
    async fn remembered(&self) -> Memory {
        let read = self.told("read", answered(self.api.get_opt(&self.name)).await);
        let data = read.flatten().and_then(|object| object.data);
        let told = data.as_ref().and_then(|data| data.get(TOLD));
        told.and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default()
    }

    async fn put(&self, snapshot: &StatusSnapshot, memory: &Memory) -> bool {
        let ips = snapshot.status.exits();
        let ips: String = ips.map(|(zone, ip)| format!("{zone} {ip}\n")).collect();
        let mut object = ConfigMap::default();
        object.metadata.name = Some(self.name.clone());
        let told = serde_json::to_string(memory).unwrap_or_default();
        object.data = Some(BTreeMap::from([
            (STATUS.to_owned(), snapshot.brief.clone()),
            (STATIC_IPS.to_owned(), ips),
            (TOLD.to_owned(), told),
        ]));
        let parameters = PatchParams::apply(MANAGER).force();
        let patch = Patch::Apply(&object);
        let written = self.api.patch(&self.name, &parameters, &patch);
        let written = self.writes.counted(WriteKind::Status, written).await;
        self.told("written", written).is_some()
    }

    /// Logs a failure once, until a request succeeds again.
    fn told<T>(&self, what: &str, answer: Result<T, WriteFailure>) -> Option<T> {
        let error = match answer {
            Ok(answer) => {
                self.failing.store(false, Ordering::Relaxed);
                return Some(answer);
            }
            Err(failure) => failure.text,
        };
        let name = &self.name;
        if self.failing.swap(true, Ordering::Relaxed) {
            tracing::debug!(error, "the ConfigMap {name} cannot be {what}");
        } else {
            tracing::warn!(
                error,
                "the ConfigMap {name} cannot be {what}; routing does not depend on it: check that it exists, and the permission to get and \
                 patch it; the chart creates both"
            );
        }
        None
    }
}

impl TermState {
    /// Updates the pending writes from a snapshot. Returns the number of pending Events that became obsolete.
    fn look(&mut self, snapshot: &StatusSnapshot) -> u64 {
        self.memory.tidy(&snapshot.notices);
        self.order.tidy(|id| snapshot.notices.contains_key(id));
        let objects = snapshot.notices.values();
        let news = objects.flat_map(|object| {
            let news = self.memory.news(object).into_iter();
            news.map(move |notice| untold(object, notice))
        });
        if let Some(queue) = &mut self.queue {
            queue.look(snapshot);
        }
        let before = std::mem::replace(&mut self.untold, news.collect());
        before.difference(&self.untold).fold(0, |sum, _| sum + 1)
    }

    /// Returns the next write and when it is due.
    fn next<'a>(&self, snapshot: &'a StatusSnapshot) -> Option<(Instant, Task<'a>)> {
        let status = self.status_due(snapshot);
        let now = Instant::now();
        if status.is_some_and(|due| due <= now) {
            return Some((now, Task::Status));
        }
        let event = self.whose_turn(snapshot);
        let event = event.map(|(id, notice)| (self.limiter.due(0), Task::Event(id, notice)));
        let status = status.map(|due| (due, Task::Status));
        let task = self.queue.as_ref().and_then(|queue| queue.next(now));
        let task = task.map(|(due, task)| match task.is_write() {
            // Events are about the current moment, so they go before annotations.
            true => (
                due.max(self.limiter.due(FOR_EVENTS)),
                Task::Annotations(task),
            ),
            false => (due, Task::Annotations(task)),
        });
        [status, event, task]
            .into_iter()
            .flatten()
            .min_by_key(|(due, _)| *due)
    }

    /// Returns the notification that gets the next Event. Namespaces take turns. Warnings come first in each namespace, and every
    /// other turn is reserved for warnings.
    fn whose_turn<'a>(&self, snapshot: &'a StatusSnapshot) -> Option<(&'a ObjectId, &'a Notice)> {
        let objects = snapshot.notices.iter();
        let news = objects.flat_map(|(id, object)| {
            let news = self.memory.news(object).into_iter();
            news.map(move |notice| (id, notice))
        });
        let urgent = self.order.is_for_warnings();
        news.min_by_key(|(id, notice)| {
            let waits = !notice.kind.is_warning();
            let namespace = self.order.of_namespace(id);
            (urgent && waits, namespace, waits, self.order.of_object(id))
        })
    }

    /// Returns when the status ConfigMap has to be written, or None if it is up to date.
    fn status_due(&self, snapshot: &StatusSnapshot) -> Option<Instant> {
        let Some(written) = &self.written else {
            return Some(self.not_before);
        };
        if written.mark != snapshot.mark {
            Some(self.not_before)
        } else if written.memory != self.memory.brief() {
            Some(self.not_before + SLOW_PACE)
        } else {
            None
        }
    }
}

fn event(notice: &Notice) -> events::EventContent {
    events::EventContent {
        type_: match notice.kind.is_warning() {
            true => EventType::Warning,
            false => EventType::Normal,
        },
        reason: notice.kind.name(),
        action: "Route",
        note: notice.note.clone(),
    }
}

fn untold(object: &OfObject, notice: &Notice) -> (String, String) {
    (object.key(), notice.mark().to_owned())
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
#[path = "cluster_writer_tests.rs"]
mod tests;
