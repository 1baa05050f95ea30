//! Reports resources that a clean-up of the stack could not delete.

use crate::model::base::problem::{Problem, Subject};
use crate::model::base::reason::Reason;
use crate::model::cloud::layout::Names;
use crate::model::cloud::left_behind::{LeftBehind, Remains};
use crate::model::cloud::live::Stack;
use crate::model::cloud::observed::Observed;
use crate::model::plan::types::World;

/// The maximum number of resources that are reported one by one.
const MAX_TOLD: usize = 20;

/// Returns a problem for each resource that was left behind and may still exist. `world`: with the network as EC2 shows it.
pub(in crate::model) fn problems(world: &World<'_>, stack: &Stack, names: &Names) -> Vec<Problem> {
    let subject = || Subject::Stack(stack.name.clone());
    let problem = |text| Problem::warning(subject(), Reason::CleanUpFailed, text);
    let left = stack.left_behind.iter();
    let fresh = world.watch.observed(&stack.version);
    let mut left = left.filter(|(id, it)| !is_gone(world, (fresh, names), id, &it.remains(id)));
    let told = left.by_ref().take(MAX_TOLD);
    let mut problems: Vec<Problem> = told.map(|(id, it)| problem(text(id, it))).collect();
    let more = left.count();
    if more > 0 {
        problems.push(problem(format!(
            "{more} more resources could not be deleted; the stack's events name them"
        )));
    }
    problems
}

/// Whether EC2 no longer shows the resource, or the stack has it again. `fresh`: the last observation of this version of the stack. `names`:
/// the names of its resources.
fn is_gone(
    world: &World<'_>,
    (fresh, names): (Option<&Observed>, &Names),
    id: &str,
    remains: &Remains,
) -> bool {
    let network = world.network;
    let is_of_stack = |id: &str| fresh.is_some_and(|seen| seen.ids.values().any(|it| it == id));
    // An id never comes back, so any observation counts.
    let last = world.watch.last_seen();
    if last.is_some_and(|seen| seen.gone.contains(id)) || is_of_stack(id) {
        return true;
    }
    match remains {
        Remains::Route(table, cidr) => {
            let routes = network.routes(table);
            let exists = routes.is_some_and(|routes| routes.contains_key(cidr));
            !exists || names.is_direct(&(table.clone(), *cidr))
        }
        Remains::ListRoute(table, list) => {
            let routes = network.list_routes(table);
            let exists = routes.is_some_and(|routes| routes.contains_key(list));
            let is_here = |name: &String| fresh.and_then(|seen| seen.ids.get(name)) == Some(list);
            let mut own = names.list_routes.values();
            !exists || own.any(|(at, name)| at == table && is_here(name))
        }
        Remains::RouteTable => network.routes(id).is_none(),
        Remains::Address(ip, _) => is_of_stack(&ip.to_string()),
        Remains::NatGateway
        | Remains::Subnet
        | Remains::PrefixList
        | Remains::Association
        | Remains::Other => false,
    }
}

fn text(id: &str, left: &LeftBehind) -> String {
    let remains = left.remains(id);
    let remedy = match remains.command(id) {
        Some(command) => format!("delete it by hand: {command}"),
        None => "delete it by hand".to_owned(),
    };
    let kind = &left.resource_type;
    format!(
        "CloudFormation could not delete {id} ({kind}, {}) at the end of an update ({}), and {}; {remedy}",
        left.logical_id,
        left.reason.replace("; ", ", "),
        remains.effect(),
    )
}

#[cfg(test)]
#[path = "left_behind_tests.rs"]
mod tests;
