//! An operation that this controller started, and its end, as the stack's events show it.
//!
//! DescribeStacks is eventually consistent: for some seconds after an operation was accepted it can show the status from before. So the
//! ClientRequestToken identifies an operation, and its events show its end.

use std::time::Duration;

use aws_sdk_cloudformation::types::{Stack, StackEvent};
use aws_smithy_types::DateTime;
use tokio::time::Instant;

use super::calls::Calls;
use super::error::Failure;
use super::kind::{Kind, Service};
use crate::model::base::owner::epoch_of;
use crate::model::cloud::status::Status;

/// How long DescribeStacks may contradict a known operation before its answer counts. AWS does not document the delay; seconds are usual.
const PATIENCE: Duration = Duration::from_secs(120);
/// The same limit for an operation whose answer was lost. An early retry does no harm, because the call has the same token; it is useless
/// only while the first call may still arrive.
const PATIENCE_UNSURE: Duration = Duration::from_secs(20);

/// An operation of ours that may still run.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    pub token: String,
    /// The stack's ARN, or its name until CreateStack has answered.
    pub stack: String,
    /// The stack's status while the operation runs.
    pub status: Status,
    /// The time at which the operation was last known to run.
    since: Instant,
    /// Whether AWS has accepted the operation.
    sure: bool,
    /// The LastUpdatedTime before the operation, if the operation changes it.
    before: Option<Option<DateTime>>,
    /// The number of resources that the operation changes, if known.
    pub changes: Option<usize>,
}

impl Operation {
    /// Creates an operation before its call; it is unsure until [`Self::accepted`]. `before` is the stack's current LastUpdatedTime if the
    /// operation will change it.
    pub fn new(
        token: String,
        stack: String,
        status: Status,
        before: Option<Option<DateTime>>,
    ) -> Self {
        Self {
            token,
            stack,
            status,
            since: Instant::now(),
            sure: false,
            before,
            changes: None,
        }
    }

    /// Sets the number of resources that the operation changes.
    pub fn changing(self, changes: Option<usize>) -> Self {
        Self { changes, ..self }
    }

    pub fn is_of(&self, stack: &Stack) -> bool {
        stack.stack_id() == Some(&self.stack) || stack.stack_name() == Some(&self.stack)
    }

    /// Records that AWS has accepted the operation. CreateStack returns the ARN.
    pub fn accepted(&mut self, arn: Option<&str>) {
        self.sure = true;
        self.since = Instant::now();
        if let Some(arn) = arn {
            self.stack = arn.to_owned();
        }
    }

    /// Records that DescribeStacks shows the operation.
    pub fn is_running(&mut self) {
        self.sure = true;
        self.since = Instant::now();
    }

    /// Whether DescribeStacks has contradicted the operation for long enough to count.
    pub fn is_out_of_patience(&self) -> bool {
        let patience = if self.sure { PATIENCE } else { PATIENCE_UNSURE };
        self.since.elapsed() >= patience
    }

    /// Whether the operation has ended, given a stack that DescribeStacks shows at rest: the operation's last event exists, and
    /// DescribeStacks shows the state after it. An operation has also ended if a later one has begun.
    pub fn has_ended(&self, stack: &Stack, events: &[StackEvent]) -> bool {
        let ours = |event: &&StackEvent| event.client_request_token() == Some(&self.token);
        let mut of_stack = events.iter().filter(|event| is_of_stack(event));
        let Some(newest) = of_stack.next() else {
            return false;
        };
        if !ours(&newest) {
            // An operation of a later term has begun. The events of this one may be on a later page.
            let theirs = newest.client_request_token().and_then(epoch_of);
            let later = theirs > epoch_of(&self.token);
            return later || of_stack.any(|event| ours(&event));
        }
        let end = stack_status(newest);
        let shown = stack.stack_status().map(|status| status.as_str());
        let moved = self
            .before
            .is_none_or(|before| before != stack.last_updated_time().copied());
        end.ends_an_operation() && shown == Some(end.word()) && moved
    }
}

/// Whether an event concerns the stack itself, not a resource or a nested stack.
pub fn is_of_stack(event: &StackEvent) -> bool {
    event.resource_type() == Some("AWS::CloudFormation::Stack")
        && event.physical_resource_id() == event.stack_id()
}

/// Returns the status of the stack itself that an event shows.
pub fn stack_status(event: &StackEvent) -> Status {
    let word = event.resource_status().map_or("", |status| status.as_str());
    Status::read(word)
}

