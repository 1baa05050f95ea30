//! Computes the request and the desired stack, before the next step is decided.

use std::collections::BTreeMap;

use crate::model::base::ids::{EntryId, TableId, Zone};
use crate::model::cloud::layout::{Layout, Names};
use crate::model::cloud::live::{Live, gateways, lists, secondary_ips, static_ips};
use crate::model::cloud::live_routes::live_routes;
use crate::model::cloud::status::Phase;
use crate::model::desired::parse::parse;
use crate::model::desired::{Desired, rules};
use crate::model::persisted::ledger::Ledger;
use crate::model::persisted::recall::LiveNets;
use crate::model::plan::types::{Action, Failure, Plan, World};
use crate::model::plan::{by_hand_ips, capacity, former_ips, kept_ips, more_ips, owner};

/// Returns a plan with the request and the desired stack, but without an action yet. `layout`: the contents of our live stack, if readable.
pub(in crate::model) fn draft(world: &World<'_>, names: &Names, layout: Option<&Layout>) -> Plan {
    let rules = rules::rules(world.network, world.settings, names);
    let routed = || names.routes.keys().map(|(_, cidr)| cidr);
    let trusted = world.ledger.trusted(routed());
    let (request, mut problems) = parse(world.snapshot, &rules, world.ledger, trusted);
    let stack_name = &world.settings.stack_name;
    let (live, snapshot) = (world.live, world.snapshot);
    let known = live_nets(world, layout, routed());
    let records = !matches!(known, LiveNets::Unknown);
    let next = world
        .ledger
        .next(live, snapshot, stack_name, &request, known);
    let none = Layout::default();
    let layout = layout.unwrap_or(&none);
    let (mut ledger, problem) = next;
    if let Some(ledger) = &mut ledger {
        former_ips::note(ledger, world, names);
        by_hand_ips::note(ledger, world, names);
        owner::note_lease(ledger, world);
    }
    problems.extend(problem);
    let number = |entry: &EntryId| trusted?.number(entry);
    let none = capacity::Unasked::new();
    let fitted = capacity::fit(world, &request, names, layout, number, &none);
    problems.extend(fitted.problems);
    if let (Some(ledger), Some(stored)) = (&mut ledger, world.ledger.ledger()) {
        let desired = fitted.desired.routes.iter().map(|(_, cidr)| cidr);
        ledger.forget_unserved(stored, routed().chain(desired).copied());
    }
    let secondary_ips = secondary_ips(world.watch.last_seen(), names);
    let secondary_ips = more_ips::in_use(world, layout, names, secondary_ips);
    let stack = match world.live {
        Live::Ours(stack) => Some(stack),
        Live::Absent | Live::Foreign { .. } | Live::Several(_) => None,
    };
    let mut plan = Plan {
        action: Action::Refuse,
        stack: world.settings.stack_name.clone(),
        why: String::new(),
        differences: Vec::new(),
        problems,
        request,
        tables_without_nat: tables_without_nat(world, &fitted.desired),
        admitted: fitted.admitted,
        desired: fitted.desired,
        status: stack.map(|stack| stack.status.clone()),
        unconfirmed: stack.and_then(|stack| stack.unconfirmed.clone()),
        progress: stack.and_then(|stack| stack.progress),
        static_ips: static_ips(world.live, names),
        announced_ips: more_ips::announced(world, layout, names, &secondary_ips),
        secondary_ips,
        gateways: gateways(world.watch.last_seen(), names),
        lists: lists(world.watch.last_seen(), names),
        live_routes: live_routes(world.network, names, world.watch.last_seen()),
        grace: world.grace,
        failure: Failure::of(world, names),
        ..Plan::default()
    };
    if let Some(ledger) = &ledger {
        show_known_ips(&mut plan, ledger, world, names);
    }
    plan.ledger = ledger;
    plan.rules = records.then_some(rules);
    plan
}

/// Returns the networks of the live routes, which are `routed` if our stack can be read.
fn live_nets<I>(world: &World<'_>, layout: Option<&Layout>, routed: I) -> LiveNets<I> {
    let has_no_stack = match world.live {
        Live::Absent => true,
        Live::Ours(stack) => stack.status.phase() == Phase::Gone,
        Live::Foreign { .. } | Live::Several(_) => false,
    };
    if world.ledger.is_of_other(world.network.account.as_deref()) {
        LiveNets::InOtherAccount
    } else if layout.is_some() || has_no_stack {
        LiveNets::All(routed)
    } else {
        LiveNets::Unknown
    }
}

/// Fills in what only the ledger knows of static IPs.
fn show_known_ips(plan: &mut Plan, ledger: &Ledger, world: &World<'_>, names: &Names) {
    plan.kept_ips = kept_ips::kept(ledger, plan, world, names);
    let known = ledger.static_ips.values();
    let known = known.map(|it| (it.ip.clone(), it.allocation.clone()));
    let former = ledger.former_ips.iter();
    let former = former.map(|(ip, it)| (ip.clone(), it.allocation.clone()));
    plan.allocations = known.chain(former).collect();
    plan.ip_changes = kept_ips::changes(ledger, plan, world);
    let warnings = plan.ip_changes.iter().map(kept_ips::warning);
    plan.problems.extend(warnings);
    plan.problems
        .extend(by_hand_ips::lost(ledger, world, names));
}

/// Returns the worker route tables of configured zones that wait. A table of a zone that is not configured has a wrong tag.
fn tables_without_nat(world: &World<'_>, desired: &Desired) -> BTreeMap<TableId, Zone> {
    let waits =
        |zone: &Zone| world.settings.zones.contains_key(zone) && !desired.zones.contains_key(zone);
    let tables = world.network.worker_tables.iter();
    let zones = tables.map(|(table, worker)| (table.clone(), worker.zone.clone()));
    zones.filter(|(_, zone)| waits(zone)).collect()
}
