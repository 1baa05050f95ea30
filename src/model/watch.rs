//! When EC2 is looked at for drift, what was last seen there, and how often the same was repaired in vain. Time is an
//! argument: the duration since the controller started.

use std::collections::BTreeMap;
use std::time::Duration;

use super::drift::Drift;
use super::observed::Observed;

/// A drift that may still be repaired is looked at again after this time.
const AGAIN: Duration = Duration::from_secs(5);
/// For how long a drift must have been seen before something is taken out for it: EC2 shows new things late.
const FIRM: Duration = Duration::from_secs(4);
/// For how long the looks follow quickly on one another.
const HURRY: Duration = Duration::from_secs(600);
/// Repairs of the same drift before it is left alone.
pub const MAX_REPAIRS: u32 = 3;
/// A drift that comes back within this time is the same, and its repair was in vain.
const MEMORY: Duration = Duration::from_secs(3_600);
/// Drifts remembered: as many as a stack has resources.
const MAX_REMEMBERED: usize = 500;

/// What is known about drift. Losing it costs one look, and up to three more repairs.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    /// None: EC2 is not looked at.
    interval: Option<Duration>,
    now: Duration,
    /// When the last look was, and at which version of the stack.
    looked: Option<(Duration, String)>,
    seen: Option<Result<Observed, String>>,
    /// By [`Drift::key`].
    attempts: BTreeMap<String, Attempt>,
    /// Something is not as it should be, and may still be repaired.
    restless: bool,
}

/// What was done about one drift.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Attempt {
    pub repairs: u32,
    pub first_seen: Duration,
    pub last_seen: Duration,
}

/// How far the repair of a drift has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Not tried: CloudFormation is asked to revert it.
    New,
    /// That was in vain, or cannot be.
    Tried,
    /// It is left alone.
    Spent,
}

impl Watch {
    /// None: EC2 is never looked at.
    pub fn new(interval: Option<Duration>) -> Self {
        Self {
            interval,
            ..Self::default()
        }
    }

    /// At the beginning of a pass.
    pub fn begin(&mut self, now: Duration) {
        self.now = now;
    }

    /// Whether to look now at what EC2 shows of a stack at rest.
    pub fn is_due(&self, version: &str) -> bool {
        let Some(wait) = self.next() else {
            return false;
        };
        let looked = self.looked.as_ref();
        wait.is_zero() || looked.is_none_or(|(_, looked)| looked != version)
    }

    /// What a look has shown, or why it failed.
    pub fn looked(&mut self, version: &str, seen: Result<Observed, String>) {
        self.looked = Some((self.now, version.to_owned()));
        self.seen = Some(seen);
    }

    /// What was last seen of just this version of the stack.
    pub fn observed(&self, version: &str) -> Option<&Observed> {
        let fresh = self.looked.as_ref().is_some_and(|(_, of)| of == version);
        self.seen.as_ref().filter(|_| fresh)?.as_ref().ok()
    }

    /// Why the last look failed.
    pub fn complaint(&self) -> Option<&str> {
        self.seen.as_ref()?.as_ref().err().map(String::as_str)
    }

    pub fn stage(&self, drift: &Drift) -> Stage {
        match self.attempts.get(&drift.key()) {
            None => Stage::New,
            Some(attempt) if attempt.repairs == 0 => Stage::New,
            Some(attempt) if attempt.repairs >= MAX_REPAIRS => Stage::Spent,
            Some(_) => Stage::Tried,
        }
    }

    /// Whether it has been seen for long enough to take something out for it.
    pub fn is_firm(&self, drift: &Drift) -> bool {
        self.age(drift).is_some_and(|age| age >= FIRM)
    }

    fn age(&self, drift: &Drift) -> Option<Duration> {
        let attempt = self.attempts.get(&drift.key())?;
        Some(self.now.saturating_sub(attempt.first_seen))
    }

    /// At the end of a look: what is there. `repair`: something is done about it.
    pub fn note(&mut self, drifts: &[Drift], repair: bool) {
        let now = self.now;
        for drift in drifts {
            let fresh = || Attempt {
                repairs: 0,
                first_seen: now,
                last_seen: now,
            };
            self.attempts
                .entry(drift.key())
                .or_insert_with(fresh)
                .last_seen = now;
        }
        self.attempts
            .retain(|_, attempt| now.saturating_sub(attempt.last_seen) < MEMORY);
        while self.attempts.len() > MAX_REMEMBERED {
            self.attempts.pop_first();
        }
        self.restless = repair
            && drifts.iter().any(|drift| {
                let young = self.age(drift).is_some_and(|age| age < HURRY);
                young && drift.is_curable() && self.stage(drift) != Stage::Spent
            });
    }

    /// A repair of these was sent; whether it helped, the next look shows.
    pub fn tried(&mut self, keys: &[String]) {
        for key in keys {
            if let Some(attempt) = self.attempts.get_mut(key) {
                attempt.repairs += 1;
                self.looked = None;
            }
        }
    }

    /// How much later the next look is due; None: never.
    pub fn next(&self) -> Option<Duration> {
        let interval = self.interval?;
        let wait = if self.restless {
            AGAIN.min(interval)
        } else {
            interval
        };
        Some(match &self.looked {
            Some((at, _)) => wait.saturating_sub(self.now.saturating_sub(*at)),
            None => wait,
        })
    }
}
