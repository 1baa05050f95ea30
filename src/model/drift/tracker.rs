//! Tracks when EC2 is read for drift, the last observation, and the repairs of each drift. Time is an argument: the duration since 1970.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::base::ids::Zone;
use crate::model::cloud::live::Live;
use crate::model::cloud::logical_id::renewal;
use crate::model::cloud::network::Headroom;
use crate::model::cloud::observed::{Address, Observed};
use crate::model::cloud::static_ip::Account;
use crate::model::cloud::status::Phase;
use crate::model::cloud::tagged_ips::{Tagged, tagged};
use crate::model::drift::cfn_detection::{Detection, Inquiry};
use crate::model::drift::recovery::{RECOVERY, Recovery};
use crate::model::drift::{Cure, Drift};
use crate::model::persisted::grace::whole_seconds;
use crate::model::persisted::ledger::Repairs;

/// The interval of reads while a drift may still be repaired.
const AGAIN: Duration = Duration::from_secs(5);
/// How long a drift must be seen before a repair takes something out of the stack: EC2 is eventually consistent.
const FIRM: Duration = Duration::from_secs(4);
/// How long after its first observation a drift makes the reads frequent.
const HURRY: Duration = Duration::from_secs(600);
/// How long the controller relies on the account's answer that there is no room for zones.
const FULL: Duration = Duration::from_secs(6 * 3_600);
/// How long it is ignored after that. In this time a change is made and tried. If the change fails, the zone waits.
const TEST: Duration = Duration::from_secs(900);
/// The maximum number of repairs of the same drift.
pub const MAX_REPAIRS: u32 = 3;
/// A drift that comes back within this time is the same drift, and its repair has failed.
const MEMORY: Duration = Duration::from_secs(3_600);
/// The granularity in seconds of the time that the next leader reads. While a drift persists, the ledger is written at this interval.
const GRAIN: u64 = 900;
/// The maximum number of recorded drifts: as many as a stack has resources.
const MAX_REMEMBERED: usize = 500;

/// The state of drift detection. Losing it costs one read of EC2.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    /// The interval of reads; None if drift detection is off.
    interval: Option<Duration>,
    now: Duration,
    /// Whether this pass could read EC2: our stack exists and is at rest.
    possible: bool,
    /// When EC2 was last read, and for which version of the stack.
    looked: Option<(Duration, String)>,
    /// Why the last read failed.
    complaint: Option<String>,
    /// Repairs by [`Drift::key`].
    attempts: BTreeMap<String, Attempt>,
    /// The ARN of the stack that this state belongs to, once it is known.
    stack: Option<String>,
    /// Whether that stack was seen at rest.
    settled: bool,
    /// The last observation. It stays known if the next read fails or the stack is being changed.
    known: Option<Observed>,
    /// The last observed addresses by public IP, with or without a stack.
    addresses: BTreeMap<String, Address>,
    /// When EC2 was last asked for static IPs alone, and for which.
    asked: Option<(Duration, BTreeSet<String>)>,
    /// The static IPs with the tags of our stack, by public IP, when the account was asked for them, and whether it answered.
    tagged: BTreeMap<String, Tagged>,
    asked_for_tags: Option<(Duration, bool)>,
    /// Whether a drift exists that may still be repaired.
    restless: bool,
    inquiry: Inquiry,
    /// The account's last answer about these new zones.
    headroom: Option<(BTreeSet<Zone>, Headroom)>,
    /// The time since which the account has no room, or of the last attempt in spite of that.
    full_since: Option<Duration>,
}

/// The repairs of one drift.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attempt {
    pub repairs: u32,
    pub first_seen: Duration,
    pub last_seen: Duration,
}

/// The progress of a repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Not tried yet: CloudFormation will be asked to revert the drift.
    New,
    /// CloudFormation failed to revert it, or cannot.
    Tried,
    /// One more attempt is left.
    Last,
    /// No further attempt is made.
    Spent,
}

impl Watch {
    /// Creates a state without observations. `interval`: None if EC2 is never read.
    pub fn new(interval: Option<Duration>) -> Self {
        Self {
            interval,
            ..Self::default()
        }
    }

    /// Records the start of a pass. `possible`: our stack exists and is at rest.
    pub fn begin(&mut self, now: Duration, possible: bool) {
        self.now = now;
        self.possible = possible;
    }

    /// Records which stack exists. Observations and repairs of another stack are dropped.
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
                tagged: std::mem::take(&mut self.tagged),
                asked_for_tags: self.asked_for_tags,
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

    /// Returns the last observation of any version of the stack. It is too old to detect drift with.
    pub fn last_seen(&self) -> Option<&Observed> {
        self.known.as_ref()
    }

    /// Returns the account's last answer about exactly these zones.
    pub fn headroom(&self, zones: &BTreeSet<Zone>) -> Option<&Headroom> {
        let (of, headroom) = self.headroom.as_ref()?;
        (of == zones).then_some(headroom)
    }