/// Returns a page of events, newest first, and the token of the next page. Empty if the stack does not exist. `next`: None for the newest.
pub async fn page(
    calls: &Calls,
    cloudformation: &aws_sdk_cloudformation::Client,
    stack: &str,
    next: Option<String>,
) -> Result<(Vec<StackEvent>, Option<String>), Failure> {
    let request = cloudformation
        .describe_stack_events()
        .stack_name(stack)
        .set_next_token(next);
    let answer = calls
        .read(Service::CloudFormation, "DescribeStackEvents", |gate| {
            request.customize().interceptor(gate).send()
        })
        .await;
    match answer {
        Ok(answer) => Ok((answer.stack_events.unwrap_or_default(), answer.next_token)),
        Err(failure) if failure.kind == Kind::Missing => Ok((Vec::new(), None)),
        Err(failure) => Err(failure),
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_cloudformation::types::StackStatus;

    use super::super::event_examples::{ARN, event, of_stack};
    use super::*;

    fn shown(status: &str, updated: i64) -> Stack {
        Stack::builder()
            .stack_name("a")
            .stack_id(ARN)
            .creation_time(DateTime::from_secs(1))
            .last_updated_time(DateTime::from_secs(updated))
            .stack_status(StackStatus::from(status))
            .build()
    }

    fn operation(before: Option<Option<DateTime>>) -> Operation {
        Operation::new(
            "t2".to_owned(),
            ARN.to_owned(),
            Status::UpdateInProgress,
            before,
        )
    }

    #[test]
    fn an_operation_ends_with_its_own_last_event() {
        let operation = operation(None);
        let rest = shown("UPDATE_COMPLETE", 1);
        // Neither the previous operation's end, nor a resource's end, nor the start of the cleanup ends the operation.
        let old = of_stack("UPDATE_COMPLETE", "t1");
        assert!(!operation.has_ended(&rest, std::slice::from_ref(&old)));
        let resource = event("EIP1", "AWS::EC2::EIP", "UPDATE_COMPLETE", "", "t2");
        assert!(!operation.has_ended(
            &rest,
            &[resource, of_stack("UPDATE_IN_PROGRESS", "t2"), old.clone()]
        ));
        assert!(!operation.has_ended(
            &rest,
            &[
                of_stack("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "t2"),
                old.clone()
            ]
        ));
        assert!(operation.has_ended(&rest, &[of_stack("UPDATE_COMPLETE", "t2"), old.clone()]));
        // Once a later operation has begun, this one is over, whatever status is shown.
        let next = of_stack("DELETE_FAILED", "t3");
        assert!(!operation.has_ended(&rest, &[next.clone(), old.clone()]));
        assert!(operation.has_ended(
            &rest,
            &[next, of_stack("UPDATE_COMPLETE", "t2"), old.clone()]
        ));
        // Many events later, under other leaders.
        let token = |token: &str| {
            Operation::new(
                token.to_owned(),
                ARN.to_owned(),
                Status::UpdateInProgress,
                None,
            )
        };
        let next = of_stack("UPDATE_COMPLETE", "e4-ab-0");
        assert!(token("e3-ab-7").has_ended(&rest, std::slice::from_ref(&next)));
        assert!(!token("e4-ab-1").has_ended(&rest, &[next]));
        // DescribeStacks still has the state from before.
        assert!(!operation.has_ended(&rest, &[of_stack("UPDATE_ROLLBACK_COMPLETE", "t2"), old]));
    }

    #[test]
    fn the_same_final_status_twice_in_a_row_needs_a_new_time() {
        let operation = operation(Some(Some(DateTime::from_secs(10))));
        let events = [
            of_stack("UPDATE_COMPLETE", "t2"),
            of_stack("UPDATE_COMPLETE", "t1"),
        ];
        // An unknown status does not end an operation.
        let unknown = of_stack("RESTORE_COMPLETE", "t2");
        assert!(!operation.has_ended(&shown("RESTORE_COMPLETE", 20), &[unknown]));
        assert!(!operation.has_ended(&shown("UPDATE_COMPLETE", 10), &events));
        assert!(operation.has_ended(&shown("UPDATE_COMPLETE", 20), &events));
    }

    #[tokio::test(start_paused = true)]
    async fn patience_counts_from_the_last_sign_of_life() {
        let almost = |patience: Duration| patience.saturating_sub(Duration::from_secs(1));
        let mut operation = operation(None);
        tokio::time::advance(almost(PATIENCE_UNSURE)).await;
        assert!(!operation.is_out_of_patience());
        operation.accepted(None);
        tokio::time::advance(almost(PATIENCE)).await;
        operation.is_running();
        tokio::time::advance(almost(PATIENCE)).await;
        assert!(!operation.is_out_of_patience());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(operation.is_out_of_patience());
    }

    #[tokio::test(start_paused = true)]
    async fn patience_is_short_when_the_answer_was_lost() {
        let operation = operation(None);
        tokio::time::advance(PATIENCE_UNSURE).await;
        assert!(operation.is_out_of_patience());
    }
}
