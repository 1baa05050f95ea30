//! [`Refusal`]: why an operation fails.

use super::ec2::NO_ROOM;
use crate::model::cloud::live::{Failed, Stack};

/// Why an operation fails, and at which resource, where it is one.
pub(super) struct Refusal {
    pub(super) id: Option<String>,
    pub(super) why: String,
}

impl Refusal {
    pub(super) fn of(id: &str, why: String) -> Self {
        let id = Some(id.to_owned());
        Self { id, why }
    }

    /// As the stack's events tell it.
    pub(super) fn explain(self, stack: &mut Stack) {
        let failed = Failed {
            reason: self.why.clone(),
            table_is_full: self.why.ends_with(NO_ROOM),
        };
        stack.failed = self.id.map(|id| (id, failed)).into_iter().collect();
        stack.cause = Some(self.why);
    }
}
