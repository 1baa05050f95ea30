//! Requests: what users write into ConfigMaps, read and admitted.

pub(crate) mod admission;
pub mod annotations;
pub mod object;
pub mod request;
