//! A failed operation of the stack, as its events show it: the cause, the failed resources, and its rollback.

use std::collections::BTreeMap;

use aws_sdk_cloudformation::types::{ResourceStatus, StackEvent};

use super::calls::Calls;
use super::operation::{is_of_stack, page, stack_status};
use super::pages::{List, Pages};
use super::{codes, error};
use crate::model::cloud::live::{Failed, Rollback};
use crate::model::cloud::resource_type::ResourceType;
use crate::model::cloud::status::Status;

/// The maximum number of failed resources that are recorded of one part of an operation.
const MAX_NAMED: usize = 500;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Failure {
    /// The first failure, as `LogicalId (Type): reason`.
    pub cause: Option<String>,
    /// The failed resources by logical id, without those that CloudFormation cancelled.
    pub failed: BTreeMap<String, Failed>,
    pub rollback: Rollback,
}

/// Reads the events of the stack's last operation.
pub async fn read(
    calls: &Calls,
    cloudformation: &aws_sdk_cloudformation::Client,
    stack: &str,
) -> Result<Failure, error::Failure> {
    let mut reader = Reader::default();
    let mut pages = Pages::of(List::StackEvents);
    while let Some(token) = pages.turn() {
        let (events, after) = page(calls, cloudformation, stack, token).await?;
        if events.iter().any(|event| reader.read(event)) {
            break;
        }
        pages.note(after);
    }
    Ok(reader.failure())
}

/// The failures between two events of the stack itself.
#[derive(Debug, Default)]
struct Part {
    /// The oldest failure.
    first: Option<String>,
    failed: BTreeMap<String, Failed>,
    /// The types of the resources whose update failed, by logical id.
    unchanged: BTreeMap<String, String>,
}

/// Reads events from the newest to the oldest.
#[derive(Debug, Default)]
struct Reader {
    /// The stack's newest status.
    end: Option<Status>,
    /// The failures of the part that is being read: a rollback, or the operation before it.
    part: Part,
    /// The failures of the newest rollback.
    rollback: Option<Part>,
    /// The number of rollbacks that failed.
    failures: u32,
}

impl Reader {
    /// Returns true at the event with which the operation began.
    fn read(&mut self, event: &StackEvent) -> bool {
        if is_of_stack(event) {
            let status = stack_status(event);
            self.end.get_or_insert_with(|| status.clone());
            return match status {
                // A rollback belongs to the operation that it undoes.
                Status::UpdateRollbackInProgress
                | Status::RollbackInProgress
                | Status::ImportRollbackInProgress => {
                    let part = std::mem::take(&mut self.part);
                    self.rollback.get_or_insert(part);
                    false
                }
                Status::UpdateRollbackFailed => {
                    self.failures += 1;
                    false
                }
                Status::CreateInProgress
                | Status::UpdateInProgress
                | Status::DeleteInProgress
                | Status::ImportInProgress => true,
                _ => false,
            };
        }
        let reason = event.resource_status_reason().unwrap_or("no reason given");
        // Resources that were stopped because another one failed are not the cause.
        if let Some(status) = event.resource_status()
            && is_failure(status)
            && !codes::says_cancelled(reason)
        {
            self.part.note(event, status, reason);
        }
        false
    }

    fn failure(self) -> Failure {
        let rollback = self.rollback.unwrap_or_default();
        let is_stuck = matches!(
            self.end,
            Some(
                Status::RollbackFailed
                    | Status::UpdateRollbackFailed
                    | Status::ImportRollbackFailed
            )
        );
        let stopped = rollback.first.filter(|_| is_stuck);
        Failure {
            cause: match (self.part.first, stopped) {
                (Some(first), Some(stopped)) => {
                    Some(format!("{first}; and the rollback failed at {stopped}"))
                }
                (first, stopped) => first.or(stopped),
            },
            failed: self.part.failed,
            rollback: Rollback {
                failures: self.failures,
                stuck: rollback.unchanged,
            },
        }
    }
}

impl Part {
    fn note(&mut self, event: &StackEvent, status: &ResourceStatus, reason: &str) {
        let id = event.logical_resource_id().unwrap_or("?");
        let kind = event.resource_type().unwrap_or("?");
        self.first = Some(codes::one_line(&format!("{id} ({kind}): {reason}")));
        if self.failed.len() >= MAX_NAMED {
            return;
        }
        let failed = Failed {
            reason: codes::one_line(codes::handler_message(reason)),
            table_is_full: ResourceType::of(kind) == ResourceType::Route
                && codes::says_table_is_full(reason),
        };
        self.failed.insert(id.to_owned(), failed);
        if *status == ResourceStatus::UpdateFailed {
            self.unchanged.insert(id.to_owned(), kind.to_owned());
        }
    }
}

/// Whether a resource could not be created, changed, imported or deleted. A status that the SDK does not know is no proof of a failure.
fn is_failure(status: &ResourceStatus) -> bool {
    matches!(
        status,
        ResourceStatus::CreateFailed
            | ResourceStatus::UpdateFailed
            | ResourceStatus::DeleteFailed
            | ResourceStatus::ImportFailed
            | ResourceStatus::ImportRollbackFailed
            | ResourceStatus::RollbackFailed
            | ResourceStatus::UpdateRollbackFailed
    )
}

#[cfg(test)]
#[path = "failure_tests.rs"]
mod tests;
