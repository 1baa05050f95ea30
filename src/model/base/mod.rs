//! Identifiers, networks, problems and settings, which every other folder of the model uses.

pub mod cidr;
pub mod digest;
pub mod ids;
pub mod owner;
pub mod plain;
pub mod problem;
pub mod reason;
pub(crate) mod refusal;
pub mod settings;
pub mod share;
pub mod text;
