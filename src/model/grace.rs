//! How long what would remove much has to last before it is believed. It outlives a leader, in the [`super::ledger`].

use std::time::Duration;

use super::request::Snapshot;

/// Times are durations since 1970, by a clock that does not step while one leader lasts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grace {
    /// `--empty-grace-period`.
    pub period: Duration,
    pub now: Duration,
    /// Since when nobody has asked for anything.
    pub empty_since: Option<Duration>,
    pub large_removal: Option<LargeRemoval>,
}

/// So many networks would be removed at once that it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LargeRemoval {
    pub since: Duration,
    pub removed: usize,
    /// Of how many that were routed when it began: what is added meanwhile makes it no smaller.
    pub of: usize,
}

impl Grace {
    /// With nothing to wait for.
    pub fn new(period: Duration) -> Self {
        Self {
            period,
            ..Self::default()
        }
    }

    /// Takes over from an earlier leader. Nothing began later than now, whatever its clock showed.
    pub fn recall(&mut self, stored: &Self) {
        self.empty_since = stored.empty_since.map(|since| since.min(self.now));
        self.large_removal = stored
            .large_removal
            .map(|large| large.at(large.since.min(self.now)));
    }

    /// Notes whether anybody asks for anything. What has not been listed yet, as after every start, tells neither.
    pub fn observe(&mut self, snapshot: &Snapshot) {
        if snapshot.is_truly_empty() {
            self.empty_since.get_or_insert(self.now);
        } else if snapshot
            .objects
            .values()
            .any(|object| !object.data.is_empty())
        {
            self.empty_since = None;
        }
    }

    /// How much longer an empty set has to stay empty.
    pub fn empty_left(&self) -> Duration {
        self.left(self.empty_since)
    }

    /// Notes that this many networks would be removed at once: how much longer that has to last, and until when. A removal that
    /// grows begins anew.
    pub fn large_left(&mut self, removed: usize, of: usize) -> (Duration, Duration) {
        let since = match self.large_removal {
            Some(large) if removed <= large.removed => large.since,
            _ => self.now,
        };
        self.large_removal = Some(LargeRemoval { since, removed, of });
        (self.left(Some(since)), since + self.period)
    }

    /// Notes that all of them would be removed, since nobody asks for anything.
    pub fn large_from_empty(&mut self, removed: usize, of: usize) {
        let since = self.empty_since.unwrap_or(self.now);
        self.large_removal = Some(LargeRemoval { since, removed, of });
    }

    fn left(&self, since: Option<Duration>) -> Duration {
        let since = since.unwrap_or(self.now);
        self.period.saturating_sub(self.now.saturating_sub(since))
    }

    /// What outlives a leader: no period and no now, and whole seconds, rounded up so that no period is cut short.
    pub fn kept(self) -> Self {
        let whole = |time| Duration::from_secs(whole_seconds(time));
        Self {
            empty_since: self.empty_since.map(whole),
            large_removal: self.large_removal.map(|large| large.at(whole(large.since))),
            ..Self::default()
        }
    }
}

impl LargeRemoval {
    fn at(self, since: Duration) -> Self {
        Self { since, ..self }
    }
}

/// Rounded up.
pub(super) fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
