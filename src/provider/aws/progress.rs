//! The progress of the operation that runs on the stack, as the stack's events show it.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_cloudformation::types::{ResourceStatus, Stack, StackEvent};
use aws_smithy_types::DateTime;
use tokio::time::Instant;

use super::error::Failure;
use super::operation::{is_of_stack, page, stack_status};
use super::pages::{List, Pages};
use super::reader::Reader;
use crate::model::cloud::live::Progress;
use crate::model::cloud::status::Status;

/// The interval between reads of events. The first read comes one interval after the operation was first seen, so short operations cost no
/// call.
const INTERVAL: Duration = Duration::from_secs(10);

/// The progress of an operation that the events have shown.
#[derive(Debug)]
pub struct Seen {
    /// The stack's ARN and LastUpdatedTime, which identify the operation.
    of: (String, Option<DateTime>),
    looked: Instant,
    /// The id of the newest event that was read. None before the first read.
    newest: Option<String>,
    /// The logical ids of the resources that are finished.
    done: BTreeSet<String>,
}

impl Seen {
    fn new(of: (String, Option<DateTime>)) -> Self {
        Self {
            of,
            looked: Instant::now(),
            newest: None,
            done: BTreeSet::new(),
        }
    }

    /// Reads events, newest first, up to a known event or the operation's first event. Returns whether it found one of them.
    fn read(&mut self, events: &[StackEvent], newest: Option<&str>) -> bool {
        for event in events {
            if newest.is_some() && event.event_id() == newest {
                return true;
            }
            if is_of_stack(event) {
                if begins(&stack_status(event)) {
                    return true;
                }
            } else if event.resource_status().is_some_and(is_done) {
                let logical = event.logical_resource_id();
                self.done.extend(logical.map(str::to_owned));
            }
        }
        false
    }

    async fn look(&mut self, reader: &Reader<'_>) -> Result<(), Failure> {
        let before = self.newest.take();
        let mut pages = Pages::of(List::StackEvents);
        while let Some(token) = pages.turn() {
            let stack = &self.of.0;
            let (events, after) = page(reader.calls, reader.cloudformation, stack, token).await?;
            if self.newest.is_none() {
                let newest = events.first().and_then(StackEvent::event_id);
                self.newest = newest.map(str::to_owned);
            }
            if self.read(&events, before.as_deref()) {
                break;
            }
            pages.note(after);
        }
        Ok(())
    }
}

/// Reads the progress of the operation that runs on a stack. None if it is unknown, and in a rollback; nothing depends on it.
pub async fn read(
    reader: &Reader<'_>,
    known: &mut Option<Seen>,
    stack: &Stack,
    changes: Option<usize>,
) -> Option<Progress> {
    let word = stack.stack_status().map_or("", |status| status.as_str());
    if Status::read(word).is_rollback() {
        return None;
    }
    let id = stack.stack_id().unwrap_or_default().to_owned();
    let of = (id, stack.last_updated_time().copied());
    let seen = known.take().filter(|seen| seen.of == of);
    let seen = known.insert(seen.unwrap_or_else(|| Seen::new(of)));
    if seen.looked.elapsed() >= INTERVAL {
        seen.looked = Instant::now();
        // Without a newest event, the next read covers the events that this one has missed.
        let _failure = seen.look(reader).await.inspect_err(|_| seen.newest = None);
    }
    seen.newest.as_ref()?;
    let done = seen.done.len();
    let total = changes.filter(|total| *total >= done);
    Some(Progress { done, total })
}

/// Whether an operation begins with this status of the stack.
fn begins(status: &Status) -> bool {
    matches!(
        status,
        Status::CreateInProgress
            | Status::UpdateInProgress
            | Status::DeleteInProgress
            | Status::ImportInProgress
    )
}

fn is_done(status: &ResourceStatus) -> bool {
    matches!(
        status,
        ResourceStatus::CreateComplete
            | ResourceStatus::UpdateComplete
            | ResourceStatus::DeleteComplete
            | ResourceStatus::DeleteSkipped
            | ResourceStatus::ImportComplete
    )
}

#[cfg(test)]
mod tests {
    use super::super::event_examples::{self, ARN, of_stack};
    use super::*;

    fn event(number: u32, logical: &str, status: &str) -> StackEvent {
        let mut event = match logical {
            "a" => of_stack(status, ""),
            _ => event_examples::event(logical, "AWS::EC2::Route", status, "", ""),
        };
        event.event_id = Some(number.to_string());
        event
    }

    fn seen() -> Seen {
        Seen::new((ARN.to_owned(), None))
    }

    #[test]
    fn a_resource_counts_once_and_only_in_this_operation() {
        let events = [
            event(7, "Old", "DELETE_SKIPPED"),
            event(6, "a", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"),
            event(5, "New", "UPDATE_COMPLETE"),
            event(4, "Other", "CREATE_IN_PROGRESS"),
            event(3, "New", "CREATE_COMPLETE"),
            event(2, "a", "UPDATE_IN_PROGRESS"),
            event(1, "Before", "CREATE_COMPLETE"),
        ];
        let mut seen = seen();
        assert!(seen.read(&events, None));
        assert_eq!(seen.done, BTreeSet::from(["New".into(), "Old".into()]));
    }

    #[test]
    fn a_later_look_reads_what_is_new() {
        let mut seen = seen();
        let first = [event(2, "One", "CREATE_COMPLETE")];
        assert!(
            !seen.read(&first, None),
            "the first event is on a later page"
        );
        let next = [
            event(3, "Two", "CREATE_COMPLETE"),
            event(2, "One", "CREATE_COMPLETE"),
            event(1, "Zero", "CREATE_COMPLETE"),
        ];
        assert!(seen.read(&next, Some("2")));
        assert_eq!(seen.done, BTreeSet::from(["One".into(), "Two".into()]));
    }
}
