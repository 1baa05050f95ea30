//! The last operation on the stack that has ended, whichever caller started it.

use std::time::Duration;

use aws_sdk_cloudformation::types::StackEvent;
use aws_smithy_types::date_time::Format;

use super::memory::{Memory, StateKey};
use super::operation;
use super::reader::Reader;
use crate::model::cloud::live::{LastOperation, Stack};
use crate::model::cloud::status::Phase;
use crate::model::desired::template::OWNER;

/// Reads the last operation once in each state of a stack at rest that names its owner. Without an owner nothing shows which controller may
/// act on the stack. None if the operation is unknown; nothing depends on it.
pub async fn read(
    reader: &Reader<'_>,
    memory: &mut Memory,
    key: &StateKey,
    stack: &Stack,
) -> Option<LastOperation> {
    if stack.status.phase() != Phase::Settled || !stack.outputs.contains_key(OWNER) {
        return None;
    }
    if let Some((at, latest)) = &memory.latest
        && at == key
    {
        return latest.clone();
    }
    let page = operation::page(reader.calls, reader.cloudformation, &key.id, None).await;
    let (events, after) = page.ok()?;
    note(memory, key, &events, after);
    memory.latest.as_ref()?.1.clone()
}

/// Stores the last operation that led to this state and what its clean-up left behind, from the stack's newest events, newest first.
/// `after` is the token of the next page of events.
pub fn note(memory: &mut Memory, key: &StateKey, events: &[StackEvent], after: Option<String>) {
    memory.left_behind.note(&key.id, events, after);
    let newest = events.iter().find(|event| operation::is_of_stack(event));
    let status = |event: &StackEvent| {
        event
            .resource_status()
            .map_or("", |status| status.as_str())
            .to_owned()
    };
    // Events from before this state show an earlier operation.
    let latest = newest
        .filter(|event| status(event) == key.status)
        .map(|event| {
            let at = event.timestamp();
            LastOperation {
                token: event.client_request_token().map(str::to_owned),
                status: status(event),
                at: Duration::from_secs(at.map_or(0, |at| u64::try_from(at.secs()).unwrap_or(0))),
                time: at
                    .and_then(|at| at.fmt(Format::DateTime).ok())
                    .unwrap_or_default(),
            }
        });
    memory.latest = Some((key.clone(), latest));
}
