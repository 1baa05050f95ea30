//! Who may write: the Lease, made safe, and the [`term::Term`] that proves it.
//!
//! Why there are never two Terms at once, and what each step rests on:
//!
//! 1. A Term is begun and extended only by an answer of the API server that names us, and lasts until the moment *before* that
//!    request was sent plus the Lease's duration minus a margin of a twentieth ([`election`], [`term`]). It rests on local clocks that
//!    tick at rates less than a twentieth apart; what they show does not matter.
//! 2. Another candidate takes the Lease only after it has had the same `resourceVersion` in front of it for the longer of the two
//!    durations, counted from *after* it saw it, or after its holder has given it up, which it does when its Term has ended.
//!    A Lease that is new, or was emptied by hand, has no holder to wait for and is waited for all the same.
//! 3. Every write replaces exactly the version it was decided on ([`fence`]), which rests on the API server's
//!    compare-and-swap. So of several candidates one wins, and a request that lands late changes nothing.
//! 4. What mutates needs the Term and is cancelled when it ends. A request that is already on its way by then is not covered by
//!    the Lease; the epoch is for those who receive it.
//!
//! In requests per hour with the default times: 847 of the leader (a renewal every 4.25 s, one PATCH each) and 61 per standby (a
//! watch every 290 s, and a read every 75 s that keeps its connection open).

pub mod config;
pub mod election;
mod fence;
mod lock;
mod read;
mod renew;
mod seen;
mod standby;
pub mod term;
mod view;

#[cfg(test)]
pub(crate) mod tests;

pub use config::{ElectionConfig, ElectionError, MAX_LEASE_DURATION, identity};
pub use election::{Alone, Election, LeaseElection, Spawn};
pub use term::{Term, TermGuard, TermOver};
pub use view::LeaseView;
