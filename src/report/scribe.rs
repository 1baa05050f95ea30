//! What a leader writes into the cluster for people: the status ConfigMap, and Events on the ConfigMaps that ask. Nothing waits
//! for it, and it asks for little: a ConfigMap is written when its content has changed, Events are counted out of a bucket.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, ObjectReference};
use kube::api::{ObjectMeta, Patch, PatchParams};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::Instant;

use super::chronicle::Issue;
use super::events::{self, Events, Weight};
use crate::lease::Term;
use crate::model::notice::{Memory, Notice};
use crate::model::request::ObjectId;

/// Field manager, and the value of its label.
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
/// Events at once, and the time in which one more may be written: at most 60 in a first minute, 30 in any further one.
const BURST: u32 = 30;
const REFILL: Duration = Duration::from_secs(2);

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
    failing: AtomicBool,
}

/// What one term has written.
struct Desk {
    memory: Memory,
    written: Option<Written>,
    /// No write of the ConfigMap before this.
    not_before: Instant,
    bucket: Bucket,
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
}

impl Scribe {
    /// `client` is of the Lease's cluster; `events` has a writer for each cluster whose ConfigMaps are told.
    pub fn new(
        client: Client,
        namespace: &str,
        lease: &str,
        events: BTreeMap<String, Events>,
    ) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            name: status_name(lease),
            events,
            failing: AtomicBool::new(false),
        }
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
        };
        loop {
            let issue = issues.borrow_and_update().clone();
            let next = issue.as_ref().and_then(|issue| desk.next(issue));
            let due = next.as_ref().map(|(due, _)| *due);
            tokio::select! {
                biased;
                changed = issues.changed() => if changed.is_err() {
                    return std::future::pending().await;
                },
                () = at(due) => if let (Some(issue), Some((_, task))) = (&issue, next) {
                    self.carry_out(&mut desk, issue, &task).await;
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
            }
        }
    }

    /// What the leader before has told. If that cannot be read, some of it is told again.
    async fn remembered(&self) -> Memory {
        let read = self.bounded("read", self.api.get_opt(&self.name)).await;
        let data = read.flatten().and_then(|object| object.data);
        let told = data.as_ref().and_then(|data| data.get(TOLD));
        told.and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default()
    }

    async fn put(&self, issue: &Issue, memory: &Memory) -> bool {
        let ips = issue.status.static_ips.iter();
        let ips: String = ips.map(|(zone, ip)| format!("{zone} {ip}\n")).collect();
        let labels = [("app.kubernetes.io/managed-by", MANAGER)];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let object = ConfigMap {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                labels: Some(labels.into()),
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
        self.bounded("written", written).await.is_some()
    }

    /// A failure makes one line in the log until something succeeds again.
    async fn bounded<T>(
        &self,
        what: &str,
        request: impl Future<Output = Result<T, kube::Error>>,
    ) -> Option<T> {
        let error = match events::answered(request).await {
            Ok(answer) => {
                self.failing.store(false, Ordering::Relaxed);
                return Some(answer);
            }
            Err(error) => error,
        };
        let name = &self.name;
        if self.failing.swap(true, Ordering::Relaxed) {
            tracing::debug!(error, "the ConfigMap {name} cannot be {what}");
        } else {
            tracing::warn!(
                error,
                "the ConfigMap {name} cannot be {what}, nothing else depends on it: check the right to get and patch it"
            );
        }
        None
    }
}

impl Desk {
    /// What to do next, and when.
    fn next<'a>(&mut self, issue: &'a Issue) -> Option<(Instant, Task<'a>)> {
        self.memory.tidy(&issue.notices);
        let status = self.status_due(issue);
        let now = Instant::now();
        if status.is_some_and(|due| due <= now) {
            return Some((now, Task::Status));
        }
        let mut news: Vec<(&ObjectId, &Notice)> = issue
            .notices
            .iter()
            .flat_map(|(id, object)| self.memory.news(object).into_iter().map(move |it| (id, it)))
            .collect();
        // Who has to act comes first.
        news.sort_by_key(|(_, notice)| !notice.kind.is_warning());
        let event = news
            .first()
            .map(|(id, notice)| (self.bucket.due(), Task::Event(id, notice)));
        let status = status.map(|due| (due, Task::Status));
        [status, event]
            .into_iter()
            .flatten()
            .min_by_key(|(due, _)| *due)
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

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// A token bucket.
struct Bucket {
    /// When it would be full again.
    full_at: Instant,
}

impl Bucket {
    fn full() -> Self {
        Self {
            full_at: Instant::now(),
        }
    }

    /// When there is a token.
    fn due(&self) -> Instant {
        let now = Instant::now();
        let lacking = self.full_at.saturating_duration_since(now);
        now + lacking.saturating_sub(REFILL * (BURST - 1))
    }

    fn take(&mut self) {
        self.full_at = self.full_at.max(Instant::now()) + REFILL;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_bucket_lets_a_burst_through_and_then_one_at_a_time() {
        let mut bucket = Bucket::full();
        let start = Instant::now();
        let mut times = Vec::new();
        for _ in 0..200 {
            tokio::time::sleep_until(bucket.due()).await;
            bucket.take();
            times.push(start.elapsed());
        }
        assert_eq!(times[29], Duration::ZERO);
        assert_eq!(times[30], REFILL);
        let within = |from: u64, to: u64| {
            let (from, to) = (Duration::from_secs(from), Duration::from_secs(to));
            times
                .iter()
                .filter(|time| **time >= from && **time < to)
                .count()
        };
        assert_eq!((within(0, 60), within(60, 120)), (59, 30));
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        assert_eq!(bucket.due(), Instant::now());
    }
}
