//! Checks whether the control loop makes progress, for the liveness probe.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Detects work that does not end; idle time is healthy. All clones share one state.
#[derive(Clone, Debug)]
pub struct Liveness {
    bound: Duration,
    work: Arc<Mutex<Option<Instant>>>,
}

/// Marks work in progress until it is dropped.
#[derive(Debug)]
pub struct WorkGuard {
    work: Arc<Mutex<Option<Instant>>>,
}

impl Liveness {
    /// Creates a check. `bound` is the maximum duration of one piece of work.
    pub fn new(bound: Duration) -> Self {
        Self {
            bound,
            work: Arc::default(),
        }
    }

    /// Starts one piece of work. There is only one at a time.
    pub fn busy(&self) -> WorkGuard {
        *self.work.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        WorkGuard {
            work: Arc::clone(&self.work),
        }
    }

    /// Returns why the process should be restarted, if it should.
    pub fn check(&self) -> Result<(), String> {
        let since = *self.work.lock().unwrap_or_else(PoisonError::into_inner);
        match since.map(|since| since.elapsed()) {
            Some(took) if took > self.bound => Err(format!(
                "a pass has taken {} s, more than {} s",
                took.as_secs(),
                self.bound.as_secs()
            )),
            Some(_) | None => Ok(()),
        }
    }
}

impl Drop for WorkGuard {
    fn drop(&mut self) {
        *self.work.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_work_that_does_not_end_is_an_illness() {
        let liveness = Liveness::new(Duration::from_secs(60));
        tokio::time::advance(Duration::from_secs(3_600)).await;
        assert_eq!(liveness.check(), Ok(()), "a follower waits for ever");
        let busy = liveness.clone().busy();
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(liveness.check(), Ok(()));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(liveness.check().is_err_and(|why| why.contains("61 s")));
        drop(busy);
        assert_eq!(liveness.check(), Ok(()));
    }
}
