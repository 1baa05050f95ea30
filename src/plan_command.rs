//! The subcommand `plan`, which prints the plan of one pass. It changes nothing, so it needs no Lease.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cluster::Cluster;
use crate::config::{Config, Output, ProviderConfig, SourceConfig};
use crate::ledger_store::LedgerStore;
use crate::model::base::plain;
use crate::model::base::settings::Settings;
use crate::model::cloud::live::Live;
use crate::model::cloud::more_ips::IpWaits;
use crate::model::cloud::network::{Later, Network, NetworkFile, NetworkFileError};
use crate::model::cloud::set_aside::SetAside;
use crate::model::drift::tracker::Watch;
use crate::model::input::request::Snapshot;
use crate::model::persisted::grace::Grace;
use crate::model::persisted::recall::Recall;
use crate::model::plan;
use crate::model::plan::types::{Action, Plan, World};
use crate::provider::Provider;
use crate::provider::memory::MemoryProvider;
use crate::reconcile::{self, PlanInput};
use crate::source::{Source, directory};

/// The timeout of the first list of every cluster.
const LISTING: Duration = Duration::from_secs(30);
const MAX_NETWORK_FILE: u64 = 1 << 20;

/// The exit codes, for checks of pull requests.
pub const NO_CHANGE: u8 = 0;
pub const ERROR: u8 = 1;
pub const CHANGE: u8 = 2;

/// Why the plan cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error("{0}; correct it and try again")]
    NotLoaded(String),
    #[error("the network file {} cannot be read: check --network", path.display())]
    NetworkFile {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("the network file {} has more than {MAX_NETWORK_FILE} bytes: describe one VPC", .0.display())]
    NetworkTooLarge(PathBuf),
    #[error("the network file {} is not a regular file: check --network", .0.display())]
    NetworkNoFile(PathBuf),
    #[error("the network file {} is invalid: {text}", path.display())]
    NetworkSyntax { path: PathBuf, text: String },
    #[error("the network file {} is invalid: {source}", path.display())]
    NetworkValue {
        path: PathBuf,
        source: NetworkFileError,
    },
    #[error(transparent)]
    Provider(#[from] crate::provider::ProviderError),
}

/// Plans against a provider.
pub async fn look<P: Provider>(
    provider: &P,
    source: &Source,
    config: &Config,
    ledger: &mut LedgerStore,
    cluster: &mut Cluster,
) -> Result<Plan, PlanError> {
    let snapshot = snapshot(config, source).await?;
    let mut grace = Grace {
        now: ledger.begin_term(),
        ..Grace::new(config.empty_grace_period)
    };
    let mut watch = Watch::new(config.drift_interval());
    if let Some(ledger) = ledger.read().await {
        grace.recall(&ledger.grace);
        watch.recall(&ledger.repairs, grace.now);
    }
    grace.observe(&snapshot);
    let settings = Settings {
        owner: cluster.owner(&config.settings.owner).await,
        ..config.settings.clone()
    };
    let view = PlanInput {
        snapshot: &snapshot,
        settings: &settings,
        grace,
        ledger: ledger.recall(),
        stack: ledger.stack(),
        epoch: None,
        // A zone that waits after a failure is planned as if it did not wait.
        later: Later::new(),
        ip_waits: IpWaits::default(),
        refused: SetAside::default(),
    };
    Ok(reconcile::look(provider, &view, &mut watch).await?)
}

async fn snapshot(config: &Config, source: &Source) -> Result<Snapshot, PlanError> {
    match &config.source {
        SourceConfig::Manifests(path) => whole(directory::read(path)),
        SourceConfig::Kubernetes(_) => listed(source).await,
    }
}

