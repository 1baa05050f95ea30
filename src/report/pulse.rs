//! Whether the control loop still moves: what the liveness probe asks.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Waiting is no sign of illness, work that does not end is. Cheap to clone: all clones are the same pulse.
#[derive(Clone, Debug)]
pub struct Pulse {
    bound: Duration,
    work: Arc<Mutex<Option<Instant>>>,
}

/// Work under way, until it is dropped.
#[derive(Debug)]
pub struct Busy {
    work: Arc<Mutex<Option<Instant>>>,
}

impl Pulse {
    /// `bound`: how long one piece of work may take at most.
    pub fn new(bound: Duration) -> Self {
        Self {
            bound,
            work: Arc::default(),
        }
    }

    /// One piece of work begins; there is only one at a time.
    pub fn busy(&self) -> Busy {
        *self.work.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        Busy {
            work: Arc::clone(&self.work),
        }
    }

    /// Ok, or why the process should be started again.
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

impl Drop for Busy {
    fn drop(&mut self) {
        *self.work.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_work_that_does_not_end_is_an_illness() {
        let pulse = Pulse::new(Duration::from_secs(60));
        tokio::time::advance(Duration::from_secs(3_600)).await;
        assert_eq!(pulse.check(), Ok(()), "a follower waits for ever");
        let busy = pulse.clone().busy();
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(pulse.check(), Ok(()));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(pulse.check().is_err_and(|why| why.contains("61 s")));
        drop(busy);
        assert_eq!(pulse.check(), Ok(()));
    }
}
