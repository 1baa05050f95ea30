//! Computes the next step and its reasons. The code that applies the step decides nothing.

pub(crate) mod by_hand_ips;
pub(crate) mod capacity;
pub mod change_set;
pub(crate) mod coverage;
pub(crate) mod decision;
pub mod diff;
pub(crate) mod draft;
pub(crate) mod drift_outlook;
pub mod drift_repair;
pub mod failure;
pub(crate) mod former_ips;
pub(crate) mod former_more_ips;
pub(crate) mod given_up_ips;
pub(crate) mod kept_ips;
pub(crate) mod left_behind;
pub(crate) mod list_damage;
pub(crate) mod list_edits;
pub(crate) mod list_guard;
pub(crate) mod lost_eips;
pub(crate) mod mass_removal;
pub(crate) mod migration;
pub(crate) mod more_ip_problems;
pub(crate) mod more_ip_templates;
pub(crate) mod more_ips;
pub(crate) mod new_eips;
pub mod other_account;
pub(crate) mod own_tables;
pub mod owner;
pub(crate) mod patched_template;
pub(crate) mod recovery;
pub mod refusals;
pub(crate) mod released_ips;
pub(crate) mod replaced_ips;
pub(crate) mod retain_first;
pub(crate) mod settled;
pub mod stack_policy;
pub(crate) mod table_room;
pub mod types;
pub mod unanswered;
pub(crate) mod unroutable_zones;
pub(crate) mod waiting;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::time::Duration;

use crate::model::base::ids::TableId;
use crate::model::base::problem::Problem;
use crate::model::base::reason::Reason;
use crate::model::cloud::layout::{Layout, LayoutError, Names};
use crate::model::cloud::live::{Live, Stack};
use crate::model::cloud::network::Network;
use crate::model::cloud::observed::IdKind;
use crate::model::cloud::status::Phase;
use crate::model::plan::decision::{Decision, Notes};
use crate::model::plan::draft::draft;
use crate::model::plan::types::{Plan, World};

/// The tests below import these names from here.
#[cfg(test)]
use crate::model::{base::problem::Subject, desired::template, plan::types::Action};

/// Returns the plan. The function is total: every world has a plan.
pub fn plan(world: &World<'_>) -> Plan {
    let mut plan = plan_once(world);
    for next in [Plan::retry, Plan::recovery] {
        if let Some(network) = next(&plan, world) {
            plan = plan_once(&World {
                network: &network,
                ..*world
            });
        }
    }
    plan
}

/// Returns the route tables that the stack uses and the network lacks.
fn missing_tables(world: &World<'_>, stack: &Stack, names: &Names) -> BTreeSet<TableId> {
    let workers = names.routes.keys().map(|(table, _)| table);
    let observed = world.watch.observed(&stack.version).into_iter();
    let own = observed.flat_map(|observed| observed.ids.values());
    let own = own.filter(|id| IdKind::of(id) == Some(IdKind::RouteTable));
    let missing = workers
        .chain(own)
        .filter(|table| world.network.routes(table).is_none());
    missing.cloned().collect()
}

fn plan_once(world: &World<'_>) -> Plan {
    let layout = recovery::layout(world.live);
    let readable = layout.as_ref().and_then(|(_, layout)| layout.as_ref().ok());
    match owner::alien(world, readable) {
        None => plan_for(world, layout, Reason::StackNotOurs),
        // Neither the routes nor the static IPs of this stack count as ours.
        Some((live, reason)) => plan_for(
            &World {
                live: &live,
                ..*world
            },
            None,
            reason,
        ),
    }
}

/// Returns the network that the plan is made for.
fn planned_network<'a>(world: &World<'a>, names: &Names) -> Cow<'a, Network> {
    let steps: [fn(&World<'_>, &Names) -> Option<Network>; 4] = [
        |world, _| own_tables::set_aside(world),
        failure::without_outdated,
        former_ips::chosen,
        // Routes that the running operation may be creating do not count yet.
        |world, names| match world.live {
            Live::Ours(stack) if stack.status.phase() == Phase::Busy => {
                Some(world.network.before(names))
            }
            _ => None,
        },
    ];
    let mut network = Cow::Borrowed(world.network);
    for step in steps {
        let world = World {
            network: &network,
            ..*world
        };
        if let Some(next) = step(&world, names) {
            network = Cow::Owned(next);
        }
    }
    network
}

