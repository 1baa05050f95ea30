//! What people and machines are told.

pub mod events;
pub mod http;
mod lease_metrics;
pub mod log;
pub mod metrics;
pub mod pulse;
pub mod teller;
pub mod transitions;
