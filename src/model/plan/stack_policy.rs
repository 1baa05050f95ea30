//! The stack policy, which limits what an update by any caller may do to the resources that a static IP depends on.

use serde_json::{Value, json};

use crate::model::cloud::layout::Names;
use crate::model::cloud::live::{Change, Effect, Stack};
use crate::model::cloud::resource_type::PROTECTED;
use crate::model::plan::decision::Decision;
use crate::model::plan::diff::is_protected;
use crate::model::plan::types::{Action, Plan, World};

/// Returns the text of the policy. Unless `open`, EIPs, NAT gateways and NAT subnets may neither be replaced nor removed.
pub fn text(open: bool) -> String {
    let mut statements = vec![json!({
        "Effect": "Allow", "Action": "Update:*", "Principal": "*", "Resource": "*",
    })];
    if !open {
        statements.push(json!({
            "Effect": "Deny", "Action": ["Update:Replace", "Update:Delete"], "Principal": "*", "Resource": "*",
            "Condition": { "StringEquals": { "ResourceType": PROTECTED } },
        }));
    }
    json!({ "Statement": statements }).to_string()
}

/// Whether the stack has the policy that [`text`] returns.
pub fn is(stack: &Stack, open: bool) -> bool {
    let read = |text: &str| serde_json::from_str::<Value>(text).ok();
    stack.policy.as_deref().and_then(read) == read(&text(open))
}

impl Plan {
    /// Returns the decision, or the step before it: the policy is opened before a change set that needs it, and closed when nothing else is
    /// to be done. Both states are read from the stack, so a new leader continues from either.
    pub(in crate::model) fn with_policy(
        &self,
        decision: Decision,
        world: &World<'_>,
        stack: &Stack,
        names: &Names,
    ) -> Decision {
        if !world.settings.stack_policy {
            return decision;
        }
        let takes_away = |change: &Change| {
            !matches!(change.effect, Effect::Modify | Effect::Tags)
                && is_protected(&change.resource_type)
                && (decision.renewed.contains(&change.logical_id)
                    || self.may_go(names, &change.logical_id))
        };
        let opens = match &decision.action {
            Action::Execute { change_set } => {
                let mut sets = stack.change_sets.iter();
                let set = sets.find(|set| set.name == *change_set);
                set.is_some_and(|set| set.changes.iter().any(takes_away))
            }
            Action::Keep => false,
            _ => return decision,
        };
        if is(stack, opens) || (!opens && decision.action != Action::Keep) {
            return decision;
        }
        let why = if opens {
            "the stack policy is opened for a change set that removes or replaces resources with permission"
        } else {
            "the stack policy is closed, so that no caller can remove static IPs, NAT gateways and NAT subnets"
        };
        Decision {
            repairs: Vec::new(),
            ..decision.with_action(Action::SetPolicy { open: opens }, why)
        }
    }
}
