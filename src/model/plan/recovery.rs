//! Plans the step for each phase of a stack, and the recovery of a stack that failed.

use std::collections::BTreeSet;

use crate::model::base::reason::Reason;
use crate::model::base::settings::OnEmpty;
use crate::model::cloud::layout::{Layout, LayoutError, Names};
use crate::model::cloud::live::{Live, Stack};
use crate::model::cloud::resource_type::ResourceType;
use crate::model::cloud::status::{Phase, Status};
use crate::model::desired::template;
use crate::model::plan::decision::{Decision, Notes};
use crate::model::plan::diff;
use crate::model::plan::settled::Settled;
use crate::model::plan::types::{Action, Plan, World};

/// The number of failed deletions after which the next one leaves behind the resources that block it.
const RETAINED_AFTER: u32 = 2;

/// The number of failed rollbacks after which a continuation skips the resources that block it, if no static IP depends on any.
const SKIPPED_AFTER: u32 = 3;

/// Returns the stack and the contents of its template, if the stack is ours and exists.
pub(in crate::model) fn layout(live: &Live) -> Option<(&Stack, Result<Layout, LayoutError>)> {
    match live {
        Live::Ours(stack) if stack.status.phase() != Phase::Gone => {
            Some((stack, Layout::read(&stack.template, &stack.parameters)))
        }
        Live::Ours(_) | Live::Absent | Live::Foreign { .. } | Live::Several(_) => None,
    }
}

/// Whether the stack has ever served, independent of its status: its state shows that, or it was seen at rest before.
fn has_served(world: &World<'_>, stack: &Stack) -> bool {
    stack.has_served() || world.ledger.has_settled(&stack.id) || world.watch.has_settled(&stack.id)
}

/// Returns why the plan waits for a busy stack.
fn busy(stack: &Stack) -> String {
    let status = &stack.status;
    match &stack.unconfirmed {
        None => format!("the stack is {status}"),
        Some(shown) => format!(
            "CloudFormation shows {shown}, and the stack's events do not show yet that the last operation ({status}) has ended: \
             until then, or for two minutes, the controller changes nothing"
        ),
    }
}

/// Returns the refusal to choose between several stacks.
pub(in crate::model) fn refuse_several(stack: &str, ids: &[String]) -> Decision {
    let text = format!(
        "{} stacks carry this cluster's ownership tags ({}); remove the tags from, or delete, all but the one whose \
         static IPs are in use",
        ids.len(),
        ids.join(", ")
    );
    Decision::refuse(stack, Reason::SeveralStacks, text)
}

/// Returns the refusal to delete a stack that has served: a status alone does not prove that no static IP is in use.
fn refuse_to_believe(stack: &Stack, status: &Status) -> Decision {
    let ips: Vec<&str> = stack.outputs.values().map(String::as_str).collect();
    let proof = match (ips.as_slice(), stack.updated) {
        ([], true) => "it was updated before".to_owned(),
        ([], false) => "it was seen at rest before".to_owned(),
        _ => format!("it has outputs ({})", ips.join(", ")),
    };
    let text = format!(
        "the status {status} says that the stack was never created, but {proof}: the controller does not delete the stack; if no \
         partner allows its static IPs, delete the stack by hand, else find out why CloudFormation shows this status"
    );
    Decision::refuse(&stack.name, Reason::StatusContradicted, text)
}

/// Returns the refusal to delete a half-deleted stack again. Such a stack cannot be updated, so its EIPs cannot get a DeletionPolicy any more.
fn refuse_to_release(stack: &Stack, eips: &[&str], cause: &str) -> Decision {
    let text = format!(
        "a deletion of the stack failed halfway ({cause}), and the next one releases the static IPs that are left of {}, which have no \
         DeletionPolicy; delete the stack by hand, and name those that partners allow: aws cloudformation delete-stack --stack-name {} \
         --retain-resources {}",
        eips.join(", "),
        stack.name,
        eips.join(" ")
    );
    Decision::refuse(&stack.name, Reason::DeleteFailed, text)
}

/// Returns the continuation of the rollback. At last it skips resources that fail each time, such as a route whose table does not exist,
/// but never a resource that a static IP depends on.
fn rolled_back_halfway(stack: &Stack, cause: String) -> Decision {
    let stuck = &stack.rollback.stuck;
    // Drift detection later finds and repairs the skipped resources.
    let skippable = |kind: &String| {
        let kind = ResourceType::of(kind);
        matches!(
            kind,
            ResourceType::Route | ResourceType::SubnetRouteTableAssociation
        )
    };
    let (mut skip, mut setback) = (BTreeSet::new(), cause);
    if stack.rollback.failures >= SKIPPED_AFTER && !stuck.is_empty() {
        let ids = stuck
            .keys()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(" ");
        let failures = stack.rollback.failures;
        setback = if stuck.values().all(skippable) {
            skip = stuck.keys().cloned().collect();
            format!("{setback}; the rollback failed {failures} times, so it skips {ids}")
        } else {
            format!(
                "{setback}; the rollback failed {failures} times, and static IPs depend on the resources that block it: correct these \
                 in EC2, or, if their loss is acceptable, run: aws cloudformation continue-update-rollback --stack-name {} \
                 --resources-to-skip {ids}",
                stack.name
            )
        };
    }
    let why = format!("the stack is {}: {setback}", stack.status);
    Decision {
        setback: Some(setback),
        ..Decision::new(Action::ContinueRollback { skip }, why)
    }
}

