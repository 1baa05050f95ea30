//! When to look again, and when to try the same again. Time is an argument: the duration since the controller started.

use std::collections::BTreeMap;
use std::time::Duration;

use super::grace::whole_seconds;
use super::ledger::Tries;
use super::network::Zone;
use super::plan::{Action, Plan};
use super::watch::Watch;

/// An operation under way is looked at again after half the time it has taken so far, within these limits.
const FIRST_POLL: Duration = Duration::from_millis(400);
const LAST_POLL: Duration = Duration::from_secs(15);
/// The same template after it failed, or a deletion after it failed: each further try waits twice as long.
const FIRST_PATIENCE: Duration = Duration::from_secs(15);
const LAST_PATIENCE: Duration = Duration::from_secs(1_800);
/// A zone that could not be added: each try is a change that fails for everybody, and a quota is not raised in minutes.
const FIRST_ZONE_PATIENCE: Duration = Duration::from_secs(120);
/// What is tried of a change set that is executed, and of each zone that it adds.
const EXECUTE: &str = "execute ";
const ZONE: &str = "zone ";
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
    tried: BTreeMap<String, Tried>,
    /// What is known about drift.
    pub watch: Watch,
}

#[derive(Clone, Debug)]
struct Tried {
    times: u32,
    not_before: Duration,
    /// It was noted once, by a leader that may have ended before AWS took its call.
    doubtful: bool,
}

impl Schedule {
    pub fn new(resync: Duration, watch: Watch) -> Self {
        Self {
            resync,
            since: None,
            tried: BTreeMap::new(),
            watch,
        }
    }

    /// Takes over from an earlier leader. `began` is the beginning of `now`'s time, since 1970. Whatever another clock has shown,
    /// nothing waits for longer than it would after a try made now.
    pub fn recall(&mut self, tries: &BTreeMap<String, Tries>, began: Duration, now: Duration) {
        for (what, told) in tries.iter().take(MAX_TRIED) {
            let at = Duration::from_secs(told.not_before).saturating_sub(began);
            let times = told.times.saturating_sub(1);
            // What can still be executed has not been: the leader ended before AWS took its call.
            let cut_off = times == 0 && (what.starts_with(EXECUTE) || what.starts_with(ZONE));
            let latest = match cut_off {
                true => now,
                false => now + patience(what, times, 1.0),
            };
            let tried = Tried {
                times,
                not_before: at.min(latest),
                doubtful: times == 0,
            };
            let known = self
                .tried
                .entry(what.clone())
                .or_insert_with(|| tried.clone());
            if known.times < tried.times {
                *known = tried;
            }
        }
    }

    /// What a later leader has to know.
    pub fn tries_made(&self, began: Duration) -> BTreeMap<String, Tries> {
        let told = |(what, tried): (&String, &Tried)| {
            let tries = Tries {
                times: tried.times + 1,
                not_before: whole_seconds(began + tried.not_before),
            };
            (what.clone(), tries)
        };
        self.tried.iter().map(told).collect()
    }

    /// How often the plan's action has been tried, and how much longer it has to wait.
    pub fn tried(&self, plan: &Plan, now: Duration) -> (u32, Duration) {
        let tried = subject(plan).and_then(|what| self.tried.get(&what));
        tried.map_or((0, Duration::ZERO), |tried| {
            (tried.times + 1, tried.not_before.saturating_sub(now))
        })
    }

    /// How much longer the plan's action has to wait because the same was tried before; None when it may be done now.
    pub fn held(&self, plan: &Plan, now: Duration) -> Option<Duration> {
        let tried = self.tried.get(&subject(plan)?)?;
        // Had the change failed, the stack would show it.
        let rolled_back = plan
            .status
            .as_ref()
            .is_some_and(|it| it.contains("ROLLBACK"));
        let cut_off = tried.doubtful && matches!(plan.action, Action::Prepare(_)) && !rolled_back;
        (tried.not_before > now && !cut_off).then(|| tried.not_before - now)
    }

    /// Notes that the plan's action is done now; if the same is needed again, it has to wait. `jitter`, from 0 to 1, spreads
    /// that wait over half to one and a half of its length.
    pub fn tries(&mut self, plan: &Plan, now: Duration, jitter: f64) {
        self.watch.tried(&plan.repairs);
        if let Action::Execute { .. } = plan.action {
            for zone in &plan.new_zones {
                self.tries_subject(format!("{ZONE}{zone}"), now, jitter);
            }
        }
        if let Some(what) = subject(plan) {
            self.tries_subject(what, now, jitter);
        }
    }

