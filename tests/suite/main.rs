//! The program as users run it: real replicas, a real Kubernetes API server, and an AWS stand-in that behaves.
//!
//! Servers are started when the first test needs them and end with the test process. Every test can be run alone, by its
//! name. A failure shows the end of the replicas' logs and of the stand-in's.

mod adoption;
mod browser;
mod burst;
mod chart;
mod clusters;
mod drift;
mod drift_zone;
mod errors;
mod failures;
mod golang;
mod http;
mod leadership;
mod ledger;
mod limits;
mod main_job;
mod page;
mod plan_command;
mod replica;
mod safety;
mod scenarios;
mod stage;
mod standin;
mod statuses;
mod testbed;
mod tidy;
mod told;
mod wait;
mod weather;
