//! Edits of the Lease, the stack and the ledger by hand.

use std::time::Duration;

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
