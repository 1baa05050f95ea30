//! The core: pure and total. No async, clock, randomness, environment, log, metric or IO.
//!
//! Data flows through the files in this order: [`request`] (what ConfigMaps ask for), [`network`] (what the VPC
//! looks like), [`live`] (what the stack looks like), [`desired`] (what should be), [`template`] (the same as bytes for
//! CloudFormation), [`plan`] (the one next step, with its reasons). [`ledger`] is what outlives a leader.

mod admission;
pub mod admitted;
pub mod annotation;
pub mod change;
pub mod cidr;
mod dead_end;
pub mod desired;
pub mod detection;
pub mod difference;
mod draft;
pub mod drift;
pub mod grace;
mod kept;
pub mod ledger;
mod limits;
pub mod live;
pub mod network;
pub mod notice;
pub mod object;
pub mod observed;
pub mod owner;
pub mod plain;
pub mod plan;
mod plan_text;
pub mod policy;
pub mod problem;
mod reading;
mod recall;
mod recovery;
mod refusal;
pub mod refusals;
pub mod refused;
pub(crate) mod remake;
mod removal;
pub mod repair;
pub mod request;
pub mod resolved;
mod rules;
pub mod schedule;
pub mod share;
pub mod status;
mod status_text;
pub mod survey;
pub mod template;
pub mod watch;
