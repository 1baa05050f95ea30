//! Why CloudFormation refused a change set. The status of a change set that validation refuses names no resource: only its events do.

use aws_sdk_cloudformation::types::{
    ChangeSetStatus, ChangeSetSummary, EventFilter, EventType, HookFailureMode, OperationEvent,
};

use super::calls::Calls;
use super::codes;
use super::kind::Service;
use crate::model::cloud::change_set_name::is_our_change_set;
use crate::model::cloud::live::{ChangeSet, ChangeSetState};

/// The maximum number of causes in a message.
const MAX_TOLD: usize = 3;

/// The last refused change set whose events were requested.
#[derive(Debug, Default)]
pub struct Refused {
    /// The change set's ARN.
    id: String,
    /// What its events say. None if they say nothing, or if the call failed.
    says: Option<String>,
}

/// Adds to the newest change set that CloudFormation refused what its events say. Each change set takes one call, and a call that fails
/// changes nothing. `listed`: the change sets as CloudFormation lists them.
pub async fn explain(
    calls: &Calls,
    cloudformation: &aws_sdk_cloudformation::Client,
    stack: &str,
    (listed, known): (&[(String, String)], &mut Refused),
    sets: &mut [ChangeSet],
) {
    let refused = sets.iter_mut().rev().find_map(|set| {
        let (_, id) = listed.iter().find(|(name, _)| *name == set.name)?;
        match &mut set.state {
            ChangeSetState::Dead(reason) => Some((id, reason)),
            _ => None,
        }
    });
    let Some((id, reason)) = refused else {
        return;
    };
    if known.id != *id {
        *known = Refused {
            id: id.clone(),
            says: ask(calls, cloudformation, stack, id).await,
        };
    }
    if let Some(says) = &known.says {
        *reason = format!("{reason} Its events say: {says}");
    }
}

/// Returns name and ARN of each of the controller's change sets that CloudFormation could not make.
pub fn refused(listed: &[ChangeSetSummary]) -> Vec<(String, String)> {
    let refused = listed.iter().filter_map(|set| {
        let is_refused = set.status() == Some(&ChangeSetStatus::Failed)
            && !set.status_reason().is_some_and(codes::says_no_changes);
        let name = set.change_set_name().filter(|name| is_our_change_set(name));
        let names = (name?.to_owned(), set.change_set_id()?.to_owned());
        is_refused.then_some(names)
    });
    refused.collect()
}

/// Returns what the events of a change set say. By the ARN, because CloudFormation does not find every change set by its name.
async fn ask(
    calls: &Calls,
    cloudformation: &aws_sdk_cloudformation::Client,
    stack: &str,
    id: &str,
) -> Option<String> {
    let failed = EventFilter::builder().failed_events(true).build();
    let request = cloudformation
        .describe_events()
        .stack_name(stack)
        .change_set_name(id)
        .filters(failed);
    let send = |gate| request.customize().interceptor(gate).send();
    let answer = calls.read(Service::CloudFormation, "DescribeEvents", send);
    causes(answer.await.ok()?.operation_events())
}

/// Returns the causes that events tell, at most [`MAX_TOLD`]. None if they tell none.
fn causes(events: &[OperationEvent]) -> Option<String> {
    let mut causes = Vec::new();
    let all = events.iter().filter_map(cause);
    for cause in all.map(|cause| codes::one_line(&cause)) {
        if !causes.contains(&cause) {
            causes.push(cause);
        }
    }
    let more = causes.len().saturating_sub(MAX_TOLD);
    causes.truncate(MAX_TOLD);
    if more > 0 {
        causes.push(format!("and {more} more"));
    }
    (!causes.is_empty()).then(|| causes.join(", "))
}

/// Returns the cause that an event tells, with its resource. Warnings are no cause.
fn cause(event: &OperationEvent) -> Option<String> {
    let warns = Some(&HookFailureMode::Warn);
    let (reason, by) = match event.event_type()? {
        EventType::ValidationError if event.validation_failure_mode() != warns => {
            (event.validation_status_reason()?, event.validation_name())
        }
        EventType::HookInvocationError if event.hook_failure_mode() != warns => {
            (event.hook_status_reason()?, event.hook_type())
        }
        EventType::ProvisioningError => (event.resource_status_reason()?, None),
        _ => return None,
    };
    Some(match (event.logical_resource_id(), event.resource_type()) {
        (Some(id), Some(kind)) => format!("{id} ({kind}): {reason}"),
        (Some(id), None) => format!("{id}: {reason}"),
        (None, _) => match by {
            Some(by) => format!("{by}: {reason}"),
            None => reason.to_owned(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(id: &str, reason: &str) -> OperationEvent {
        OperationEvent::builder()
            .event_type(EventType::ValidationError)
            .logical_resource_id(id)
            .resource_type("AWS::EC2::Route")
            .validation_status_reason(reason)
            .validation_name("PROPERTY_VALIDATION")
            .build()
    }

    #[test]
    fn errors_are_causes_and_warnings_are_not() {
        let mut warning = finding("A", "never mind");
        warning.validation_failure_mode = Some(HookFailureMode::Warn);
        let whole = OperationEvent::builder().event_type(EventType::StackEvent);
        let whole = whole.resource_status_reason("FAILED").build();
        assert_eq!(causes(&[warning, whole.clone()]), None);
        let hook = OperationEvent::builder()
            .event_type(EventType::HookInvocationError)
            .hook_type("Our::Own::Hook")
            .hook_status_reason("no routes on Fridays")
            .build();
        let events = [whole, finding("B", "no such\ntable"), hook];
        let expected = "B (AWS::EC2::Route): no such table, Our::Own::Hook: no routes on Fridays";
        assert_eq!(causes(&events).as_deref(), Some(expected));
    }

    #[test]
    fn the_number_of_causes_is_limited() {
        let events = ["A", "B", "C", "D", "E", "A"].map(|id| finding(id, "no"));
        let told = causes(&events).expect("causes");
        assert!(
            told.ends_with("C (AWS::EC2::Route): no, and 2 more"),
            "{told}"
        );
    }

    #[test]
    fn a_change_set_without_changes_was_not_refused() {
        let set = |name: &str, reason: &str| {
            ChangeSetSummary::builder()
                .change_set_name(name)
                .change_set_id(format!("arn:{name}"))
                .status(ChangeSetStatus::Failed)
                .status_reason(reason)
                .build()
        };
        let ours = "egress-0123456789abcdef-e1";
        let nothing =
            "The submitted information didn't contain changes. Submit different information.";
        assert_eq!(refused(&[set(ours, nothing), set("another", "no")]), []);
        let names = (ours.to_owned(), format!("arn:{ours}"));
        assert_eq!(refused(&[set(ours, "no")]), [names]);
    }
}
