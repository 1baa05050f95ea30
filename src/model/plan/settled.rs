//! The next step for a stack at rest: [`STAGES`] lists what the controller may do, and the first stage that answers decides.
//!
//! A stage reads the draft of the plan and the [`World`], and returns a value. Nothing that a stage returns is read by a later one.

use std::cell::OnceCell;
use std::collections::BTreeSet;

use crate::model::base::ids::Zone;
use crate::model::base::problem::split;
use crate::model::base::reason::Reason;
use crate::model::cloud::layout::{Layout, Names};
use crate::model::cloud::live::Stack;
use crate::model::desired::template::{self, Size, Template};
use crate::model::plan::change_set::{Proposal, Whole, tidy_up};
use crate::model::plan::decision::{Decision, Notes};
use crate::model::plan::diff::{self, Difference};
use crate::model::plan::patched_template::next_change;
use crate::model::plan::types::{Action, Plan, World};

/// What a controller may do with a stack at rest. None if the next stage is to decide.
type Stage = fn(&Settled<'_>, &mut Notes) -> Option<Decision>;

/// The stages in order. If none of them answers, the stack stays as it is.
const STAGES: [Stage; 14] = [
    wait_while_nothing_is_requested,
    delete_what_nobody_requests,
    recover_static_ip,
    repair_drift,
    replace_static_ip,
    refuse_without_zones,
    refuse_what_cannot_be_rendered,
    refuse_losses,
    retain_static_ips,
    protect_stack,
    add_static_ip,
    move_networks,
    change_stack,
    discard_change_set,
];

/// A stack at rest, and all that decides its next step.
pub(in crate::model) struct Settled<'a> {
    pub draft: &'a Plan,
    pub world: &'a World<'a>,
    pub stack: &'a Stack,
    pub layout: &'a Layout,
    pub names: &'a Names,
    target: OnceCell<Target>,
}

/// The template for the whole request.
struct Target {
    template: Template,
    differences: Vec<Difference>,
    size: Size,
    /// The zones that [`Plan::taken`] returned.
    taken: BTreeSet<Zone>,
}

impl<'a> Settled<'a> {
    pub fn new(
        draft: &'a Plan,
        world: &'a World<'a>,
        stack: &'a Stack,
        layout: &'a Layout,
        names: &'a Names,
    ) -> Self {
        Self {
            draft,
            world,
            stack,
            layout,
            names,
            target: OnceCell::new(),
        }
    }

    /// Returns the next step.
    pub fn decide(&self, notes: &mut Notes) -> Decision {
        let first = STAGES.iter().find_map(|stage| stage(self, notes));
        let decision = Decision {
            size: self.target.get().map(|target| target.size),
            ..first.unwrap_or_else(|| self.keep())
        };
        self.draft
            .with_policy(decision, self.world, self.stack, self.names)
    }

    fn keep(&self) -> Decision {
        let why = match self.draft.drifts.as_slice() {
            [] => "the stack is as it should be",
            _ => "the stack is as it should be, but EC2 differs from the stack: see the problems",
        };
        Decision::new(Action::Keep, why)
    }

    /// Returns the template for the whole request, or why there is none. Reports the zones that the template leaves out.
    fn render(&self, notes: &mut Notes) -> Result<Target, String> {
        let (world, stack, names) = (self.world, self.stack, self.names);
        let (taken, problems) = self.draft.taken(world, stack, names);
        notes.report(problems);
        let desired = self.draft.passable(world, stack, names, taken.clone());
        let bucket = world.settings.template_bucket;
        let template = template::render(&desired, names, self.layout, bucket).map_err(|error| {
            let error = error.to_string();
            let (what, remedy) = split(&error);
            let remedy = remedy.unwrap_or(Reason::TemplateTooLarge.remedy());
            format!("{what}, and the controller changes nothing until the template fits; {remedy}")
        })?;
        let size = template.size;
        let request = &self.draft.request;
        let (template, mut differences) = next_change(stack, self.layout, template, request);
        // The next change of an adopted stack names its owner. No change is made for the owner alone.
        if let [only] = differences.as_slice()
            && only.is_claim()
        {
            differences.clear();
        }
        Ok(Target {
            template,
            differences,
            size,
            taken,
        })
    }

    /// Returns the template for the whole request, if it differs from the live stack.
    fn difference(&self) -> Option<&Target> {
        let target = self.target.get();
        target.filter(|target| !target.differences.is_empty())
    }

    fn is_as_requested(&self) -> bool {
        self.difference().is_none()
    }
}

fn wait_while_nothing_is_requested(at: &Settled<'_>, _: &mut Notes) -> Option<Decision> {
    let left = at.world.grace.empty_left();
    let is_empty = at.draft.nothing_asked() && !at.names.routes.is_empty();
    (is_empty && !left.is_zero()).then(|| {
        let seconds = left.as_secs();
        let why = format!(
            "no ConfigMap asks for a route any more; the controller acts on that after {seconds} s more"
        );
        Decision {
            again: Some(at.draft.grace.look(left)),
            ..Decision::new(Action::Keep, why)
        }
    })
}

