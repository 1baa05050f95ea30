//! When EC2 is looked at for drift, what was last seen there, and how often the same was repaired in vain. Time is an
//! argument: the duration since 1970.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::cloud::observed::Observed;
use crate::model::drift::cfn_detection::{Detection, Inquiry};
use crate::model::drift::{Cure, Drift};
use crate::model::persisted::grace::whole_seconds;
use crate::model::persisted::ledger::Repairs;

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
/// How exactly a later leader has to know when that is over: the ledger is written anew that often while a drift stays.
const GRAIN: u64 = 900;
/// Drifts remembered: as many as a stack has resources.
const MAX_REMEMBERED: usize = 500;

/// What is known about drift. Losing it costs one look.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    /// None: EC2 is not looked at.
    interval: Option<Duration>,
    now: Duration,
    /// Whether this pass could look: there is a stack of ours, at rest.
    possible: bool,
    /// When the last look was, and at which version of the stack.
    looked: Option<(Duration, String)>,
    seen: Option<Result<Observed, String>>,
    /// By [`Drift::key`].
    attempts: BTreeMap<String, Attempt>,
    /// Something is not as it should be, and may still be repaired.
    restless: bool,
    inquiry: Inquiry,
}

/// What was done about one drift.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    /// One more try is left.
    Last,
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

    /// Notes the beginning of a pass. `possible`: there is a stack of ours, at rest, to look at.
    pub fn begin(&mut self, now: Duration, possible: bool) {
        self.now = now;
        self.possible = possible;
    }

    /// Takes over from an earlier leader. Whatever another clock has shown, nothing counts for longer than if it were seen now.
    pub fn recall(&mut self, repairs: &BTreeMap<String, Repairs>, now: Duration) {
        for (drift, told) in repairs.iter().take(MAX_REMEMBERED) {
            let until = Duration::from_secs(told.until);
            if until <= now {
                continue;
            }
            let attempt = self.attempts.entry(drift.clone()).or_insert(Attempt {
                repairs: 0,
                first_seen: now,
                last_seen: until.saturating_sub(MEMORY).min(now),
            });
            attempt.repairs = attempt.repairs.max(told.times);
        }
    }

    /// What a later leader has to know.
    pub fn repairs_made(&self) -> BTreeMap<String, Repairs> {
        let made = self.attempts.iter().filter(|(_, it)| it.repairs > 0);
        let told = |(drift, attempt): (&String, &Attempt)| {
            let over = whole_seconds(attempt.last_seen + MEMORY);
            let repairs = Repairs {
                times: attempt.repairs,
                until: over.next_multiple_of(GRAIN),
            };
            (drift.clone(), repairs)
        };
        made.map(told).collect()
    }

    /// Whether to look now at what EC2 shows of a stack at rest.
    pub fn is_due(&self, version: &str) -> bool {
        let Some(wait) = self.next_look() else {
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
            Some(attempt) if attempt.repairs == MAX_REPAIRS - 1 => Stage::Last,
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

    /// At the end of a look: what is there. `repair`: something is done about it; `idle`: not now.
    pub fn note(&mut self, drifts: &[Drift], repair: bool, idle: bool) {
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
        let stays = |drift: &&Drift| idle && drift.cure != Cure::Passes && self.is_firm(drift);
        let staying = drifts.iter().filter(stays).map(Drift::key).collect();
        self.inquiry.note(staying, now);
    }

    /// Whether CloudFormation's drift detection is to be asked now; with `true`, for a new one.
    pub fn asks(&self) -> Option<bool> {
        let due = self.interval.is_some() && self.inquiry.wait(self.now)?.is_zero();
        due.then(|| self.inquiry.is_new())
    }

    /// What came of asking; None: it is to be tried again soon.
    pub fn answered(&mut self, answer: Option<Result<Detection, String>>) {
        self.inquiry.answered(answer, self.now);
    }

    /// What CloudFormation's drift detection has said.
    pub fn inquiry(&self) -> &Inquiry {
        &self.inquiry
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

    /// How much later there is something to be done; None: never. A look that is due but not possible would be due at every pass.
    pub fn next(&self) -> Option<Duration> {
        let look = self.next_look().filter(|_| self.possible)?;
        let ask = self.inquiry.wait(self.now);
        Some(ask.map_or(look, |ask| look.min(ask)))
    }

    fn next_look(&self) -> Option<Duration> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::drift::{Cure, Place};

    const INTERVAL: Duration = Duration::from_secs(300);

    fn drift(cure: Cure) -> Drift {
        Drift {
            id: "one".to_owned(),
            place: Place::Zone("a".to_owned()),
            reason: "RouteMissing",
            expected: String::new(),
            seen: String::new(),
            cure,
        }
    }

    /// A look at this time, which finds these.
    fn look(watch: &mut Watch, seconds: u64, drifts: &[Drift]) {
        watch.begin(Duration::from_secs(seconds), true);
        watch.looked("1", Ok(Observed::default()));
        watch.note(drifts, true, false);
    }

    #[test]
    fn looks_are_an_interval_apart_and_after_each_change_of_the_stack() {
        let mut watch = Watch::new(Some(INTERVAL));
        assert!(watch.is_due("1"), "the first pass of a term");
        look(&mut watch, 1_000, &[]);
        assert!(!watch.is_due("1") && watch.is_due("2"));
        watch.begin(Duration::from_secs(1_200), true);
        assert_eq!(watch.next(), Some(Duration::from_secs(100)));
        watch.begin(Duration::from_secs(1_300), true);
        assert!(watch.is_due("1"));
        watch.begin(Duration::from_secs(9_000), false);
        assert_eq!(watch.next(), None, "there is nothing to look at");
        let off = Watch::new(None);
        assert!(!off.is_due("1") && off.next().is_none());
    }

    #[test]
    fn while_something_may_be_repaired_looks_follow_quickly_but_not_for_ever() {
        let mut watch = Watch::new(Some(INTERVAL));
        look(&mut watch, 0, &[drift(Cure::ByHand("help"))]);
        assert_eq!(watch.next(), Some(INTERVAL));
        let route = drift(Cure::Retake);
        look(&mut watch, 0, std::slice::from_ref(&route));
        assert_eq!(watch.next(), Some(AGAIN));
        assert!(!watch.is_firm(&route));
        look(&mut watch, 5, std::slice::from_ref(&route));
        assert!(watch.is_firm(&route));
        watch.note(std::slice::from_ref(&route), false, false);
        assert_eq!(watch.next(), Some(INTERVAL), "it is only told");
        look(&mut watch, HURRY.as_secs(), &[route]);
        assert_eq!(watch.next(), Some(INTERVAL));
    }

    #[test]
    fn each_try_is_followed_by_a_look_and_the_third_is_the_last() {
        let mut watch = Watch::new(Some(INTERVAL));
        let route = drift(Cure::Retake);
        look(&mut watch, 0, std::slice::from_ref(&route));
        for stage in [Stage::New, Stage::Tried, Stage::Last] {
            assert_eq!(watch.stage(&route), stage);
            watch.tried(&[route.key()]);
            assert!(watch.is_due("1"));
            look(&mut watch, 0, std::slice::from_ref(&route));
        }
        assert_eq!(watch.stage(&route), Stage::Spent);
        assert_eq!(watch.next(), Some(INTERVAL));
        look(&mut watch, MEMORY.as_secs(), &[]);
        assert_eq!(watch.stage(&route), Stage::New, "it has been well for long");
    }

    #[test]
    fn a_later_leader_goes_on_counting() {
        let mut first = Watch::new(Some(INTERVAL));
        let route = drift(Cure::Retake);
        look(&mut first, 10_000, std::slice::from_ref(&route));
        assert!(first.repairs_made().is_empty(), "nothing was tried");
        first.tried(&[route.key(), route.key()]);
        let told = first.repairs_made();
        look(&mut first, 10_100, std::slice::from_ref(&route));
        assert_eq!(
            first.repairs_made(),
            told,
            "it is not written at every look"
        );

        let later = |seconds: u64| {
            let now = Duration::from_secs(seconds);
            let mut watch = Watch::new(Some(INTERVAL));
            watch.begin(now, true);
            watch.recall(&told, now);
            watch
        };
        let mut second = later(10_100);
        assert_eq!(second.stage(&route), Stage::Last);
        assert_eq!(second.repairs_made(), told);
        second.recall(&told, Duration::from_secs(10_200));
        second.tried(&[route.key()]);
        assert_eq!(second.stage(&route), Stage::Spent);
        // Of a leader whose clock was ahead, and of one long ago.
        let mut behind = later(0);
        look(&mut behind, MEMORY.as_secs() + GRAIN, &[]);
        assert_eq!(behind.stage(&route), Stage::New);
        assert_eq!(
            later(10_000 + 2 * MEMORY.as_secs()).stage(&route),
            Stage::New
        );
    }
}
