//! The core: pure and total. No async, clock, randomness, environment, log, metric or IO.
//!
//! Each folder imports only from folders further down in this list:
//!
//! - [`schedule`]: when the next pass starts.
//! - [`status`]: the published result.
//! - [`plan`]: the one next step, with its reasons.
//! - [`drift`]: how EC2 differs from the stack.
//! - [`desired`]: what the stack should contain.
//! - [`persisted`]: the state that outlives a leader.
//! - [`input`]: what ConfigMaps request; [`cloud`]: the stack and the network.
//! - [`base`]: identifiers, CIDRs, problems and settings.

pub mod base;
pub mod cloud;
pub mod desired;
pub mod drift;
pub mod input;
pub mod persisted;
pub mod plan;
pub mod schedule;
pub mod status;
