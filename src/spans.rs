//! The spans of a trace: one per pass, below it one per step, below that one per call to AWS. Without a collector they are disabled
//! and cost the check of a flag.
//!
//! Spans hold what was done, how long it took and how it ended. They hold no messages and nothing from ConfigMaps. Names and attributes
//! of calls follow OpenTelemetry's semantic conventions for AWS SDK client spans.

use std::fmt::Display;

use tracing::field::Empty;
use tracing::{Span, info_span};

/// The target that separates these spans from log lines and from the spans of libraries.
pub const TARGET: &str = "egress_spans";

/// Creates the span of a pass, the root of a trace.
pub fn pass(epoch: u64) -> Span {
    info_span!(
        target: TARGET,
        parent: None,
        "pass",
        egress.epoch = number(epoch),
        egress.action = Empty,
        egress.outcome = Empty,
        egress.problems = Empty,
        "error.type" = Empty,
        otel.status_code = Empty,
    )
}

/// Creates the span from the start of a term to its first decision, the root of a trace.
pub fn takeover(epoch: u64) -> Span {
    info_span!(target: TARGET, parent: None, "takeover", egress.epoch = number(epoch))
}

/// Creates the span of a step below the current span.
pub fn step(name: &'static str) -> Span {
    info_span!(target: TARGET, "step", otel.name = name)
}

/// Creates the span of a step below `parent`.
pub fn step_of(parent: &Span, name: &'static str) -> Span {
    info_span!(target: TARGET, parent: parent, "step", otel.name = name)
}

/// Creates the span of a call to AWS with its retries. `service` is the SDK's name, such as `EC2`.
pub fn call(service: &'static str, action: &'static str, region: &str) -> Span {
    info_span!(
        target: TARGET,
        "call",
        otel.name = format!("{service}.{action}"),
        otel.kind = "client",
        rpc.system = "aws-api",
        rpc.service = service,
        rpc.method = action,
        cloud.region = region,
        http.response.status_code = Empty,
        http.request.resend_count = Empty,
        aws.request_id = Empty,
        aws.extended_request_id = Empty,
        "error.type" = Empty,
        otel.status_code = Empty,
    )
}

/// Marks a span as failed. `kind` is a stable name of the error, never a text from AWS.
pub fn failed(span: &Span, kind: impl Display) {
    span.record("error.type", kind.to_string());
    span.record("otel.status_code", "ERROR");
}

/// Converts to `i64`, the only type that the bridge to OpenTelemetry records as a number.
pub fn number(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}
