//! The subcommands `status` and `check`, which print the status ConfigMap and the Lease, or what a status page answers.

use std::net::Ipv4Addr;
use std::time::Duration;

use kube::api::ListParams;
use kube::{Api, Client};
use leadership::Leadership;

use crate::config::{AnswerArgs, Config, Output, SourceConfig};
use crate::config_map::ConfigMap;
use crate::model::base::plain;
use crate::model::status::Status;
use crate::report::cluster_writer;
use crate::source::{access, kubeconfig, near_miss};

mod leadership;
mod page;

/// The timeout of a request to the API server.
const PATIENCE: Duration = Duration::from_secs(15);

/// The exit code of both subcommands for success.
pub const WELL: u8 = 0;
pub const ERROR: u8 = 1;
/// The exit code for a negative answer. For `status`: an entry is refused or not routed yet, or nothing has that name. For `check`: the
/// address has no static IP. For both: no replica leads.
pub const NOT_WELL: u8 = 2;

/// The question to answer.
pub enum Question<'a> {
    /// The status of all ConfigMaps, or of those with this name.
    Status(Option<&'a str>),
    Check(Ipv4Addr),
}

/// Why the status cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    #[error(
        "manifests have no cluster to keep a status in: ask the running controller with --server=http://localhost:8080, or use `plan` with \
         the same flags"
    )]
    Manifests,
    #[error(transparent)]
    Page(#[from] page::PageError),
    #[error(transparent)]
    Connect(#[from] access::ConnectError),
    #[error("no API server is named: set --master or --kubeconfig")]
    NoCluster,
    #[error(
        "the ConfigMap {namespace}/{name} cannot be read: check the right to get it, --leader-elect-resource-namespace and \
         --leader-elect-resource-name"
    )]
    Unreadable {
        namespace: String,
        name: String,
        source: kube::Error,
    },
    #[error(
        "this account lacks the right to get the ConfigMap {namespace}/{name}: bind it to the Role …-status-reader of that namespace \
         (chart: rbac.statusReaders), or ask the status page with --server"
    )]
    Forbidden {
        namespace: String,
        name: String,
        source: kube::Error,
    },
    #[error("the API server did not answer within {} s: check its address", PATIENCE.as_secs())]
    Late,
    #[error(
        "the ConfigMap {namespace}/{name} is missing or empty: no leader has written a status there; give the controller's namespace and \
         the name of its Lease with --leader-elect-resource-namespace and --leader-elect-resource-name"
    )]
    Absent { namespace: String, name: String },
    #[error(
        "the ConfigMap {0} is not a status that this version understands: use the controller's own version"
    )]
    Strange(String),
}

/// Answers a question from the status. Returns the text to print and the exit code.
pub async fn answer(
    config: &Config,
    question: Question<'_>,
    args: &AnswerArgs,
) -> Result<(String, u8), StatusError> {
    let (status, leadership, client) = match &args.server {
        Some(server) => {
            let (status, leadership) = page::read(server).await?;
            (status, leadership, None)
        }
        None => read(config).await?,
    };
    let (text, mut json, well) = match question {
        Question::Status(name) => {
            let status = status.only(config.namespace.as_deref(), name);
            // A misspelt name, or a ConfigMap without the label, must not look like success.
            let none = status.entries.is_empty() && (name.is_some() || config.namespace.is_some());
            let (mut text, well) = (status.table(), status.is_well() && !none);
            if none {
                text += &missing(config, name, client).await;
            }
            (text, serde_json::json!(status), well)
        }
        Question::Check(address) => {
            let answer = status.check(address);
            (answer.text(), serde_json::json!(answer), answer.routed)
        }
    };
    json["lease"] = leadership.json();
    let well = well && !leadership.is_missing();
    let text = match args.output {
        Output::Text => format!("{}{text}", leadership.text()),
        Output::Json => plain::json(&format!("{json:#}\n")),
    };
    Ok((text, if well { WELL } else { NOT_WELL }))
}

/// Explains why no entry is known, as far as the API server answers. A team may lack the permission to list ConfigMaps.
async fn missing(config: &Config, name: Option<&str>, client: Option<Client>) -> String {
    let general =
        "no entry is known there: check name and namespace, and that the ConfigMap has the label egress: static\n".to_owned();
    let several =
        matches!(&config.source, SourceConfig::Kubernetes(clusters) if clusters.masters.len() > 1);
    let place = config.namespace.as_deref().zip(name);
    let (Some((namespace, name)), Some(client), false) = (place, client, several) else {
        return general;
    };
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    // The pod may list, but not get, ConfigMaps.
    let named = ListParams::default().fields(&format!("metadata.name={name}"));
    let found = tokio::time::timeout(PATIENCE, api.list(&named)).await;
    let told = match found.map(|found| found.map(|found| found.items.into_iter().next())) {
        Ok(Ok(Some(object))) => {
            let metadata = serde_json::to_value(&object.metadata).unwrap_or_default();
            let why = near_miss::why_not(&metadata);
            why.unwrap_or_else(|| "it has the label, but the controller has not read it yet, or does not watch its namespace".to_owned())
        }
        Ok(Ok(None)) => "it does not exist; check name and namespace".to_owned(),
        Ok(Err(_)) | Err(_) => return general,
    };
    plain::plain(&format!(
        "no entry is known of the ConfigMap {namespace}/{name}: {told}"
    ))
    .into_owned()
        + "\n"
}

async fn read(config: &Config) -> Result<(Status, Leadership, Option<Client>), StatusError> {
    if let SourceConfig::Manifests(_) = &config.source {
        return Err(StatusError::Manifests);
    }
    let place = config
        .leader_election
        .as_ref()
        .ok_or(StatusError::NoCluster)?;
    let first = kubeconfig::accesses(&config.source)
        .await?
        .into_iter()
        .next();
    let (_, access) = first.ok_or(StatusError::NoCluster)?;
    let client = access.client()?;
    let (namespace, name) = (
        place.namespace.clone(),
        cluster_writer::status_name(&place.name),
    );
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    let read = tokio::time::timeout(PATIENCE, api.get_opt(&name)).await;
    let object = read.map_err(|_| StatusError::Late)?.map_err(|source| {
        let (namespace, name) = (namespace.clone(), name.clone());
        match &source {
            kube::Error::Api(status) if status.code == 403 => StatusError::Forbidden {
                namespace,
                name,
                source,
            },
            _ => StatusError::Unreadable {
                namespace,
                name,
                source,
            },
        }
    })?;
    // The chart creates the ConfigMap without content.
    let text = object.and_then(|object| object.data?.remove(cluster_writer::STATUS));
    let Some(text) = text else {
        return Err(StatusError::Absent { namespace, name });
    };
    let strange = || StatusError::Strange(format!("{namespace}/{name}"));
    let status = Status::read(&text).ok_or_else(strange)?;
    let leadership = leadership::read(&client, &namespace, &place.name).await;
    Ok((status, leadership, Some(client)))
}
