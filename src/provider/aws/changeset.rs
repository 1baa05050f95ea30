//! Change sets as CloudFormation lists and describes them.

use std::collections::BTreeMap;

use aws_sdk_cloudformation::types::{
    ChangeAction, ChangeSetStatus, ChangeSetSummary, ChangeSource, ChangeType, EvaluationType,
    ExecutionStatus, Replacement, RequiresRecreation, ResourceAttribute, ResourceChange,
    TemplateStage,
};

use super::calls::Calls;
use super::change_set_events::{self, Refused};
use super::codes;
use super::error::Failure;
use super::kind::{Kind, Service};
use super::pages::{self, List, Pages};
use crate::model::cloud::change_set_name::is_our_change_set;
use crate::model::cloud::layout::Layout;
use crate::model::cloud::live::{Change, ChangeSet, ChangeSetState, Effect};
use crate::model::cloud::network_lists::NetworkList;

/// The number of change sets whose changes are read, newest first. Normally only one exists.
const MAX_DESCRIBED: usize = 3;

/// The time in seconds after which a change set that is still being computed is discarded.
const MAX_PENDING: i64 = 900;

/// Returns the controller's change sets, oldest first, with the changes of those that are ready. `prepared`: id or name of a change set
/// that was made, which the list may lack. `refused`: what is known of the last one that CloudFormation refused. `changed`: the time of the
/// stack's last update, in seconds since 1970.
pub async fn ours(
    calls: &Calls,
    cloudformation: &aws_sdk_cloudformation::Client,
    stack: &str,
    (prepared, refused): (Option<&str>, &mut Refused),
    changed: i64,
) -> Result<Vec<ChangeSet>, Failure> {
    let now = aws_smithy_types::DateTime::from(std::time::SystemTime::now()).secs();
    let mut listed = list(calls, cloudformation, stack).await?;
    let is_listed = |id: &str| {
        let names =
            |set: &ChangeSetSummary| [set.change_set_id.clone(), set.change_set_name.clone()];
        let mut names = listed.iter().flat_map(names).flatten();
        names.any(|name| name == id)
    };
    if let Some(id) = prepared.filter(|id| !is_listed(id)) {
        listed.extend(summary(calls, cloudformation, stack, id).await?);
    }
    let failed = change_set_events::refused(&listed);
    let mut sets = from_summaries(listed, changed, now);
    change_set_events::explain(calls, cloudformation, stack, (&failed, refused), &mut sets).await;
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
            Ok(Some(changes)) => {
                set.changes = changes;
                if set.changes_list() {
                    set.lists = lists(calls, cloudformation, stack, &set.name).await?;
                }
            }
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
    let (mut all, mut pages) = (Vec::new(), Pages::of(List::ChangeSets));
    // Change sets beyond the limit are read in a later pass, after those before them are discarded.
    while let Some(token) = pages.turn() {
        let request = cloudformation
            .list_change_sets()
            .stack_name(stack)
            .set_next_token(token);
        let answer = calls
            .read(Service::CloudFormation, "ListChangeSets", |gate| {
                request.customize().interceptor(gate).send()
            })
            .await?;
        pages.note(answer.next_token);
        all.extend(answer.summaries.unwrap_or_default());
    }
    Ok(all)
}

/// Returns a change set as a list would show it. None if it does not exist.
async fn summary(
    calls: &Calls,
    cloudformation: &aws_sdk_cloudformation::Client,
    stack: &str,
    id: &str,
) -> Result<Option<ChangeSetSummary>, Failure> {
    let request = cloudformation
        .describe_change_set()
        .stack_name(stack)
        .change_set_name(id);
    let answer = calls
        .read(Service::CloudFormation, "DescribeChangeSet", |gate| {
            request.customize().interceptor(gate).send()
        })
        .await;
    let set = match answer {
        Err(failure) if failure.kind == Kind::Missing => return Ok(None),
        set => set?,
    };
    let summary = ChangeSetSummary::builder()
        .set_change_set_id(set.change_set_id)
        .set_change_set_name(set.change_set_name)
        .set_creation_time(set.creation_time)
        .set_status(set.status)
        .set_status_reason(set.status_reason)
        .set_execution_status(set.execution_status);
    Ok(Some(summary.build()))
}

/// Returns the template of the stack, or of one of its change sets, as it was sent.
pub async fn template(
    calls: &Calls,
    cloudformation: &aws_sdk_cloudformation::Client,
    stack: &str,
    change_set: Option<&str>,
) -> Result<String, Failure> {
    let request = cloudformation
        .get_template()
        .stack_name(stack)
        .set_change_set_name(change_set.map(str::to_owned))
        .template_stage(TemplateStage::Original);
    let answer = calls
        .read(Service::CloudFormation, "GetTemplate", |gate| {
            request.customize().interceptor(gate).send()
        })
        .await?;
    Ok(answer.template_body.unwrap_or_default())
}

/// Returns the network lists in the template of a change set. None if the template cannot be read.
async fn lists(
    calls: &Calls,
    cloudformation: &aws_sdk_cloudformation::Client,
    stack: &str,
    name: &str,
) -> Result<Option<BTreeMap<String, NetworkList>>, Failure> {
    let text = match template(calls, cloudformation, stack, Some(name)).await {
        Err(failure) if failure.kind == Kind::Missing => return Ok(None),
        answer => answer?,
    };
    // Network lists refer to no parameter.
    let layout = Layout::read(&text, &BTreeMap::new());
    Ok(layout.ok().map(|layout| layout.names().lists))
}

