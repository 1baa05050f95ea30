//! The configuration: [`Config::check`] checks flags and environment once, and returns a [`Config`] without contradictions.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::model::base::owner::lease_mark;
use crate::model::base::settings::{OnDrift, Settings};

mod check;
mod cli;
mod flags;
mod form;
mod subcommands;
#[cfg(test)]
mod tests;
pub mod variables;

pub use cli::Cli;
pub use flags::Options;
pub use subcommands::{AnswerArgs, CheckArgs, Command, Output, PlanArgs, StatusArgs};

/// The configuration of the program, fixed at its start. Only [`Config::check`] creates one.
#[derive(Clone, Debug)]
pub struct Config {
    pub source: SourceConfig,
    /// The only namespace whose ConfigMaps count; None for all namespaces.
    pub namespace: Option<String>,
    pub provider: ProviderConfig,
    pub settings: Settings,
    pub empty_grace_period: Duration,
    pub resync_interval: Duration,
    pub drift_interval: Duration,
    pub dry_run: bool,
    /// The leader election; None if this process acts without a Lease.
    pub leader_election: Option<LeaderElection>,
    /// The ConfigMap of the ledger; None if the ledger is not stored.
    pub ledger: Option<LedgerPlace>,
    pub log: Log,
    /// The address of the HTTP server. An unspecified IPv6 address stands for all interfaces, including IPv4.
    pub address: SocketAddr,
    pub status_page: bool,
    /// Whether the leader annotates ConfigMaps, which needs leader election.
    pub annotate_configmaps: bool,
    /// The destination of traces; None if there are no traces.
    pub traces: Option<Traces>,
    /// The settings of the environment that are ignored, with the reasons.
    pub warnings: Vec<String>,
}

impl Config {
    /// Returns the interval of checks for drift; None if drift is not checked.
    pub fn drift_interval(&self) -> Option<Duration> {
        (self.settings.drift != OnDrift::Off).then_some(self.drift_interval)
    }
}

/// The source of ConfigMaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceConfig {
    Kubernetes(Clusters),
    /// A YAML file, or a directory of YAML files.
    Manifests(PathBuf),
}

/// The clusters to read, and the credentials for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clusters {
    /// The API servers. Empty for the cluster of the kubeconfig or of the pod.
    pub masters: Vec<Master>,
    pub kubeconfig: Option<PathBuf>,
    pub context: Option<String>,
    /// The file with the bearer token for all clusters, read at every request.
    pub token_file: Option<PathBuf>,
}

/// An API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Master {
    pub url: http::Uri,
    /// Host and port, with the path if there is one. Names are unique among the masters.
    pub name: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProviderConfig {
    Aws(AwsSettings),
    InMemory,
    /// Like `InMemory`, but nothing is ever written: `dry_run` is set.
    Noop,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AwsSettings {
    pub vpc_id: Option<String>,
    /// The tags that the workers' route tables have besides `AvailabilityZone`.
    pub route_table_filters: BTreeMap<String, String>,
    pub template_bucket: Option<String>,
    pub role_arn: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderElection {
    pub name: String,
    pub namespace: String,
    pub lease_duration: Duration,
    pub renew_deadline: Duration,
    pub retry_period: Duration,
    /// The pod's name, with which the holder's identity starts. It is not unique across restarts of the process.
    pub identity: String,
}

impl LeaderElection {
    /// Returns the short form of the Lease for the tokens of operations.
    pub fn mark(&self) -> String {
        lease_mark(&self.namespace, &self.name)
    }
}

/// The ConfigMap of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerPlace {
    pub namespace: String,
    pub name: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    pub level: tracing::Level,
    pub json: bool,
}

/// The destination of traces, by OTLP over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traces {
    /// The URL with its path: `http://collector:4318/v1/traces`.
    pub endpoint: http::Uri,
    /// The time limit of one request.
    pub timeout: Duration,
}

/// The purpose of the process. `plan` writes nothing, so it needs no Lease; `status` and `check` read the status that a leader publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Run,
    Plan,
    Read,
}

/// The facts from the environment and the build, besides the flags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    pub credentials_dir: Option<String>,
    pub pod_name: Option<String>,
    pub pod_namespace: Option<String>,
    pub host_name: Option<String>,
    /// The content of the service account's namespace file.
    pub service_account_namespace: Option<String>,
    /// The OpenTelemetry variables, `OTEL_…`, that are not empty.
    pub otel: BTreeMap<String, String>,
    /// Whether the program is built without the feature `aws`.
    pub without_aws: bool,
}

impl Facts {
    pub fn from_environment() -> Self {
        let variable = |name| {
            std::env::var(name)
                .ok()
                .filter(|value| !value.trim().is_empty())
        };
        Self {
            credentials_dir: variable("CREDENTIALS_DIR"),
            pod_name: variable("POD_NAME"),
            pod_namespace: variable("POD_NAMESPACE"),
            host_name: variable("HOSTNAME"),
            service_account_namespace: std::fs::read_to_string(
                "/var/run/secrets/kubernetes.io/serviceaccount/namespace",
            )
            .ok(),
            otel: std::env::vars_os()
                .filter_map(|(name, value)| {
                    Some((name.into_string().ok()?, value.into_string().ok()?))
                })
                .filter(|(name, value)| name.starts_with("OTEL_") && !value.trim().is_empty())
                .collect(),
            without_aws: cfg!(not(feature = "aws")),
        }
    }
}

/// An error in the flags, with its remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Mistake {
    /// The name of the flag, without dashes.
    pub flag: &'static str,
    pub problem: String,
    pub remedy: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--{}: {}; {}", self.flag, self.problem, self.remedy)
    }
}
