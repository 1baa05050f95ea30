//! Static IPs for a cluster's egress traffic to the networks that teams name in ConfigMaps.
//!
//! The modules in reading order; `ARCHITECTURE.md` beside this file is the map.

pub mod config;

pub mod model;

pub mod source;

pub mod lease;

pub mod provider;

pub mod reconcile;

pub mod controller;

pub mod plan_command;

pub mod report;

pub mod retry;
