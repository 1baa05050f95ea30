//! The one next step, with its reasons. It leaves no choice to whoever applies it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::change::discard;
use super::desired::{self, Desired, OnEmpty, Settings};
use super::difference::{self, Difference};
use super::drift;
use super::live::{Live, Phase, Stack};
use super::network::{Network, Zone};
use super::problem::{Problem, Subject};
use super::request::{self, Request, Snapshot};
use super::resolved::{Layout, Names, Part};
use super::template::{self, Size, Template};

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
    /// CreateChangeSet of type UPDATE, named by [`super::change::change_set_name`].
    Prepare(Template),
    /// ExecuteChangeSet.
    Execute { change_set: String },
    /// DeleteChangeSet.
    Discard { change_set: String },
    /// UpdateTerminationProtection.
    Protect(bool),
    /// ContinueUpdateRollback.
    ContinueRollback,
    /// DeleteStack: of a stack that nobody asks for any more, or whose creation failed.
    Delete,
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
    /// How much longer an empty set of entries has to stay empty before it is believed; zero when it may be.
    pub grace_left: Duration,
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
    pub request: Request,
    pub desired: Desired,
    /// The live stack's status.
    pub status: Option<String>,
    /// The live static IPs by zone.
    pub static_ips: BTreeMap<Zone, String>,
    /// Look again after this long, though nothing may have changed.
    pub again: Option<Duration>,
    /// Why an earlier attempt at the same failed.
    pub setback: Option<String>,
    /// What the template takes of CloudFormation's quotas, when one was made.
    pub size: Option<Size>,
}

