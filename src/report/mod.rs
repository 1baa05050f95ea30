//! Publishes what the controller found and did: log, metrics, HTTP, Events, status ConfigMap, annotations and traces.

mod annotation_writer;
pub mod cluster_writer;
mod connection_slots;
pub mod events;
mod fair_order;
mod host;
pub mod http;
mod leader_status;
pub mod lease_events;
mod lease_metrics;
pub mod liveness;
pub mod log;
pub mod metrics;
pub mod page;
mod plan_metrics;
mod problem_log;
mod rate_limiter;
pub mod reporter;
pub mod status_publisher;
pub mod traces;
pub mod write_metrics;
