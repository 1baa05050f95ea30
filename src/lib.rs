#![doc = include_str!("ARCHITECTURE.md")]

pub mod config;

pub mod agent;
pub mod clock;

pub mod cluster;

pub mod config_map;

pub mod error_chain;

pub mod spans;

pub mod model;

pub mod source;

pub mod lease;

pub mod ledger_store;

pub mod provider;
pub mod proxy;

pub mod reconcile;

pub mod controller;

pub mod plan_command;

pub mod report;

pub mod status_command;

pub mod retry;

#[cfg(test)]
mod simulation;
