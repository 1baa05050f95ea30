//! How long what would remove much has to last before it is believed. It outlives a leader, in the [`crate::model::persisted::ledger`].

use std::time::Duration;

use crate::model::input::request::Snapshot;

/// A period is stored and checked in steps of one part of it. What a leader's last moments add to it may be lost.
const PARTS: u32 = 10;

/// Times are durations since 1970, by a clock that does not step while one leader lasts. The next leader's may show something else:
/// the ledger holds how long a period has run, so times of two clocks are never subtracted from one another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grace {
    /// `--empty-grace-period`.
    pub period: Duration,
    pub now: Duration,
    /// How long a source was in doubt: periods stand still meanwhile. Everything below is by a clock that stood still as well.
    pub paused: Duration,
    /// When the sources were last looked at, and whether all of them were certain.
    pub observed: Option<(Duration, bool)>,
    /// Since when nobody has asked for anything.
    pub empty_since: Option<Duration>,
    pub large_removal: Option<LargeRemoval>,
}

/// So many networks would be removed at once that it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LargeRemoval {
    pub since: Duration,
    pub removed: usize,
    /// How many networks were routed when it began: networks that are added later do not make the removal smaller.
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

    /// Takes over from an earlier leader, whatever its clock showed.
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

    /// Notes whether anybody asks for anything. A source in doubt (not listed yet, as after every start, or cut off) proves nothing: what
    /// it has lost may have been requested again. So no time counts that begins or ends with such a doubt.
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

    /// How much longer an empty set has to stay empty.
    pub fn empty_left(&self) -> Duration {
        self.left(self.empty_since)
    }

    /// Notes that this many networks would be removed at once. Returns how much longer that has to last, and until when. A removal
    /// that grows starts again.
    pub fn large_left(&mut self, removed: usize, of: usize) -> (Duration, Duration) {
        let since = match self.large_removal {
            Some(large) if removed <= large.removed => large.since,
            _ => self.certain_time(),
        };
        self.large_removal = Some(LargeRemoval { since, removed, of });
        (self.left(Some(since)), since + self.paused + self.period)
    }

    /// Notes that all of them would be removed, since nobody asks for anything.
    pub fn large_from_empty(&mut self, removed: usize, of: usize) {
        let since = self.empty_since.unwrap_or(self.certain_time());
        self.large_removal = Some(LargeRemoval { since, removed, of });
    }

    /// When to look again at a period of which so much is left.
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

    /// The time by a clock that stands still while a source is in doubt.
    fn certain_time(&self) -> Duration {
        self.now.saturating_sub(self.paused)
    }

    /// What outlives a leader: no period, and whole seconds, rounded so that no period is cut short.
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

/// Rounded up.
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
        // A successor goes on from what had run, and in doubt as well.
        let mut next = at(500 * HOUR);
        next.recall(&kept);
        assert_eq!(look(&mut next, Duration::ZERO, &stale), (nine, nine));
        assert_eq!(look(&mut next, HOUR, &stale), (nine, nine));
        assert_eq!(
            next.kept().empty_since.map(|since| next.kept().now - since),
            Some(minute)
        );
        // What is stale and empty begins no period.
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