    fn tries_subject(&mut self, what: String, now: Duration, jitter: f64) {
        let times = self.tried.get(&what).map_or(0, |tried| tried.times + 1);
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
        };
        self.tried.insert(what, tried);
    }

    /// Zones that could not be added, and how much longer each waits. One that could is there, and no longer to be added.
    pub fn later(&self, now: Duration) -> BTreeMap<Zone, Duration> {
        let waits = |(what, tried): (&String, &Tried)| {
            let zone = what.strip_prefix(ZONE)?.to_owned();
            Some((zone, tried.not_before.checked_sub(now)?))
        };
        let zones = self.tried.iter().filter_map(waits);
        zones.filter(|(_, wait)| !wait.is_zero()).collect()
    }

    /// All is well, but for zones that are left out: whatever else was tried in vain has its first try again.
    pub fn succeeded(&mut self, plan: &Plan) {
        let left_out = |zone: &str| plan.later.contains_key(zone);
        self.tried
            .retain(|what, _| what.strip_prefix(ZONE).is_some_and(left_out));
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
                self.watch.next().map_or(wait, |look| wait.min(look))
            }
            Outcome::Started | Outcome::UnderWay => {
                let taken = now.saturating_sub(self.since.unwrap_or(now));
                (taken / 2).clamp(FIRST_POLL, LAST_POLL)
            }
            Outcome::Held(wait) => wait,
            Outcome::Failed => return None,
        };
        Some(wait.min(self.resync))
    }
}

/// How long to wait after so many tries before the last one.
fn patience(what: &str, times: u32, jitter: f64) -> Duration {
    let first = match what.starts_with(ZONE) {
        true => FIRST_ZONE_PATIENCE,
        false => FIRST_PATIENCE,
    };
    let doubled = first.saturating_mul(1 << times.min(10));
    doubled
        .min(LAST_PATIENCE)
        .mul_f64(0.5 + jitter.clamp(0.0, 1.0))
}

