//! Turns the result of each pass into a [`StatusSnapshot`] for the status page, the status ConfigMap and Events. The control loop
//! only hands the result over; a separate task builds the snapshot.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::watch;

use super::leader_status::{LeaderStatus, Written};
use crate::clock::wall;
use crate::error_chain;
use crate::lease::LeaseView;
use crate::model::base::digest::digest;
use crate::model::base::plain::{plain, short};
use crate::model::base::reason::Reason;
use crate::model::input::request::Snapshot;
use crate::model::plan::types::Action;
use crate::model::schedule::Outcome;
use crate::model::status::notifications::Notices;
use crate::model::status::{
    Failure, Leader, SCHEMA_VERSION, Status, Step, from_plan, notifications,
};
use crate::provider::ProviderError;
use crate::reconcile::Pass;

/// The maximum size of the status that the page receives. 20,000 entries take about half of it.
const MOST_BYTES: usize = 8 << 20;
/// The maximum size of the status in the ConfigMap. The whole object must stay below 1 MiB.
const BRIEF_BYTES: usize = 700_000;
/// The number of steps that the timeline keeps.
const MAX_STEPS: usize = 50;
/// The maximum length of the texts of an error and its sources, in bytes.
const MAX_CAUSE: usize = 2_000;

/// Publishes the status. All clones share one state.
#[derive(Clone, Default)]
pub struct StatusPublisher {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    dry_run: bool,
    history: Mutex<TermHistory>,
    records: watch::Sender<Handover>,
    snapshot: watch::Sender<Option<Arc<StatusSnapshot>>>,
    view: Mutex<Option<watch::Receiver<LeaseView>>>,
    leader_status: OnceLock<LeaderStatus>,
}

/// The history of this leader's term.
#[derive(Clone, Default)]
struct TermHistory {
    since: String,
    steps: Vec<Step>,
    operation: Option<Step>,
    failing_since: Option<String>,
    /// Why the last operation failed. It is kept until the stack is as planned, because a plan loses the reason with the failed stack.
    setback: Option<String>,
}

/// The latest pass on its way to the publisher. A record that was read is dropped, because it holds all problems and ConfigMaps.
#[derive(Default)]
enum Handover {
    /// This replica does not lead.
    #[default]
    Closed,
    New(Box<PassRecord>),
    Read,
}

/// The result of one pass, with what is needed to publish it.
struct PassRecord {
    found: Result<Pass, Failure>,
    snapshot: Snapshot,
    time: String,
    next_look: String,
    history: TermHistory,
}

/// A status that is ready to be published.
#[derive(Default)]
pub struct StatusSnapshot {
    /// The status without its entries, which only `json` has: there may be 20,000.
    pub status: Status,
    /// The status as JSON, and the digest of that JSON.
    pub json: Bytes,
    pub digest: String,
    /// The status cut to a ConfigMap's size, and a digest of its content without times.
    pub brief: String,
    pub mark: String,
    /// The notifications for each ConfigMap.
    pub notices: Notices,
}

impl StatusSnapshot {
    /// Returns the status with its entries.
    fn read(&self) -> Option<Status> {
        Status::read(std::str::from_utf8(&self.json).ok()?)
    }
}

/// Formats a time in UTC, to the second.
fn written(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).map_or_else(|_| String::new(), |time| time.to_string())
}

