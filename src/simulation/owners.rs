//! Another cluster that takes the stack over, and gives it back. Extends the account in memory.

use serde_json::{Value, json};

use super::MemoryProvider;
use crate::model::cloud::live::Stack;
use crate::model::cloud::status::Phase;
use crate::model::desired::template::OWNER;

impl MemoryProvider {
    /// Makes this cluster the stack's owner. Returns false while an operation is under way. Without a stack there is nothing to change.
    pub(crate) fn pass_to(&self, uid: &str) -> bool {
        let mut account = self.account();
        if account.ends.is_some() {
            return false;
        }
        match &mut account.stack {
            Some(stack) if !names(stack, uid) => {
                if stack.status.phase() != Phase::Settled {
                    return false;
                }
                name(stack, uid);
            }
            _ => return true,
        }
        account.was_changed();
        true
    }

    /// Whether a stack that has been created names this cluster as its owner.
    pub(crate) fn has_owner(&self, uid: &str) -> bool {
        let is_made = !self.sight().ips.is_empty();
        is_made
            && self
                .account()
                .stack
                .as_ref()
                .is_some_and(|it| names(it, uid))
    }
}

/// Whether a stack names this cluster as its owner.
pub(crate) fn names(stack: &Stack, uid: &str) -> bool {
    stack.outputs.get(OWNER).is_some_and(|owner| owner == uid)
}

/// Writes this cluster into a stack as its owner.
pub(crate) fn name(stack: &mut Stack, uid: &str) {
    let mut template: Value = serde_json::from_str(&stack.template).expect("our own template");
    template["Outputs"][OWNER] = json!({ "Value": uid });
    stack.template = template.to_string();
    stack.outputs.insert(OWNER.to_owned(), uid.to_owned());
}
