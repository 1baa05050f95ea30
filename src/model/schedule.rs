//! Decides when to read the stack again, and when to retry an attempt. Time is an argument: the duration since the controller started.

mod attempt;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::base::ids::Zone;
use crate::model::cloud::more_ips::IpWaits;
use crate::model::cloud::network::Later;
use crate::model::cloud::released_ips::Asked;
use crate::model::cloud::status::Status;
use crate::model::drift::tracker::Watch;
use crate::model::persisted::grace::whole_seconds;
use crate::model::persisted::ledger::Tries;
use crate::model::plan::refusals::Refusals;
use crate::model::plan::types::{Action, Failure, Plan};
use crate::model::schedule::attempt::Attempt;

/// The limits of the poll interval of an operation under way. The interval is half of the time that the operation has taken.
const FIRST_POLL: Duration = Duration::from_millis(400);
const LAST_POLL: Duration = Duration::from_secs(15);
/// The poll interval of an operation that takes much longer than any of ours is this fraction of the time it has taken, as a divisor.
const LONG: u32 = 30;
/// The minimum wait in all other cases, so that work which is due in every pass does not start passes faster.
const SHORTEST: Duration = Duration::from_secs(1);
/// The limits of the wait after a template or a deletion has failed. Each further failure doubles the wait.
const FIRST_PATIENCE: Duration = Duration::from_secs(15);
const LAST_PATIENCE: Duration = Duration::from_secs(1_800);
/// The first wait after a zone could not be added. Each attempt is a change that can fail for all tenants, and quotas are not raised within
/// minutes.
const FIRST_ZONE_PATIENCE: Duration = Duration::from_secs(120);
/// How long edits come before a change of static IPs, so that a stream of edits postpones it only so long.
const LAST_IN_LINE: Duration = Duration::from_secs(600);
/// The maximum number of recorded attempts.
const MAX_TRIED: usize = 64;

/// The result of a pass that decides when the next pass starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The stack is as planned. The duration is the time until the next pass, if it has to start earlier than usual.
    Settled(Option<Duration>),
    /// An operation was started.
    Started,
    /// An operation is under way.
    UnderWay,
    /// The step was tried before and failed. It is retried after this time.
    Held(Duration),
    /// A user has to act, or a call failed.
    Failed,
}

/// The waits of the controller. A new leader restores them from the ledger.
#[derive(Clone, Debug)]
pub struct Schedule {
    resync: Duration,
    /// When the operation under way was started, or first observed.
    since: Option<Duration>,
    /// Attempts by subject, because creations that fail alternate with deletions.
    tried: BTreeMap<Attempt, Tried>,
    /// Since when edits have come before a change of static IPs.
    postponed: Option<Duration>,
    /// The state of drift detection.
    pub watch: Watch,
    /// The routes that AWS refused.
    pub refusals: Refusals,
}

