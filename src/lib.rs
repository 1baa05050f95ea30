//! Static IPs for a cluster's egress traffic to the networks that teams name in ConfigMaps.

pub mod config;
pub mod lease;
pub mod model;
pub mod provider;
