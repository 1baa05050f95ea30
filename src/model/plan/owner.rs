//! Whose stack it is: the cluster that owns it, and the VPC that it serves. Nothing is written to a stack that is another's.
//!
//! The owner is the UID of the namespace `kube-system` of the cluster that holds the Lease: copying a cluster's values does not
//! copy it. It stands in the stack as an output, since an output changes no resource, as a tag would.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::model::base::owner::{
    self, Owner, Starter, is_uid, lease_of_token, owner_of_token, short,
};
use crate::model::base::problem::{Problem, Subject};
use crate::model::base::reason::Reason;
use crate::model::cloud::change_set_name::owner_of_change_set;
use crate::model::cloud::layout::Layout;
use crate::model::cloud::live::{LastOperation, Live, Stack};
use crate::model::cloud::network::Network;
use crate::model::desired::template::{self, OWNER};
use crate::model::persisted::ledger::Ledger;
use crate::model::plan::types::World;

/// Characters of a token of others that are shown.
const MAX_TOKEN: usize = 64;
/// How long an operation of others is reported.
const REPORTED: Duration = Duration::from_secs(86_400);

/// Leaves out the change sets that another cluster's controller has made: they are not used, waited for or deleted.
pub fn set_aside_others(stack: &mut Stack, owner: &Owner) {
    let ours = owner.short();
    stack.change_sets.retain(|set| {
        let by = owner_of_change_set(&set.name);
        by.is_none() || by == ours.as_deref()
    });
}

/// What the live stack counts as where it is another's in spite of our ownership tags, and the reason. `layout` is what its template
/// holds, where that can be read.
pub(in crate::model) fn alien(
    world: &World<'_>,
    layout: Option<&Layout>,
) -> Option<(Live, Reason)> {
    let Live::Ours(stack) = world.live else {
        return None;
    };
    let (reason, why) = in_another_vpc(stack, layout, world.network)
        .or_else(|| of_another(stack, layout, &world.settings.owner))
        .or_else(|| of_another_lease(stack, world))?;
    let name = stack.name.clone();
    Some((Live::Foreign { name, why }, reason))
}

/// The routes of another VPC's workers would be planned away, and what is not in this VPC would look deleted and be repaired.
fn in_another_vpc(
    stack: &Stack,
    layout: Option<&Layout>,
    network: &Network,
) -> Option<(Reason, String)> {
    let named = stack.parameters.get(template::VPC).map(String::as_str);
    let mut vpcs: BTreeSet<&str> = layout.map(Layout::vpcs).unwrap_or_default();
    vpcs.extend(named);
    let other = vpcs.into_iter().find(|vpc| *vpc != network.vpc_id)?;
    let message = format!(
        "the stack serves the VPC {other}, and this controller the VPC {}, so it is left alone; if it is another cluster's, \
         give each cluster a --cluster-id of its own; if it is this cluster's, correct --vpc-id, AWS_REGION or the credentials",
        network.vpc_id
    );
    Some((Reason::StackInAnotherVpc, message))
}

/// The clusters that a stack names as its owner: two only while an operation changes it.
pub(in crate::model) fn owners<'a>(
    stack: &'a Stack,
    layout: Option<&'a Layout>,
) -> BTreeSet<&'a str> {
    let shown = stack.outputs.get(OWNER).map(String::as_str);
    let written = layout.and_then(|layout| layout.outputs.get(OWNER)?.as_str());
    shown.into_iter().chain(written).collect()
}

fn of_another(stack: &Stack, layout: Option<&Layout>, owner: &Owner) -> Option<(Reason, String)> {
    let is_ours = |named: &str| {
        let own = owner.uid.as_deref();
        own == Some(named) || (own.is_some() && owner.takes_over.as_deref() == Some(named))
    };
    let other = owners(stack, layout)
        .into_iter()
        .find(|named| !is_ours(named))?;
    // A tag can hold any text: it is shown when it is a UID, and not otherwise.
    let other = if is_uid(other) { other } else { "unreadable" };
    Some(match &owner.uid {
        Some(own) => (
            Reason::OwnedByAnotherCluster,
            format!(
                "the stack belongs to the cluster {other} and this is the cluster {own} (UID of the namespace kube-system), so \
                 nothing of it is changed; give each cluster a --cluster-id of its own; or, to move the stack here with its static \
                 IPs, stop the other cluster's controller and set --take-over-stack-from={other}"
            ),
        ),
        None => (
            Reason::OwnerUnknown,
            format!(
                "the stack belongs to the cluster {other}, and it is not known whether that is this one: {}; nothing of the stack \
                 is changed until the namespace kube-system can be read",
                owner.unknown.as_deref().unwrap_or("there is no cluster")
            ),
        ),
    })
}

