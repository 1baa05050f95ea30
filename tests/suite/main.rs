//! The program as users run it: real replicas, a real Kubernetes API server, and an AWS stand-in that behaves.
//!
//! Servers are started when the first test needs them and end with the test process. Every test can be run alone, by its
//! name. A failure shows the end of the replicas' logs and of the stand-in's.

mod admission;
mod adoption;
mod annotations;
mod audit;
mod browser;
mod burst;
mod cgroup;
mod chaos;
mod chart;
mod clusters;
mod container;
mod cpu_limit;
mod detection;
mod drift;
mod drift_zone;
mod errors;
mod failures;
mod golang;
mod handover;
mod helm;
mod http;
mod image;
mod install;
mod kubelet;
mod leadership;
mod lease_times;
mod ledger;
mod limits;
mod linked;
mod main_job;
mod page;
mod plan_command;
mod policy;
mod proxy;
mod replica;
mod rights;
mod rolling;
mod safety;
mod scenarios;
mod skew;
mod stage;
mod stage_lease;
mod stages;
mod standin;
mod statuses;
mod testbed;
mod tidy;
mod told;
mod told_rights;
mod upgrade;
mod visible;
mod wait;
mod weather;
