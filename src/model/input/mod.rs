//! The requests in ConfigMaps: parsing and admission.

pub(crate) mod admission;
pub mod annotations;
pub mod object;
pub mod request;