/// Plans for a described network, as if no stack existed yet.
pub async fn offline(
    config: &Config,
    source: &Source,
    network: Option<&Path>,
) -> Result<Plan, PlanError> {
    let network = match network {
        Some(file) => read_network(file)?,
        None => MemoryProvider::network_for(&config.settings.zones),
    };
    let snapshot = snapshot(config, source).await?;
    Ok(plan::plan(&World {
        snapshot: &snapshot,
        network: &network,
        live: &Live::Absent,
        settings: &config.settings,
        grace: Grace::new(config.empty_grace_period),
        ledger: Recall::Nowhere,
        watch: &Watch::default(),
    }))
}

/// Whether the plan is made without a provider, because a file describes the network.
pub fn is_offline(config: &Config, network: Option<&Path>) -> bool {
    let memory = matches!(
        config.provider,
        ProviderConfig::InMemory | ProviderConfig::Noop
    );
    network.is_some() || memory && matches!(config.source, SourceConfig::Manifests(_))
}

fn whole(snapshot: Snapshot) -> Result<Snapshot, PlanError> {
    let reasons: Vec<String> = snapshot
        .missing
        .iter()
        .map(|(source, why)| format!("{source}: {why}"))
        .collect();
    if reasons.is_empty() {
        Ok(snapshot)
    } else {
        Err(PlanError::NotLoaded(reasons.join("; ")))
    }
}

async fn listed(source: &Source) -> Result<Snapshot, PlanError> {
    let mut watching = source.start();
    let mut last = None;
    let complete = async {
        loop {
            watching.changed().await;
            last = watching.snapshot();
            if let Some(snapshot) = last.as_ref().filter(|snapshot| snapshot.missing.is_empty()) {
                return snapshot.clone();
            }
        }
    };
    match tokio::time::timeout(LISTING, complete).await {
        Ok(snapshot) => Ok(snapshot),
        Err(_) => whole(last.unwrap_or_default()).and_then(|_| {
            Err(PlanError::NotLoaded(format!(
                "no API server answered within {} s",
                LISTING.as_secs()
            )))
        }),
    }
}

fn read_network(path: &Path) -> Result<Network, PlanError> {
    let unreadable = |source| PlanError::NetworkFile {
        path: path.to_owned(),
        source,
    };
    // A device may have no length and no end, and opening a pipe may block forever.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(PlanError::NetworkNoFile(path.to_owned()));
    }
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut text = String::new();
    let read = file.take(MAX_NETWORK_FILE + 1).read_to_string(&mut text);
    if read.map_err(unreadable)? as u64 > MAX_NETWORK_FILE {
        return Err(PlanError::NetworkTooLarge(path.to_owned()));
    }
    let syntax = |error: serde_saphyr::Error| PlanError::NetworkSyntax {
        path: path.to_owned(),
        text: error.to_string(),
    };
    let file: NetworkFile = serde_saphyr::from_str(&text).map_err(syntax)?;
    Network::try_from(file).map_err(|source| PlanError::NetworkValue {
        path: path.to_owned(),
        source,
    })
}

/// Renders the plan for printing.
pub fn render(plan: &Plan, output: Output, template: bool) -> String {
    let text = match &plan.action {
        Action::Create(body) | Action::Prepare(body) if template => Some(body),
        _ => None,
    };
    match output {
        Output::Text => match text {
            Some(body) => format!("{plan}\n{}\n", body.text),
            None => format!("{plan}\n"),
        },
        Output::Json => {
            let mut json = plan.to_json();
            if let Some(body) = text {
                json["template"] = serde_json::from_str(&body.text).unwrap_or_default();
                json["parameters"] = serde_json::json!(body.parameters);
            }
            plain::json(&format!("{json:#}\n"))
        }
    }
}

/// Returns the exit code: 1 if an entry is refused, so that a pull request that adds it fails.
pub fn exit_code(plan: &Plan, allow_changes: bool) -> u8 {
    if plan.refuses_something() {
        ERROR
    } else if plan.changes_something() && !allow_changes {
        CHANGE
    } else {
        NO_CHANGE
    }
}
