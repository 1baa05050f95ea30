//! The spans of a trace: one a pass, below it one for each step, below that one for each call to AWS. Where nobody collects
//! traces they are disabled, and cost a look at a flag.
//!
//! They say what was done, how long it took and how it ended, in words of the program and of AWS: nothing from ConfigMaps, and no
//! messages. Names of calls and their attributes: OpenTelemetry's semantic conventions for AWS SDK client spans.

use std::fmt::Display;

use tracing::field::Empty;
use tracing::{Span, info_span};

/// By it they are told from log lines, and from the spans of libraries.
pub const TARGET: &str = "egress_spans";

/// A pass: the root of a trace.
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

/// From the beginning of a term to its first decision: the root of a trace.
pub fn takeover(epoch: u64) -> Span {
    info_span!(target: TARGET, parent: None, "takeover", egress.epoch = number(epoch))
}

/// Something that the current span, or this one, is made of.
pub fn step(name: &'static str) -> Span {
    info_span!(target: TARGET, "step", otel.name = name)
}

pub fn step_of(parent: &Span, name: &'static str) -> Span {
    info_span!(target: TARGET, parent: parent, "step", otel.name = name)
}

/// A call to AWS with its retries; the service as the SDK names it: `EC2`.
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

/// It has failed: a stable name of how, never AWS's text.
pub fn failed(span: &Span, kind: impl Display) {
    span.record("error.type", kind.to_string());
    span.record("otel.status_code", "ERROR");
}

/// The bridge to OpenTelemetry writes other numbers than this as text.
pub fn number(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}
