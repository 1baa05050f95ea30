//! The one next step, with its reasons. It leaves no choice to whoever applies it.

pub mod change_set;
pub mod diff;
pub(crate) mod draft;
pub mod drift_repair;
pub(crate) mod mass_removal;
pub mod owner;
pub(crate) mod patched_template;
pub(crate) mod recovery;
pub mod refused_routes;
pub mod stack_policy;
pub(crate) mod unroutable_zones;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ipnet::Ipv4Net;

use crate::model::cloud::live::{Live, Phase, Stack};
use crate::model::cloud::network::{Later, Network, TableId, Zone};
use crate::model::desired::admitted::Admitted;
use crate::model::desired::{Desired, Settings};
use crate::model::drift::Drift;
use crate::model::persisted::grace::Grace;
use crate::model::persisted::ledger::{Ledger, Recall};
use crate::model::plan::change_set::Whole;
use crate::model::plan::diff::Difference;
use crate::model::plan::draft::draft;

use crate::model::base::problem::{Problem, Subject};

use crate::model::cloud::layout::{Layout, LayoutError, Names};
use crate::model::desired::template;
use crate::model::desired::template::{Size, Template};
use crate::model::drift::tracker::Watch;
use crate::model::input::request::{Request, Snapshot};
use crate::model::plan::refused_routes::Failure;

/// What to do now: at most one mutating call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// The stack is as it should be.
    #[default]
    Keep,
    /// Something is under way; look again soon.
    Wait,
    /// CreateStack.
    Create(Template),
    /// CreateChangeSet of type UPDATE, named by [`crate::model::plan::change_set::change_set_name`].
    Prepare(Template),
    /// CreateChangeSet of what the stack already says, to undo what others did in EC2. Only text, parameters and tags of the
    /// live stack are in it.
    Revert(Template),
    /// ExecuteChangeSet.
    Execute { change_set: String },
    /// DeleteChangeSet.
    Discard { change_set: String },
    /// UpdateTerminationProtection.
    Protect(bool),
    /// SetStackPolicy.
    SetPolicy { open: bool },
    /// ContinueUpdateRollback.
    ContinueRollback,
    /// DeleteStack: of a stack that nobody asks for any more, or whose creation failed. `retain`: logical ids of resources that
    /// are left behind, since they would not go.
    Delete { retain: BTreeSet<String> },
    /// Nothing may be done until a person has acted; the reasons say what.
    Refuse,
}

/// Everything that a plan is made from.
#[derive(Clone, Copy, Debug)]
pub struct World<'a> {
    pub snapshot: &'a Snapshot,
    pub network: &'a Network,
    pub live: &'a Live,
    pub settings: &'a Settings,
    pub grace: Grace,
    pub ledger: Recall<'a>,
    /// What EC2 was last seen to hold of the stack.
    pub watch: &'a Watch,
}

/// The next step and what to tell about it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    pub action: Action,
    /// ARN, or name when there is none yet.
    pub stack: String,
    /// One sentence: why this action.
    pub why: String,
    /// What the stack lacks or has too much, in the order of logical ids.
    pub differences: Vec<Difference>,
    pub problems: Vec<Problem>,
    /// What users request. Whether nobody requests anything, or less than before, is decided by this alone.
    pub request: Request,
    /// The part of it that gets routes.
    pub admitted: Admitted,
    pub desired: Desired,
    /// The live stack's status.
    pub status: Option<String>,
    /// The live static IPs by zone.
    pub static_ips: BTreeMap<Zone, String>,
    /// The live stack's routes, and whether EC2 has them so, as far as it can be seen.
    pub live_routes: BTreeMap<(TableId, Ipv4Net), bool>,
    /// Look again after this long, though nothing may have changed.
    pub again: Option<Duration>,
    /// Why an earlier attempt at the same failed.
    pub setback: Option<String>,
    pub grace: Grace,
    /// What the ledger should hold, before the action is taken; None where nothing is known of it.
    pub ledger: Option<Ledger>,
    /// Where EC2 differs from what the stack believes.
    pub drifts: Vec<Drift>,
    /// The drifts, by their keys, that the action is a repair of.
    pub repairs: Vec<String>,
    /// Zones that the differences add.
    pub new_zones: BTreeSet<Zone>,
    /// Those that are left out now.
    pub later: Later,
    /// Logical ids of what is gone and made anew by the action.
    pub(super) renewed: BTreeSet<String>,
    /// What the template takes of CloudFormation's quotas, when one was made.
    pub size: Option<Size>,
    /// Why the stack's last operation failed.
    pub failure: Failure,
    /// The new routes of the change set that is executed.
    pub attempt: BTreeSet<(TableId, Ipv4Net)>,
}

/// Makes the plan. Total: whatever the world looks like, there is one.
pub fn plan(world: &World<'_>) -> Plan {
    let plan = plan_once(world);
    match plan.retry(world) {
        Some(network) => plan_once(&World {
            network: &network,
            ..*world
        }),
        None => plan,
    }
}