/// Returns the changes of a change set. None if there are more pages than are read.
async fn changes(
    calls: &Calls,
    cloudformation: &aws_sdk_cloudformation::Client,
    stack: &str,
    name: &str,
) -> Result<Option<Vec<Change>>, Failure> {
    let page = |token| {
        let request = cloudformation
            .describe_change_set()
            .stack_name(stack)
            .change_set_name(name)
            .set_next_token(token);
        async move {
            let answer = calls
                .read(Service::CloudFormation, "DescribeChangeSet", |gate| {
                    request.customize().interceptor(gate).send()
                })
                .await?;
            let read =
                |change: &aws_sdk_cloudformation::types::Change| match change.resource_change() {
                    Some(resource) if change.r#type() == Some(&ChangeType::Resource) => {
                        self::change(resource)
                    }
                    _ => unknown_change(change),
                };
            let changes = answer.changes().iter().map(read).collect();
            Ok((changes, answer.next_token))
        }
    };
    Ok(pages::within(List::ChangeSets, page).await?.ok())
}

/// Returns the controller's change sets, oldest first. `changed` is the time of the stack's last update; times are in seconds since 1970.
fn from_summaries(mut summaries: Vec<ChangeSetSummary>, changed: i64, now: i64) -> Vec<ChangeSet> {
    summaries.retain(|summary| summary.change_set_name().is_some_and(is_our_change_set));
    summaries.sort_by_key(|summary| {
        summary
            .creation_time()
            .map(|time| (time.secs(), time.subsec_nanos()))
    });
    let set = |summary: &ChangeSetSummary| {
        let name = summary.change_set_name()?.to_owned();
        Some(ChangeSet {
            name,
            state: judged(summary, changed, now)?,
            changes: Vec::new(),
            lists: None,
        })
    };
    summaries.iter().filter_map(set).collect()
}

/// Returns the state of a change set, given its age and the time of the stack's last update.
fn judged(summary: &ChangeSetSummary, changed: i64, now: i64) -> Option<ChangeSetState> {
    let made = summary.creation_time().map_or(now, |time| time.secs());
    Some(match state(summary)? {
        ChangeSetState::Pending if now - made > MAX_PENDING => {
            ChangeSetState::Dead(format!("it was not computed within {MAX_PENDING} s"))
        }
        // The stack has changed since this change set found no changes.
        ChangeSetState::NoChanges if made < changed => {
            ChangeSetState::Dead("the stack has changed since it was made".to_owned())
        }
        state => state,
    })
}

/// Returns the state of a change set; None if it is deleted or being deleted. A change set that cannot be executed is dead, so that the
/// controller discards it.
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
        (Some(ChangeAction::Modify), Some(Replacement::False)) => match has_properties(resource) {
            true => Effect::Modify,
            false => Effect::Tags,
        },
        // A change may replace the resource unless CloudFormation excludes that.
        (Some(ChangeAction::Modify), _) => Effect::MayReplace,
        (Some(ChangeAction::SyncWithActual), _) => Effect::Record,
        _ => Effect::Other,
    };
    Change {
        dynamic_on: dynamic_on(resource, effect),
        logical_id: resource
            .logical_resource_id()
            .unwrap_or_default()
            .to_owned(),
        resource_type: resource.resource_type().unwrap_or_default().to_owned(),
        effect,
    }
}

/// Whether a change concerns properties, not only tags and attributes outside of the properties. A change without a scope may concern any
/// property.
fn has_properties(resource: &ResourceChange) -> bool {
    let scope = resource.scope();
    let is_property = |of: &ResourceAttribute| {
        use ResourceAttribute::{
            CreationPolicy, DeletionPolicy, Metadata, Tags, UpdatePolicy, UpdateReplacePolicy,
        };
        !matches!(
            of,
            CreationPolicy | DeletionPolicy | Metadata | Tags | UpdatePolicy | UpdateReplacePolicy
        )
    };
    scope.is_empty() || scope.iter().any(is_property)
}

/// Returns the resources whose attributes alone cause a modification or possible replacement. Empty if it has any other cause.
fn dynamic_on(resource: &ResourceChange, effect: Effect) -> Vec<String> {
    let mut on = Vec::new();
    for detail in resource.details() {
        let target = detail.target();
        let recreation = target.and_then(|target| target.requires_recreation());
        let attribute = target.and_then(|target| target.attribute());
        let does_not_matter = match effect {
            Effect::Modify => attribute == Some(&ResourceAttribute::Tags),
            _ => recreation == Some(&RequiresRecreation::Never),
        };
        if does_not_matter {
            continue;
        }
        let by_reference = matches!(
            detail.change_source(),
            Some(ChangeSource::ResourceAttribute | ChangeSource::ResourceReference)
        );
        match detail.causing_entity() {
            Some(entity)
                if by_reference
                    && (effect == Effect::Modify
                        || detail.evaluation() == Some(&EvaluationType::Dynamic)) =>
            {
                on.push(entity.split('.').next().unwrap_or(entity).to_owned());
            }
            _ => return Vec::new(),
        }
    }
    on
}

fn unknown_change(change: &aws_sdk_cloudformation::types::Change) -> Change {
    let kind = change.r#type().map_or("unknown", ChangeType::as_str);
    Change {
        dynamic_on: Vec::new(),
        logical_id: String::new(),
        resource_type: kind.to_owned(),
        effect: Effect::Other,
    }
}

#[cfg(test)]
#[path = "changeset_tests.rs"]
mod tests;
