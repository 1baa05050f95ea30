//! What a leader writes into the cluster for people: the status ConfigMap, and Events on the ConfigMaps that ask. Nothing waits
//! for it, and it asks for little: a ConfigMap is written when its content has changed, Events are counted out of a bucket.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, ObjectReference};
use kube::api::{ObjectMeta, Patch, PatchParams};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::Instant;

use super::annotator::{Annotator, Chore, Slate};
use super::bucket::Bucket;
use super::chronicle::Issue;
use super::events;
use super::events::{Events, Weight};
use super::turns::Turns;
use super::writes::{Failure, Fate, Kind, Writes, answered};
use crate::lease::Term;
use crate::model::base::ids::ObjectId;
use crate::model::status::notifications::{Memory, Notice, OfObject};

/// Field manager.
const MANAGER: &str = "kube-static-egress-controller";
/// What the status ConfigMap's name has more than the Lease's.
const SUFFIX: &str = "-status";
/// Its keys.
pub const STATUS: &str = "status.json";
pub const STATIC_IPS: &str = "static-ips";
const TOLD: &str = "told.json";
/// Between two writes of the ConfigMap; longer where only the memory of Events has changed, or the one before has failed.
const PACE: Duration = Duration::from_secs(5);
const SLOW_PACE: Duration = Duration::from_secs(30);

/// How many Events can always be written at once, whatever is annotated.
const FOR_EVENTS: u32 = 10;

/// The name of the status ConfigMap that belongs to a Lease.
pub fn status_name(lease: &str) -> String {
    format!("{lease}{SUFFIX}")
}

/// Writes into the clusters.
pub struct Scribe {
    api: Api<ConfigMap>,
    name: String,
    /// By cluster.
    events: BTreeMap<String, Events>,
    /// None: teams' ConfigMaps are not written.
    annotator: Option<Annotator>,
    writes: Writes,
    failing: AtomicBool,
}

/// What one term has written.
struct Desk {
    memory: Memory,
    written: Option<Written>,
    /// No write of the ConfigMap before this.
    not_before: Instant,
    bucket: Bucket,
    /// What is new and was not told yet: key of the ConfigMap, and mark.
    untold: BTreeSet<(String, String)>,
    turns: Turns,
    slate: Option<Slate>,
}

#[derive(PartialEq)]
struct Written {
    mark: String,
    memory: Memory,
}

/// Something to do, at the earliest when.
enum Task<'a> {
    Status,
    Event(&'a ObjectId, &'a Notice),
    Annotations(Chore),
}

impl Scribe {
    /// `client` is of the Lease's cluster; `events` has a writer for each cluster whose ConfigMaps are told.
    pub fn new(
        client: Client,
        namespace: &str,
        lease: &str,
        events: BTreeMap<String, Events>,
        writes: Writes,
    ) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            name: status_name(lease),
            events,
            annotator: None,
            writes,
            failing: AtomicBool::new(false),
        }
    }

    /// Annotates the ConfigMaps that are told, too; `namespace` is the one where ConfigMaps are looked at, if it is one.
    pub fn annotating(mut self, namespace: Option<String>) -> Self {
        let clients = self.events.iter();
        let clients = clients.map(|(name, events)| (name.clone(), events.client()));
        let annotator = Annotator::new(clients.collect(), namespace, self.writes.clone());
        self.annotator = Some(annotator);
        self
    }

    /// Writes what there is to tell for as long as the term lasts, and for ever after nothing.
    pub async fn write(
        &self,
        term: &Term,
        mut issues: watch::Receiver<Option<Arc<Issue>>>,
    ) -> Infallible {
        let _over = term.bound(self.follow(&mut issues)).await;
        std::future::pending().await
    }

    async fn follow(&self, issues: &mut watch::Receiver<Option<Arc<Issue>>>) -> Infallible {
        let mut desk = Desk {
            memory: self.remembered().await,
            written: None,
            not_before: Instant::now(),
            bucket: Bucket::full(),
            untold: BTreeSet::new(),
            turns: Turns::default(),
            slate: self.annotator.as_ref().map(Annotator::slate),
        };
        issues.mark_changed();
        let mut issue: Option<Arc<Issue>> = None;
        loop {
            let next = issue.as_ref().and_then(|issue| desk.next(issue));
            // What is due is done even where news come faster than it can be done.
            let news = if let (Some(issue), Some((due, task))) = (&issue, &next)
                && *due <= Instant::now()
            {
                self.carry_out(&mut desk, issue, task).await;
                issues.has_changed().unwrap_or(false)
            } else {
                let due = next.map(|(due, _)| due);
                tokio::select! {
                    () = at(due) => false,
                    changed = issues.changed() => match changed {
                        Ok(()) => true,
                        Err(_) => return std::future::pending().await,
                    },
                }
            };
            if news {
                issue = issues.borrow_and_update().clone();
                if let Some(issue) = &issue {
                    self.writes
                        .count(Kind::Event, Fate::Superseded, desk.look(issue));
                }
            }
        }
    }

    async fn carry_out(&self, desk: &mut Desk, issue: &Issue, task: &Task<'_>) {
        match task {
            Task::Status => {
                let memory = desk.memory.brief();
                let wrote = self.put(issue, &memory).await;
                let pace = if wrote { PACE } else { SLOW_PACE };
                desk.not_before = Instant::now() + pace;
                if wrote {
                    desk.written = Some(Written {
                        mark: issue.mark.clone(),
                        memory,
                    });
                }
            }
            Task::Event(id, notice) => {
                desk.bucket.take();
                desk.turns.serve(id);
                let object = &issue.notices[*id];
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
                // Told or not: what could not be told is in the status.
                desk.memory.told(object, notice);
                desk.untold.remove(&untold(object, notice));
            }
            Task::Annotations(chore) => {
                if chore.is_write() {
                    desk.bucket.take();
                }
                if let (Some(annotator), Some(slate)) = (&self.annotator, &mut desk.slate) {
                    annotator.carry_out(slate, chore, issue).await;
                }
            }
        }
    }

    /// What the leader before has told. If that cannot be read, some of it is told again.
    async fn remembered(&self) -> Memory {
        let read = self.told("read", answered(self.api.get_opt(&self.name)).await);
        let data = read.flatten().and_then(|object| object.data);
        let told = data.as_ref().and_then(|data| data.get(TOLD));
        told.and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default()
    }

    async fn put(&self, issue: &Issue, memory: &Memory) -> bool {
        let ips = issue.status.exits();
        let ips: String = ips.map(|(zone, ip)| format!("{zone} {ip}\n")).collect();
        let object = ConfigMap {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                ..ObjectMeta::default()
            },
            data: Some(BTreeMap::from([
                (STATUS.to_owned(), issue.brief.clone()),
                (STATIC_IPS.to_owned(), ips),
                (
                    TOLD.to_owned(),
                    serde_json::to_string(memory).unwrap_or_default(),
                ),
            ])),
            ..ConfigMap::default()
        };
        let parameters = PatchParams::apply(MANAGER).force();
        let patch = Patch::Apply(&object);
        let written = self.api.patch(&self.name, &parameters, &patch);
        let written = self.writes.counted(Kind::Status, written).await;
        self.told("written", written).is_some()
    }

    /// A failure makes one line in the log until something succeeds again.
    fn told<T>(&self, what: &str, answer: Result<T, Failure>) -> Option<T> {
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
                "the ConfigMap {name} cannot be {what}, nothing else depends on it: check that it is there, and the right to get and patch it; \
                 the chart makes both"
            );
        }
        None
    }
}

