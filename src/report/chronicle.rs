//! What the loop has found, made ready for whoever asks: the status page, the status ConfigMap and Events. The loop only hands
//! over; the work is done beside it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::watch;

use crate::clock::wall;
use crate::lease::LeaseView;
use crate::model::base::digest::digest;
use crate::model::base::plain::{plain, short};
use crate::model::input::request::Snapshot;
use crate::model::plan::types::Action;
use crate::model::schedule::Outcome;
use crate::model::status::notifications::Notices;
use crate::model::status::{
    Failure, Leader, SCHEMA_VERSION, Status, Step, from_plan, notifications,
};
use crate::provider::ProviderError;
use crate::reconcile::Pass;

/// What the page is sent at most. 20,000 entries take about half of it.
const MOST_BYTES: usize = 8 << 20;
/// What a ConfigMap is given at most; it holds 1 MiB with all that is beside this.
const BRIEF_BYTES: usize = 700_000;
/// Steps that are remembered.
const MAX_STEPS: usize = 50;
/// Bytes of what a library says about an error.
const MAX_CAUSE: usize = 2_000;

/// Cheap to clone: all clones are the same chronicle.
#[derive(Clone, Default)]
pub struct Chronicle {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    dry_run: bool,
    past: Mutex<Past>,
    looks: watch::Sender<Desk>,
    issue: watch::Sender<Option<Arc<Issue>>>,
    view: Mutex<Option<watch::Receiver<LeaseView>>>,
}

/// What this leader has done.
#[derive(Clone, Default)]
struct Past {
    since: String,
    steps: Vec<Step>,
    operation: Option<Step>,
    failing_since: Option<String>,
    /// Why the last operation failed, until all is well again: a plan does not tell it once the failed stack is gone.
    setback: Option<String>,
}

/// Where looks are handed over. One that has been read is not kept: it holds all problems and ConfigMaps.
#[derive(Default)]
enum Desk {
    /// This replica does not lead.
    #[default]
    Closed,
    New(Box<Look>),
    Read,
}

/// What one pass found.
struct Look {
    found: Result<Pass, Failure>,
    snapshot: Snapshot,
    time: String,
    next_look: String,
    past: Past,
}

/// A status, ready to be told.
#[derive(Default)]
pub struct Issue {
    pub status: Status,
    /// The same as JSON, and the digest of that.
    pub json: Bytes,
    pub digest: String,
    /// As much of it as a ConfigMap holds, and a mark that changes with its content, times apart.
    pub brief: String,
    pub mark: String,
    /// What is to be told about each ConfigMap.
    pub notices: Notices,
}

/// In UTC, to the second.
fn written(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).map_or_else(|_| String::new(), |time| time.to_string())
}

