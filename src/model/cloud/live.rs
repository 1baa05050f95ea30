//! What the stack looks like, as CloudFormation tells it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::base::ids::Zone;
use crate::model::cloud::layout::Names;
use crate::model::cloud::network_lists::NetworkList;
use crate::model::cloud::observed::Observed;
use crate::model::cloud::part_names::Part;
use crate::model::cloud::resource_type::ResourceType;
use crate::model::cloud::status::Status;

/// What was found under our name and our ownership tags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Live {
    #[default]
    Absent,
    Ours(Box<Stack>),
    /// The name is taken by a stack without our tags.
    Foreign {
        name: String,
        why: String,
    },
    /// More than one stack carries our ownership tags.
    Several(Vec<String>),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stack {
    pub name: String,
    /// ARN.
    pub id: String,
    pub status: Status,
    /// What CloudFormation shows while it is not certain that our operation has ended; `status` is that of the operation then.
    pub unconfirmed: Option<Status>,
    /// How far the operation that runs has come, where that is known.
    pub progress: Option<Progress>,
    /// Another one after every operation.
    pub version: String,
    /// Why it has this status, in CloudFormation's words: the first failure of the last operation where there is one.
    pub cause: Option<String>,
    /// The resources that made the last operation fail, by logical id.
    pub failed: BTreeMap<String, Failed>,
    /// The template as stored.
    pub template: String,
    pub parameters: BTreeMap<String, String>,
    pub tags: BTreeMap<String, String>,
    pub outputs: BTreeMap<String, String>,
    /// Whether it was ever updated (`LastUpdatedTime`).
    pub updated: bool,
    pub termination_protection: bool,
    /// The stack policy; read only where it is kept.
    pub policy: Option<String>,
    /// How often the last operation's rollback failed.
    pub rollback: Rollback,
    /// Change sets that this controller made (their names carry a fingerprint), oldest first.
    pub change_sets: Vec<ChangeSet>,
    /// The operation that ended last; read only where the stack names its owner.
    pub last_operation: Option<LastOperation>,
    /// Filled in [`crate::model::cloud::status::Phase::DeleteFailed`].
    pub deletion: Option<Deletion>,
}

impl Stack {
    /// Whether it has served, whatever its status says: a stack whose creation failed has no outputs and was never updated.
    pub fn has_served(&self) -> bool {
        self.updated || !self.outputs.is_empty()
    }
}

/// How far an operation has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The number of resources that CloudFormation has finished.
    pub done: usize,
    /// The number of resources that the operation changes, where the leader started it.
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
    /// In AWS's words.
    pub reason: String,
    /// The route table takes no more routes.
    pub table_is_full: bool,
}

/// Rollbacks that failed, one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rollback {
    pub failures: u32,
    /// Types by logical id of the resources that the last one could not change.
    pub stuck: BTreeMap<String, String>,
}

/// An operation on the stack that has ended, no matter which caller started it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastOperation {
    /// The caller's name for it, if it gave one.
    pub token: Option<String>,
    /// The stack's status at its end.
    pub status: String,
    /// Its end, since 1970, and the same in words.
    pub at: Duration,
    pub time: String,
}

/// Deletions that failed, one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deletion {
    /// The status of the stack before.
    pub before: Status,
    pub failures: u32,
    /// Logical ids of the resources that would not go, the last time.
    pub stuck: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeSet {
    pub name: String,
    pub state: ChangeSetState,
    /// Filled when `state` is `Ready`.
    pub changes: Vec<Change>,
    /// The network lists of its template by logical id. None where that is not known, or it changes no list.
    pub lists: Option<BTreeMap<String, NetworkList>>,
}

impl ChangeSet {
    /// Whether it changes a list: what CloudFormation announces does not say which entries.
    pub fn changes_list(&self) -> bool {
        let kinds = self
            .changes
            .iter()
            .map(|change| ResourceType::of(&change.resource_type));
        kinds
            .into_iter()
            .any(|kind| kind == ResourceType::PrefixList)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeSetState {
    /// CloudFormation is still computing it.
    Pending,
    Ready,
    /// CloudFormation found nothing to do.
    NoChanges,
    /// It can never be executed: it failed (with the reason) or the stack has changed since.
    Dead(String),
    /// It is being executed or was.
    Executed,
}

/// One resource change that CloudFormation announces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub logical_id: String,
    /// `AWS::EC2::EIP`, …
    pub resource_type: String,
    pub effect: Effect,
    /// Filled when it changes, or may be replaced, only because attributes of these resources are not known before they are
    /// modified.
    pub dynamic_on: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Add,
    /// Its properties change in place.
    Modify,
    /// Its tags, or what the template says beside its properties, such as a DeletionPolicy.
    Tags,
    /// Replacement True or Conditional.
    MayReplace,
    Remove,
    /// Only what CloudFormation knows of the resource: EC2 has it as it should be.
    Record,
    /// Anything else CloudFormation may announce.
    Other,
}

impl Stack {
    /// Returns the stack's tags without those that only AWS itself sets.
    pub fn own_tags(&self) -> BTreeMap<String, String> {
        let mut tags = self.tags.clone();
        tags.retain(|key, _| !key.starts_with("aws:"));
        tags
    }
}

/// The static IPs by zone: every EIP has an output of its own name.
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

/// Returns the ids of the NAT gateways by zone; `seen`: what EC2 last showed.
pub(in crate::model) fn gateways(seen: Option<&Observed>, names: &Names) -> BTreeMap<Zone, String> {
    let parts = names.parts.iter();
    let gateways = parts.filter(|((_, part), _)| *part == Part::NatGateway);
    let id = |((zone, _), id): (&(Zone, Part), &String)| {
        Some((zone.clone(), seen?.ids.get(id)?.clone()))
    };
    gateways.filter_map(id).collect()
}

/// Returns the public IPs of the NAT gateways besides their static IPs, by zone: people add them by hand. `seen`: what EC2 last showed.
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