impl Desk {
    /// Takes in what is new, and counts what was new before and will not be told any more.
    fn look(&mut self, issue: &Issue) -> u64 {
        self.memory.tidy(&issue.notices);
        self.turns.tidy(|id| issue.notices.contains_key(id));
        let objects = issue.notices.values();
        let news = objects.flat_map(|object| {
            let news = self.memory.news(object).into_iter();
            news.map(move |notice| untold(object, notice))
        });
        if let Some(slate) = &mut self.slate {
            slate.look(issue);
        }
        let before = std::mem::replace(&mut self.untold, news.collect());
        before.difference(&self.untold).fold(0, |sum, _| sum + 1)
    }

    /// What to do next, and when.
    fn next<'a>(&self, issue: &'a Issue) -> Option<(Instant, Task<'a>)> {
        let status = self.status_due(issue);
        let now = Instant::now();
        if status.is_some_and(|due| due <= now) {
            return Some((now, Task::Status));
        }
        let event = self.whose_turn(issue);
        let event = event.map(|(id, notice)| (self.bucket.due(0), Task::Event(id, notice)));
        let status = status.map(|due| (due, Task::Status));
        let chore = self.slate.as_ref().and_then(|slate| slate.next(now));
        let chore = chore.map(|(due, chore)| match chore.is_write() {
            // Events are of the moment, annotations stay.
            true => (
                due.max(self.bucket.due(FOR_EVENTS)),
                Task::Annotations(chore),
            ),
            false => (due, Task::Annotations(chore)),
        });
        [status, event, chore]
            .into_iter()
            .flatten()
            .min_by_key(|(due, _)| *due)
    }

    /// What is to be told next. Namespaces take turns, in each of them who has to act comes first, and every other turn is for those.
    fn whose_turn<'a>(&self, issue: &'a Issue) -> Option<(&'a ObjectId, &'a Notice)> {
        let objects = issue.notices.iter();
        let news = objects.flat_map(|(id, object)| {
            let news = self.memory.news(object).into_iter();
            news.map(move |notice| (id, notice))
        });
        let urgent = self.turns.is_for_warnings();
        news.min_by_key(|(id, notice)| {
            let waits = !notice.kind.is_warning();
            let namespace = self.turns.of_namespace(id);
            (urgent && waits, namespace, waits, self.turns.of_object(id))
        })
    }

    /// When the ConfigMap is to be written, if what is in it is not true any more.
    fn status_due(&self, issue: &Issue) -> Option<Instant> {
        let Some(written) = &self.written else {
            return Some(self.not_before);
        };
        if written.mark != issue.mark {
            Some(self.not_before)
        } else if written.memory != self.memory.brief() {
            Some(self.not_before + SLOW_PACE)
        } else {
            None
        }
    }
}

fn event(notice: &Notice) -> events::Notice {
    events::Notice {
        weight: match notice.kind.is_warning() {
            true => Weight::Warning,
            false => Weight::Normal,
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
#[path = "scribe_tests.rs"]
mod tests;
