//! Route tables that NAT subnets use. They never count as worker tables, whatever their tags: a route there to the NAT gateway in the same
//! subnet is a loop, and stops the static egress of the whole zone.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::base::ids::{SubnetId, TableId};
use crate::model::base::problem::{Problem, Subject};
use crate::model::base::reason::Reason;
use crate::model::cloud::live::{Live, Stack};
use crate::model::cloud::network::{NatTable, Network};
use crate::model::cloud::observed::Observed;
use crate::model::plan::types::World;

/// The tag that CloudFormation sets on a stack's resources. No other caller can set it.
const STACK_TAG: &str = "aws:cloudformation:stack-id";

/// Returns the network with the tables of NAT subnets set aside from the worker tables. None if there are none.
pub(in crate::model) fn set_aside(world: &World<'_>) -> Option<Network> {
    let Live::Ours(stack) = world.live else {
        return None;
    };
    let of_nat = nat_tables(world, stack);
    if of_nat.is_empty() {
        return None;
    }
    let mut network = world.network.clone();
    for table in of_nat.keys() {
        network.set_aside(table);
    }
    network.nat_tables = of_nat;
    Some(network)
}

fn nat_tables(world: &World<'_>, stack: &Stack) -> BTreeMap<TableId, NatTable> {
    let observed = world.watch.observed(&stack.version);
    let last = world.watch.last_seen();
    let subnets: BTreeSet<&SubnetId> = last.into_iter().flat_map(Observed::nat_subnets).collect();
    let associations = world.network.associations.iter();
    let used = associations.filter(|(subnet, _)| subnets.contains(subnet));
    let mut found: BTreeMap<TableId, NatTable> = used
        .filter(|(_, table)| world.network.worker_tables.contains_key(*table))
        .map(|(_, table)| (table.clone(), NatTable::Associated))
        .collect();
    for (id, table) in &world.network.worker_tables {
        let is_named =
            observed.is_some_and(|seen| seen.ids.values().any(|physical| physical == id));
        if is_named || table.tags.get(STACK_TAG) == Some(&stack.id) {
            found.insert(id.clone(), NatTable::OfStack);
        }
    }
    found
}

pub(in crate::model) fn problems(network: &Network) -> impl Iterator<Item = Problem> {
    network.nat_tables.iter().map(|(table, why)| {
        let text = match why {
            NatTable::OfStack => {
                "the stack made it for a NAT subnet, so it is no worker route table although its tags say so; remove its tag \
                 AvailabilityZone"
            }
            NatTable::Associated => {
                "a NAT subnet of the stack is associated with it, so it gets no new routes although its tags mark it as \
                 a worker route table; associate the NAT subnet with its own table again"
            }
        };
        let subject = Subject::RouteTable(table.clone());
        Problem::warning(subject, Reason::NatTableTagged, text.to_owned())
    })
}
