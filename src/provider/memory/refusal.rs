//! [`Refusal`]: why an operation fails.

use super::ec2::NO_ROOM;
use crate::model::cloud::live::{Failed, Stack};

/// Why an operation fails, and at which resource, if a single one is the cause.
pub(super) struct Refusal {
    pub(super) id: Option<String>,
    pub(super) why: String,
}

impl Refusal {
    pub(super) fn of(id: &str, why: String) -> Self {
        let id = Some(id.to_owned());
        Self { id, why }
    }

    /// Records the refusal in the stack, as the stack's events show it.
    pub(super) fn explain(self, stack: &mut Stack) {
        let failed = Failed {
            reason: self.why.clone(),
            table_is_full: self.why.ends_with(NO_ROOM),
        };
        stack.failed = self.id.map(|id| (id, failed)).into_iter().collect();
        stack.cause = Some(self.why);
    }
}
