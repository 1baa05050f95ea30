//! Exponential backoff with jitter: the only user of the `backoff` crate.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;

/// The factor by which a throttled caller waits longer.
const SLOW: u32 = 5;

/// The jitter: each wait varies by this fraction in both directions.
const SPREAD: f64 = 0.5;

/// The waits between retries. There is no maximum number of retries.
#[derive(Debug)]
pub struct Backoff {
    inner: ExponentialBackoff,
    max: Duration,
}

impl Backoff {
    /// Creates a backoff. The first wait is about `initial`, each further wait about twice as long, up to `max`. A jitter of ±50 %
    /// keeps several callers from retrying at the same time.
    pub fn new(initial: Duration, max: Duration) -> Self {
        let inner = ExponentialBackoff {
            current_interval: initial,
            initial_interval: initial,
            multiplier: 2.0,
            // The crate's random generator cannot be seeded, so the jitter is added below.
            randomization_factor: 0.0,
            max_interval: max,
            // By default, the crate gives up after 15 minutes.
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        Self { inner, max }
    }

    /// Returns the next wait, at most `max`.
    #[expect(
        clippy::should_implement_trait,
        reason = "it never ends, and nothing iterates over waits"
    )]
    pub fn next(&mut self) -> Duration {
        let spread = 1.0 - SPREAD + 2.0 * SPREAD * fastrand::f64();
        let wait = self.inner.next_backoff().unwrap_or(self.max);
        wait.mul_f64(spread).min(self.max)
    }

    /// Returns the next wait of a throttled caller.
    pub fn slow(&mut self) -> Duration {
        (self.next() * SLOW).min(self.max)
    }

    /// Starts again with the first wait, after a success.
    pub fn reset(&mut self) {
        self.inner.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_the_limit_and_start_again() {
        let max = Duration::from_secs(60);
        let mut backoff = Backoff::new(Duration::from_secs(1), max);
        let first = backoff.next();
        assert!(
            first >= Duration::from_millis(500) && first <= Duration::from_millis(1_500),
            "{first:?}"
        );
        let waits: Vec<Duration> = (0..50).map(|_| backoff.next()).collect();
        assert!(waits.iter().all(|wait| *wait <= max));
        assert!(waits[40..].iter().all(|wait| *wait >= max / 2), "{waits:?}");
        assert!(backoff.slow() == max, "a throttled caller waits longest");
        backoff.reset();
        assert!(backoff.next() <= Duration::from_millis(1_500));
    }
}
