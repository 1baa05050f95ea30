//! When to look again, and when to try the same again. Time is an argument: the duration since the controller started.

use std::time::Duration;

use super::plan::{Action, Plan};

/// The first look at an operation under way; each further one waits half as long again, up to the last.
const FIRST_POLL: Duration = Duration::from_millis(400);
const LAST_POLL: Duration = Duration::from_secs(15);
/// The same template after it failed, or a deletion after it failed: each further try waits twice as long.
const FIRST_PATIENCE: Duration = Duration::from_secs(15);
const LAST_PATIENCE: Duration = Duration::from_secs(1_800);

/// How a pass ended, as far as the next one depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All is as asked for; there may be a reason to look again sooner than usual.
    Settled(Option<Duration>),
    /// An operation was started or is under way.
    UnderWay,
    /// The same was tried before and failed; it is tried again after this long.
    Held(Duration),
    /// A person has to act, or a call failed.
    Failed,
}

/// The controller's patience. In memory only: a new leader starts with fresh patience, which costs one try.
#[derive(Clone, Debug)]
pub struct Schedule {
    resync: Duration,
    polls: u32,
    tried: Option<Tried>,
}

#[derive(Clone, Debug)]
struct Tried {
    what: String,
    times: u32,
    not_before: Duration,
}

impl Schedule {
    pub fn new(resync: Duration) -> Self {
        Self {
            resync,
            polls: 0,
            tried: None,
        }
    }

    /// How much longer the plan's action has to wait because the same was tried before; None when it may be done now.
    pub fn held(&self, plan: &Plan, now: Duration) -> Option<Duration> {
        let tried = self.tried.as_ref()?;
        let same = subject(plan).is_some_and(|what| what == tried.what);
        (same && tried.not_before > now).then(|| tried.not_before - now)
    }

    /// Notes that the plan's action is done now; if the same is needed again, it has to wait. `jitter`, from 0 to 1, spreads
    /// that wait over half to one and a half of its length.
    pub fn tries(&mut self, plan: &Plan, now: Duration, jitter: f64) {
        let Some(what) = subject(plan) else { return };
        let times = self
            .tried
            .as_ref()
            .filter(|tried| tried.what == what)
            .map_or(0, |tried| tried.times + 1);
        let doubled = FIRST_PATIENCE
            .saturating_mul(1 << times.min(10))
            .min(LAST_PATIENCE);
        let not_before = now + doubled.mul_f64(0.5 + jitter.clamp(0.0, 1.0));
        self.tried = Some(Tried {
            what,
            times,
            not_before,
        });
    }

    /// When to look again; None: by the backoff of failures.
    pub fn next(&mut self, outcome: Outcome) -> Option<Duration> {
        if outcome != Outcome::UnderWay {
            self.polls = 0;
        }
        match outcome {
            Outcome::Settled(again) => {
                self.tried = None;
                Some(again.map_or(self.resync, |again| again.min(self.resync)))
            }
            Outcome::UnderWay => {
                let wait = FIRST_POLL
                    .mul_f64(1.5_f64.powi(self.polls.min(20).cast_signed()))
                    .min(LAST_POLL);
                self.polls = self.polls.saturating_add(1);
                Some(wait.min(self.resync))
            }
            Outcome::Held(wait) => Some(wait.min(self.resync)),
            Outcome::Failed => None,
        }
    }
}

/// What counts as trying the same again.
fn subject(plan: &Plan) -> Option<String> {
    match &plan.action {
        Action::Create(template) | Action::Prepare(template) => Some(template.fingerprint.clone()),
        Action::Delete => Some("delete".to_owned()),
        Action::ContinueRollback => Some("continue".to_owned()),
        Action::Keep | Action::Wait | Action::Execute { .. } | Action::Discard { .. } => None,
        Action::Protect(_) | Action::Refuse => None,
    }
}