    /// Records the account's answer about new zones.
    pub fn has_room(&mut self, zones: BTreeSet<Zone>, headroom: Headroom) {
        self.headroom = Some((zones, headroom));
    }

    /// Whether to believe that the account has no room. The reported quotas are an estimate, so an attempt is made once in a while.
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

    /// Restores repairs from an earlier leader. Whatever that leader's clock showed, no repair counts for longer than if it were observed
    /// now.
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

    /// Returns the repairs for the next leader.
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

    /// Whether to read EC2 now for a stack at rest.
    pub fn is_due(&self, version: &str) -> bool {
        let Some(wait) = self.next_look() else {
            return false;
        };
        let looked = self.looked.as_ref();
        wait.is_zero() || looked.is_none_or(|(_, looked)| looked != version)
    }

    /// Records the observation, or why the read failed.
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

    /// Whether to ask EC2 for these static IPs alone, because there is no stack to read.
    pub fn asks_for(&self, ips: &BTreeSet<String>) -> bool {
        let Some(interval) = self.interval.filter(|_| !ips.is_empty()) else {
            return false;
        };
        let is_recent = |(at, of): &(Duration, BTreeSet<String>)| {
            of == ips && self.now.saturating_sub(*at) < interval
        };
        !self.asked.as_ref().is_some_and(is_recent)
    }

    /// Records EC2's answer about these static IPs; None if the call failed.
    pub fn has_shown(&mut self, ips: BTreeSet<String>, seen: Option<BTreeMap<String, Address>>) {
        self.asked = Some((self.now, ips));
        if let Some(seen) = seen {
            self.addresses = seen;
        }
    }

    /// Whether to ask for the static IPs with the tags of our stack: once, so that those of which the ledger does not know are shown.
    pub fn asks_for_tags(&self) -> bool {
        let is_due = |interval| match self.asked_for_tags {
            Some((at, answered)) => !answered && self.now.saturating_sub(at) >= interval,
            None => true,
        };
        self.interval.is_some_and(is_due)
    }

    /// Records the static IPs with the tags of our stack.
    pub fn has_tagged(&mut self, account: &Account, stack: &str) {
        self.asked_for_tags = Some((self.now, matches!(account, Account::Listed { .. })));
        self.tagged = tagged(account, stack);
    }

    /// Returns the static IPs with the tags of our stack, by public IP.
    pub fn tagged(&self) -> &BTreeMap<String, Tagged> {
        &self.tagged
    }

    /// Returns a static IP as last observed, for messages. It is too old to act on.
    pub fn address(&self, ip: &str) -> Option<&Address> {
        self.addresses.get(ip)
    }

    /// Returns the last observation if it is of this version of the stack.
    pub fn observed(&self, version: &str) -> Option<&Observed> {
        let fresh = self.looked.as_ref().is_some_and(|(_, of)| of == version);
        self.last_seen()
            .filter(|_| fresh && self.complaint.is_none())
    }

    /// Returns why the last read failed.
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

    /// Whether the repair of a drift of this resource was given up.
    pub fn has_given_up(&self, id: &str) -> bool {
        let start = format!("{} ", renewal(id).0);
        let of_it = self.attempts.range(start.clone()..);
        let mut of_it = of_it.take_while(|(key, _)| key.starts_with(&start));
        of_it.any(|(_, attempt)| attempt.repairs >= MAX_REPAIRS)
    }

    /// Returns the progress of attempts to recover the static IP of this drift.
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

    /// Whether the drift has been observed for long enough to remove a resource from the stack.
    pub fn is_firm(&self, drift: &Drift) -> bool {
        self.age(drift).is_some_and(|age| age >= FIRM)
    }

    fn age(&self, drift: &Drift) -> Option<Duration> {
        let attempt = self.attempts.get(&drift.key())?;
        Some(self.now.saturating_sub(attempt.first_seen))
    }

    /// Records the drifts at the end of a pass. `repair`: drift is repaired. `idle`: this pass changes nothing.
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

    /// Whether CloudFormation's drift detection is called now: `Some(true)` starts a detection, `Some(false)` polls it.
    pub fn asks(&self) -> Option<bool> {
        let due = self.interval.is_some() && self.inquiry.wait(self.now)?.is_zero();
        due.then(|| self.inquiry.is_new())
    }

    /// Records the response to a call of the detection; None if the call should be repeated soon.
    pub fn answered(&mut self, answer: Option<Result<Detection, String>>) {
        self.inquiry.answered(answer, self.now);
    }

    /// Returns CloudFormation's drift detection.
    pub fn inquiry(&self) -> &Inquiry {
        &self.inquiry
    }

    /// Records that a repair of these drifts was sent. The next read of EC2 shows its result.
    pub fn tried(&mut self, keys: &[String]) {
        for key in keys {
            if let Some(attempt) = self.attempts.get_mut(key) {
                attempt.repairs = attempt.repairs.saturating_add(1);
                self.looked = None;
            }
        }
    }

    /// Returns the time until the next read or call; None if there is none. A read that is not possible now does not count, because it
    /// would be due in every pass.
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
