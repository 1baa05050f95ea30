//! One informer per cluster.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures::future::try_join_all;
use kube::Client;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::access::{Access, ConnectError};
use super::board::{Boards, shown};
use super::confirm::Doubt;
use super::informer::Informer;
use super::past::Past;
use super::reader::{ReadError, Reader};
use crate::model::input::request::Snapshot;

/// How long the first snapshot waits for clusters that neither answer nor refuse, so that all ConfigMaps present at the start lead to one
/// change of the stack.
const PATIENCE: Duration = Duration::from_secs(10);

/// The clusters to watch, each with a client.
pub struct Clusters {
    clusters: Vec<Cluster>,
    namespace: Option<String>,
    /// The interval between lists.
    resync: Duration,
}

struct Cluster {
    /// The cluster's name; empty if it is the only cluster.
    name: String,
    client: Client,
    past: Past,
}

impl Clusters {
    /// Creates a client for each named cluster. Sends no request.
    ///
    /// # Errors
    /// If certificates or the proxy cannot be used.
    pub fn connect(
        accesses: &[(String, Access)],
        namespace: Option<String>,
        resync: Duration,
    ) -> Result<Self, ConnectError> {
        let cluster = |(name, access): &(String, Access)| {
            Ok(Cluster {
                name: name.clone(),
                client: access.client()?,
                past: Past::default(),
            })
        };
        let clusters = accesses.iter().map(cluster).collect::<Result<_, _>>()?;
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
