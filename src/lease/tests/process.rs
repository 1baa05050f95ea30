//! A process whose tasks can all be stopped at any point, on a machine with its own clock.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use tokio::time::{Duration, Instant, Sleep, sleep};

use crate::clock::simulated::Clock;

/// A process. Clones are the same process.
#[derive(Clone)]
pub struct Process {
    clock: Clock,
    state: Arc<Mutex<State>>,
}

struct State {
    stopped_until: Instant,
    /// The state of the process's own random generator, if it has one, so that other processes do not change its numbers.
    luck: Option<u64>,
}

pub struct Stoppable<F> {
    inner: Pin<Box<F>>,
    process: Process,
    wake: Pin<Box<Sleep>>,
}

impl Process {
    /// Creates a process on a machine whose clock has this rate, with its own random generator.
    pub fn on(rate: f64, luck: Option<u64>) -> Self {
        Self {
            clock: Clock::new(rate),
            state: Arc::new(Mutex::new(State {
                stopped_until: Instant::now(),
                luck,
            })),
        }
    }

    /// Stops all tasks of the process. They continue after `pause`.
    pub fn stop(&self, pause: Duration) {
        self.state.lock().unwrap().stopped_until = Instant::now() + pause;
    }

    /// Runs a task of this process.
    pub fn run<F: Future>(&self, inner: F) -> Stoppable<F> {
        Stoppable {
            inner: Box::pin(inner),
            process: self.clone(),
            wake: Box::pin(sleep(Duration::ZERO)),
        }
    }

    /// Runs `work` with this process's clock and random generator.
    pub fn with<T>(&self, work: impl FnOnce() -> T) -> T {
        let Some(luck) = self.state.lock().unwrap().luck else {
            return self.clock.with(work);
        };
        let outer = fastrand::get_seed();
        fastrand::seed(luck);
        let result = self.clock.with(work);
        self.state.lock().unwrap().luck = Some(fastrand::get_seed());
        fastrand::seed(outer);
        result
    }

    /// Evaluates `look` with this process's clock.
    pub fn by_its_clock<T>(&self, look: impl FnOnce() -> T) -> T {
        self.clock.with(look)
    }
}

impl<F: Future> Future for Stoppable<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let until = self.process.state.lock().unwrap().stopped_until;
        if until > Instant::now() {
            self.wake.as_mut().reset(until);
            assert!(self.wake.as_mut().poll(cx).is_pending());
            return Poll::Pending;
        }
        let process = self.process.clone();
        process.with(|| self.inner.as_mut().poll(cx))
    }
}
