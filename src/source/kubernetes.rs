//! One informer per cluster.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures::future::try_join_all;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request};
use kube::Client;
use kube::client::Body;
use kube::config::AuthInfo;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tower::BoxError;
use tower::filter::FilterLayer;

use super::access::{Access, ConnectError};
use super::board::{Boards, shown};
use super::confirm::Doubt;
use super::informer::Informer;
use super::kubeconfig::configs;
use super::past::Past;
use super::reader::{ReadError, Reader};
use crate::config;
use crate::model::input::request::Snapshot;

/// Which ConfigMaps count.
pub const SELECTOR: &str = "egress=static";
/// How long clusters that answer wait for those that neither answer nor refuse, before the first snapshot: so that what is
/// there at the start becomes one change of the stack.
const PATIENCE: Duration = Duration::from_secs(10);
/// A service account's token has about 1 KiB.
const MAX_TOKEN: u64 = 64 << 10;

/// The clusters to watch, each with a client.
pub struct Clusters {
    clusters: Vec<Cluster>,
    namespace: Option<String>,
    /// How often everything is listed.
    resync: Duration,
}

struct Cluster {
    /// Empty for the only one.
    name: String,
    client: Client,
    past: Past,
}

impl Clusters {
    pub async fn connect(
        clusters: &config::Clusters,
        namespace: Option<String>,
        resync: Duration,
    ) -> Result<Self, ConnectError> {
        let cluster = |(name, access): (String, Access)| {
            let client = client(access, clusters.token_file.clone())?;
            Ok(Cluster {
                name,
                client,
                past: Past::default(),
            })
        };
        let clusters = configs(clusters)
            .await?
            .into_iter()
            .map(cluster)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            clusters,
            namespace,
            resync,
        })
    }

    /// Starts the informers.
    pub fn watch(
        &self,
        sender: &watch::Sender<Option<Snapshot>>,
        taken_in_doubt: &Arc<AtomicBool>,
    ) -> Vec<JoinHandle<()>> {
        let boards = Boards::new(
            sender.clone(),
            Arc::clone(taken_in_doubt),
            self.clusters.iter().map(|cluster| cluster.name.as_str()),
        );
        let start = |cluster: &Cluster| {
            let reader = self.reader(cluster);
            let board = boards.board(&cluster.name);
            let past = cluster.past.clone();
            tokio::spawn(Informer::new(reader, board, self.resync, past).run())
        };
        let mut tasks: Vec<JoinHandle<()>> = self.clusters.iter().map(start).collect();
        tasks.push(tokio::spawn(async move {
            tokio::time::sleep(PATIENCE).await;
            boards.publish();
        }));
        tasks
    }
}

impl Clusters {
    /// Lists all clusters by consistent reads.
    pub(super) async fn list(&self) -> Result<Snapshot, Doubt> {
        let list = |cluster| async move {
            let listing = self.reader(cluster).list().await;
            let doubt = |error: ReadError| Doubt::new(&shown(&cluster.name), error.explain());
            listing.map_err(doubt)
        };
        let listings = try_join_all(self.clusters.iter().map(list)).await?;
        Ok(Snapshot {
            objects: listings
                .into_iter()
                .flat_map(|listing| listing.objects)
                .collect(),
            ..Snapshot::default()
        })
    }

    fn reader(&self, cluster: &Cluster) -> Reader {
        Reader {
            client: cluster.client.clone(),
            cluster: cluster.name.clone(),
            namespace: self.namespace.clone(),
        }
    }
}

/// A client whose bearer token, where a file is named, is read again for every request.
fn client(access: Access, token_file: Option<PathBuf>) -> Result<Client, ConnectError> {
    let Some(path) = token_file else {
        return access.client();
    };
    let mut config = access.config.clone();
    config.auth_info = AuthInfo::default();
    let access = access.with(config);
    // Without a token nothing is sent: an anonymous request would get an answer that misleads.
    let authorize = FilterLayer::new(move |mut request: Request<Body>| -> Result<_, BoxError> {
        request.headers_mut().insert(AUTHORIZATION, bearer(&path)?);
        Ok(request)
    });
    Ok(access.builder()?.with_layer(&authorize).build())
}

/// The token file does not hold a token.
#[derive(Debug, thiserror::Error)]
#[error("there is no usable token in {}: check --credentials-dir", path.display())]
pub struct TokenError {
    path: PathBuf,
    source: Box<dyn std::error::Error + Send + Sync>,
}

fn bearer(path: &Path) -> Result<HeaderValue, TokenError> {
    let unusable = |source| TokenError {
        path: path.to_owned(),
        source,
    };
    let mut token = String::new();
    // It is a small file in memory; to read it elsewhere would cost more than it takes.
    let read =
        std::fs::File::open(path).and_then(|file| file.take(MAX_TOKEN).read_to_string(&mut token));
    read.map_err(|error| unusable(error.into()))?;
    if token.trim().is_empty() {
        return Err(unusable("it is empty".into()));
    }
    let header = HeaderValue::from_str(&format!("Bearer {}", token.trim()));
    let mut header = header.map_err(|error| unusable(error.into()))?;
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_again_and_never_shown() {
        let path = std::env::temp_dir().join(format!("token-{}", std::process::id()));
        let error = bearer(&path).expect_err("there is none").to_string();
        assert!(
            error.contains("--credentials-dir") && error.contains(path.to_str().expect("UTF-8")),
            "{error}"
        );
        for token in ["one", "two"] {
            std::fs::write(&path, format!("{token}\n")).expect("file");
            let header = bearer(&path).expect("a token");
            assert_eq!(
                header.to_str().ok(),
                Some(format!("Bearer {token}").as_str())
            );
            assert!(!format!("{header:?}").contains(token));
        }
        for bad in ["", "  \n", "a\nb"] {
            std::fs::write(&path, bad).expect("file");
            assert!(bearer(&path).is_err(), "{bad:?}");
        }
        std::fs::remove_file(&path).expect("file");
    }
}
