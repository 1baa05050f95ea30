//! The sources of ConfigMaps. A source that has not been listed yet never counts as empty.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::access::{Access, ConnectError};
use crate::config::{Config, SourceConfig};
use crate::model::input::request::Snapshot;

pub mod access;
mod board;
pub mod confirm;
pub mod directory;
mod informer;
mod item;
pub mod kubeconfig;
pub mod kubernetes;
mod manifest;
mod names;
pub mod near_miss;
mod past;
mod plugin;
mod reader;
mod split;
mod token_file;

/// The sources to watch. Created once, at the start of the process, so that a new leader's clients are ready.
pub enum Source {
    Kubernetes(kubernetes::Clusters),
    Manifests(PathBuf),
    #[cfg(test)]
    Simulated {
        feed: Feed,
        /// Called when a pass takes its snapshot.
        taken: Taken,
        /// Lists everything by a consistent read.
        again: Again,
    },
}

/// Starts to send the snapshots that a simulated replica sees.
#[cfg(test)]
pub type Feed = Box<dyn Fn(watch::Sender<Option<Snapshot>>) -> JoinHandle<()> + Send + Sync>;

#[cfg(test)]
pub type Again = Box<
    dyn Fn() -> futures::future::BoxFuture<'static, Result<Snapshot, confirm::Doubt>> + Send + Sync,
>;

#[cfg(test)]
pub type Taken = std::sync::Arc<dyn Fn() + Send + Sync>;

impl Source {
    /// Creates the source that the configuration names, with clients for these clusters.
    ///
    /// # Errors
    /// If certificates or the proxy of a cluster cannot be used.
    pub fn of(config: &Config, accesses: &[(String, Access)]) -> Result<Self, ConnectError> {
        Ok(match &config.source {
            SourceConfig::Manifests(path) => Self::Manifests(path.clone()),
            SourceConfig::Kubernetes(_) => Self::Kubernetes(kubernetes::Clusters::connect(
                accesses,
                config.namespace.clone(),
                config.resync_interval,
            )?),
        })
    }

    /// Returns a source that always reads this snapshot again.
    #[cfg(test)]
    pub(crate) fn confirming(snapshot: Snapshot) -> Self {
        Self::Simulated {
            feed: Box::new(|_| tokio::spawn(async {})),
            taken: Arc::new(|| {}),
            again: Box::new(move || {
                let snapshot = snapshot.clone();
                Box::pin(async move { Ok(snapshot) })
            }),
        }
    }

    /// Starts to watch. Reads everything again, because the result of an earlier watch may be outdated.
    pub fn start(&self) -> Watching {
        let (sender, receiver) = watch::channel(None);
        let taken_in_doubt = Arc::new(AtomicBool::new(false));
        let tasks = match self {
            Self::Kubernetes(clusters) => clusters.watch(&sender, &taken_in_doubt),
            Self::Manifests(path) => vec![tokio::spawn(directory::watch(path.clone(), sender))],
            #[cfg(test)]
            Self::Simulated { feed, .. } => vec![feed(sender)],
        };
        Watching {
            receiver,
            tasks,
            taken_in_doubt,
            #[cfg(test)]
            taken: match self {
                Self::Simulated { taken, .. } => Some(Taken::clone(taken)),
                _ => None,
            },
        }
    }
}

/// A watch that ends when it is dropped.
pub struct Watching {
    receiver: watch::Receiver<Option<Snapshot>>,
    tasks: Vec<JoinHandle<()>>,
    /// Whether the last snapshot was taken while a source was unsure. Only then does the end of the doubt wake the control loop.
    taken_in_doubt: Arc<AtomicBool>,
    #[cfg(test)]
    taken: Option<Taken>,
}

impl Watching {
    /// Resolves when there is a newer snapshot than the last one taken. Cancel safe.
    pub async fn changed(&mut self) {
        if self.receiver.changed().await.is_err() {
            // The tasks end with this value, so this happens only while the runtime shuts down.
            std::future::pending::<()>().await;
        }
    }

    /// Returns the latest snapshot; None before the first one.
    pub fn snapshot(&mut self) -> Option<Snapshot> {
        #[cfg(test)]
        if let Some(taken) = &self.taken {
            taken();
        }
        let snapshot = self.receiver.borrow_and_update().clone();
        let in_doubt = snapshot.as_ref().is_some_and(|it| !it.unsure.is_empty());
        self.taken_in_doubt.store(in_doubt, Ordering::Relaxed);
        snapshot
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}
