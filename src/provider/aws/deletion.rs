//! Failed deletions of a stack, as its events show them.

use aws_sdk_cloudformation::types::{ResourceStatus, StackEvent};

use super::calls::Calls;
use super::error::Failure;
use super::operation::{is_of_stack, page, stack_status};
use super::pages::{List, Pages};
use crate::model::cloud::live::Deletion;
use crate::model::cloud::status::Status;

/// Reads the stack's events back to the operation before the deletions.
pub async fn read(
    calls: &Calls,
    cloudformation: &aws_sdk_cloudformation::Client,
    stack: &str,
) -> Result<Deletion, Failure> {
    let mut deletion = Deletion::default();
    let mut pages = Pages::of(List::StackEvents);
    while let Some(token) = pages.turn() {
        let (events, after) = page(calls, cloudformation, stack, token).await?;
        if events.iter().any(|event| note(&mut deletion, event)) {
            break;
        }
        pages.note(after);
    }
    Ok(deletion)
}

/// Records an event, in order from the newest to the oldest. Returns true at the first event of another operation.
fn note(deletion: &mut Deletion, event: &StackEvent) -> bool {
    if is_of_stack(event) {
        match stack_status(event) {
            Status::DeleteFailed => deletion.failures += 1,
            Status::DeleteInProgress => {}
            before => {
                deletion.before = before;
                return true;
            }
        }
        return false;
    }
    let id = event.logical_resource_id().unwrap_or_default().to_owned();
    match event.resource_status() {
        Some(ResourceStatus::DeleteFailed) if deletion.failures == 1 => {
            deletion.stuck.insert(id);
        }
        Some(ResourceStatus::DeleteComplete) => _ = deletion.gone.insert(id),
        _ => {}
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: &str, kind: &str, status: &str) -> StackEvent {
        StackEvent::builder()
            .stack_id("arn")
            .event_id("1")
            .stack_name("a")
            .logical_resource_id(id)
            .physical_resource_id(if kind == "AWS::CloudFormation::Stack" {
                "arn"
            } else {
                "p"
            })
            .resource_type(kind)
            .resource_status(ResourceStatus::from(status))
            .build()
    }

    #[test]
    fn failures_are_counted_back_to_what_was_before() {
        let stack = |status| event("a", "AWS::CloudFormation::Stack", status);
        let subnet = |id, status| event(id, "AWS::EC2::Subnet", status);
        let events = [
            stack("DELETE_FAILED"),
            subnet("S2", "DELETE_FAILED"),
            subnet("S3", "DELETE_COMPLETE"),
            stack("DELETE_IN_PROGRESS"),
            stack("DELETE_FAILED"),
            subnet("S1", "DELETE_FAILED"),
            subnet("S4", "DELETE_COMPLETE"),
            stack("DELETE_IN_PROGRESS"),
            stack("ROLLBACK_COMPLETE"),
            stack("DELETE_FAILED"),
        ];
        let mut deletion = Deletion::default();
        let end = events.iter().position(|event| note(&mut deletion, event));
        assert_eq!(end, Some(8));
        assert_eq!(deletion.failures, 2);
        assert_eq!(deletion.before, Status::read("ROLLBACK_COMPLETE"));
        assert_eq!(deletion.stuck.into_iter().collect::<Vec<_>>(), ["S2"]);
        assert_eq!(deletion.gone.into_iter().collect::<Vec<_>>(), ["S3", "S4"]);
    }
}
