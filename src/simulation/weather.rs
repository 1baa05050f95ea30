//! The ways between replicas, API server and account, and what becomes of each message on them.

use std::time::Duration;

use fastrand::Rng;
use tokio::time::Instant;

use super::script::{Foul, Place, REPLICAS};
use crate::lease::tests::secs;

/// One replica's way to one place.
struct Way {
    /// Each message takes one number of it, whatever the weather: so bad luck taken out leaves the rest as it was.
    rng: Rng,
    no_requests_until: Instant,
    no_answers_until: Instant,
    fouls: Vec<(Foul, Instant)>,
}

/// What becomes of one message and its answer.
#[derive(Clone, Copy, Debug)]
pub struct Luck {
    pub before: Duration,
    pub lost: bool,
    /// The request arrives once more, so much later.
    pub again: Option<Duration>,
    /// An error instead of what was asked: a number from 0 to 3.
    pub error: Option<u8>,
    pub after: Duration,
    pub unanswered: bool,
}

pub struct Weather {
    ways: Vec<[Way; 2]>,
}

impl Weather {
    pub fn new(seed: u64) -> Self {
        let now = Instant::now();
        let mut rng = Rng::with_seed(!seed);
        let mut way = || Way {
            rng: rng.fork(),
            no_requests_until: now,
            no_answers_until: now,
            fouls: Vec::new(),
        };
        Self {
            ways: (0..REPLICAS).map(|_| [way(), way()]).collect(),
        }
    }

    fn way(&mut self, who: usize, place: Place) -> &mut Way {
        &mut self.ways[who][usize::from(place == Place::Account)]
    }

    pub fn cut(
        &mut self,
        who: usize,
        place: Place,
        requests: bool,
        answers: bool,
        lasts: Duration,
    ) {
        let (way, until) = (self.way(who, place), Instant::now() + lasts);
        if requests {
            way.no_requests_until = until.max(way.no_requests_until);
        }
        if answers {
            way.no_answers_until = until.max(way.no_answers_until);
        }
    }

    pub fn foul(&mut self, who: usize, place: Place, foul: Foul, lasts: Duration) {
        let until = Instant::now() + lasts;
        self.way(who, place).fouls.push((foul, until));
    }

    /// Until when nothing comes back.
    pub fn cut_until(&mut self, who: usize, place: Place) -> Instant {
        let way = self.way(who, place);
        way.no_requests_until.max(way.no_answers_until)
    }

    /// `most`: how long a message may be on its way, in seconds.
    pub fn luck(&mut self, who: usize, place: Place, most: f64) -> Luck {
        let (way, now) = (self.way(who, place), Instant::now());
        let mut rng = way.rng.fork();
        way.fouls.retain(|(_, until)| *until > now);
        // AWS takes its time.
        let usual = if place == Place::Account { 0.3 } else { 0.05 };
        let mut luck = Luck {
            before: secs(rng.f64() * usual),
            lost: now < way.no_requests_until,
            again: None,
            error: None,
            after: secs(rng.f64() * usual),
            unanswered: now < way.no_answers_until,
        };
        for (foul, _) in &way.fouls {
            match (foul, rng.u8(0..6)) {
                (Foul::Slow, 0..2) => luck.before = secs(rng.f64() * most),
                (Foul::Slow, 2..4) => luck.after = secs(rng.f64() * most),
                (Foul::Lossy, 0) => luck.lost = true,
                (Foul::Lossy, 1) => luck.unanswered = true,
                (Foul::Twice, 0..4) => luck.again = Some(secs(rng.f64() * most)),
                (Foul::Errors, 0..3) => luck.error = Some(rng.u8(0..4)),
                _ => {}
            }
        }
        luck
    }
}