fn delete_what_nobody_requests(at: &Settled<'_>, _: &mut Notes) -> Option<Decision> {
    if !at.draft.deletion_is_due(at.world) {
        return None;
    }
    let why = "no ConfigMap asks for a route any more, and --on-empty is delete";
    let all = at.layout.resources.keys().cloned().collect();
    let retention = at.draft.retain_first(at.stack, at.layout, at.names, all);
    Some(retention.unwrap_or_else(|| Decision::delete(at.stack, why.to_owned(), BTreeSet::new())))
}

fn recover_static_ip(at: &Settled<'_>, notes: &mut Notes) -> Option<Decision> {
    at.draft
        .recover(notes, at.world, at.stack, at.layout, at.names)
}

fn repair_drift(at: &Settled<'_>, notes: &mut Notes) -> Option<Decision> {
    at.draft
        .repair(notes, at.world, at.stack, at.layout, at.names)
}

fn replace_static_ip(at: &Settled<'_>, _: &mut Notes) -> Option<Decision> {
    at.draft.replace_ip(at.world, at.stack, at.layout, at.names)
}

fn refuse_without_zones(at: &Settled<'_>, _: &mut Notes) -> Option<Decision> {
    at.draft.desired.zones.is_empty().then(|| {
        let text = "no configured zone can have a NAT gateway: see the problems of the zones";
        Decision::refuse(&at.stack.name, Reason::NothingToRoute, text.to_owned())
    })
}

/// Renders the template that the next stages read.
fn refuse_what_cannot_be_rendered(at: &Settled<'_>, notes: &mut Notes) -> Option<Decision> {
    match at.render(notes) {
        Ok(target) => {
            _ = at.target.set(target);
            None
        }
        Err(text) => {
            let reason = Reason::TemplateTooLarge;
            Some(Decision::refuse(&at.stack.name, reason, text))
        }
    }
}

fn refuse_losses(at: &Settled<'_>, _: &mut Notes) -> Option<Decision> {
    let differences = &at.target.get()?.differences;
    let allowed = |id: &str| at.draft.may_go(at.names, id);
    let static_ip = diff::refusal(differences, &at.names.strangers, allowed);
    let static_ip = static_ip.map(|text| (Reason::WouldLoseStaticIp, text));
    let list = || at.draft.would_lose_list(differences, at.names);
    let (reason, text) =
        static_ip.or_else(|| list().map(|text| (Reason::UnplannedChange, text)))?;
    Some(Decision {
        differences: differences.clone(),
        ..Decision::refuse(&at.stack.name, reason, text)
    })
}

fn retain_static_ips(at: &Settled<'_>, _: &mut Notes) -> Option<Decision> {
    let differences = &at.target.get()?.differences;
    let given_up = differences.iter().filter(|it| it.is_loss());
    let given_up = given_up.map(|it| it.id.clone()).collect();
    at.draft
        .retain_first(at.stack, at.layout, at.names, given_up)
}

/// Termination protection follows the differences: if the right to set it is missing, routes still change.
fn protect_stack(at: &Settled<'_>, _: &mut Notes) -> Option<Decision> {
    let unprotected = at.draft.desired.termination_protection && !at.stack.termination_protection;
    let why =
        "the stack lacks the termination protection that --stack-termination-protection requests";
    (at.is_as_requested() && unprotected).then(|| Decision::new(Action::Protect(true), why))
}

/// Edits go first, but a stream of edits postpones a static IP for a limited time. The steps of all zones take long, so routes that wait for
/// another attempt go first, too.
fn add_static_ip(at: &Settled<'_>, notes: &mut Notes) -> Option<Decision> {
    let headroom = &at.world.network.headroom;
    if headroom.refused.goes_first() {
        return None;
    }
    let goes_first = headroom.ip_waits.is_overdue && !headroom.refused.retries;
    if !at.is_as_requested() && !goes_first {
        return None;
    }
    at.draft
        .add_ip(notes, at.world, at.stack, at.layout, at.names)
}

/// Edits of users go first.
fn move_networks(at: &Settled<'_>, notes: &mut Notes) -> Option<Decision> {
    let target = at.target.get().filter(|_| at.is_as_requested())?;
    at.draft.migrate(
        notes,
        at.world,
        at.stack,
        (at.layout, at.names),
        &target.taken,
    )
}

fn change_stack(at: &Settled<'_>, notes: &mut Notes) -> Option<Decision> {
    let target = at.difference()?;
    if at.draft.has_due_ip(at.world, at.layout, at.names) {
        notes.postpone();
    }
    let proposal = Proposal {
        template: target.template.clone(),
        differences: target.differences.clone(),
        renewed: BTreeSet::new(),
        whole: Some(Whole::new(at.world, at.layout, target.taken.clone())),
    };
    let mut decision = at.draft.change(at.stack, at.names, proposal);
    if decision.setback.is_none() && at.stack.status.is_rollback() {
        decision.setback = at.stack.cause.clone();
    }
    Some(decision)
}

fn discard_change_set(at: &Settled<'_>, _: &mut Notes) -> Option<Decision> {
    at.stack.change_sets.first().map(tidy_up)
}
