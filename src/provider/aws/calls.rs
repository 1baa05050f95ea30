//! The one way out to AWS: every call is reported, and a mutating one ends with its term.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::BeforeTransmitInterceptorContextRef;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::error::{Failure, Service};
use crate::lease::term::{Term, TermGuard, TermOver};

/// What one call came to, its retries included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallReport {
    /// `cloudformation`, `ec2` or `s3`.
    pub service: &'static str,
    /// As in the API reference: `DescribeStacks`.
    pub action: &'static str,
    /// `ok`, AWS's error code, or `Timeout`, `Unreachable`, `TermOver`, … where AWS did not answer.
    pub code: String,
    /// How often it was sent; 0 when it never left.
    pub attempts: u32,
    pub duration: Duration,
}

/// Told of every call, for metrics. Called on the calling task: it must not block.
pub type Observer = Arc<dyn Fn(&CallReport) + Send + Sync>;

pub struct Calls {
    observer: Observer,
}

impl Calls {
    pub fn new(observer: Observer) -> Self {
        Self { observer }
    }

    /// `send` gets an interceptor to be put on the operation.
    pub async fn read<T, E, F>(
        &self,
        service: Service,
        action: &'static str,
        send: impl FnOnce(Gate) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let gate = Gate::new(None);
        let started = Instant::now();
        let result = send(gate.clone()).await;
        self.finish(service, action, &gate, started, Ok(result))
    }

    /// The same for a call that changes something: no attempt starts after the end of the term, and one that is under
    /// way then is dropped.
    pub async fn write<T, E, F>(
        &self,
        term: &Term,
        service: Service,
        action: &'static str,
        send: impl FnOnce(Gate) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let gate = Gate::new(Some(term.guard()));
        let started = Instant::now();
        let result = term.bound(send(gate.clone())).await;
        self.finish(service, action, &gate, started, result)
    }

    fn finish<T, E>(
        &self,
        service: Service,
        action: &'static str,
        gate: &Gate,
        started: Instant,
        result: Result<Result<T, SdkError<E, HttpResponse>>, TermOver>,
    ) -> Result<T, Failure>
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let attempts = gate.attempts();
        let result = match result {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(error)) if !gate.closed() => Err(Failure::new(service, action, attempts, error)),
            Ok(Err(_)) | Err(TermOver) => Err(Failure::term_over(service, action, attempts)),
        };
        let report = CallReport {
            service: service.as_str(),
            action,
            code: result
                .as_ref()
                .map_or_else(|failure| failure.code.clone(), |_| "ok".to_owned()),
            attempts,
            duration: started.elapsed(),
        };
        tracing::debug!(
            service = report.service,
            action,
            code = report.code,
            attempts,
            milliseconds = u64::try_from(report.duration.as_millis()).unwrap_or(u64::MAX),
            "AWS call"
        );
        (self.observer)(&report);
        result
    }
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calls").finish_non_exhaustive()
    }
}

/// Sits before every attempt of one call, the SDK's own retries included: counts it, and refuses it once the term is
/// over, which also ends the SDK's retrying.
#[derive(Clone, Debug)]
pub struct Gate {
    term: Option<TermGuard>,
    attempts: Arc<AtomicU32>,
    closed: Arc<AtomicBool>,
}

impl Gate {
    fn new(term: Option<TermGuard>) -> Self {
        Self {
            term,
            attempts: Arc::default(),
            closed: Arc::default(),
        }
    }

    fn attempts(&self) -> u32 {
        self.attempts.load(Ordering::Relaxed)
    }

    /// Whether an attempt was refused.
    fn closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }
}

impl Intercept for Gate {
    fn name(&self) -> &'static str {
        "Gate"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if self.term.as_ref().is_some_and(TermGuard::is_over) {
            self.closed.store(true, Ordering::Relaxed);
            return Err("the term of leadership is over".into());
        }
        self.attempts.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}
