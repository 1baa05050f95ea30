//! The only path to AWS: every call is reported, and a mutating call ends with its term.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::{
    AfterDeserializationInterceptorContextRef, BeforeDeserializationInterceptorContextMut,
    BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_types::request_id::RequestId as _;
use tracing::{Instrument as _, Span};

use super::answer_limit;
use super::credentials::Renewable;
use super::error::Failure;
use super::kind::{Kind, Service};
use crate::lease::term::{Term, TermGuard, TermOver};
use crate::provider::account::{CallReport, Observer};
use crate::spans;

pub struct Calls {
    observer: Observer,
    credentials: Option<Renewable>,
    region: String,
}

impl Calls {
    pub fn new(observer: Observer, credentials: Option<Renewable>, region: String) -> Self {
        Self {
            observer,
            credentials,
            region,
        }
    }

    fn span(&self, service: Service, action: &'static str) -> Span {
        spans::call(service.sdk_name(), action, &self.region)
    }

    /// Sends a call that needs no term. `send` adds the interceptor to the operation.
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
        let gate = Gate::new(None, self.span(service, action));
        let started = Instant::now();
        let result = send(gate.clone()).instrument(gate.span.clone()).await;
        let result = self.finish(service, action, gate, started, Ok(result));
        self.renew(&result).await;
        result
    }

    /// Sends a mutating call: no attempt starts after the end of the term, and an attempt that is in progress then is dropped.
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
        let mut gate = Gate::new(Some(term.guard()), self.span(service, action));
        // The SDK does not read the answers of calls that return nothing.
        gate.root = (service == Service::CloudFormation).then(|| format!("<{action}Response"));
        let started = Instant::now();
        let sending = send(gate.clone()).instrument(gate.span.clone());
        let result = term.bound(sending).await;
        let result = self.finish(service, action, gate, started, result);
        self.renew(&result).await;
        result
    }

    /// Forgets credentials that AWS has refused, so that the next call loads new ones.
    async fn renew<T>(&self, result: &Result<T, Failure>) {
        let refused = |failure: &Failure| {
            matches!(failure.kind, Kind::CredentialsExpired | Kind::Credentials)
        };
        if let (Err(failure), Some(credentials)) = (result, &self.credentials)
            && refused(failure)
        {
            credentials.forget().await;
        }
    }

    fn finish<T, E>(
        &self,
        service: Service,
        action: &'static str,
        gate: Gate,
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
        gate.end(result.as_ref().err());
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

/// Runs before every attempt of one call, including the SDK's retries: counts the attempts, and refuses them after the end of the term,
/// which also stops the retries. Stores the last answer for the call's span.
#[derive(Clone, Debug)]
pub struct Gate {
    term: Option<TermGuard>,
    attempts: Arc<AtomicU32>,
    closed: Arc<AtomicBool>,
    span: Span,
    answer: Arc<Mutex<Option<Answer>>>,
    /// The start of the element that a successful answer must have, if that is checked.
    root: Option<String>,
}

/// The parts of an answer that the call's span shows.
#[derive(Debug)]
struct Answer {
    status: u16,
    id: Option<String>,
    /// The second request id, which only S3 sends.
    extended_id: Option<String>,
}

impl Gate {
    fn new(term: Option<TermGuard>, span: Span) -> Self {
        Self {
            term,
            attempts: Arc::default(),
            closed: Arc::default(),
            span,
            answer: Arc::default(),
            root: None,
        }
    }

    /// Records the result of the call in its span. The last gate of the call ends the span.
    fn end(self, failure: Option<&Failure>) {
        let answer = self.answer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = &*answer {
            let status = i64::from(answer.status);
            self.span.record("http.response.status_code", status);
            self.span.record("aws.request_id", &answer.id);
            let extended_id = &answer.extended_id;
            self.span.record("aws.extended_request_id", extended_id);
        }
        if let Some(again @ 1..) = self.attempts().checked_sub(1) {
            let again = i64::from(again);
            self.span.record("http.request.resend_count", again);
        }
        if let Some(failure) = failure {
            spans::failed(&self.span, &failure.code);
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

    fn read_after_transmit(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if !self.span.is_disabled() {
            let response = context.response();
            let headers = response.headers();
            let mut answer = self.answer.lock().unwrap_or_else(PoisonError::into_inner);
            *answer = Some(Answer {
                status: response.status().as_u16(),
                id: headers.request_id().map(str::to_owned),
                extended_id: headers.get("x-amz-id-2").map(str::to_owned),
            });
        }
        Ok(())
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        answer_limit::bound(context.response_mut());
        Ok(())
    }

    /// Refuses a page that a proxy sent with a status of success. Otherwise the call would count as accepted.
    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response();
        let is_answer = |body: &[u8], root: &str| {
            let mut parts = body.windows(root.len());
            parts.any(|part| part == root.as_bytes())
        };
        match (&self.root, response.body().bytes()) {
            (Some(root), Some(body))
                if response.status().is_success() && !is_answer(body, root) =>
            {
                Err("the answer is not AWS's".into())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
#[path = "calls_tests.rs"]
mod tests;
