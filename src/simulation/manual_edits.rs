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
    /// Takes the holder out.
    Frees,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StackEdit {
    /// With all that it has made, while it is at rest.
    Deletes,
    Unprotects,
    /// Its policy is replaced.
    Repolicies,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LedgerEdit {
    Deletes,
    /// Writes something else into it.
    Writes(&'static str),
    /// It can neither be read nor written.
    Shuts(Duration),
}
