//! What is requested and what should be, before the next step is decided.

use super::limits;
use super::live::Live;
use super::plan::{Action, Plan, World};
use super::refused::Failure;
use super::request::{self, EntryId};
use super::resolved::{Layout, Names};
use super::rules;
use super::survey;

/// Reads what is requested, and what should be: a plan without an action yet.
pub(super) fn draft(world: &World<'_>, names: &Names, layout: &Layout) -> Plan {
    let rules = rules::rules(world.network, world.settings, names);
    let routed = || names.routes.keys().map(|(_, cidr)| cidr);
    let trusted = world.ledger.trusted(routed());
    let (request, mut problems) = request::parse(world.snapshot, &rules, world.ledger, trusted);
    let (ledger, problem) = world.ledger.next(world, &request, routed());
    problems.extend(problem);
    let number = |entry: &EntryId| trusted?.number(entry);
    let none = limits::Unasked::new();
    let fitted = limits::fit(world, &request, names, layout, number, &none);
    problems.extend(fitted.problems);
    Plan {
        action: Action::Refuse,
        stack: world.settings.stack_name.clone(),
        why: String::new(),
        differences: Vec::new(),
        problems,
        request,
        admitted: fitted.admitted,
        desired: fitted.desired,
        status: match world.live {
            Live::Ours(stack) => Some(stack.status.to_string()),
            Live::Absent | Live::Foreign { .. } | Live::Several(_) => None,
        },
        static_ips: survey::static_ips(world.live, names),
        live_routes: survey::live_routes(world.network, names),
        grace: world.grace,
        ledger,
        failure: Failure::of(world, names),
        ..Plan::default()
    }
}
