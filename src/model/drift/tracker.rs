//! When EC2 is read for drift, what was last seen there, and how often the repair of one drift failed. Time is an argument: the
//! duration since 1970.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::base::ids::Zone;
use crate::model::cloud::live::Live;
use crate::model::cloud::network::Headroom;
use crate::model::cloud::observed::{Address, Observed};
use crate::model::cloud::status::Phase;
use crate::model::drift::cfn_detection::{Detection, Inquiry};
use crate::model::drift::{Cure, Drift};
use crate::model::persisted::grace::whole_seconds;
use crate::model::persisted::ledger::Repairs;

/// A drift that may still be repaired is looked at again after this time.
const AGAIN: Duration = Duration::from_secs(5);
/// How long a drift must be seen before a repair takes something out of the stack: EC2 is eventually consistent.
const FIRM: Duration = Duration::from_secs(4);
/// For how long the looks follow quickly on one another.
const HURRY: Duration = Duration::from_secs(600);
/// For how long an account that says so is believed to have no room.
const FULL: Duration = Duration::from_secs(6 * 3_600);
/// For how long it is not, then: a change is made and tried meanwhile. Should it fail, the zone waits for that.
const TEST: Duration = Duration::from_secs(900);
/// Repairs of the same drift before it is left alone.
pub const MAX_REPAIRS: u32 = 3;
/// How long after a lost static IP was seen each try to get it back begins: AWS may have given it away for a while only.
const RECOVERY: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_secs(60),
    Duration::from_secs(600),
    Duration::from_secs(3_600),
];
/// A drift that comes back within this time is the same, and its repair has failed.
const MEMORY: Duration = Duration::from_secs(3_600);
/// How exactly a later leader has to know when that is over: the ledger is written that often while a drift stays.
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
    /// Why the last look failed.
    complaint: Option<String>,
    /// By [`Drift::key`].
    attempts: BTreeMap<String, Attempt>,
    /// ARN of the stack that all this is about, once it is known.
    stack: Option<String>,
    /// Whether that stack was seen at rest.
    settled: bool,
    /// What a look has last shown. Where the next look fails, or the stack is just being changed, it is still known.
    known: Option<Observed>,
    /// By public IP, what the last answer of EC2 has shown, with or without a stack.
    addresses: BTreeMap<String, Address>,
    /// When EC2 was asked for static IPs alone, and for which.
    asked: Option<(Duration, BTreeSet<String>)>,
    /// Something is not as it should be, and may still be repaired.
    restless: bool,
    inquiry: Inquiry,
    /// What the account last said of these zones, which are to be added.
    headroom: Option<(BTreeSet<Zone>, Headroom)>,
    /// Since when it says that there is no room, or when that was last put to the test.
    full_since: Option<Duration>,
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
    /// CloudFormation failed to revert it, or cannot.
    Tried,
    /// One more try is left.
    Last,
    /// It is left alone.
    Spent,
}

/// How far the tries to get back a static IP have come, with how many were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// One may be made now.
    Due(usize),
    /// The next one may be made after this time.
    Waits(usize, Duration),
    /// All were made.
    Spent,
}

impl Recovery {
    /// Returns how many tries were made.
    pub fn tries(self) -> usize {
        match self {
            Self::Due(tries) | Self::Waits(tries, _) => tries,
            Self::Spent => RECOVERY.len(),
        }
    }
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

    /// Notes which stack is there. What was seen of another one, or repaired in it, says nothing about this one.
    pub fn follow(&mut self, live: &Live) {
        let stack = match live {
            Live::Ours(stack) => Some(stack.id.clone()),
            Live::Absent => None,
            Live::Foreign { .. } | Live::Several(_) => return,
        };
        if self.stack.is_some() && self.stack != stack {
            *self = Self {
                interval: self.interval,
                now: self.now,
                headroom: self.headroom.take(),
                addresses: std::mem::take(&mut self.addresses),
                ..Self::default()
            };
        }
        self.stack = stack;
        self.settled |= matches!(live, Live::Ours(stack) if stack.status.phase() == Phase::Settled);
    }

