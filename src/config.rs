//! Flags and environment, checked once against each other, into a [`Config`] that cannot be wrong.

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

/// Everything the program was told at its start. Only [`Config::check`] makes one.
#[derive(Clone, Debug)]
pub struct Config {
    pub source: SourceConfig,
    /// Only ConfigMaps of this namespace count.
    pub namespace: Option<String>,
    pub provider: ProviderConfig,
    pub settings: Settings,
    pub empty_grace_period: Duration,
    pub resync_interval: Duration,
    pub drift_interval: Duration,
    pub dry_run: bool,
    /// None: this process acts alone.
    pub leader_election: Option<LeaderElection>,
    /// None: there is no place for it.
    pub ledger: Option<LedgerPlace>,
    pub log: Log,
    /// An unspecified IPv6 address stands for all interfaces, IPv4 included.
    pub address: SocketAddr,
    pub status_page: bool,
    /// Only with leader election.
    pub annotate_configmaps: bool,
    /// None: there are none.
    pub traces: Option<Traces>,
    /// What the environment asks for and does not get.
    pub warnings: Vec<String>,
}

impl Config {
    /// How often EC2 is looked at for drift; None: never.
    pub fn drift_interval(&self) -> Option<Duration> {
        (self.settings.drift != OnDrift::Off).then_some(self.drift_interval)
    }
}

/// Where ConfigMaps come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceConfig {
    Kubernetes(Clusters),
    /// A YAML file, or a directory of them.
    Manifests(PathBuf),
}

/// Which clusters, and how to get in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clusters {
    /// Empty: the one cluster that kubeconfig or pod name.
    pub masters: Vec<Master>,
    pub kubeconfig: Option<PathBuf>,
    pub context: Option<String>,
    /// File with the bearer token for all of them, read at every request.
    pub token_file: Option<PathBuf>,
}

/// One API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Master {
    pub url: http::Uri,
    /// Host and port, and path if any: unique among the masters.
    pub name: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProviderConfig {
    Aws(AwsSettings),
    InMemory,
    /// As in memory, but nothing is ever written: `dry_run` is set.
    Noop,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AwsSettings {
    pub vpc_id: Option<String>,
    /// Tags that the workers' route tables have besides `AvailabilityZone`.
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
    /// The pod's name: what the holder's identity begins with. Not unique across restarts of the process.
    pub identity: String,
}

impl LeaderElection {
    /// Returns what stands for the Lease in the tokens of operations.
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

/// Where traces go, by OTLP over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traces {
    /// With its path: `http://collector:4318/v1/traces`.
    pub endpoint: http::Uri,
    /// Of every request. They may be secrets, and do not show where this is printed.
    pub headers: http::HeaderMap,
    /// Of one request.
    pub timeout: Duration,
}

/// What the program is started for: `plan` writes nothing, so it needs no Lease; `status` and `check` read what stands beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Run,
    Plan,
    Read,
}

/// What the environment and the build tell besides the flags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    pub credentials_dir: Option<String>,
    pub pod_name: Option<String>,
    pub pod_namespace: Option<String>,
    pub host_name: Option<String>,
    /// Content of the service account's namespace file.
    pub service_account_namespace: Option<String>,
    /// The variables of OpenTelemetry, `OTEL_…`, that are not empty.
    pub otel: BTreeMap<String, String>,
    /// The program is built without the feature `aws`.
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

/// One thing that is wrong with the flags, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Mistake {
    /// Name of the flag, without dashes.
    pub flag: &'static str,
    pub problem: String,
    pub remedy: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--{}: {}; {}", self.flag, self.problem, self.remedy)
    }
}