/// Returns the plan. `layout`: our live stack and its contents, if it exists. `foreign`: the reason for refusing a foreign stack.
fn plan_for(
    world: &World<'_>,
    layout: Option<(&Stack, Result<Layout, LayoutError>)>,
    foreign: Reason,
) -> Plan {
    let names = match &layout {
        Some((_, Ok(layout))) => layout.names(),
        Some((_, Err(_))) | None => Names::default(),
    };
    let missing_tables = match &layout {
        Some((stack, _)) => missing_tables(world, stack, &names),
        None => BTreeSet::new(),
    };
    let left = layout
        .as_ref()
        .map(|(stack, _)| left_behind::problems(world, stack, &names));
    let network = planned_network(world, &names);
    let world = &World {
        network: &network,
        ..*world
    };
    let live = layout.as_ref().and_then(|(_, layout)| layout.as_ref().ok());
    let none = Layout::default();
    let mut plan = draft(world, &names, live);
    plan.problems.extend(left.into_iter().flatten());
    plan.problems.extend(owner::problems(world, live));
    plan.problems.extend(own_tables::problems(world.network));
    plan.problems.extend(replaced_ips::kept(world, &names));
    let live = live.unwrap_or(&none);
    plan.problems
        .extend(more_ip_problems::kept(world, &names, live));
    plan.problems
        .extend(more_ip_problems::unplaced(world, &names));
    let limits = &world.network.limits;
    plan.problems.extend(limits.problems(world.settings));
    if let Some((stack, layout)) = &layout {
        plan.stack.clone_from(&stack.id);
        if let (Phase::Settled, Ok(layout)) = (stack.status.phase(), layout) {
            plan.look_for_drift(world, stack, layout, &names);
            plan.hold_large_removal(world, layout, &names);
        }
    }
    let mut notes = Notes::default();
    let decision = match (world.live, &layout) {
        (Live::Foreign { name, why }, _) => Decision::refuse(name, foreign, why.clone()),
        (Live::Several(ids), _) => recovery::refuse_several(&world.settings.stack_name, ids),
        (_, None) => plan.absent(world),
        (_, Some((stack, Err(error)))) if stack.status.phase() == Phase::Settled => {
            let text = format!("{error}; move it out of the way");
            Decision::refuse(&stack.name, Reason::TemplateUnreadable, text)
        }
        // The template matters only while the stack is at rest.
        (_, Some((stack, _))) => plan.present(&mut notes, world, stack, live, &names),
    };
    plan.complete(decision, notes);
    plan.look_within(limits.again());
    plan.missing_tables = missing_tables;
    plan.mark_zones(world, &names);
    plan.mark_replaced(world, &names);
    plan.mark_refused(world, &names);
    plan.problems.sort();
    plan.problems.dedup();
    plan
}

impl Plan {
    /// Returns the plan with one more problem. Problems stay sorted.
    pub fn with_problem(mut self, problem: Problem) -> Self {
        self.problems.push(problem);
        self.problems.sort();
        self
    }

    /// Schedules the next look after the shortest of these waits, unless it is due earlier.
    pub(in crate::model) fn look_within(&mut self, waits: impl IntoIterator<Item = Duration>) {
        self.again = self.again.into_iter().chain(waits).min();
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "plan/change_set_tests.rs"]
mod change_tests;

#[cfg(test)]
#[path = "plan/limits_tests.rs"]
mod limits_tests;

#[cfg(test)]
#[path = "plan/refused_routes_tests.rs"]
mod refused_tests;

#[cfg(test)]
#[path = "plan/reasons_tests.rs"]
mod reasons_tests;

#[cfg(test)]
#[path = "plan/status_tests.rs"]
mod status_tests;

#[cfg(test)]
#[path = "plan/safety_tests.rs"]
mod safety_tests;

#[cfg(test)]
#[path = "plan/own_tables_tests.rs"]
mod own_tables_tests;

#[cfg(test)]
#[path = "plan/owner_tests.rs"]
mod owner_tests;

#[cfg(test)]
#[path = "plan/full_ledger_tests.rs"]
mod full_ledger_tests;

#[cfg(test)]
#[path = "plan/owner_lease_tests.rs"]
mod owner_lease_tests;

#[cfg(test)]
#[path = "plan/ledger_tests.rs"]
mod ledger_tests;

#[cfg(test)]
#[path = "drift_tests.rs"]
mod drift_tests;

#[cfg(test)]
#[path = "plan/drift_repair_tests.rs"]
mod repair_tests;

#[cfg(test)]
#[path = "plan/drift_revert_tests.rs"]
mod revert_tests;

#[cfg(test)]
#[path = "plan/rollback_tests.rs"]
mod rollback_tests;

#[cfg(test)]
#[path = "plan/tags_tests.rs"]
mod tags_tests;

#[cfg(test)]
#[path = "plan/new_eips_tests.rs"]
mod new_eips_tests;

#[cfg(test)]
#[path = "plan/unroutable_zones_tests.rs"]
mod dead_end_tests;

#[cfg(test)]
#[path = "plan/depends_on_tests.rs"]
mod depends_on_tests;

#[cfg(test)]
#[path = "plan/retain_first_tests.rs"]
mod retain_first_tests;

#[cfg(test)]
#[path = "plan/list_drift_tests.rs"]
mod list_drift_tests;

#[cfg(test)]
#[path = "plan/list_failure_tests.rs"]
mod list_failure_tests;
#[cfg(test)]
#[path = "plan/list_tests.rs"]
mod list_tests;
#[cfg(test)]
#[path = "plan/partly_listed_tests.rs"]
mod partly_listed_tests;

#[cfg(test)]
#[path = "plan/stack_policy_tests.rs"]
mod policy_tests;
