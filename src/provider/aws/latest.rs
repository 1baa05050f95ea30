//! The operation on the stack that ended last, no matter which caller started it.

use std::time::Duration;

use aws_sdk_cloudformation::types::StackEvent;
use aws_smithy_types::date_time::Format;

use super::memory::{Memory, StateKey};
use super::operation;
use super::reader::Reader;
use crate::model::cloud::live::{LastOperation, Stack};
use crate::model::cloud::status::Phase;
use crate::model::desired::template::OWNER;

/// Reads it once in each state of a stack that names its owner: of any other stack nobody knows whose controller may act on it.
/// None where it is not known; nothing depends on it.
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
    let events = operation::newest_events(reader.calls, reader.cloudformation, &key.id).await;
    note(memory, key, &events.ok()?);
    memory.latest.as_ref()?.1.clone()
}

/// Remembers what events, newest first, say of the stack in this state.
pub fn note(memory: &mut Memory, key: &StateKey, events: &[StackEvent]) {
    let newest = events.iter().find(|event| operation::is_of_stack(event));
    let status = |event: &StackEvent| {
        event
            .resource_status()
            .map_or("", |status| status.as_str())
            .to_owned()
    };
    // Events that are from before this state say nothing of it.
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
