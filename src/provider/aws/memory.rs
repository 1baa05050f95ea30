//! The provider's memory between passes.

use std::collections::BTreeMap;

use aws_sdk_cloudformation::types::Stack;
use aws_smithy_types::DateTime;

use super::change_set_events;
use super::failure::Failure;
use super::left_behind;
use super::operation::Operation;
use super::prefix_lists;
use super::progress::Seen;
use crate::model::base::ids::SubnetId;
use crate::model::cloud::live::{Deletion, LastOperation};
use crate::model::cloud::observed::Subnet;

/// The provider's memory between passes, which saves calls and detects outdated answers. Its loss costs a few calls and nothing else.
#[derive(Debug, Default)]
pub struct Memory {
    pub epoch: Option<u64>,
    /// Whether the search by tags is complete for this epoch.
    pub searched: bool,
    /// The position at which a failed search continues.
    pub search: Search,
    /// The ARNs of the stacks that are ours.
    pub known: Vec<String>,
    /// The ARN of the stack that was last seen deleted. Its name may still show it for some time.
    pub gone: Option<String>,
    /// Whether the stack may have change sets of ours.
    pub change_sets: bool,
    /// The id, or the name if the id is unknown, of the last change set, until it is executed or discarded.
    pub prepared: Option<String>,
    /// What the events of the last refused change set say.
    pub refused: change_set_events::Refused,
    /// The state in which the stack was last seen.
    pub seen: Option<StateKey>,
    /// The template, with the state in which it was read.
    pub template: Option<(StateKey, String)>,
    /// The type and physical id of each resource by its logical id, for one ARN and version of a stack.
    pub ids: Option<((String, String), Ids)>,
    /// The NAT subnets as the last check for drift saw them, with the stack's version. The next check does not read them.
    pub subnets: Option<(String, BTreeMap<SubnetId, Subnet>)>,
    /// The entries of the stack's prefix lists.
    pub entries: prefix_lists::Entries,
    /// The id of the last drift detection, until its end is seen.
    pub detection: Option<String>,
    /// The stack policy, with the state in which it was read.
    pub policy: Option<(StateKey, Option<String>)>,
    /// The last failure, with the state to which it led.
    pub failure: Option<(StateKey, Failure)>,
    /// The last operation, with the state to which it led.
    pub latest: Option<(StateKey, Option<LastOperation>)>,
    /// The resources that clean-ups have left behind.
    pub left_behind: left_behind::Seen,
    /// The failed deletions, with the state to which they led.
    pub deletion: Option<(StateKey, Deletion)>,
    /// The last operation that this process started, until its end is seen.
    pub operation: Option<Operation>,
    /// The progress of the operation that runs.
    pub progress: Option<Seen>,
    /// The name of the change set that is ready, and the number of its changes.
    pub ready: Option<(String, usize)>,
    /// The number of operations that were started, for their tokens.
    pub started: u64,
    /// The number of change sets that were made and of discards that were tried, for the names of change sets.
    pub attempts: u64,
    /// The reason, as last logged, why the stack policy could not be read.
    pub policy_complaint: Option<&'static str>,
}

pub type Ids = BTreeMap<String, (String, String)>;

/// The progress of a search by tags.
#[derive(Debug, Default)]
pub struct Search {
    pub next: Option<String>,
    pub found: Vec<Stack>,
}

/// The ARN, status and LastUpdatedTime of a stack, which identify its state.
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

    /// Returns the version of the stack. The ARN belongs to it: a stack that is created again under the same name has another ARN, and its
    /// status and missing LastUpdatedTime may be those of the former stack.
    pub fn version(&self) -> String {
        format!("{} {} {:?}", self.id, self.status, self.updated)
    }
}

impl Memory {
    /// Prepares for a new reading of the stack. A new term clears the memory, except for the operation in progress, the counters, and the
    /// ARN of the stack that is `known` to have been ours.
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

    /// Returns the LastUpdatedTime of a stack as last seen. The outer None: the stack has not been seen.
    pub fn updated(&self, stack: &str) -> Option<Option<DateTime>> {
        self.seen
            .as_ref()
            .filter(|seen| seen.id == stack)
            .map(|seen| seen.updated)
    }

    /// Forgets a deleted stack and the operation on it.
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

#[cfg(test)]
mod tests {
    use aws_sdk_cloudformation::types::StackStatus;

    use super::*;

    #[test]
    fn a_stack_that_is_created_again_has_another_version() {
        let arn = |id: &str| {
            format!("arn:aws:cloudformation:eu-central-1:123456789012:stack/egress/{id}")
        };
        let stack = Stack::builder()
            .stack_id(arn("1"))
            .stack_status(StackStatus::CreateComplete);
        let version = |id: &str| {
            let stack = stack.clone().stack_id(arn(id)).build();
            StateKey::of(&stack).version()
        };
        assert_eq!(version("1"), version("1"));
        assert_ne!(version("1"), version("2"));
        let updated = stack.clone().last_updated_time(DateTime::from_secs(1));
        assert_ne!(StateKey::of(&updated.build()).version(), version("1"));
    }
}
