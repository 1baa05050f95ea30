//! The stack as CloudFormation shows it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::base::ids::Zone;
use crate::model::cloud::layout::Names;
use crate::model::cloud::left_behind::LeftResources;
use crate::model::cloud::network_lists::{LiveList, NetworkList};
use crate::model::cloud::observed::Observed;
use crate::model::cloud::part_names::Part;
use crate::model::cloud::resource_type::ResourceType;
use crate::model::cloud::status::Status;

/// The stack that was found by the controller's name and ownership tags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Live {
    #[default]
    Absent,
    Ours(Box<Stack>),
    /// A stack without our tags has the name.
    Foreign {
        name: String,
        why: String,
    },
    /// More than one stack has our ownership tags.
    Several(Vec<String>),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stack {
    pub name: String,
    /// The stack's ARN.
    pub id: String,
    pub status: Status,
    /// The status that CloudFormation shows while it is uncertain whether the last operation has ended. `status` is then the operation's.
    pub unconfirmed: Option<Status>,
    /// The progress of the running operation, if it is known.
    pub progress: Option<Progress>,
    /// Differs after every operation.
    pub version: String,
    /// Why the stack has this status, in CloudFormation's words: the first failure of the last operation, if there is one.
    pub cause: Option<String>,
    /// The resources that made the last operation fail, by logical id.
    pub failed: BTreeMap<String, Failed>,
    /// The template as CloudFormation stores it.
    pub template: String,
    pub parameters: BTreeMap<String, String>,
    pub tags: BTreeMap<String, String>,
    pub outputs: BTreeMap<String, String>,
    /// Whether the stack was ever updated (`LastUpdatedTime`).
    pub updated: bool,
    pub termination_protection: bool,
    /// The stack policy; read only if the controller keeps it.
    pub policy: Option<String>,
    /// The failures of the last operation's rollback.
    pub rollback: Rollback,
    /// The controller's change sets (their names contain a fingerprint), oldest first.
    pub change_sets: Vec<ChangeSet>,
    /// The operation that ended last; read only if the stack names its owner.
    pub last_operation: Option<LastOperation>,
    /// The resources that clean-ups could not delete, as far as the stack's events were read.
    pub left_behind: LeftResources,
    /// The failures of the deletion; filled in [`crate::model::cloud::status::Phase::DeleteFailed`].
    pub deletion: Option<Deletion>,
}

impl Stack {
    /// Whether the stack has served traffic, independent of its status: a stack whose creation failed has no outputs and was never updated.
    pub fn has_served(&self) -> bool {
        self.updated || !self.outputs.is_empty()
    }
}

/// The progress of an operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The number of resources that CloudFormation has finished.
    pub done: usize,
    /// The number of resources that the operation changes; None if this leader did not start it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<usize>,
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.total {
            Some(total) => write!(f, "{} of {total} resources done", self.done),
            None => write!(f, "{} resources done", self.done),
        }
    }
}

/// A resource that made an operation fail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failed {
    /// The reason, in AWS's words.
    pub reason: String,
    /// Whether the route table is full.
    pub table_is_full: bool,
}

/// The consecutive failures of an operation's rollback.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rollback {
    pub failures: u32,
    /// The resources that the last rollback could not change: types by logical id.
    pub stuck: BTreeMap<String, String>,
}

/// An operation on the stack that has ended, by any caller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastOperation {
    /// The caller's client token, if there is one.
    pub token: Option<String>,
    /// The stack's status at the end of the operation.
    pub status: String,
    /// The end of the operation, since 1970, and the same time as text.
    pub at: Duration,
    pub time: String,
}

/// Whether an output of our stack shows the static IP.
pub fn uses(live: &Live, ip: &str) -> bool {
    matches!(live, Live::Ours(stack) if stack.outputs.values().any(|used| used == ip))
}

/// The consecutive failures of the stack's deletion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deletion {
    /// The status of the stack before the deletion.
    pub before: Status,
    pub failures: u32,
    /// The logical ids of the resources that the last deletion could not delete.
    pub stuck: BTreeSet<String>,
    /// The logical ids of the resources that the stack does not have any more.
    pub gone: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeSet {
    pub name: String,
    pub state: ChangeSetState,
    /// The announced changes; filled when `state` is `Ready`.
    pub changes: Vec<Change>,
    /// The network lists of the change set's template by logical id. None if they are unknown or if no list changes.
    pub lists: Option<BTreeMap<String, NetworkList>>,
}

