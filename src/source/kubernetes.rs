//! One informer per cluster, merged into one snapshot.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use futures::{StreamExt as _, pin_mut};
use http::{HeaderValue, Request, header::AUTHORIZATION};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::client::{Body, ClientBuilder};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Config};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tower::util::MapRequestLayer;

use crate::config;
use crate::model::request::{Object, ObjectId, Snapshot};

/// Which ConfigMaps count.
pub const SELECTOR: &str = "egress=static";
/// A watch is renewed after this long, in seconds: one that died silently is noticed 5 s after that.
const WATCH_TIMEOUT: u32 = 50;
const READ_TIMEOUT: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Of one value kept in memory. A CIDR is much shorter; what is cut is refused by the model.
const MAX_VALUE: usize = 128;

/// The clusters to watch, each with a client.
pub struct Clusters {
    clusters: Vec<Cluster>,
    namespace: Option<String>,
}

struct Cluster {
    /// Empty for the only one.
    name: String,
    client: Client,
}

/// No client can be made.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ConnectError {
    message: String,
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}

fn cannot<E: std::error::Error + Send + Sync + 'static>(
    message: String,
) -> impl FnOnce(E) -> ConnectError {
    move |source| ConnectError {
        message,
        source: Box::new(source),
    }
}

/// The client configuration of the cluster that kubeconfig or pod name. Nothing is sent yet.
pub async fn infer(clusters: &config::Clusters) -> Result<Config, ConnectError> {
    let options = KubeConfigOptions {
        context: clusters.context.clone(),
        ..KubeConfigOptions::default()
    };
    let mut config = match &clusters.kubeconfig {
        Some(path) => {
            let text = format!(
                "cannot read the kubeconfig {}: check --kubeconfig and --context",
                path.display()
            );
            let file = Kubeconfig::read_from(path).map_err(cannot(text.clone()))?;
            Config::from_custom_kubeconfig(file, &options)
                .await
                .map_err(cannot(text))?
        }
        None if clusters.context.is_some() => {
            let text = "cannot use the context of the default kubeconfig: check --context and --kubeconfig".to_owned();
            Config::from_kubeconfig(&options)
                .await
                .map_err(cannot(text))?
        }
        None => {
            let text = "there is neither a kubeconfig nor a pod's service account: set --kubeconfig or --master, or run \
                        in a cluster, or use --manifests"
                .to_owned();
            Config::infer().await.map_err(cannot(text))?
        }
    };
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.read_timeout = Some(READ_TIMEOUT);
    config.write_timeout = Some(READ_TIMEOUT);
    Ok(config)
}

/// The client configurations of all clusters, by name; the first one's cluster holds the Lease.
pub async fn configs(clusters: &config::Clusters) -> Result<Vec<(String, Config)>, ConnectError> {
    if clusters.masters.is_empty() {
        return Ok(vec![(String::new(), infer(clusters).await?)]);
    }
    // Certificates and credentials are those of the pod or kubeconfig, if there are any.
    let base = infer(clusters).await;
    let several = clusters.masters.len() > 1;
    let config = |master: &config::Master| {
        let mut config = match &base {
            Ok(base) => base.clone(),
            Err(_) => Config::new(master.url.clone()),
        };
        config.cluster_url = master.url.clone();
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        config.read_timeout = Some(READ_TIMEOUT);
        (
            if several {
                master.name.clone()
            } else {
                String::new()
            },
            config,
        )
    };
    Ok(clusters.masters.iter().map(config).collect())
}

impl Clusters {
    pub async fn connect(
        clusters: &config::Clusters,
        namespace: Option<String>,
    ) -> Result<Self, ConnectError> {
        let cluster = |(name, config): (String, Config)| {
            let client = client(config, clusters.token_file.clone()).map_err(cannot(format!(
                "cannot make a client for the API server {name}: check its address"
            )))?;
            Ok(Cluster { name, client })
        };
        let clusters = configs(clusters)
            .await?
            .into_iter()
            .map(cluster)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            clusters,
            namespace,
        })
    }

    /// Starts the informers.
    pub fn watch(&self, sender: &watch::Sender<Option<Snapshot>>) -> Vec<JoinHandle<()>> {
        let names: Vec<&str> = self
            .clusters
            .iter()
            .map(|cluster| cluster.name.as_str())
            .collect();
        let start = |cluster: &Cluster| {
            let api = match &self.namespace {
                Some(namespace) => Api::namespaced(cluster.client.clone(), namespace),
                None => Api::all(cluster.client.clone()),
            };
            let board = Board::new(cluster.name.clone(), sender.clone(), unlisted(&names));
            tokio::spawn(inform(api, board))
        };
        self.clusters.iter().map(start).collect()
    }
}