fn plan_once(world: &World<'_>) -> Plan {
    let layout = recovery::layout(world.live);
    let readable = layout.as_ref().and_then(|(_, layout)| layout.as_ref().ok());
    match owner::alien(world, readable) {
        None => plan_for(world, layout, "StackNotOurs"),
        // Nothing of it counts as ours: neither its routes nor its static IPs.
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

/// `foreign`: the reason by which a stack that is not ours is refused.
fn plan_for(
    world: &World<'_>,
    layout: Option<(&Stack, Result<Layout, LayoutError>)>,
    foreign: &'static str,
) -> Plan {
    let names = match &layout {
        Some((_, Ok(layout))) => layout.names(),
        Some((_, Err(_))) | None => Names::default(),
    };
    // While an operation runs, the template is the one of before.
    let busy = matches!(world.live, Live::Ours(stack) if stack.status.phase() == Phase::Busy);
    let before = busy.then(|| world.network.before(&names));
    let network = before.as_ref().unwrap_or(world.network);
    let world = &World { network, ..*world };
    let live = layout.as_ref().and_then(|(_, layout)| layout.as_ref().ok());
    let mut plan = draft(world, &names, live.unwrap_or(&Layout::default()));
    plan.problems.extend(owner::problems(world, live));
    match (world.live, layout) {
        (Live::Foreign { name, why }, _) => plan.refuse(name, foreign, why.clone()),
        (Live::Several(ids), _) => plan.refuse_several(&world.settings.stack_name, ids),
        (_, None) => plan.absent(world),
        (_, Some((stack, Err(error)))) if stack.status.phase() == Phase::Settled => {
            plan.stack.clone_from(&stack.id);
            plan.refuse(
                &stack.name,
                "TemplateUnreadable",
                format!("{error}; move it out of the way"),
            );
        }
        // Unless it is at rest, its template does not matter yet.
        (_, Some((stack, layout))) => {
            plan.stack.clone_from(&stack.id);
            plan.present(world, stack, &layout.unwrap_or_default(), &names);
        }
    }
    plan.mark_zones(world, &names);
    plan.mark_refused(world, &names);
    plan.problems.sort();
    plan.problems.dedup();
    plan
}

impl Plan {
    pub(super) fn set(&mut self, action: Action, why: impl Into<String>) {
        self.action = action;
        self.why = why.into();
    }

    pub(super) fn refuse(&mut self, stack: &str, reason: &'static str, message: String) {
        self.why.clone_from(&message);
        self.action = Action::Refuse;
        self.problems.push(Problem::refused(
            Subject::Stack(stack.to_owned()),
            reason,
            message,
        ));
    }

    pub(super) fn settled(
        &mut self,
        world: &World<'_>,
        stack: &Stack,
        layout: &Layout,
        names: &Names,
    ) {
        let left = world.grace.empty_left();
        self.hold_large_removal(world, layout, names);
        if self.nothing_asked() && !names.routes.is_empty() && !left.is_zero() {
            self.again = Some(self.grace.look(left));
            let seconds = left.as_secs();
            let why = format!(
                "no ConfigMap asks for a route any more; that is believed after {seconds} s more"
            );
            self.set(Action::Keep, why);
        } else if self.deletion_is_due(world) {
            self.delete(
                stack,
                "no ConfigMap asks for a route any more, and --on-empty is delete".to_owned(),
            );
        } else {
            self.compare(world, stack, layout, names);
        }
        self.keep_policy(world, stack, names);
    }

    fn compare(&mut self, world: &World<'_>, stack: &Stack, layout: &Layout, names: &Names) {
        if self.repair(world, stack, layout, names) {
            return;
        }
        if self.desired.zones.is_empty() {
            let text = "no configured zone can have a NAT gateway: see the problems of the zones"
                .to_owned();
            return self.refuse(&stack.name, "NothingToRoute", text);
        }
        let taken = self.taken(world, stack, names);
        let desired = self.passable(world, stack, names, taken.clone());
        let rendered = template::render(&desired, names, layout, world.settings.template_bucket);
        drop(desired);
        let template = match rendered {
            Ok(template) => template,
            Err(error) => {
                return self.refuse(
                    &stack.name,
                    "TemplateTooLarge",
                    format!("{error}; nothing is changed until it fits"),
                );
            }
        };
        self.size = Some(template.size);
        self.differences = diff::between(layout, &template, &self.request);
        self.differences
            .extend(diff::of_tags(&stack.tags, &template.tags));
        // An adopted stack is claimed by its next change, and none is made for that alone.
        if let [only] = self.differences.as_slice()
            && only.is_claim()
        {
            self.differences.clear();
        }
        let allowed = |id: &str| self.may_go(names, id);
        if let Some(text) = diff::refusal(&self.differences, &names.strangers, allowed) {
            return self.refuse(&stack.name, "WouldLoseStaticIp", text);
        }
        if stack.status.0.contains("ROLLBACK") && !self.differences.is_empty() {
            self.setback = stack.cause.clone();
        }
        // After the differences, so that a right that is missing for it does not stop the routes.
        let unprotected = self.desired.termination_protection && !stack.termination_protection;
        if self.differences.is_empty() && unprotected {
            let why = "termination protection is asked for and off";
            self.set(Action::Protect(true), why);
        } else if self.differences.is_empty() {
            match stack.change_sets.first() {
                Some(left) => self.tidy_up(left),
                None if self.drifts.is_empty() => {
                    self.set(Action::Keep, "the stack is as it should be");
                }
                None => {
                    let why = "the stack is as it should be, but EC2 is not: see the problems";
                    self.set(Action::Keep, why);
                }
            }
        } else {
            let whole = Whole::new(world, layout, taken);
            self.change(stack, template, names, Some(whole));
        }
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
#[path = "plan/safety_tests.rs"]
mod safety_tests;

#[cfg(test)]
#[path = "plan/owner_tests.rs"]
mod owner_tests;

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
#[path = "plan/unroutable_zones_tests.rs"]
mod dead_end_tests;

#[cfg(test)]
#[path = "plan/stack_policy_tests.rs"]
mod policy_tests;