impl ChangeSet {
    /// Whether the change set changes a network list. CloudFormation does not announce which entries change.
    pub fn changes_list(&self) -> bool {
        self.changes.iter().any(Change::is_of_list)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeSetState {
    /// CloudFormation is still computing it.
    Pending,
    Ready,
    /// CloudFormation found nothing to do.
    NoChanges,
    /// It cannot be executed, for this reason: it failed, or the stack has changed since.
    Dead(String),
    /// Its execution has started.
    Executed,
}

/// One resource change that CloudFormation announces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub logical_id: String,
    /// The type, such as `AWS::EC2::EIP`.
    pub resource_type: String,
    pub effect: Effect,
    /// The resources whose attributes alone cause the change or possible replacement, since their new values are not known yet. Empty if it
    /// has any other cause.
    pub dynamic_on: Vec<String>,
}

impl Change {
    /// Whether the changed resource is a network list.
    pub fn is_of_list(&self) -> bool {
        ResourceType::of(&self.resource_type) == ResourceType::PrefixList
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Add,
    /// Properties change in place.
    Modify,
    /// Tags or attributes beside the properties change, such as a DeletionPolicy.
    Tags,
    /// CloudFormation announces the replacement as True or Conditional.
    MayReplace,
    Remove,
    /// Only CloudFormation's record changes: the resource in EC2 has the right properties already.
    Record,
    /// Any other change that CloudFormation announces.
    Other,
}

impl Stack {
    /// Returns the stack's tags without those that only AWS sets.
    pub fn own_tags(&self) -> BTreeMap<String, String> {
        let mut tags = self.tags.clone();
        tags.retain(|key, _| !key.starts_with("aws:"));
        tags
    }
}

/// Returns the first static IP of each zone, from the output with the name of its EIP.
pub(in crate::model) fn static_ips(live: &Live, names: &Names) -> BTreeMap<Zone, String> {
    let Live::Ours(stack) = live else {
        return BTreeMap::new();
    };
    let eips = names
        .parts
        .iter()
        .filter(|((_, part), _)| *part == Part::Eip);
    let address = |((zone, _), id): (&(Zone, Part), &String)| {
        Some((zone.clone(), stack.outputs.get(id)?.clone()))
    };
    eips.filter_map(address).collect()
}

/// Returns the ids of the NAT gateways by zone. `seen`: the last state that EC2 showed.
pub(in crate::model) fn gateways(seen: Option<&Observed>, names: &Names) -> BTreeMap<Zone, String> {
    let parts = names.parts.iter();
    let gateways = parts.filter(|((_, part), _)| *part == Part::NatGateway);
    let id = |((zone, _), id): (&(Zone, Part), &String)| {
        Some((zone.clone(), seen?.ids.get(id)?.clone()))
    };
    gateways.filter_map(id).collect()
}

/// Returns the stack's network lists. `seen`: the last state that EC2 showed.
pub(in crate::model) fn lists(
    seen: Option<&Observed>,
    names: &Names,
) -> BTreeMap<String, LiveList> {
    let live = |(name, list): (&String, &NetworkList)| {
        let id = seen.and_then(|seen| seen.ids.get(name)).cloned();
        let list = list.clone();
        (name.clone(), LiveList { id, list })
    };
    names.lists.iter().map(live).collect()
}

/// Returns the secondary public IPs of the NAT gateways, by zone. `seen`: the last state that EC2 showed.
pub(in crate::model) fn secondary_ips(
    seen: Option<&Observed>,
    names: &Names,
) -> BTreeMap<Zone, Vec<String>> {
    let more = |(zone, id): (Zone, String)| {
        let ips = seen?.gateways.get(&id)?.secondary_ips.clone();
        (!ips.is_empty()).then_some((zone, ips))
    };
    let gateways = gateways(seen, names).into_iter();
    gateways.filter_map(more).collect()
}