impl Plan {
    /// Returns the next step without a stack.
    pub(in crate::model) fn absent(&self, world: &World<'_>) -> Decision {
        let name = &world.settings.stack_name;
        if self.request.entries.is_empty() {
            let why = "no ConfigMap asks for a route, and there is no stack";
            Decision::new(Action::Keep, why)
        } else if self.desired.routes.is_empty() {
            let text =
                "no route can be made: see the problems of zones and route tables".to_owned();
            Decision::refuse(name, Reason::NothingToRoute, text)
        } else {
            let names = Names::default();
            match template::render(
                &self.desired,
                &names,
                &Layout::default(),
                world.settings.template_bucket,
            ) {
                Ok(template) => Decision {
                    size: Some(template.size),
                    differences: diff::between(&Layout::default(), &template, &self.request),
                    ..Decision::new(Action::Create(template), "there is no stack yet")
                },
                Err(error) => Decision::refuse(
                    name,
                    Reason::TemplateTooLarge,
                    format!("{error}; the controller changes nothing until the template fits"),
                ),
            }
        }
    }

    /// Returns the next step for a stack.
    pub(in crate::model) fn present(
        &self,
        notes: &mut Notes,
        world: &World<'_>,
        stack: &Stack,
        layout: &Layout,
        names: &Names,
    ) -> Decision {
        let cause = stack
            .cause
            .clone()
            .unwrap_or_else(|| "no reason given".to_owned());
        let status = &stack.status;
        match status.phase() {
            Phase::Settled => Settled::new(self, world, stack, layout, names).decide(notes),
            Phase::Busy => Decision::new(Action::Wait, busy(stack)),
            Phase::Gone => self.absent(world),
            Phase::RollbackFailed => rolled_back_halfway(stack, cause),
            Phase::CreateFailed if has_served(world, stack) => refuse_to_believe(stack, status),
            Phase::CreateFailed => {
                let why = format!(
                    "the stack is {status} and can only be deleted and created again: {cause}"
                );
                Decision {
                    setback: Some(cause),
                    ..Decision::delete(stack, why, BTreeSet::new())
                }
            }
            Phase::DeleteFailed => self.deleted_halfway(world, stack, layout, &cause),
            Phase::Review => {
                let text = "a change set that would create the stack exists and was not executed; delete the empty \
                            stack, then the controller creates the stack again"
                    .to_owned();
                Decision::refuse(&stack.name, Reason::InReview, text)
            }
            Phase::Unknown => {
                let text = format!(
                    "this version does not know the status {status} ({cause}); bring the stack to a *_COMPLETE status \
                     by hand"
                );
                Decision::refuse(&stack.name, Reason::UnknownStatus, text)
            }
        }
    }

    /// Returns the deletion of the stack, or the refusal to delete it: no other operation is possible.
    fn deleted_halfway(
        &self,
        world: &World<'_>,
        stack: &Stack,
        layout: &Layout,
        cause: &str,
    ) -> Decision {
        let deletion = stack.deletion.clone().unwrap_or_default();
        let was_never_created =
            deletion.before.phase() == Phase::CreateFailed && !has_served(world, stack);
        let released = layout.released().filter(|id| !deletion.gone.contains(*id));
        let released: Vec<&str> = released.collect();
        if !was_never_created && !released.is_empty() {
            return refuse_to_release(stack, &released, cause);
        }
        // With on-empty=delete the stack may go, and a half-deleted stack serves no traffic. A stack that was never created has served none.
        // While a source is in doubt, no stack that has served is deleted.
        let may_go = self.deletion_is_due(world)
            || world.settings.on_empty == OnEmpty::Delete && world.snapshot.is_certain()
            || was_never_created;
        if !may_go {
            let text = format!(
                "a deletion of the stack failed halfway ({cause}), and such a stack can only be deleted: save its static IPs if \
                 partners allow them, then delete the stack"
            );
            return Decision::refuse(&stack.name, Reason::DeleteFailed, text);
        }
        let again = |why, retain| Decision {
            setback: Some(cause.to_owned()),
            ..Decision::delete(stack, why, retain)
        };
        if deletion.failures < RETAINED_AFTER || deletion.stuck.is_empty() {
            let why = format!("the last deletion failed: {cause}");
            return again(why, BTreeSet::new());
        }
        let left: Vec<&str> = deletion.stuck.iter().map(String::as_str).collect();
        let why = format!(
            "{} deletions failed, so resources that block the deletion are left behind; remove them by hand: {} ({cause})",
            deletion.failures,
            left.join(", ")
        );
        again(why, deletion.stuck)
    }

    pub(in crate::model) fn deletion_is_due(&self, world: &World<'_>) -> bool {
        self.nothing_asked()
            && world.grace.empty_left().is_zero()
            && world.settings.on_empty == OnEmpty::Delete
    }

    /// Whether nobody requests anything: every source was listed whole, and no entry exists, not even an unreadable one.
    pub fn nothing_asked(&self) -> bool {
        let request = &self.request;
        request.settled && request.entries.is_empty() && request.refused == 0
    }
}

#[cfg(test)]
#[path = "recovery_tests.rs"]
mod tests;
