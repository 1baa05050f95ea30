//! When to look again, and when to try the same again. Time is an argument: the duration since the controller started.

mod attempt;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::base::ids::Zone;
use crate::model::cloud::network::Later;
use crate::model::cloud::status::Status;
use crate::model::drift::tracker::Watch;
use crate::model::persisted::grace::whole_seconds;
use crate::model::persisted::ledger::Tries;
use crate::model::plan::refusals::Refusals;
use crate::model::plan::types::{Action, Failure, Plan};
use crate::model::schedule::attempt::Attempt;

/// An operation under way is looked at again after half the time it has taken so far, within these limits.
const FIRST_POLL: Duration = Duration::from_millis(400);
const LAST_POLL: Duration = Duration::from_secs(15);
/// One that takes much longer than any of ours is looked at again after this part of the time it has taken.
const LONG: u32 = 30;
/// The shortest wait for anything else. Whatever is due at every pass makes no more of them than this.
const SHORTEST: Duration = Duration::from_secs(1);
/// The same template after it failed, or a deletion after it failed: each further try waits twice as long.
const FIRST_PATIENCE: Duration = Duration::from_secs(15);
const LAST_PATIENCE: Duration = Duration::from_secs(1_800);
/// A zone that could not be added: each try is a change that fails for everybody, and a quota is not raised in minutes.
const FIRST_ZONE_PATIENCE: Duration = Duration::from_secs(120);
/// Templates remembered as tried.
const MAX_TRIED: usize = 64;

/// How a pass ended, as far as the next one depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All is as asked for; there may be a reason to look again sooner than usual.
    Settled(Option<Duration>),
    /// An operation was started.
    Started,
    /// An operation is under way.
    UnderWay,
    /// The same was tried before and failed; it is tried again after this long.
    Held(Duration),
    /// A person has to act, or a call failed.
    Failed,
}

/// The controller's patience. A new leader takes it over from the ledger.
#[derive(Clone, Debug)]
pub struct Schedule {
    resync: Duration,
    /// When the operation under way was started, or first seen.
    since: Option<Duration>,
    /// By subject: a creation that fails alternates with deletions.
    tried: BTreeMap<Attempt, Tried>,
    /// What is known about drift.
    pub watch: Watch,
    /// What AWS refused.
    pub refusals: Refusals,
}

#[derive(Clone, Debug)]
struct Tried {
    times: u32,
    not_before: Duration,
    /// Whether the previous leader recorded it only once: AWS may never have received its call.
    doubtful: bool,
    /// Whether a pass has seen that the zone failed.
    failed: bool,
}

impl Schedule {
    pub fn new(resync: Duration, watch: Watch) -> Self {
        Self {
            resync,
            since: None,
            tried: BTreeMap::new(),
            watch,
            refusals: Refusals::default(),
        }
    }

    /// Takes over from an earlier leader. `began` is the beginning of `now`'s time, since 1970. Whatever another clock has shown,
    /// nothing waits for longer than it would after a try made now.
    pub fn recall(&mut self, tries: &BTreeMap<String, Tries>, began: Duration, now: Duration) {
        for (what, told) in tries.iter().take(MAX_TRIED) {
            let what = Attempt::read(what);
            let at = Duration::from_secs(told.not_before).saturating_sub(began);
            let times = told.times.saturating_sub(1);
            // What can still be executed has not been: the leader ended before AWS took its call.
            let cut_off = times == 0 && matches!(what, Attempt::Execute(_) | Attempt::Zone(..));
            let latest = match cut_off {
                true => now,
                false => now + patience(&what, times, 1.0),
            };
            let tried = Tried {
                times,
                not_before: at.min(latest),
                doubtful: times == 0,
                failed: false,
            };
            let known = self.tried.entry(what).or_insert_with(|| tried.clone());
            if known.times < tried.times {
                *known = tried;
            }
        }
    }

    /// What a later leader has to know.
    pub fn tries_made(&self, began: Duration) -> BTreeMap<String, Tries> {
        let told = |(what, tried): (&Attempt, &Tried)| {
            let tries = Tries {
                times: tried.times.saturating_add(1),
                not_before: whole_seconds(began + tried.not_before),
            };
            (what.to_string(), tries)
        };
        self.tried.iter().map(told).collect()
    }

    /// How often the plan's action has been tried, and how much longer it has to wait.
    pub fn tried(&self, plan: &Plan, now: Duration) -> (u32, Duration) {
        let tried = Attempt::of(plan).and_then(|what| self.tried.get(&what));
        tried.map_or((0, Duration::ZERO), |tried| {
            (
                tried.times.saturating_add(1),
                tried.not_before.saturating_sub(now),
            )
        })
    }

    /// How much longer the plan's action has to wait because the same was tried before; None when it may be done now.
    pub fn held(&self, plan: &Plan, now: Duration) -> Option<Duration> {
        let tried = self.tried.get(&Attempt::of(plan)?)?;
        // Had the change failed, the stack would show it.
        let rolled_back = plan.status.as_ref().is_some_and(Status::is_rollback);
        let cut_off = tried.doubtful && matches!(plan.action, Action::Prepare(_)) && !rolled_back;
        (tried.not_before > now && !cut_off).then(|| tried.not_before - now)
    }

