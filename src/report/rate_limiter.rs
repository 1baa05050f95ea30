//! Limits how often the controller writes into a cluster.

use std::time::Duration;

use tokio::time::Instant;

/// The burst, and the time in which one token is added: at most 60 writes in the first minute, 30 in each further minute.
const BURST: u32 = 30;
const REFILL: Duration = Duration::from_secs(2);

/// A token bucket.
pub(super) struct RateLimiter {
    /// When all tokens are back.
    full_at: Instant,
}

impl RateLimiter {
    pub(super) fn full() -> Self {
        Self {
            full_at: Instant::now(),
        }
    }

    /// Returns when there is a token, with `others` more tokens left for other writes.
    pub(super) fn due(&self, others: u32) -> Instant {
        let now = Instant::now();
        let lacking = self.full_at.saturating_duration_since(now);
        now + lacking.saturating_sub(REFILL * BURST.saturating_sub(1 + others))
    }

    pub(super) fn take(&mut self) {
        self.full_at = self.full_at.max(Instant::now()) + REFILL;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_bucket_lets_a_burst_through_and_then_one_at_a_time() {
        let mut limiter = RateLimiter::full();
        let start = Instant::now();
        let mut times = Vec::new();
        for _ in 0..200 {
            tokio::time::sleep_until(limiter.due(0)).await;
            limiter.take();
            times.push(start.elapsed());
        }
        assert_eq!(times[29], Duration::ZERO);
        assert_eq!(times[30], REFILL);
        let within = |from: u64, to: u64| {
            let (from, to) = (Duration::from_secs(from), Duration::from_secs(to));
            times
                .iter()
                .filter(|time| **time >= from && **time < to)
                .count()
        };
        assert_eq!((within(0, 60), within(60, 120)), (59, 30));
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        assert_eq!(limiter.due(0), Instant::now());
    }

    #[tokio::test(start_paused = true)]
    async fn what_can_wait_leaves_some_for_others() {
        let mut limiter = RateLimiter::full();
        let mut taken = 0;
        while limiter.due(10) == Instant::now() {
            limiter.take();
            taken += 1;
        }
        assert_eq!(taken, 20);
        assert_eq!(limiter.due(10), Instant::now() + REFILL);
        assert_eq!(limiter.due(0), Instant::now());
    }
}
