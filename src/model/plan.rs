//! The one next step, with its reasons. It leaves no choice to whoever applies it.

use super::template::Template;

/// What to do now: at most one mutating call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The stack is as it should be.
    Keep,
    /// Something is under way; look again soon.
    Wait,
    /// CreateStack.
    Create(Template),
    /// CreateChangeSet of type UPDATE, named by [`change_set_name`].
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

const CHANGE_SET_PREFIX: &str = "egress-";

/// `egress-{fingerprint}-e{epoch}`: tells what it would make, and who made it.
pub fn change_set_name(template: &Template, epoch: u64) -> String {
    format!("{CHANGE_SET_PREFIX}{}-e{epoch}", short(&template.fingerprint))
}

/// Whether a change set is one of ours, by its name.
pub fn is_our_change_set(name: &str) -> bool {
    name.strip_prefix(CHANGE_SET_PREFIX).is_some_and(|rest| rest.contains("-e"))
}

fn short(fingerprint: &str) -> &str {
    fingerprint.get(..16).unwrap_or(fingerprint)
}