/// A client whose bearer token, where a file is named, is read again for every request.
fn client(mut config: Config, token_file: Option<PathBuf>) -> Result<Client, kube::Error> {
    let Some(path) = token_file else {
        return Ok(ClientBuilder::try_from(config)?.build());
    };
    config.auth_info = kube::config::AuthInfo::default();
    let authorize = MapRequestLayer::new(move |mut request: Request<Body>| {
        let header = std::fs::read_to_string(&path)
            .ok()
            .and_then(|token| HeaderValue::from_str(&format!("Bearer {}", token.trim())).ok());
        match header {
            Some(mut header) => {
                header.set_sensitive(true);
                request.headers_mut().insert(AUTHORIZATION, header);
            }
            // The API server then answers 401, which is reported with its remedy.
            None => {
                tracing::warn!(path = %path.display(), "no usable token: check --credentials-dir")
            }
        }
        request
    });
    Ok(ClientBuilder::try_from(config)?
        .with_layer(&authorize)
        .build())
}

/// Follows one cluster's ConfigMaps for ever.
async fn inform(api: Api<ConfigMap>, mut board: Board) {
    let config = watcher::Config::default()
        .labels(SELECTOR)
        .timeout(WATCH_TIMEOUT)
        .page_size(500);
    let events = watcher(api, config).default_backoff();
    pin_mut!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => board.take(event),
            Err(error) => board.failed(&error),
        }
    }
}

fn unlisted(names: &[&str]) -> BTreeMap<String, String> {
    let why = "its ConfigMaps have not been listed yet";
    names
        .iter()
        .map(|name| (shown(name), why.to_owned()))
        .collect()
}

/// What people read for a cluster.
fn shown(name: &str) -> String {
    if name.is_empty() {
        "Kubernetes API server".to_owned()
    } else {
        format!("Kubernetes API server {name}")
    }
}

/// Where one cluster's informer writes what it knows.
struct Board {
    cluster: String,
    sender: watch::Sender<Option<Snapshot>>,
    /// What is missing before any cluster has been heard of.
    all: BTreeMap<String, String>,
    /// Objects of a list under way: they replace the others when it is complete, never before.
    listing: BTreeMap<ObjectId, Object>,
    /// The last thing that went wrong, so that it is logged once.
    error: Option<String>,
}

impl Board {
    fn new(
        cluster: String,
        sender: watch::Sender<Option<Snapshot>>,
        all: BTreeMap<String, String>,
    ) -> Self {
        Self {
            cluster,
            sender,
            all,
            listing: BTreeMap::new(),
            error: None,
        }
    }

    fn take(&mut self, event: Event<ConfigMap>) {
        if self.error.take().is_some() {
            tracing::info!(
                source = shown(&self.cluster),
                "ConfigMaps can be read again"
            );
        }
        match event {
            Event::Init => self.listing.clear(),
            Event::InitApply(object) => {
                let (id, object) = reduced(object, &self.cluster);
                self.listing.insert(id, object);
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut self.listing);
                let cluster = self.cluster.clone();
                self.change(|snapshot| {
                    let before = snapshot.clone();
                    snapshot.missing.remove(&shown(&cluster));
                    snapshot.objects.retain(|id, _| id.cluster != cluster);
                    snapshot.objects.extend(listed);
                    *snapshot != before
                });
            }
            Event::Apply(object) => {
                let (id, object) = reduced(object, &self.cluster);
                self.change(|snapshot| snapshot.objects.insert(id, object.clone()) != Some(object));
            }
            Event::Delete(object) => {
                let (id, _) = reduced(object, &self.cluster);
                self.change(|snapshot| snapshot.objects.remove(&id).is_some());
            }
        }
    }

    /// A cluster that was listed once keeps what it had; one that was not stays missing, with the reason.
    fn failed(&mut self, error: &watcher::Error) {
        let text = explain(error);
        if self.error.as_ref() != Some(&text) {
            tracing::warn!(source = shown(&self.cluster), "{text}");
        }
        self.error = Some(text.clone());
        let name = shown(&self.cluster);
        self.change(|snapshot| match snapshot.missing.get_mut(&name) {
            Some(why) if *why != text => {
                *why = text;
                true
            }
            Some(_) | None => false,
        });
    }

    /// Readers wake up only when something did change.
    fn change(&self, change: impl FnOnce(&mut Snapshot) -> bool) {
        self.sender.send_if_modified(|snapshot| {
            let fresh = snapshot.is_none();
            let unknown = || Snapshot {
                missing: self.all.clone(),
                ..Snapshot::default()
            };
            change(snapshot.get_or_insert_with(unknown)) || fresh
        });
    }
}

/// Only what is needed stays in memory.
fn reduced(object: ConfigMap, cluster: &str) -> (ObjectId, Object) {
    let id = ObjectId {
        cluster: cluster.to_owned(),
        namespace: object.metadata.namespace.unwrap_or_default(),
        name: object.metadata.name.unwrap_or_default(),
    };
    let mut data = object.data.unwrap_or_default();
    for value in data.values_mut().filter(|value| value.len() > MAX_VALUE) {
        *value = value.trim().chars().take(MAX_VALUE).collect();
        value.shrink_to_fit();
    }
    (
        id,
        Object {
            uid: object.metadata.uid.unwrap_or_default(),
            data,
        },
    )
}

