//! Stack events for tests.

use aws_sdk_cloudformation::types::{ResourceStatus, StackEvent};
use aws_smithy_types::DateTime;

pub const ARN: &str = "arn:aws:cloudformation:eu-west-1:1:stack/a/1";

const STACK: &str = "AWS::CloudFormation::Stack";

pub fn event(id: &str, kind: &str, status: &str, reason: &str, token: &str) -> StackEvent {
    StackEvent::builder()
        .stack_id(ARN)
        .event_id("1")
        .stack_name("a")
        .timestamp(DateTime::from_secs(1))
        .logical_resource_id(id)
        .physical_resource_id(if kind == STACK { ARN } else { "x" })
        .resource_type(kind)
        .resource_status(ResourceStatus::from(status))
        .resource_status_reason(reason)
        .client_request_token(token)
        .build()
}

pub fn of_stack(status: &str, token: &str) -> StackEvent {
    event("a", STACK, status, "", token)
}
