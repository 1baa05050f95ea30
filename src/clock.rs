//! The local monotonic clock and its timers. The lease and the control loop use only this clock, so that a simulation can give each replica
//! a clock with its own rate.

pub use tokio::time::Instant;

#[cfg(not(test))]
pub use tokio::time::{sleep, sleep_until, timeout};

#[cfg(test)]
pub use self::simulated::{now, sleep, sleep_until, timeout};

/// Returns the wall clock's time, limited to the years of a [`jiff::Timestamp`]: a wrong clock must not end the process.
#[must_use]
pub fn wall() -> jiff::Timestamp {
    at_wall(std::time::SystemTime::now())
}

fn at_wall(time: std::time::SystemTime) -> jiff::Timestamp {
    let limit = match time < std::time::UNIX_EPOCH {
        true => jiff::Timestamp::MIN,
        false => jiff::Timestamp::MAX,
    };
    jiff::Timestamp::try_from(time).unwrap_or(limit)
}

/// Whether the year of this time can be written into a Lease.
#[must_use]
pub fn is_usable(wall: std::time::SystemTime) -> bool {
    jiff::Timestamp::try_from(wall).is_ok()
}

/// Returns the time since a moment, on the local clock.
#[must_use]
pub fn since(moment: Instant) -> std::time::Duration {
    now().saturating_duration_since(moment)
}

/// Returns the time of the local clock.
#[cfg(not(test))]
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}

/// The clock of the simulated machine whose process is being polled; without one, tokio's clock.
#[cfg(test)]
pub(crate) mod simulated {
    use std::cell::Cell;
    use std::time::Duration;

    use tokio::time::{Instant, Sleep, Timeout};

    /// A clock that showed the true time at its start, and has gained or lost time since then.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Clock {
        start: Instant,
        rate: f64,
    }

    thread_local! {
        static CURRENT: Cell<Option<Clock>> = const { Cell::new(None) };
    }

    impl Clock {
        /// Creates a clock that advances by `rate` seconds in each second.
        pub(crate) fn new(rate: f64) -> Self {
            Self {
                start: Instant::now(),
                rate,
            }
        }

        /// Runs `work` on the machine with this clock.
        pub(crate) fn with<T>(self, work: impl FnOnce() -> T) -> T {
            let outer = CURRENT.replace(Some(self));
            let result = work();
            CURRENT.set(outer);
            result
        }
    }

    pub fn now() -> Instant {
        let now = Instant::now();
        CURRENT.get().map_or(now, |clock| {
            clock.start + (now - clock.start).mul_f64(clock.rate)
        })
    }

    pub fn sleep_until(deadline: Instant) -> Sleep {
        tokio::time::sleep_until(CURRENT.get().map_or(deadline, |clock| {
            clock.start + (deadline - clock.start).div_f64(clock.rate)
        }))
    }

    pub fn sleep(duration: Duration) -> Sleep {
        tokio::time::sleep(in_truth(duration))
    }

    pub fn timeout<F: Future>(duration: Duration, future: F) -> Timeout<F> {
        tokio::time::timeout(in_truth(duration), future)
    }

    fn in_truth(duration: Duration) -> Duration {
        CURRENT
            .get()
            .map_or(duration, |clock| duration.div_f64(clock.rate))
    }

    #[tokio::test(start_paused = true)]
    async fn a_fast_clock_fires_early_and_shows_more() {
        let (start, clock) = (Instant::now(), Clock::new(1.25));
        clock.with(|| sleep(Duration::from_secs(10))).await;
        assert_eq!(start.elapsed(), Duration::from_secs(8));
        assert_eq!(clock.with(now) - start, Duration::from_secs(10));
        let ten_more = clock.with(|| sleep_until(now() + Duration::from_secs(10)));
        ten_more.await;
        assert_eq!(start.elapsed(), Duration::from_secs(16));
        assert_eq!(now(), Instant::now(), "outside of it time is as it is");
    }
}

#[cfg(test)]
mod wall_tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::at_wall;

    #[test]
    fn a_wall_clock_that_is_far_off_is_cut() {
        let far = UNIX_EPOCH + Duration::from_secs(300_000_000_000);
        assert_eq!(at_wall(far), jiff::Timestamp::MAX);
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        assert_eq!(at_wall(now).as_second(), 1_800_000_000);
    }
}