/// What counts as trying the same again.
fn subject(plan: &Plan) -> Option<String> {
    match &plan.action {
        Action::Create(template) | Action::Prepare(template) | Action::Revert(template) => {
            Some(template.fingerprint.clone())
        }
        // By stack: the one that is created next is another.
        Action::Delete { .. } => Some(format!("delete {}", plan.stack)),
        Action::ContinueRollback => Some(format!("continue {}", plan.stack)),
        Action::Discard { change_set } => Some(format!("discard {change_set}")),
        Action::Protect(on) => Some(format!("protect {on}")),
        Action::SetPolicy { open } => Some(format!("policy {open}")),
        Action::Execute { change_set } => Some(format!("{EXECUTE}{change_set}")),
        Action::Keep | Action::Wait | Action::Refuse => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESYNC: Duration = Duration::from_secs(300);

    fn seconds(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    #[test]
    fn looks_follow_the_age_of_the_operation_not_their_number() {
        let mut schedule = Schedule::new(RESYNC, Watch::default());
        assert_eq!(
            schedule.next(Outcome::Started, seconds(100)),
            Some(FIRST_POLL)
        );
        for _ in 0..50 {
            assert_eq!(
                schedule.next(Outcome::UnderWay, seconds(100)),
                Some(FIRST_POLL)
            );
        }
        assert_eq!(
            schedule.next(Outcome::UnderWay, seconds(110)),
            Some(seconds(5))
        );
        assert_eq!(
            schedule.next(Outcome::UnderWay, seconds(1_000)),
            Some(LAST_POLL)
        );
        assert_eq!(
            schedule.next(Outcome::Started, seconds(1_000)),
            Some(FIRST_POLL),
            "a new one"
        );
        assert_eq!(
            schedule.next(Outcome::Settled(None), seconds(1_001)),
            Some(RESYNC)
        );
        assert_eq!(
            schedule.next(Outcome::Settled(Some(seconds(7))), seconds(1_001)),
            Some(seconds(7))
        );
        assert_eq!(schedule.next(Outcome::Failed, seconds(1_001)), None);
    }

    #[test]
    fn the_same_is_not_tried_again_at_once() {
        let mut schedule = Schedule::new(RESYNC, Watch::default());
        let template = |fingerprint: &str| {
            Action::Create(crate::model::template::Template {
                fingerprint: fingerprint.to_owned(),
                ..Default::default()
            })
        };
        let plan = |action| Plan {
            action,
            ..Plan::default()
        };
        let (one, two) = (plan(template("one")), plan(template("two")));
        let mut now = Duration::ZERO;
        let mut waits = Vec::new();
        for _ in 0..12 {
            schedule.tries(&one, now, 0.5);
            let wait = schedule.held(&one, now).expect("it waits");
            assert_eq!(
                schedule.held(&two, now),
                None,
                "another template is not held up"
            );
            now += wait;
            assert_eq!(schedule.held(&one, now), None);
            waits.push(wait);
        }
        assert_eq!(
            (waits[0], waits[1], waits[11]),
            (FIRST_PATIENCE, FIRST_PATIENCE * 2, LAST_PATIENCE)
        );
        schedule.tries(&one, now, 0.5);
        schedule.tries(&plan(Action::Protect(true)), now, 0.5);
        assert!(
            schedule.held(&one, now).is_some(),
            "what came between changes nothing"
        );
        schedule.succeeded(&Plan::default());
        assert_eq!(schedule.held(&one, now), None, "success forgets");
    }

    #[test]
    fn a_new_leader_waits_for_what_was_done_and_not_for_what_was_cut_off() {
        let plan = |action| Plan {
            action,
            ..Plan::default()
        };
        let execute = plan(Action::Execute {
            change_set: "one".to_owned(),
        });
        let protect = plan(Action::Protect(true));
        let mut former = Schedule::new(RESYNC, Watch::default());
        let waits = |former: &Schedule, plan: &Plan| {
            let mut next = Schedule::new(RESYNC, Watch::default());
            let tries = former.tries_made(seconds(1_000));
            next.recall(&tries, seconds(1_001), seconds(1));
            next.held(plan, seconds(1)).is_some()
        };
        former.tries(&execute, Duration::ZERO, 0.5);
        former.tries(&protect, Duration::ZERO, 0.5);
        assert!(waits(&former, &protect) && !waits(&former, &execute));
        former.tries(&execute, Duration::ZERO, 0.5);
        assert!(waits(&former, &execute), "twice is no accident");

        let prepare = |status: &str| Plan {
            status: Some(status.to_owned()),
            ..plan(Action::Prepare(crate::model::template::Template::default()))
        };
        let untouched = prepare("UPDATE_COMPLETE");
        former.tries(&untouched, Duration::ZERO, 0.5);
        assert!(former.held(&untouched, Duration::ZERO).is_some());
        assert!(!waits(&former, &untouched));
        assert!(waits(&former, &prepare("UPDATE_ROLLBACK_COMPLETE")));
        former.tries(&untouched, Duration::ZERO, 0.5);
        assert!(waits(&former, &untouched));
    }

    #[test]
    fn a_zone_that_could_not_be_added_waits_while_all_else_goes_well() {
        let zone = || "a".to_owned();
        let adds = Plan {
            action: Action::Execute {
                change_set: "one".to_owned(),
            },
            new_zones: [zone()].into(),
            ..Plan::default()
        };
        let mut schedule = Schedule::new(RESYNC, Watch::default());
        schedule.tries(&adds, Duration::ZERO, 0.5);
        let later = schedule.later(Duration::ZERO);
        assert_eq!(later, [(zone(), FIRST_ZONE_PATIENCE)].into());
        let without = Plan {
            later,
            ..Plan::default()
        };
        schedule.succeeded(&without);
        assert_eq!(schedule.held(&adds, Duration::ZERO), None);
        let over = FIRST_ZONE_PATIENCE;
        assert!(schedule.later(over).is_empty(), "it is tried again");
        schedule.tries(&adds, over, 0.5);
        let twice = schedule.later(over);
        assert_eq!(twice, [(zone(), FIRST_ZONE_PATIENCE * 2)].into());
        schedule.succeeded(&Plan::default());
        assert!(schedule.later(over).is_empty(), "it is there");
    }
}