/// Returns the Lease, in its short form, whose holder has started the last operation, as a controller of this cluster.
fn last_lease<'a>(stack: &'a Stack, owner: &Owner) -> Option<&'a str> {
    let token = stack.last_operation.as_ref()?.token.as_deref()?;
    let is_ours = owner_of_token(token) == Some(owner.short()?.as_str());
    lease_of_token(token).filter(|_| is_ours)
}

/// Whether a controller of the same cluster with another Lease works on the stack. After a move the new controller goes on: its ledger is
/// new or a copy. The ledger of one that has changed the stack itself names its own Lease, so it knows that another one came after it.
fn of_another_lease(stack: &Stack, world: &World<'_>) -> Option<(Reason, String)> {
    let owner = &world.settings.owner;
    let own = owner.lease.as_deref()?;
    last_lease(stack, owner).filter(|lease| *lease != own)?;
    let known = world.ledger.ledger()?.lease.as_deref();
    (known == Some(own)).then(|| {
        let message =
            "another controller of this cluster, with another Lease, has changed the stack after this one, so this one changes nothing; \
             `kubectl get leases --all-namespaces` shows both: remove one of the two installations; if the other one is gone, stop this \
             one, take the data out of the ConfigMap of its ledger, and start it again";
        (Reason::AnotherController, message.to_owned())
    })
}

/// Notes in the ledger that this controller has changed the stack.
pub(in crate::model) fn note_lease(ledger: &mut Ledger, world: &World<'_>) {
    if let Live::Ours(stack) = world.live
        && let Some(own) = &world.settings.owner.lease
        && last_lease(stack, &world.settings.owner) == Some(own)
    {
        ledger.lease = Some(own.clone());
    }
}

/// What people have to know of who owns the stack and who works on it. `layout` is what the template of a stack of ours holds.
pub(in crate::model) fn problems(world: &World<'_>, layout: Option<&Layout>) -> Vec<Problem> {
    let (owner, now) = (&world.settings.owner, world.grace.now);
    let subject = |name: &str| Subject::Stack(name.to_owned());
    let unknown = owner.unknown.as_ref().map(|why| {
        let text = format!(
            "{why}; until then the stack names no owner, and another cluster with the same --cluster-id could change it"
        );
        Problem::warning(subject(&world.settings.stack_name), Reason::OwnerUnknown, text)
    });
    let foreign = match (world.live, &owner.uid) {
        (Live::Ours(stack), Some(own)) if owners(stack, layout).contains(own.as_str()) => {
            let others = |last: &&LastOperation| {
                let ours =
                    last.token.as_deref().and_then(owner_of_token) == Some(short(own).as_str());
                !ours && now.saturating_sub(last.at) < REPORTED
            };
            stack.last_operation.as_ref().filter(others).map(|last| {
                let text = format!(
                    "the last operation on the stack, which ended {} as {}, was started by {} and not by this cluster's controller; \
                     find out who it was, and leave changes of the stack to the controller",
                    last.time,
                    last.status,
                    starter(last.token.as_deref())
                );
                Problem::warning(subject(&stack.name), Reason::ForeignOperation, text)
            })
        }
        _ => None,
    };
    unknown.into_iter().chain(foreign).collect()
}

/// Returns who has started an operation, in words.
fn starter(token: Option<&str>) -> String {
    match owner::starter(token) {
        Starter::NoToken => {
            "a caller without a token (the AWS CLI, an SDK or another tool)".to_owned()
        }
        Starter::Console => "a person in the AWS console".to_owned(),
        Starter::Controller(owner) => {
            format!("the controller of another cluster (its UID begins with {owner})")
        }
        Starter::NamelessController => {
            "a controller that names no cluster (an older version, or one that cannot read its cluster's UID)".to_owned()
        }
        Starter::Unknown(token) => {
            let shown: String = token.chars().take(MAX_TOKEN).collect();
            format!("a caller with the token {}", shown.escape_default())
        }
    }
}