/// Texts and numbers always make JSON.
fn text(status: &Status) -> String {
    serde_json::to_string(status).unwrap_or_default()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Chronicle {
    pub fn new(dry_run: bool) -> Self {
        Self {
            inner: Arc::new(Inner {
                dry_run,
                ..Inner::default()
            }),
        }
    }

    /// Takes from here who leads.
    pub fn follow_lease(&self, view: watch::Receiver<LeaseView>) {
        *lock(&self.inner.view) = Some(view);
    }

    /// What is known of the Lease now.
    pub fn lease(&self) -> LeaseView {
        let view = lock(&self.inner.view);
        view.as_ref()
            .map(|view| view.borrow().clone())
            .unwrap_or_default()
    }

    /// A new term of leadership begins.
    pub fn leads(&self) {
        *lock(&self.inner.past) = Past {
            since: written(wall()),
            ..Past::default()
        };
    }

    /// What this replica knew is another's to tell.
    pub fn follows(&self) {
        self.inner.looks.send_replace(Desk::Closed);
        self.inner.issue.send_replace(None);
    }

    pub fn passed(&self, result: Result<Pass, ProviderError>, snapshot: Snapshot, next: Duration) {
        let now = wall();
        let (time, next_look) = (written(now), written(now.checked_add(next).unwrap_or(now)));
        let mut past = lock(&self.inner.past);
        let found = match result {
            Ok(pass) => {
                past.failing_since = None;
                past.setback = match &pass.plan.action {
                    Action::Keep => None,
                    _ => pass.plan.setback.clone().or(past.setback.take()),
                };
                let step = Step {
                    time: time.clone(),
                    action: pass.plan.action.name().to_owned(),
                    why: pass.plan.why.clone(),
                    applied: pass.applied,
                    stack_status: pass.plan.status.clone(),
                };
                if pass.applied {
                    past.operation = Some(step.clone());
                }
                past.note(step);
                Ok(pass)
            }
            Err(error) => {
                let since = past
                    .failing_since
                    .get_or_insert_with(|| time.clone())
                    .clone();
                past.note(Step {
                    time: time.clone(),
                    action: "Failed".to_owned(),
                    why: plain(&error.message).into_owned(),
                    ..Step::default()
                });
                let cause = error.source.as_ref().map(ToString::to_string);
                Err(Failure {
                    reason: error.reason.to_owned(),
                    message: plain(&error.message).into_owned(),
                    cause: short(&cause.unwrap_or_default(), MAX_CAUSE),
                    since,
                })
            }
        };
        let look = Look {
            found,
            snapshot,
            time,
            next_look,
            past: past.clone(),
        };
        self.inner.looks.send_replace(Desk::New(Box::new(look)));
    }

    /// The latest status; None while this replica does not lead, or has not looked yet.
    pub fn issue(&self) -> Option<Arc<Issue>> {
        self.inner.issue.borrow().clone()
    }

    #[cfg(test)]
    pub fn shows(&self, issue: Arc<Issue>) {
        self.inner.issue.send_replace(Some(issue));
    }

    pub fn issues(&self) -> watch::Receiver<Option<Arc<Issue>>> {
        self.inner.issue.subscribe()
    }

    /// Makes statuses of what was handed over, for ever. When looks come faster than that, the latest counts.
    pub async fn keep(self) {
        let mut looks = self.inner.looks.subscribe();
        while looks.changed().await.is_ok() {
            let Some(look) = self.take() else {
                continue;
            };
            let before = self.issue();
            let issue = self.make(&look, before.as_deref().map(|issue| &issue.status));
            drop((look, before));
            self.inner.issue.send_if_modified(|is| {
                // It may have lost the Lease meanwhile.
                let leads = !matches!(*self.inner.looks.borrow(), Desk::Closed);
                if leads {
                    *is = Some(Arc::new(issue));
                }
                leads
            });
        }
    }

    /// The latest look, if nobody has taken it.
    fn take(&self) -> Option<Box<Look>> {
        let mut taken = None;
        self.inner.looks.send_if_modified(|desk| {
            *desk = match std::mem::take(desk) {
                Desk::New(look) => {
                    taken = Some(look);
                    Desk::Read
                }
                other => other,
            };
            false
        });
        taken
    }

    /// `before`: what was told last, which stays true as long as nothing newer can be seen.
    fn make(&self, look: &Look, before: Option<&Status>) -> Issue {
        let mut status = match &look.found {
            Ok(pass) => {
                let setback = &look.past.setback;
                let held = match pass.outcome {
                    Outcome::Held(_) => Some(from_plan::failed(
                        setback.as_deref().unwrap_or(&pass.plan.why),
                    )),
                    _ if self.inner.dry_run && pass.plan.action.mutates() => {
                        let text = "nothing is written with --dry-run; leave it out".to_owned();
                        Some(("DryRun", text))
                    }
                    _ => None,
                };
                Status {
                    setback: setback.clone(),
                    time: look.time.clone(),
                    plan: look.past.steps.last().cloned().unwrap_or_default(),
                    ..from_plan::survey(&pass.plan, &look.snapshot, held)
                }
            }
            Err(failure) => Status {
                failure: Some(failure.clone()),
                ..before.cloned().unwrap_or_default()
            },
        };
        let lease = self.lease();
        status.schema_version = SCHEMA_VERSION;
        status.version = env!("CARGO_PKG_VERSION").to_owned();
        status.dry_run = self.inner.dry_run;
        status.leader = Leader {
            identity: lease.us,
            epoch: lease.epoch,
            since: look.past.since.clone(),
        };
        status.next_look.clone_from(&look.next_look);
        status.operation.clone_from(&look.past.operation);
        status.timeline.clone_from(&look.past.steps);
        let notices = notifications::notices(&status, &look.snapshot);
        status.fit(MOST_BYTES);
        let json = Bytes::from(text(&status));
        let brief = status.fitting(BRIEF_BYTES);
        Issue {
            digest: digest(&json),
            json,
            mark: digest(text(&brief.timeless()).as_bytes()),
            brief: text(&brief),
            status,
            notices,
        }
    }
}

impl Past {
    /// What is the same as before is no new step.
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
#[path = "chronicle_tests.rs"]
mod tests;