#[derive(Clone, Debug)]
struct Tried {
    times: u32,
    not_before: Duration,
    /// Whether the previous leader recorded the attempt only once, so AWS may never have received its call.
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
            postponed: None,
            watch,
            refusals: Refusals::default(),
        }
    }

    /// Restores attempts from an earlier leader. `began` is the start of `now`'s clock as time since 1970. Whatever that leader's clock
    /// showed, no wait is longer than after an attempt made now.
    pub fn recall(&mut self, tries: &BTreeMap<String, Tries>, began: Duration, now: Duration) {
        for (what, told) in tries.iter().take(MAX_TRIED) {
            let what = Attempt::read(what);
            let at = Duration::from_secs(told.not_before).saturating_sub(began);
            let times = told.times.saturating_sub(1);
            // A change set that can still be executed was not executed: the leader ended before AWS received its call.
            let cut_off = times == 0 && (matches!(what, Attempt::Execute(_)) || what.is_patient());
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

    /// Returns the attempts for the next leader.
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

    /// Returns how often the plan's action was tried, and the remaining wait.
    pub fn tried(&self, plan: &Plan, now: Duration) -> (u32, Duration) {
        let tried = Attempt::of(plan).and_then(|what| self.tried.get(&what));
        tried.map_or((0, Duration::ZERO), |tried| {
            (
                tried.times.saturating_add(1),
                tried.not_before.saturating_sub(now),
            )
        })
    }

    /// Returns the remaining wait of the plan's action after a failed attempt; None if the action may be applied now.
    pub fn held(&self, plan: &Plan, now: Duration) -> Option<Duration> {
        let tried = self.tried.get(&Attempt::of(plan)?)?;
        // If the change had failed, the stack's status would show the rollback.
        let rolled_back = plan.status.as_ref().is_some_and(Status::is_rollback);
        let cut_off = tried.doubtful && matches!(plan.action, Action::Prepare(_)) && !rolled_back;
        (tried.not_before > now && !cut_off).then(|| tried.not_before - now)
    }

    /// Records an attempt of the plan's action. The next attempt of the same action has to wait. `jitter`, from 0 to 1, scales that wait
    /// from half to one and a half of its length.
    pub fn tries(&mut self, plan: &Plan, now: Duration, jitter: f64) {
        self.watch.tried(&plan.repairs);
        let executes = matches!(plan.action, Action::Execute { .. });
        if executes {
            self.refusals.tries(&plan.attempt);
        }
        // A change set that CloudFormation could not create counts as an attempt, too.
        let is_alone = plan.replaced.is_some() || plan.ip_step.is_some();
        let gives_up = is_alone && matches!(plan.action, Action::Discard { .. });
        if let Some(lost) = &plan.recovers
            && (executes || matches!(plan.action, Action::Create(_)))
        {
            self.tries_subject(Attempt::Recovery(lost.clone()), now, jitter);
        }
        if executes || gives_up {
            let cidr = |zone: &Zone| plan.desired.zones.get(zone).copied();
            // After an attempt to get its static IP back, a zone may get a new one at once.
            let recovers = plan.recovers.as_ref().map(|(zone, _)| zone);
            let new = plan.new_zones.iter().filter(|it| Some(*it) != recovers);
            for (zone, cidr) in new.filter_map(|it| Some((it, cidr(it)?))) {
                self.tries_subject(Attempt::Zone(zone.clone(), cidr), now, jitter);
            }
            if let Some(step) = &plan.ip_step {
                self.tries_subject(Attempt::Ip(step.clone()), now, jitter);
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
            // Drop the attempt with the shortest remaining wait, because it loses the least.
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

    /// Returns the remaining wait of each zone that could not be added. A zone that was added is in the stack and has no wait.
    pub fn later(&self, now: Duration) -> Later {
        let zones = self
            .waits(now)
            .map(|(what, wait)| Some((what.zone()?, wait)));
        zones.flatten().collect()
    }

    /// Returns the changes of static IPs that failed, and how much longer each waits. Only what a plan asks for again matters.
    pub fn ip_waits(&self, now: Duration) -> IpWaits {
        let step = |(what, wait): (&Attempt, Duration)| match what {
            Attempt::Ip(step) => Some((step.clone(), wait)),
            _ => None,
        };
        let asked = |(what, tried): (&Attempt, &Tried)| match what {
            Attempt::Recovery(lost) => {
                let (times, left) = (tried.times, tried.not_before.saturating_sub(now));
                let times = times.saturating_add(1);
                Some((lost.clone(), Asked { times, left }))
            }
            _ => None,
        };
        IpWaits {
            steps: self.waits(now).filter_map(step).collect(),
            asked: self.tried.iter().filter_map(asked).collect(),
            is_overdue: self.is_overdue(now),
        }
    }

    fn is_overdue(&self, now: Duration) -> bool {
        self.postponed
            .is_some_and(|since| now.saturating_sub(since) >= LAST_IN_LINE)
    }

    /// Records whether edits come before a change of static IPs. If the change cannot be made when its turn comes, it waits as long again.
    fn postpones(&mut self, plan: &Plan, now: Duration) {
        let is_turn = plan.ip_step.is_some() || plan.recovers.is_some();
        self.postponed = match (&plan.action, plan.postponed) {
            (Action::Execute { .. }, _) if is_turn => None,
            _ if is_turn => self.postponed,
            (_, true) if self.is_overdue(now) => Some(now),
            (_, true) => self.postponed.or(Some(now)),
            // An operation is in progress.
            (Action::Wait, false) => self.postponed,
            (_, false) => None,
        };
    }

    /// Returns the attempts that must wait, and for how long.
    fn waits(&self, now: Duration) -> impl Iterator<Item = (&Attempt, Duration)> {
        let left = move |(what, tried)| {
            let (what, tried): (&Attempt, &Tried) = (what, tried);
            Some((what, tried.not_before.checked_sub(now)?))
        };
        let waits = self.tried.iter().filter_map(left);
        waits.filter(|(_, wait)| !wait.is_zero())
    }

    /// Takes note of the plan. Returns whether it shows for the first time that a route or zone failed and has to be left out for a while.
    pub fn failed(&mut self, plan: &Plan, now: Duration, jitter: f64) -> bool {
        self.postpones(plan, now);
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

    /// Whether the plan shows for the first time that zones could not be added. Their wait starts now, because the change and its rollback
    /// took time.
    fn zones_failed(&mut self, plan: &Plan, now: Duration, jitter: f64) -> bool {
        if plan.status != Some(Status::UpdateRollbackComplete) {
            return false;
        }
        let mut any = false;
        let Failure { routes, zones, .. } = &plan.failure;
        if !(routes.is_empty() && zones.is_empty()) {
            // If the cause is known, the other zones were only rolled back with it.
            self.tried.retain(|what, tried| {
                tried.failed || what.zone().is_none_or(|zone| zones.contains(&zone))
            });
        }
        for (what, tried) in &mut self.tried {
            if what.is_patient() && !tried.failed {
                tried.not_before = now + patience(what, tried.times, jitter);
                (tried.failed, any) = (true, true);
            }
        }
        any
    }

    /// Records that the stack is as planned, except for zones that are left out. All other failed attempts start again with the shortest
    /// wait.
    pub fn succeeded(&mut self, plan: &Plan, now: Duration) {
        self.refusals.succeeded(now);
        let left_out = |zone| plan.later.contains_key(&zone);
        self.tried.retain(|what, _| match what {
            Attempt::Ip(step) => plan.ip_waits.contains(step),
            Attempt::Recovery(lost) => plan.misses(lost),
            _ => what.zone().is_some_and(left_out),
        });
    }

    /// Returns when the next pass starts; None: after the backoff for failures.
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

/// Returns the wait after an attempt with this many attempts before it.
fn patience(what: &Attempt, times: u32, jitter: f64) -> Duration {
    let first = match what {
        _ if what.is_patient() => FIRST_ZONE_PATIENCE,
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
