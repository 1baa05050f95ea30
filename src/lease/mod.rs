//! Leader election by a Lease, and the [`term::Term`] that proves leadership.
//!
//! Why there are never two Terms at once, and what each step rests on:
//!
//! 1. A Term starts or is extended only when a response of the API server names this replica as the holder. It lasts until the moment
//!    *before* that request was sent, plus the Lease's duration, minus a margin of a twentieth ([`election`], [`term`]). This assumes
//!    local clocks whose rates differ by less than a twentieth; the time they show does not matter.
//! 2. Another candidate takes the Lease only in two cases. Either it has observed the same `resourceVersion` for the longer of the two
//!    durations, counted from *after* it saw that version. Or the holder has released the Lease, which it does after its Term has ended.
//!    A Lease that is new, or was emptied by hand, has no holder, and candidates wait for its duration as well.
//! 3. Every write replaces exactly the version it was decided on ([`cas_layer`]). This relies on the API server's
//!    compare-and-swap. So one of several candidates wins, and a request that arrives late changes nothing.
//! 4. A mutating call needs the Term and is cancelled when the Term ends. The Lease does not cover a request that is already in
//!    flight; its receiver can check the epoch.
//!
//! In requests per hour with the default times: 847 of the leader (a renewal every 4.25 s, one PATCH each) and 61 per standby (a
//! watch every 290 s, and a read every 75 s that keeps its connection open).

mod cas_layer;
mod client;
pub mod config;
pub mod election;
mod observation;
mod read;
mod renew;
mod standby;
mod status;
pub mod term;

#[cfg(test)]
pub(crate) mod tests;

pub use config::{ElectionConfig, ElectionError, MAX_LEASE_DURATION, identity};
pub use election::{Election, LeaseElection, NoElection, Spawn};
pub use status::LeaseView;
pub use term::{Term, TermGuard, TermOver};
