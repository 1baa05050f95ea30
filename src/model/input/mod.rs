//! Requests: what users write into ConfigMaps, read and admitted.

pub(crate) mod admission;
pub mod object;
pub(crate) mod reading;
pub mod request;