    /// Notes that the plan's action is done now; if the same is needed again, it has to wait. `jitter`, from 0 to 1, spreads
    /// that wait over half to one and a half of its length.
    pub fn tries(&mut self, plan: &Plan, now: Duration, jitter: f64) {
        self.watch.tried(&plan.repairs);
        let executes = matches!(plan.action, Action::Execute { .. });
        if executes {
            self.refusals.tries(&plan.attempt);
        }
        // A change set that CloudFormation could not make counts as well.
        let gives_up = plan.replaced.is_some() && matches!(plan.action, Action::Discard { .. });
        if executes || gives_up {
            let cidr = |zone: &Zone| plan.desired.zones.get(zone).copied();
            for (zone, cidr) in plan.new_zones.iter().filter_map(|it| Some((it, cidr(it)?))) {
                self.tries_subject(Attempt::Zone(zone.clone(), cidr), now, jitter);
            }
        }
        if let Some(what) = Attempt::of(plan) {
            self.tries_subject(what, now, jitter);
        }
    }

    fn tries_subject(&mut self, what: Attempt, now: Duration, jitter: f64) {
        let times = self
            .tried
            .get(&what)
            .map_or(0, |tried| tried.times.saturating_add(1));
        let not_before = now + patience(&what, times, jitter);
        if self.tried.len() >= MAX_TRIED {
            // The one that may be tried soonest has the least to lose.
            let soonest = self.tried.iter().min_by_key(|(_, tried)| tried.not_before);
            if let Some(what) = soonest.map(|(what, _)| what.clone()) {
                self.tried.remove(&what);
            }
        }
        let tried = Tried {
            times,
            not_before,
            doubtful: false,
            failed: false,
        };
        self.tried.insert(what, tried);
    }

    /// Zones that could not be added, and how much longer each waits. One that could is there, and no longer to be added.
    pub fn later(&self, now: Duration) -> Later {
        let waits = |(what, tried): (&Attempt, &Tried)| {
            Some((what.zone()?, tried.not_before.checked_sub(now)?))
        };
        let zones = self.tried.iter().filter_map(waits);
        zones.filter(|(_, wait)| !wait.is_zero()).collect()
    }

    /// Whether the plan shows for the first time that something failed and is to be left out for a time.
    pub fn failed(&mut self, plan: &Plan, now: Duration, jitter: f64) -> bool {
        let zones = self.zones_failed(plan, now, jitter);
        let is_news = self.refusals.note(&plan.failure, now, jitter);
        if is_news && plan.failure.is_creation {
            for (zone, cidr) in &plan.failure.zones {
                let what = Attempt::Zone(zone.clone(), *cidr);
                self.tries_subject(what.clone(), now, jitter);
                if let Some(tried) = self.tried.get_mut(&what) {
                    tried.failed = true;
                }
            }
        }
        zones || is_news
    }

    /// Whether the plan shows for the first time that zones could not be added: their patience begins now, since the change and its
    /// rollback took their time.
    fn zones_failed(&mut self, plan: &Plan, now: Duration, jitter: f64) -> bool {
        if plan.status != Some(Status::UpdateRollbackComplete) {
            return false;
        }
        let mut any = false;
        let Failure { routes, zones, .. } = &plan.failure;
        if !(routes.is_empty() && zones.is_empty()) {
            // It is known what failed: other zones have only been rolled back with it.
            self.tried.retain(|what, tried| {
                tried.failed || what.zone().is_none_or(|zone| zones.contains(&zone))
            });
        }
        for (what, tried) in &mut self.tried {
            if what.zone().is_some() && !tried.failed {
                tried.not_before = now + patience(what, tried.times, jitter);
                (tried.failed, any) = (true, true);
            }
        }
        any
    }

    /// Notes that all is well, except for zones that are left out: every other failed attempt starts with its first try again.
    pub fn succeeded(&mut self, plan: &Plan, now: Duration) {
        self.refusals.succeeded(now);
        let left_out = |zone| plan.later.contains_key(&zone);
        self.tried
            .retain(|what, _| what.zone().is_some_and(left_out));
    }

    /// When to look again; None: by the backoff of failures.
    pub fn next(&mut self, outcome: Outcome, now: Duration) -> Option<Duration> {
        self.since = match outcome {
            Outcome::Started => Some(now),
            Outcome::UnderWay => self.since.or(Some(now)),
            Outcome::Settled(_) | Outcome::Held(_) | Outcome::Failed => None,
        };
        let wait = match outcome {
            Outcome::Settled(again) => {
                let wait = again.unwrap_or(self.resync);
                let look = self.watch.next();
                look.map_or(wait, |look| wait.min(look)).max(SHORTEST)
            }
            Outcome::Started | Outcome::UnderWay => {
                let taken = now.saturating_sub(self.since.unwrap_or(now));
                (taken / 2).clamp(FIRST_POLL, LAST_POLL.max(taken / LONG))
            }
            Outcome::Held(wait) => wait.max(SHORTEST),
            Outcome::Failed => return None,
        };
        Some(wait.min(self.resync))
    }
}

/// How long to wait after so many tries before the last one.
fn patience(what: &Attempt, times: u32, jitter: f64) -> Duration {
    let first = match what {
        Attempt::Zone(..) => FIRST_ZONE_PATIENCE,
        _ => FIRST_PATIENCE,
    };
    let doubled = first.saturating_mul(1 << times.min(10));
    doubled
        .min(LAST_PATIENCE)
        .mul_f64(0.5 + jitter.clamp(0.0, 1.0))
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
