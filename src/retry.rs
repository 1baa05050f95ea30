//! Exponential backoff with jitter: the only user of the `backoff` crate.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;

/// A throttled caller waits at least this many times as long.
const SLOW: u32 = 5;

/// Each wait is spread by this part of it, to both sides.
const SPREAD: f64 = 0.5;

/// How long to wait before each next try. It never gives up by itself.
#[derive(Debug)]
pub struct Backoff {
    inner: ExponentialBackoff,
    max: Duration,
}

impl Backoff {
    /// The first wait is about `initial`, each further one about twice as long, up to `max`; each is spread by ±50 %, so
    /// that several callers do not stay in step.
    pub fn new(initial: Duration, max: Duration) -> Self {
        let inner = ExponentialBackoff {
            current_interval: initial,
            initial_interval: initial,
            multiplier: 2.0,
            // Its generator cannot be seeded: waits are spread here.
            randomization_factor: 0.0,
            max_interval: max,
            // By default it gives up after 15 minutes.
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        Self { inner, max }
    }

    /// The next wait, at most `max`.
    #[expect(
        clippy::should_implement_trait,
        reason = "it never ends, and nothing iterates over waits"
    )]
    pub fn next(&mut self) -> Duration {
        let spread = 1.0 - SPREAD + 2.0 * SPREAD * fastrand::f64();
        let wait = self.inner.next_backoff().unwrap_or(self.max);
        wait.mul_f64(spread).min(self.max)
    }

    /// The next wait of a caller that was asked to slow down.
    pub fn slow(&mut self) -> Duration {
        (self.next() * SLOW).min(self.max)
    }

    /// Success: the next wait is the first one again.
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
