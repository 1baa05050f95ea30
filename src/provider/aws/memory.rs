//! What the provider remembers between passes.

use std::collections::BTreeMap;

use aws_sdk_cloudformation::types::Stack;
use aws_smithy_types::DateTime;

use super::failure::Failure;
use super::operation::Operation;
use super::prefix_lists;
use super::progress::Seen;
use crate::model::base::ids::SubnetId;
use crate::model::cloud::live::{Deletion, LastOperation};
use crate::model::cloud::observed::Subnet;

/// What is remembered between passes, to save calls and to see through late answers. Losing it costs a few calls and
/// nothing else.
#[derive(Debug, Default)]
pub struct Memory {
    pub epoch: Option<u64>,
    /// The search by tags has been done for this epoch.
    pub searched: bool,
    /// Where a search that failed goes on.
    pub search: Search,
    /// ARNs of the stacks that are ours.
    pub known: Vec<String>,
    /// The ARN that was last seen deleted: its name may show it for some time.
    pub gone: Option<String>,
    /// There may be change sets of ours.
    pub change_sets: bool,
    /// The change set that was made last, by its id or, where that is not known, its name; until it is executed or discarded.
    pub prepared: Option<String>,
    /// The state in which the stack was last seen.
    pub seen: Option<StateKey>,
    /// The template as it was read in that state.
    pub template: Option<(StateKey, String)>,
    /// Type and physical id by logical id, of one version of one stack (its ARN).
    pub ids: Option<((String, String), Ids)>,
    /// The NAT subnets as the last look for drift saw them, by version of the stack: the next look spares them.
    pub subnets: Option<(String, BTreeMap<SubnetId, Subnet>)>,
    /// The entries of the stack's prefix lists.
    pub entries: prefix_lists::Entries,
    /// The drift detection that was started last.
    pub detection: Option<String>,
    /// The stack policy as it was read in that state.
    pub policy: Option<(StateKey, Option<String>)>,
    /// The failure that led to that state.
    pub failure: Option<(StateKey, Failure)>,
    /// The operation that led to that state.
    pub latest: Option<(StateKey, Option<LastOperation>)>,
    /// The deletions that failed and led to that state.
    pub deletion: Option<(StateKey, Deletion)>,
    /// The last operation that was started here, until its end has been seen.
    pub operation: Option<Operation>,
    /// How far the operation that runs has come.
    pub progress: Option<Seen>,
    /// The change set that is ready, and how many resources it changes.
    pub ready: Option<(String, usize)>,
    /// Operations started, counted for their tokens.
    pub started: u64,
    /// Change sets that were made, and discards that were tried, counted for the names of change sets.
    pub attempts: u64,
    /// Why the stack policy could not be read, as it was last logged.
    pub policy_complaint: Option<&'static str>,
}

pub type Ids = BTreeMap<String, (String, String)>;

/// How far a search by tags has come.
#[derive(Debug, Default)]
pub struct Search {
    pub next: Option<String>,
    pub found: Vec<Stack>,
}

/// Changes whenever the stack does.
#[derive(Clone, Debug, PartialEq)]
pub struct StateKey {
    pub id: String,
    pub status: String,
    pub updated: Option<DateTime>,
}

impl StateKey {
    pub fn of(stack: &Stack) -> Self {
        Self {
            id: stack.stack_id().unwrap_or_default().to_owned(),
            status: stack
                .stack_status()
                .map_or("", |status| status.as_str())
                .to_owned(),
            updated: stack.last_updated_time().copied(),
        }
    }
}

impl Memory {
    /// At the beginning of a reading: a new term starts afresh, except for an operation under way and the stack that is `known` to
    /// have been ours.
    pub fn begin(&mut self, epoch: Option<u64>, known: Option<&str>) {
        let fresh = epoch.is_some() && epoch != self.epoch;
        if fresh || (epoch.is_none() && self.known.is_empty()) {
            *self = Self {
                epoch,
                known: known.into_iter().map(str::to_owned).collect(),
                operation: self.operation.take(),
                started: self.started,
                attempts: self.attempts,
                ..Self::default()
            };
        }
        if !self.searched {
            self.change_sets = true;
        }
    }

    /// LastUpdatedTime of a stack as last seen; the outer None when it has not been seen.
    pub fn updated(&self, stack: &str) -> Option<Option<DateTime>> {
        self.seen
            .as_ref()
            .filter(|seen| seen.id == stack)
            .map(|seen| seen.updated)
    }

    /// The stack is gone, and with it what was going on in it.
    pub fn forget_stack(&mut self, id: &str) {
        self.known.retain(|known| known != id);
        if self
            .operation
            .as_ref()
            .is_some_and(|operation| operation.stack == id)
        {
            self.operation = None;
        }
    }
}