/// What to do about it.
fn explain(error: &watcher::Error) -> String {
    let cause = match error {
        watcher::Error::InitialListFailed(cause)
        | watcher::Error::WatchStartFailed(cause)
        | watcher::Error::WatchFailed(cause) => cause,
        watcher::Error::WatchError(status) => {
            return format!("the API server ended the watch: {}", status.message);
        }
        watcher::Error::NoResourceVersion => {
            return "the API server answered without a resource version".to_owned();
        }
    };
    match cause {
        kube::Error::Api(status) if status.code == 403 => format!(
            "its ConfigMaps may not be read ({}): bind a role with get, list and watch on configmaps, or set --namespace",
            status.message
        ),
        kube::Error::Api(status) if status.code == 401 => {
            "it does not accept our credentials: check the service account's token, --credentials-dir or the kubeconfig"
                .to_owned()
        }
        kube::Error::Api(status) => format!("it answered {} ({})", status.code, status.message),
        other => {
            let mut text = format!("it cannot be reached: {other}");
            let mut source = std::error::Error::source(other);
            while let Some(inner) = source {
                let inner_text = inner.to_string();
                if !text.contains(&inner_text) {
                    text = format!("{text}: {inner_text}");
                }
                source = inner.source();
            }
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config_map(name: &str, value: &str) -> ConfigMap {
        serde_json::from_value(serde_json::json!({
            "metadata": { "name": name, "namespace": "default", "uid": "u", "managedFields": [] },
            "data": { "key": value },
        }))
        .unwrap()
    }

    fn board(cluster: &str, sender: &watch::Sender<Option<Snapshot>>) -> Board {
        Board::new(cluster.to_owned(), sender.clone(), unlisted(&["a", "b"]))
    }

    fn names(receiver: &watch::Receiver<Option<Snapshot>>) -> Vec<String> {
        receiver
            .borrow()
            .iter()
            .flat_map(|snapshot| snapshot.objects.keys().map(ToString::to_string))
            .collect()
    }

    #[test]
    fn a_list_counts_only_when_it_is_whole() {
        let (sender, receiver) = watch::channel(None);
        let mut a = board("a", &sender);
        a.take(Event::Init);
        a.take(Event::InitApply(config_map("one", "8.8.8.8")));
        assert_eq!(
            *receiver.borrow(),
            None,
            "nothing is known before the list ends"
        );
        a.take(Event::InitDone);
        assert_eq!(names(&receiver), ["a/default/one"]);
        let missing = |receiver: &watch::Receiver<Option<Snapshot>>| {
            receiver
                .borrow()
                .clone()
                .unwrap()
                .missing
                .into_keys()
                .collect::<Vec<_>>()
        };
        assert_eq!(missing(&receiver), ["Kubernetes API server b"]);
        let mut b = board("b", &sender);
        b.take(Event::Init);
        b.take(Event::InitDone);
        assert!(missing(&receiver).is_empty());
        a.take(Event::Init);
        assert_eq!(
            names(&receiver),
            ["a/default/one"],
            "a list begun anew removes nothing yet"
        );
        a.take(Event::InitApply(config_map("two", "9.9.9.9")));
        a.take(Event::InitDone);
        assert_eq!(names(&receiver), ["a/default/two"]);
    }

    #[test]
    fn a_cluster_that_goes_away_keeps_what_it_had() {
        let (sender, receiver) = watch::channel(None);
        let mut a = board("a", &sender);
        a.take(Event::Init);
        a.take(Event::InitApply(config_map("one", "8.8.8.8")));
        a.take(Event::InitDone);
        a.failed(&watcher::Error::NoResourceVersion);
        assert_eq!(names(&receiver), ["a/default/one"]);
        assert!(
            !receiver
                .borrow()
                .clone()
                .unwrap()
                .missing
                .contains_key("Kubernetes API server a")
        );
    }

    #[test]
    fn readers_wake_up_only_for_changes() {
        let (sender, mut receiver) = watch::channel(None);
        let mut a = board("a", &sender);
        a.take(Event::Init);
        a.take(Event::InitDone);
        receiver.mark_unchanged();
        a.take(Event::Apply(config_map("one", "8.8.8.8")));
        assert!(receiver.has_changed().unwrap());
        receiver.mark_unchanged();
        a.take(Event::Apply(config_map("one", "8.8.8.8")));
        assert!(!receiver.has_changed().unwrap(), "the same again");
        a.take(Event::Delete(config_map("one", "")));
        assert!(names(&receiver).is_empty());
    }

    #[test]
    fn long_values_are_cut_and_stay_invalid() {
        let (_, object) = reduced(config_map("one", &"8".repeat(100_000)), "");
        assert_eq!(object.data["key"].len(), MAX_VALUE);
        assert!(crate::model::cidr::parse(&object.data["key"]).is_err());
    }
}
