//! Change sets as CloudFormation lists and describes them.

use aws_sdk_cloudformation::types::{
    ChangeAction, ChangeSetStatus, ChangeSetSummary, ChangeType, ExecutionStatus, Replacement,
    ResourceChange,
};

use super::calls::Calls;
use super::codes;
use super::error::{Failure, Kind, Service};
use crate::model::change;
use crate::model::live::{Change, ChangeSet, ChangeSetState, Effect};

/// Pages read of a list of change sets or of one set's changes.
const MAX_PAGES: usize = 20;
/// Change sets whose changes are read: the newest. There is one at a time unless something goes very wrong.
const MAX_DESCRIBED: usize = 3;

/// Ours, oldest first, with the changes of those that could be executed.
pub async fn ours(
    calls: &Calls,
    cloudformation: &aws_sdk_cloudformation::Client,
    stack: &str,
) -> Result<Vec<ChangeSet>, Failure> {
    let mut sets = from_summaries(list(calls, cloudformation, stack).await?);
    let mut described = 0;
    for set in sets
        .iter_mut()
        .rev()
        .filter(|set| set.state == ChangeSetState::Ready)
    {
        if described == MAX_DESCRIBED {
            set.state = ChangeSetState::Dead(format!("{MAX_DESCRIBED} newer ones are ready"));
            continue;
        }
        described += 1;
        match changes(calls, cloudformation, stack, &set.name).await {
            Ok(Some(changes)) => set.changes = changes,
            Ok(None) => {
                set.state = ChangeSetState::Dead("it has too many changes to be checked".to_owned())
            }
            Err(failure) if failure.kind == Kind::Missing => {
                set.state = ChangeSetState::Dead("it has been deleted".to_owned());
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(sets)
}

async fn list(
    calls: &Calls,
    cloudformation: &aws_sdk_cloudformation::Client,
    stack: &str,
) -> Result<Vec<ChangeSetSummary>, Failure> {
    let mut all = Vec::new();
    let mut next = None;
    // What lies beyond the last page is left for later: those before it are discarded meanwhile.
    for _ in 0..MAX_PAGES {
        let request = cloudformation
            .list_change_sets()
            .stack_name(stack)
            .set_next_token(next.take());
        let answer = calls
            .read(Service::CloudFormation, "ListChangeSets", |gate| {
                request.customize().interceptor(gate).send()
            })
            .await?;
        next = answer.next_token;
        all.extend(answer.summaries.unwrap_or_default());
        if next.is_none() {
            break;
        }
    }
    Ok(all)
}

/// None when there are too many to read.
async fn changes(
    calls: &Calls,
    cloudformation: &aws_sdk_cloudformation::Client,
    stack: &str,
    name: &str,
) -> Result<Option<Vec<Change>>, Failure> {
    let mut all = Vec::new();
    let mut next = None;
    for _ in 0..MAX_PAGES {
        let request = cloudformation
            .describe_change_set()
            .stack_name(stack)
            .change_set_name(name)
            .set_next_token(next.take());
        let answer = calls
            .read(Service::CloudFormation, "DescribeChangeSet", |gate| {
                request.customize().interceptor(gate).send()
            })
            .await?;
        all.extend(
            answer
                .changes()
                .iter()
                .map(|change| match change.resource_change() {
                    Some(resource) if change.r#type() == Some(&ChangeType::Resource) => {
                        self::change(resource)
                    }
                    _ => unknown_change(change),
                }),
        );
        next = answer.next_token;
        if next.is_none() {
            return Ok(Some(all));
        }
    }
    Ok(None)
}

fn from_summaries(mut summaries: Vec<ChangeSetSummary>) -> Vec<ChangeSet> {
    summaries.retain(|summary| {
        summary
            .change_set_name()
            .is_some_and(change::is_our_change_set)
    });
    summaries.sort_by_key(|summary| {
        summary
            .creation_time()
            .map(|time| (time.secs(), time.subsec_nanos()))
    });
    let set = |summary: &ChangeSetSummary| {
        let name = summary.change_set_name()?.to_owned();
        Some(ChangeSet {
            name,
            state: state(summary)?,
            changes: Vec::new(),
        })
    };
    summaries.iter().filter_map(set).collect()
}

/// None when it is as good as deleted. What nobody can execute is dead, so that it is discarded.
fn state(summary: &ChangeSetSummary) -> Option<ChangeSetState> {
    use ChangeSetState::{Dead, Executed, NoChanges, Pending, Ready};
    let reason = || summary.status_reason().filter(|reason| !reason.is_empty());
    Some(match summary.status() {
        Some(ChangeSetStatus::CreatePending | ChangeSetStatus::CreateInProgress) => Pending,
        Some(ChangeSetStatus::CreateComplete) => match summary.execution_status() {
            Some(ExecutionStatus::Available) => Ready,
            Some(ExecutionStatus::ExecuteInProgress | ExecutionStatus::ExecuteComplete) => Executed,
            Some(ExecutionStatus::ExecuteFailed) => {
                Dead(reason().unwrap_or("its execution failed").to_owned())
            }
            Some(ExecutionStatus::Obsolete) => {
                Dead("the stack has changed since it was made".to_owned())
            }
            Some(other) => Dead(format!("its execution status is {other}")),
            None => Dead("it has no execution status".to_owned()),
        },
        Some(ChangeSetStatus::Failed) if reason().is_some_and(codes::says_no_changes) => NoChanges,
        Some(ChangeSetStatus::Failed) => {
            Dead(reason().unwrap_or("it failed without a reason").to_owned())
        }
        Some(
            ChangeSetStatus::DeleteComplete
            | ChangeSetStatus::DeleteInProgress
            | ChangeSetStatus::DeletePending,
        ) => {
            return None;
        }
        Some(ChangeSetStatus::DeleteFailed) => {
            Dead(reason().unwrap_or("its deletion failed").to_owned())
        }
        Some(other) => Dead(format!("its status is {other}")),
        None => Dead("it has no status".to_owned()),
    })
}

fn change(resource: &ResourceChange) -> Change {
    let effect = match (resource.action(), resource.replacement()) {
        (Some(ChangeAction::Add), _) => Effect::Add,
        (Some(ChangeAction::Remove), _) => Effect::Remove,
        (Some(ChangeAction::Modify), Some(Replacement::False)) => Effect::Modify,
        // Whatever does not say that it keeps the resource may replace it.
        (Some(ChangeAction::Modify), _) => Effect::MayReplace,
        _ => Effect::Other,
    };
    Change {
        logical_id: resource
            .logical_resource_id()
            .unwrap_or_default()
            .to_owned(),
        resource_type: resource.resource_type().unwrap_or_default().to_owned(),
        effect,
    }
}

fn unknown_change(change: &aws_sdk_cloudformation::types::Change) -> Change {
    let kind = change.r#type().map_or("unknown", ChangeType::as_str);
    Change {
        logical_id: String::new(),
        resource_type: kind.to_owned(),
        effect: Effect::Other,
    }
}

#[cfg(test)]
mod tests {
    use aws_smithy_types::DateTime;

    use super::*;

    fn summary(
        name: &str,
        status: &str,
        execution: &str,
        reason: &str,
        seconds: i64,
    ) -> ChangeSetSummary {
        ChangeSetSummary::builder()
            .change_set_name(name)
            .status(ChangeSetStatus::from(status))
            .execution_status(ExecutionStatus::from(execution))
            .status_reason(reason)
            .creation_time(DateTime::from_secs(seconds))
            .build()
    }

    #[test]
    fn every_status_has_a_state() {
        use ChangeSetState::{Dead, Executed, NoChanges, Pending, Ready};
        let empty = "The submitted information didn't contain changes. Submit different information to create a change set.";
        let cases = [
            ("CREATE_PENDING", "UNAVAILABLE", "", Some(Pending)),
            ("CREATE_IN_PROGRESS", "UNAVAILABLE", "", Some(Pending)),
            ("CREATE_COMPLETE", "AVAILABLE", "", Some(Ready)),
            ("CREATE_COMPLETE", "EXECUTE_IN_PROGRESS", "", Some(Executed)),
            ("CREATE_COMPLETE", "EXECUTE_COMPLETE", "", Some(Executed)),
            (
                "CREATE_COMPLETE",
                "EXECUTE_FAILED",
                "",
                Some(Dead("its execution failed".to_owned())),
            ),
            (
                "CREATE_COMPLETE",
                "OBSOLETE",
                "",
                Some(Dead("the stack has changed since it was made".to_owned())),
            ),
            (
                "CREATE_COMPLETE",
                "NEW_WORD",
                "",
                Some(Dead("its execution status is NEW_WORD".to_owned())),
            ),
            ("FAILED", "UNAVAILABLE", empty, Some(NoChanges)),
            (
                "FAILED",
                "UNAVAILABLE",
                "No updates are to be performed.",
                Some(NoChanges),
            ),
            (
                "FAILED",
                "UNAVAILABLE",
                "Template error",
                Some(Dead("Template error".to_owned())),
            ),
            ("DELETE_COMPLETE", "UNAVAILABLE", "", None),
            ("DELETE_PENDING", "UNAVAILABLE", "", None),
            (
                "DELETE_FAILED",
                "UNAVAILABLE",
                "x",
                Some(Dead("x".to_owned())),
            ),
            (
                "NEW_WORD",
                "AVAILABLE",
                "",
                Some(Dead("its status is NEW_WORD".to_owned())),
            ),
        ];
        for (status, execution, reason, expected) in cases {
            assert_eq!(
                state(&summary("egress-0-e1", status, execution, reason, 1)),
                expected,
                "{status} {execution}"
            );
        }
    }

    #[test]
    fn only_ours_and_oldest_first() {
        let sets = from_summaries(vec![
            summary("egress-bb-e2", "CREATE_COMPLETE", "AVAILABLE", "", 20),
            summary("somebody-elses", "CREATE_COMPLETE", "AVAILABLE", "", 1),
            summary("egress-aa-e1", "CREATE_COMPLETE", "OBSOLETE", "", 10),
        ]);
        let names: Vec<&str> = sets.iter().map(|set| set.name.as_str()).collect();
        assert_eq!(names, ["egress-aa-e1", "egress-bb-e2"]);
    }

    #[test]
    fn a_change_that_does_not_say_it_keeps_the_resource_may_replace_it() {
        let effect = |action: &str, replacement: Option<&str>| {
            let change = ResourceChange::builder()
                .logical_resource_id("EIP1")
                .resource_type("AWS::EC2::EIP")
                .action(ChangeAction::from(action))
                .set_replacement(replacement.map(Replacement::from))
                .build();
            self::change(&change).effect
        };
        assert_eq!(effect("Add", None), Effect::Add);
        assert_eq!(effect("Remove", None), Effect::Remove);
        assert_eq!(effect("Modify", Some("False")), Effect::Modify);
        assert_eq!(effect("Modify", Some("True")), Effect::MayReplace);
        assert_eq!(effect("Modify", Some("Conditional")), Effect::MayReplace);
        assert_eq!(effect("Modify", Some("Perhaps")), Effect::MayReplace);
        assert_eq!(effect("Modify", None), Effect::MayReplace);
        assert_eq!(effect("Import", None), Effect::Other);
        assert_eq!(effect("NewWord", Some("False")), Effect::Other);
    }
}
