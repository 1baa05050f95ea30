//! The network between replicas, API server and account, and the fate of each message.

use std::time::Duration;

use fastrand::Rng;
use tokio::time::Instant;

use super::script::{Endpoint, MessageFault, REPLICAS};
use crate::lease::tests::secs;
use crate::provider::{ProviderError, Retry};

/// The path from one replica to one endpoint.
struct Path {
    /// Each message takes exactly one number, whatever the faults. So a fault that is left out changes no other message.
    rng: Rng,
    no_requests_until: Instant,
    no_answers_until: Instant,
    fouls: Vec<(MessageFault, Instant)>,
}

/// The delivery of one message and its response.
#[derive(Clone, Copy, Debug)]
pub struct Delivery {
    pub before: Duration,
    pub lost: bool,
    /// The delay after which the request arrives a second time.
    pub again: Option<Duration>,
    /// The error that is returned instead of a response, as a number from 0 to 3.
    pub error: Option<u8>,
    pub after: Duration,
    pub unanswered: bool,
}

pub struct NetworkFaults {
    ways: Vec<[Path; 2]>,
}

impl NetworkFaults {
    pub fn new(seed: u64) -> Self {
        let now = Instant::now();
        let mut rng = Rng::with_seed(!seed);
        let mut way = || Path {
            rng: rng.fork(),
            no_requests_until: now,
            no_answers_until: now,
            fouls: Vec::new(),
        };
        Self {
            ways: (0..REPLICAS).map(|_| [way(), way()]).collect(),
        }
    }

    fn way(&mut self, who: usize, place: Endpoint) -> &mut Path {
        &mut self.ways[who][usize::from(place == Endpoint::Account)]
    }

    pub fn cut(
        &mut self,
        who: usize,
        place: Endpoint,
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

    pub fn foul(&mut self, who: usize, place: Endpoint, foul: MessageFault, lasts: Duration) {
        let until = Instant::now() + lasts;
        self.way(who, place).fouls.push((foul, until));
    }

    /// Returns the time until which no response arrives.
    pub fn cut_until(&mut self, who: usize, place: Endpoint) -> Instant {
        let way = self.way(who, place);
        way.no_requests_until.max(way.no_answers_until)
    }

    /// Draws the delivery of one message. `most`: the maximum delay in seconds.
    pub fn luck(&mut self, who: usize, place: Endpoint, most: f64) -> Delivery {
        let (way, now) = (self.way(who, place), Instant::now());
        let mut rng = way.rng.fork();
        way.fouls.retain(|(_, until)| *until > now);
        // Messages to AWS take longer.
        let usual = if place == Endpoint::Account {
            0.3
        } else {
            0.05
        };
        let mut luck = Delivery {
            before: secs(rng.f64() * usual),
            lost: now < way.no_requests_until,
            again: None,
            error: None,
            after: secs(rng.f64() * usual),
            unanswered: now < way.no_answers_until,
        };
        for (foul, _) in &way.fouls {
            match (foul, rng.u8(0..6)) {
                (MessageFault::Slow, 0..2) => luck.before = secs(rng.f64() * most),
                (MessageFault::Slow, 2..4) => luck.after = secs(rng.f64() * most),
                (MessageFault::Lossy, 0) => luck.lost = true,
                (MessageFault::Lossy, 1) => luck.unanswered = true,
                (MessageFault::Twice, 0..4) => luck.again = Some(secs(rng.f64() * most)),
                (MessageFault::Errors, 0..3) => luck.error = Some(rng.u8(0..4)),
                _ => {}
            }
        }
        luck
    }
}

/// Returns how the provider reports an error of the network.
pub fn refused(error: u8) -> ProviderError {
    match error {
        0..2 => failed(Retry::Slowly, "Throttling"),
        _ => failed(Retry::Soon, "InternalFailure"),
    }
}

/// Returns a failure with this reason.
pub fn failed(retry: Retry, reason: &'static str) -> ProviderError {
    ProviderError {
        retry,
        reason,
        message: format!("the simulated network: {reason}"),
        source: None,
    }
}