/// Makes the plan. Total: whatever the world looks like, there is one.
pub fn plan(world: &World<'_>) -> Plan {
    let layout = match world.live {
        Live::Ours(stack) if stack.status.phase() != Phase::Gone => {
            Some((stack, Layout::read(&stack.template, &stack.parameters)))
        }
        Live::Ours(_) | Live::Absent | Live::Foreign { .. } | Live::Several(_) => None,
    };
    let names = match &layout {
        Some((_, Ok(layout))) => layout.names(),
        Some((_, Err(_))) | None => Names::default(),
    };
    let rules = desired::rules(world.network, world.settings, &names);
    let (request, mut problems) = request::parse(world.snapshot, &rules);
    let (desired, more) = desired::build(&request, world.network, &names, world.settings);
    problems.extend(more);
    let mut plan = Plan {
        action: Action::Refuse,
        stack: world.settings.stack_name.clone(),
        why: String::new(),
        differences: Vec::new(),
        problems,
        request,
        desired,
        status: match world.live {
            Live::Ours(stack) => Some(stack.status.to_string()),
            Live::Absent | Live::Foreign { .. } | Live::Several(_) => None,
        },
        static_ips: static_ips(world.live, &names),
        again: None,
        setback: None,
        size: None,
    };
    match (world.live, layout) {
        (Live::Foreign { name, why }, _) => plan.refuse(name, "StackNotOurs", why.clone()),
        (Live::Several(ids), _) => {
            let text = format!(
                "{} stacks carry this cluster's ownership tags ({}); remove the tags from, or delete, all but the one \
                 whose static IPs are in use",
                ids.len(),
                ids.join(", ")
            );
            plan.refuse(&world.settings.stack_name, "SeveralStacks", text);
        }
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
    plan.problems.sort();
    plan
}

/// Every EIP has an output of its own name.
fn static_ips(live: &Live, names: &Names) -> BTreeMap<Zone, String> {
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

    fn absent(&mut self, world: &World<'_>) {
        let name = &world.settings.stack_name;
        if self.request.entries.is_empty() {
            self.set(
                Action::Keep,
                "no ConfigMap asks for a route, and there is no stack",
            );
        } else if self.desired.routes.is_empty() {
            let text =
                "no route can be made: see the problems of zones and route tables".to_owned();
            self.refuse(name, "NothingToRoute", text);
        } else {
            let names = Names::default();
            match template::render(
                &self.desired,
                &names,
                &Layout::default(),
                world.settings.template_bucket,
            ) {
                Ok(template) => {
                    self.size = Some(template.size);
                    self.differences =
                        difference::between(&Layout::default(), &template, &self.request);
                    self.set(Action::Create(template), "there is no stack yet");
                }
                Err(error) => self.refuse(name, "TemplateTooLarge", error.to_string()),
            }
        }
    }

    fn present(&mut self, world: &World<'_>, stack: &Stack, layout: &Layout, names: &Names) {
        let cause = stack
            .cause
            .clone()
            .unwrap_or_else(|| "no reason given".to_owned());
        let status = &stack.status;
        match status.phase() {
            Phase::Settled => {
                self.problems.extend(drift::of_routes(world.network, names));
                self.settled(world, stack, layout, names);
            }
            Phase::Busy => self.set(Action::Wait, format!("the stack is {status}")),
            Phase::Gone => self.absent(world),
            Phase::RollbackFailed => {
                self.setback = Some(cause.clone());
                self.set(
                    Action::ContinueRollback,
                    format!("the stack is {status}: {cause}"),
                );
            }
            Phase::CreateFailed => {
                self.setback = Some(cause.clone());
                let why = format!(
                    "the stack is {status} and can only be deleted and created again: {cause}"
                );
                self.delete(stack, why);
            }
            // With on-empty=delete the IPs may go, and a stack that is half deleted serves nobody.
            Phase::DeleteFailed
                if self.deletion_is_due(world) || world.settings.on_empty == OnEmpty::Delete =>
            {
                self.setback = Some(cause.clone());
                self.delete(stack, format!("the last deletion failed: {cause}"));
            }
            Phase::DeleteFailed => {
                let text = format!(
                    "a deletion has failed halfway ({cause}); such a stack can only be deleted: save its static IPs if partners rely on them, then delete it"
                );
                self.refuse(&stack.name, "DeleteFailed", text);
            }
            Phase::Review => {
                let text = "somebody made a change set that would create the stack, and did not execute it; delete \
                            the empty stack, then it is created anew"
                    .to_owned();
                self.refuse(&stack.name, "InReview", text);
            }
            Phase::Unknown => {
                let text = format!(
                    "its status {status} is not one that this version can act on ({cause}); bring it to a *_COMPLETE \
                     state by hand"
                );
                self.refuse(&stack.name, "UnknownStatus", text);
            }
        }
    }

    fn deletion_is_due(&self, world: &World<'_>) -> bool {
        self.nothing_asked()
            && world.grace_left.is_zero()
            && world.settings.on_empty == OnEmpty::Delete
    }

    /// Truly empty: every source was listed whole and every entry could be read.
    pub fn nothing_asked(&self) -> bool {
        self.request.settled && self.request.entries.is_empty()
    }

    fn delete(&mut self, stack: &Stack, why: String) {
        if stack.termination_protection {
            self.set(
                Action::Protect(false),
                format!("{why}; its termination protection is switched off for that"),
            );
        } else {
            self.set(Action::Delete, why);
        }
    }

    fn settled(&mut self, world: &World<'_>, stack: &Stack, layout: &Layout, names: &Names) {
        if self.nothing_asked() && !names.routes.is_empty() && !world.grace_left.is_zero() {
            self.again = Some(world.grace_left);
            let seconds = world.grace_left.as_secs();
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
    }

    fn compare(&mut self, world: &World<'_>, stack: &Stack, layout: &Layout, names: &Names) {
        if self.desired.zones.is_empty() {
            let text = "no configured zone can have a NAT gateway: see the problems of the zones"
                .to_owned();
            return self.refuse(&stack.name, "NothingToRoute", text);
        }
        let template =
            match template::render(&self.desired, names, layout, world.settings.template_bucket) {
                Ok(template) => template,
                Err(error) => {
                    return self.refuse(&stack.name, "TemplateTooLarge", error.to_string());
                }
            };
        self.size = Some(template.size);
        self.differences = difference::between(layout, &template, &self.request);
        self.differences
            .extend(difference::of_tags(&stack.tags, &template.tags));
        let allowed = |id: &str| self.zone_removed(names, id);
        if let Some(text) = difference::refusal(&self.differences, &names.strangers, allowed) {
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
                Some(left) => self.set(
                    discard(left),
                    "the stack is as it should be; a change set is left over",
                ),
                None => self.set(Action::Keep, "the stack is as it should be"),
            }
        } else {
            self.change(stack, template, names);
        }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "plan_safety_tests.rs"]
mod safety_tests;
