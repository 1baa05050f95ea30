//! Identifiers, networks, problems and settings: what every other folder of the model uses.

pub mod cidr;
pub mod plain;
pub mod problem;
pub(crate) mod refusal;
pub mod share;
