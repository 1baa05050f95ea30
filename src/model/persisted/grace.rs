//! Grace periods: how long a large removal must persist before it is carried out. The [`crate::model::persisted::ledger`] stores them for
//! the next leader.

use std::time::Duration;

use crate::model::input::request::Snapshot;

/// The number of steps in which a period is stored and checked. A leader's last, incomplete step may be lost.
const PARTS: u32 = 10;

/// The grace periods. Times are durations since 1970, on a clock that does not step during one leader's term. The next leader's clock may
/// differ, so the ledger stores how long a period has run, and times of two clocks are never subtracted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grace {
    /// `--empty-grace-period`.
    pub period: Duration,
    pub now: Duration,
    /// The total time in which a source was in doubt. Periods do not run in that time, and all times below exclude it.
    pub paused: Duration,
    /// When the sources were last checked, and whether all of them were certain.
    pub observed: Option<(Duration, bool)>,
    /// The time since which no ConfigMap has requested a route.
    pub empty_since: Option<Duration>,
    pub large_removal: Option<LargeRemoval>,
}

/// A removal that waits because it would remove many networks at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LargeRemoval {
    pub since: Duration,
    pub removed: usize,
    /// The number of networks that were routed when the wait began. Networks that are added later do not make the removal smaller.
    pub of: usize,
}

impl Grace {
    /// Creates grace periods of which none runs.
    pub fn new(period: Duration) -> Self {
        Self {
            period,
            ..Self::default()
        }
    }

    /// Restores the periods from an earlier leader, whose clock may differ.
    pub fn recall(&mut self, stored: &Self) {
        let now = self.certain_time();
        let since = |since| {
            let has_run: Duration = stored.now.saturating_sub(since);
            now.saturating_sub(has_run)
        };
        self.empty_since = stored.empty_since.map(since);
        self.large_removal = stored
            .large_removal
            .map(|large| large.at(since(large.since)));
    }

    /// Records whether any ConfigMap requests a route. A source in doubt (not listed yet, as after every start, or unreachable) proves
    /// nothing: its requests may have come back. So a period does not run from or to a time with such a doubt.
    pub fn observe(&mut self, snapshot: &Snapshot) {
        let certain = snapshot.is_certain();
        if let Some((at, was_certain)) = self.observed.replace((self.now, certain))
            && !(certain && was_certain)
        {
            self.paused += self.now.saturating_sub(at);
        }
        if certain && snapshot.is_truly_empty() {
            self.empty_since.get_or_insert(self.certain_time());
        } else if snapshot.objects.values().any(|object| !object.is_empty()) {
            self.empty_since = None;
        }
    }

    /// Returns how much longer the set of requests must stay empty.
    pub fn empty_left(&self) -> Duration {
        self.left(self.empty_since)
    }

    /// Records that this many networks would be removed at once. Returns how much longer the removal must persist, and until when. A
    /// removal that grows starts again.
    pub fn large_left(&mut self, removed: usize, of: usize) -> (Duration, Duration) {
        let since = match self.large_removal {
            Some(large) if removed <= large.removed => large.since,
            _ => self.certain_time(),
        };
        self.large_removal = Some(LargeRemoval { since, removed, of });
        (self.left(Some(since)), since + self.paused + self.period)
    }

    /// Records that all networks would be removed, because no ConfigMap requests a route.
    pub fn large_from_empty(&mut self, removed: usize, of: usize) {
        let since = self.empty_since.unwrap_or(self.certain_time());
        self.large_removal = Some(LargeRemoval { since, removed, of });
    }

    /// Returns when to check a period again that has this much time left.
    pub fn look(&self, left: Duration) -> Duration {
        left.min(self.part())
    }

    fn part(&self) -> Duration {
        (self.period / PARTS).max(Duration::from_secs(1))
    }

    fn left(&self, since: Option<Duration>) -> Duration {
        let now = self.certain_time();
        self.period
            .saturating_sub(now.saturating_sub(since.unwrap_or(now)))
    }

    /// Returns the time without the times in which a source was in doubt.
    fn certain_time(&self) -> Duration {
        self.now.saturating_sub(self.paused)
    }

    /// Returns the state to store for the next leader, without the period, in whole seconds, rounded so that no period is cut short.
    pub fn kept(self) -> Self {
        let whole = |time| Duration::from_secs(whole_seconds(time));
        let runs = self.empty_since.is_some() || self.large_removal.is_some();
        let part = self.part().as_secs();
        let now = runs.then(|| Duration::from_secs(self.certain_time().as_secs() / part * part));
        Self {
            now: now.unwrap_or_default(),
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

/// Returns the time in seconds, rounded up.
pub(in crate::model) fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(600);
    const HOUR: Duration = Duration::from_secs(3_600);

    fn at(now: Duration) -> Grace {
        Grace {
            now,
            ..Grace::new(PERIOD)
        }
    }

    #[test]
    fn a_period_stands_still_while_a_source_is_in_doubt_also_over_failovers() {
        let empty = Snapshot::default();
        let stale = Snapshot {
            stale: [("one".to_owned(), "401".to_owned())].into(),
            ..Snapshot::default()
        };
        let minute = Duration::from_secs(60);
        let mut grace = at(100 * HOUR);
        let look = |grace: &mut Grace, after: Duration, snapshot: &Snapshot| {
            grace.now += after;
            grace.observe(snapshot);
            (grace.empty_left(), grace.large_left(5, 6).0)
        };
        look(&mut grace, Duration::ZERO, &empty);
        let (nine, eight) = (9 * minute, 8 * minute);
        assert_eq!(look(&mut grace, minute, &empty), (nine, nine));
        assert_eq!(look(&mut grace, minute, &stale), (nine, nine), "since then");
        assert_eq!(look(&mut grace, 30 * minute, &stale), (nine, nine));
        let kept = grace.kept();
        assert_eq!(look(&mut grace, minute, &empty), (nine, nine), "until then");
        assert_eq!(look(&mut grace, minute, &empty), (eight, eight));
        // The next leader continues the period, and excludes times of doubt as well.
        let mut next = at(500 * HOUR);
        next.recall(&kept);
        assert_eq!(look(&mut next, Duration::ZERO, &stale), (nine, nine));
        assert_eq!(look(&mut next, HOUR, &stale), (nine, nine));
        assert_eq!(
            next.kept().empty_since.map(|since| next.kept().now - since),
            Some(minute)
        );
        // A set that is stale and empty starts no period.
        let mut new = at(HOUR);
        assert_eq!(look(&mut new, minute, &stale).0, PERIOD);
        assert_eq!(new.empty_since, None);
    }

    #[test]
    fn a_period_is_not_cut_short_by_another_clock() {
        let begun = 100 * HOUR + Duration::from_millis(500);
        let mut first = at(begun);
        first.observe(&Snapshot::default());
        first.large_left(5, 6);
        first.now += Duration::from_secs(400);
        for (clock, seconds) in [(1, 400), (99, 400), (101, 400), (200, 400), (100, 800)] {
            let mut next = at(clock * HOUR + Duration::from_secs(seconds));
            next.recall(&first.kept());
            let left = next.empty_left();
            let spared = PERIOD - Duration::from_secs(400);
            let most = spared + PERIOD / PARTS + Duration::from_secs(1);
            assert!((spared..=most).contains(&left), "{clock}: {left:?}");
            assert_eq!(next.large_left(5, 6).0, left);
        }
        assert_eq!(at(begun).kept(), Grace::default(), "nothing runs");
    }
}
