//! What people and machines are told.

mod annotator;
mod bucket;
pub mod chronicle;
pub mod events;
mod host;
pub mod http;
mod journal;
mod lease_metrics;
pub mod log;
pub mod metrics;
pub mod page;
mod places;
pub mod pulse;
pub mod scribe;
pub mod teller;
pub mod traces;
pub mod transitions;
mod turns;
pub mod writes;