    /// Whether this process has seen this stack at rest.
    pub fn has_settled(&self, stack: &str) -> bool {
        self.settled && self.stack.as_deref() == Some(stack)
    }

    /// Returns what was last seen of any version of the stack. It is not fresh enough to judge drift by.
    pub fn last_seen(&self) -> Option<&Observed> {
        self.known.as_ref()
    }

    /// Returns what the account last said about exactly these zones.
    pub fn headroom(&self, zones: &BTreeSet<Zone>) -> Option<&Headroom> {
        let (of, headroom) = self.headroom.as_ref()?;
        (of == zones).then_some(headroom)
    }

    /// Notes what the account says about zones that are to be added.
    pub fn has_room(&mut self, zones: BTreeSet<Zone>, headroom: Headroom) {
        self.headroom = Some((zones, headroom));
    }

    /// Whether the account is believed to have no room, as it says. Quotas that are read are an estimate: once in a while it is put to
    /// the test.
    pub fn is_full(&mut self, enough: bool) -> bool {
        if enough {
            self.full_since = None;
            return false;
        }
        let since = *self.full_since.get_or_insert(self.now);
        let full_for = self.now.saturating_sub(since);
        if full_for >= FULL + TEST {
            self.full_since = Some(self.now);
        }
        !(FULL..FULL + TEST).contains(&full_for)
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
        match seen {
            Ok(seen) => {
                self.addresses.clone_from(&seen.addresses);
                (self.known, self.complaint) = (Some(seen), None);
            }
            Err(why) => self.complaint = Some(why),
        }
    }

    /// Whether to ask EC2 for these static IPs alone, since there is no stack to look at.
    pub fn asks_for(&self, ips: &BTreeSet<String>) -> bool {
        let Some(interval) = self.interval.filter(|_| !ips.is_empty()) else {
            return false;
        };
        let is_recent = |(at, of): &(Duration, BTreeSet<String>)| {
            of == ips && self.now.saturating_sub(*at) < interval
        };
        !self.asked.as_ref().is_some_and(is_recent)
    }

    /// Notes what EC2 has shown of these static IPs. None if it did not say.
    pub fn has_shown(&mut self, ips: BTreeSet<String>, seen: Option<BTreeMap<String, Address>>) {
        self.asked = Some((self.now, ips));
        if let Some(seen) = seen {
            self.addresses = seen;
        }
    }

    /// Returns a static IP as EC2 last showed it, for people to see. It is not fresh enough to act on.
    pub fn address(&self, ip: &str) -> Option<&Address> {
        self.addresses.get(ip)
    }

    /// What was last seen of just this version of the stack.
    pub fn observed(&self, version: &str) -> Option<&Observed> {
        let fresh = self.looked.as_ref().is_some_and(|(_, of)| of == version);
        self.last_seen()
            .filter(|_| fresh && self.complaint.is_none())
    }

    /// Why the last look failed.
    pub fn complaint(&self) -> Option<&str> {
        self.complaint.as_deref()
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

    /// Returns how far the tries to get back the static IP of this drift have come.
    pub fn recovery(&self, drift: &Drift) -> Recovery {
        let Some(key) = drift.recovery_key() else {
            return Recovery::Spent;
        };
        let attempt = self.attempts.get(&key);
        let (tries, age) = attempt.map_or((0, Duration::ZERO), |attempt| {
            let tries = usize::try_from(attempt.repairs).unwrap_or(usize::MAX);
            (tries, self.now.saturating_sub(attempt.first_seen))
        });
        match RECOVERY.get(tries) {
            None => Recovery::Spent,
            Some(wait) if *wait <= age => Recovery::Due(tries),
            Some(wait) => Recovery::Waits(tries, *wait - age),
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
            for key in drift.recovery_key().into_iter().chain([drift.key()]) {
                let fresh = Attempt {
                    repairs: 0,
                    first_seen: now,
                    last_seen: now,
                };
                self.attempts.entry(key).or_insert(fresh).last_seen = now;
            }
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
                attempt.repairs = attempt.repairs.saturating_add(1);
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
#[path = "tracker_tests.rs"]
mod tests;
