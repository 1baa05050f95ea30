//! Whose stack it is: the cluster that owns it, and the VPC that it serves. Nothing is written to a stack that is another's.

use std::collections::BTreeSet;

use super::live::{Live, Stack};
use super::network::Network;
use super::resolved::Layout;
use super::template;

/// Why a stack that has our ownership tags must not be touched: its name, a reason and a message.
pub(super) struct Alien<'a> {
    pub stack: &'a str,
    pub reason: &'static str,
    pub message: String,
}

/// Whether the live stack is another's, whatever its tags say. `layout` is what its template holds, where that can be read.
pub(super) fn alien<'a>(
    live: &'a Live,
    layout: Option<&Layout>,
    network: &Network,
) -> Option<Alien<'a>> {
    let Live::Ours(stack) = live else {
        return None;
    };
    in_another_vpc(stack, layout, network)
}

/// The routes of another VPC's workers would be planned away, and what is not in this VPC would look deleted and be repaired.
fn in_another_vpc<'a>(
    stack: &'a Stack,
    layout: Option<&Layout>,
    network: &Network,
) -> Option<Alien<'a>> {
    let named = stack.parameters.get(template::VPC).map(String::as_str);
    let mut vpcs: BTreeSet<&str> = layout.map(Layout::vpcs).unwrap_or_default();
    vpcs.extend(named);
    let other = vpcs.into_iter().find(|vpc| *vpc != network.vpc_id)?;
    let message = format!(
        "the stack serves the VPC {other}, and this controller the VPC {}: it is left alone; if it is another cluster's, \
         give each cluster a --cluster-id of its own; if it is this cluster's, correct --vpc-id, AWS_REGION or the credentials",
        network.vpc_id
    );
    Some(Alien {
        stack: &stack.name,
        reason: "StackInAnotherVpc",
        message,
    })
}
