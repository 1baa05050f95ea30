//! Edits of the Lease, the stack and the ledger by hand.

use std::time::Duration;

use super::script::{Event, Script};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseEdit {
    Deletes,
    Empties,
    /// Writes a renewal of long ago, or of the far future.
    Dates(&'static str),
    /// Writes another duration, in seconds.
    Lasts(u32),
    /// Removes the holder.
    Frees,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StackEdit {
    /// Deletes the stack with all its resources, while it is at rest.
    Deletes,
    Unprotects,
    /// Replaces the stack policy.
    Repolicies,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LedgerEdit {
    Deletes,
    /// Replaces the content.
    Writes(&'static str),
    /// Denies reads and writes for this time.
    Shuts(Duration),
}

impl Script {
    /// Whether epochs may start again at zero, because no replica may know the earlier ones.
    pub fn loses_epochs(&self) -> bool {
        let lost = |hand: &LeaseEdit| matches!(hand, LeaseEdit::Deletes | LeaseEdit::Empties);
        self.events
            .iter()
            .any(|(_, event)| matches!(event, Event::Lease(hand) if lost(hand)))
    }
}
