//! Decides which cluster owns the stack, and which VPC the stack serves. Nothing is written to a stack of another cluster or VPC.
//!
//! The owner is the UID of the namespace `kube-system` in the cluster that holds the Lease: a copy of a cluster's values does not copy the
//! UID. The stack names its owner in an output, since an output changes no resource, as a tag would.

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

/// The maximum number of characters of a foreign token in a message.
const MAX_TOKEN: usize = 64;
/// The time for which a foreign operation is reported.
const REPORTED: Duration = Duration::from_secs(86_400);

/// Removes other clusters' change sets from the state of the stack: they are not used, awaited or deleted.
pub fn set_aside_others(stack: &mut Stack, owner: &Owner) {
    let ours = owner.short();
    stack.change_sets.retain(|set| {
        let by = owner_of_change_set(&set.name);
        by.is_none() || by == ours.as_deref()
    });
}

/// Returns a foreign stack and the reason, if the live stack has our ownership tags and still is not ours. `layout`: the contents of its
/// template, if readable.
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

/// Returns why a stack in another VPC is refused: a plan would remove its routes, and repair resources that only seem to be deleted.
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

/// Returns the clusters that a stack names as its owner. It names two only while an operation changes the owner.
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
    // The value can hold any text, so a message shows it only if it is a UID.
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

/// Returns the short form of the Lease whose holder started the last operation, if it was a controller of this cluster.
fn last_lease<'a>(stack: &'a Stack, owner: &Owner) -> Option<&'a str> {
    let token = stack.last_operation.as_ref()?.token.as_deref()?;
    let is_ours = owner_of_token(token) == Some(owner.short()?.as_str());
    lease_of_token(token).filter(|_| is_ours)
}

/// Returns the refusal if another controller of this cluster, with another Lease, changed the stack after this one: the ledger then names
/// this controller's own Lease. After a move, the new controller continues, since its ledger is new or a copy.
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

/// Returns warnings about an unknown owner, and about foreign operations on the stack. `layout`: the contents of our stack's template.
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

/// Describes the caller that started an operation.
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
