//! A process whose tasks can all be stopped, in the middle of whatever they do.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use tokio::time::{Duration, Instant, Sleep, sleep};

/// Until when it is stopped.
#[derive(Clone)]
pub struct Process(Arc<Mutex<Instant>>);

pub struct Stoppable<F> {
    inner: Pin<Box<F>>,
    process: Process,
    wake: Pin<Box<Sleep>>,
}

impl Process {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    /// Stops all its tasks; they go on after `pause`.
    pub fn stop(&self, pause: Duration) {
        *self.0.lock().unwrap() = Instant::now() + pause;
    }

    /// Runs a task of this process.
    pub fn run<F: Future>(&self, inner: F) -> Stoppable<F> {
        Stoppable {
            inner: Box::pin(inner),
            process: self.clone(),
            wake: Box::pin(sleep(Duration::ZERO)),
        }
    }
}

impl<F: Future> Future for Stoppable<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let until = *self.process.0.lock().unwrap();
        if until > Instant::now() {
            self.wake.as_mut().reset(until);
            assert!(self.wake.as_mut().poll(cx).is_pending());
            return Poll::Pending;
        }
        self.inner.as_mut().poll(cx)
    }
}
