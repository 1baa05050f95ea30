//! What people and machines are told.

pub mod http;
pub mod log;
pub mod metrics;
pub mod pulse;
pub mod teller;