/// Returns the texts of an error and of its sources: the first is often no more than "dispatch failure".
pub(super) fn causes(error: Option<&(dyn std::error::Error + 'static)>, bytes: usize) -> String {
    let text = error.map(error_chain::text);
    short(&text.unwrap_or_default(), bytes)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl StatusPublisher {
    pub fn new(dry_run: bool) -> Self {
        Self {
            inner: Arc::new(Inner {
                dry_run,
                ..Inner::default()
            }),
        }
    }

    /// Reads from `view` who leads.
    pub fn follow_lease(&self, view: watch::Receiver<LeaseView>) {
        *lock(&self.inner.view) = Some(view);
    }

    /// Returns the latest view of the Lease.
    pub fn lease(&self) -> LeaseView {
        let view = lock(&self.inner.view);
        view.as_ref()
            .map(|view| view.borrow().clone())
            .unwrap_or_default()
    }

    /// Sets the reader of the leader's status, for the time while another replica leads. Later calls do nothing.
    pub(super) fn follow_leader(&self, reader: LeaderStatus) {
        let _first = self.inner.leader_status.set(reader);
    }

    /// Returns the leader's last status. None without a cluster.
    pub(super) async fn of_leader(&self) -> Option<Written> {
        self.inner.leader_status.get()?.read().await
    }

    /// Starts a new term of leadership: the timeline begins empty.
    pub fn begin_term(&self) {
        *lock(&self.inner.history) = TermHistory {
            since: written(wall()),
            ..TermHistory::default()
        };
    }

    /// Withdraws the status, because another replica may lead now.
    pub fn end_term(&self) {
        self.inner.records.send_replace(Handover::Closed);
        self.inner.snapshot.send_replace(None);
    }

    pub fn record_pass(
        &self,
        result: Result<Pass, ProviderError>,
        snapshot: Snapshot,
        next: Duration,
    ) {
        let now = wall();
        let (time, next_look) = (written(now), written(now.checked_add(next).unwrap_or(now)));
        let mut history = lock(&self.inner.history);
        let found = match result {
            Ok(pass) => {
                history.failing_since = None;
                history.setback = match &pass.plan.action {
                    Action::Keep => None,
                    _ => pass.plan.setback.clone().or(history.setback.take()),
                };
                let step = Step {
                    time: time.clone(),
                    action: pass.plan.action.name().to_owned(),
                    why: pass.plan.why.clone(),
                    applied: pass.applied,
                    stack_status: pass.plan.shown_status().map(ToString::to_string),
                };
                if pass.applied {
                    history.operation = Some(step.clone());
                }
                history.note(step);
                Ok(pass)
            }
            Err(error) => {
                let since = history
                    .failing_since
                    .get_or_insert_with(|| time.clone())
                    .clone();
                history.note(Step {
                    time: time.clone(),
                    action: "Failed".to_owned(),
                    why: plain(&error.message).into_owned(),
                    ..Step::default()
                });
                let cause = error.source.as_deref().map(|it| it as _);
                Err(Failure {
                    reason: error.reason.to_owned(),
                    message: plain(&error.message).into_owned(),
                    cause: causes(cause, MAX_CAUSE),
                    since,
                })
            }
        };
        let record = PassRecord {
            found,
            snapshot,
            time,
            next_look,
            history: history.clone(),
        };
        self.inner
            .records
            .send_replace(Handover::New(Box::new(record)));
    }

    /// Returns the latest status, or None while this replica does not lead or has not finished a pass.
    pub fn latest(&self) -> Option<Arc<StatusSnapshot>> {
        self.inner.snapshot.borrow().clone()
    }

    #[cfg(test)]
    pub fn set_latest(&self, snapshot: Arc<StatusSnapshot>) {
        self.inner.snapshot.send_replace(Some(snapshot));
    }

    pub fn subscribe(&self) -> watch::Receiver<Option<Arc<StatusSnapshot>>> {
        self.inner.snapshot.subscribe()
    }

    /// Builds a status from each pass, forever. If passes are faster than this task, only the latest pass counts.
    pub async fn run(self) {
        let mut records = self.inner.records.subscribe();
        while records.changed().await.is_ok() {
            let Some(record) = self.take() else {
                continue;
            };
            let before = self.latest();
            let snapshot = self.build(&record, before.as_deref());
            drop((record, before));
            self.inner.snapshot.send_if_modified(|is| {
                // The replica may have lost the Lease in the meantime.
                let leads = !matches!(*self.inner.records.borrow(), Handover::Closed);
                if leads {
                    *is = Some(Arc::new(snapshot));
                }
                leads
            });
        }
    }

    /// Takes the latest record, if it is new.
    fn take(&self) -> Option<Box<PassRecord>> {
        let mut taken = None;
        self.inner.records.send_if_modified(|handover| {
            *handover = match std::mem::take(handover) {
                Handover::New(record) => {
                    taken = Some(record);
                    Handover::Read
                }
                other => other,
            };
            false
        });
        taken
    }

    /// Builds the status. A pass that failed repeats the contents of `before`, the status published last.
    fn build(&self, record: &PassRecord, before: Option<&StatusSnapshot>) -> StatusSnapshot {
        let mut status = match &record.found {
            Ok(pass) => {
                let setback = &record.history.setback;
                let held = match pass.outcome {
                    Outcome::Held(_) => Some(from_plan::failed(
                        setback.as_deref().unwrap_or(&pass.plan.why),
                    )),
                    _ if self.inner.dry_run && pass.plan.action.mutates() => {
                        let text =
                            "nothing is written with --dry-run; run the controller without it"
                                .to_owned();
                        Some((Reason::DryRun, text))
                    }
                    _ => None,
                };
                Status {
                    setback: setback.clone(),
                    time: record.time.clone(),
                    plan: record.history.steps.last().cloned().unwrap_or_default(),
                    ..from_plan::survey(&pass.plan, &record.snapshot, held)
                }
            }
            Err(failure) => Status {
                failure: Some(failure.clone()),
                ..before.and_then(StatusSnapshot::read).unwrap_or_default()
            },
        };
        let lease = self.lease();
        status.schema_version = SCHEMA_VERSION;
        status.version = env!("CARGO_PKG_VERSION").to_owned();
        status.dry_run = self.inner.dry_run;
        status.leader = Leader {
            identity: lease.us,
            epoch: lease.epoch,
            since: record.history.since.clone(),
        };
        status.next_look.clone_from(&record.next_look);
        status.operation.clone_from(&record.history.operation);
        status.timeline.clone_from(&record.history.steps);
        let notices = notifications::notices(&status, &record.snapshot);
        status.fit(MOST_BYTES);
        let json = Bytes::from(status.json());
        let brief = status.fitting(BRIEF_BYTES);
        status.entries = Vec::new();
        StatusSnapshot {
            digest: digest(&json),
            json,
            mark: digest(brief.timeless().json().as_bytes()),
            brief: brief.json(),
            status,
            notices,
        }
    }
}

impl TermHistory {
    /// Appends a step, unless it repeats the last one.
    fn note(&mut self, step: Step) {
        let same = |last: &Step| {
            (&last.action, &last.why, &last.stack_status, last.applied)
                == (&step.action, &step.why, &step.stack_status, step.applied)
        };
        if !step.applied && self.steps.last().is_some_and(same) {
            return;
        }
        if self.steps.len() >= MAX_STEPS {
            self.steps.remove(0);
        }
        self.steps.push(step);
    }
}

#[cfg(test)]
#[path = "status_publisher_tests.rs"]
mod tests;
