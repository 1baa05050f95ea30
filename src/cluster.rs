//! The identity of the cluster: the UID of its namespace `kube-system`. It is not copied with a cluster's values or ConfigMaps.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use crate::clock::{self, Instant, timeout};
use crate::error_chain;
use crate::model::base::owner::{Owner, is_uid};
use crate::source::access::Access;

const PATH: &str = "/api/v1/namespaces/kube-system";
/// The media type of a response with metadata only.
const METADATA_ONLY: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
/// The time limit of one request.
const PATIENCE: Duration = Duration::from_secs(5);
/// The time between a request that failed and the next one.
const AGAIN: Duration = Duration::from_secs(15);

/// The cluster that holds the Lease. Its UID never changes, so it is read once.
#[derive(Clone, Default)]
pub struct Cluster {
    access: Option<Access>,
    uid: Option<String>,
    unknown: Option<String>,
    asked: Option<Instant>,
}

#[derive(Deserialize)]
struct Namespace {
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    uid: String,
}

impl Cluster {
    /// Returns this cluster, by its name and its access, or none if ConfigMaps come from files.
    pub fn of(cluster: Option<&(String, Access)>) -> Self {
        Self {
            access: cluster.map(|(_, access)| access.clone()),
            ..Self::default()
        }
    }

    /// Returns no cluster, for ConfigMaps from files.
    pub fn none() -> Self {
        Self::default()
    }

    /// Returns a cluster with this UID.
    #[cfg(test)]
    pub fn named(uid: &str) -> Self {
        Self {
            uid: Some(uid.to_owned()),
            ..Self::default()
        }
    }

    /// Returns the owner of the stack, from the cluster's UID and the flags. Makes at most one request.
    pub async fn owner(&mut self, flags: &Owner) -> Owner {
        let waits = self.asked.is_some_and(|at| clock::since(at) < AGAIN);
        if let Some(access) = self
            .access
            .as_ref()
            .filter(|_| self.uid.is_none() && !waits)
        {
            self.asked = Some(clock::now());
            match read(access).await {
                Ok(uid) => (self.uid, self.unknown) = (Some(uid), None),
                Err(why) => self.unknown = Some(why),
            }
        }
        Owner {
            uid: self.uid.clone(),
            unknown: self.unknown.clone(),
            ..flags.clone()
        }
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("uid", &self.uid).finish()
    }
}

async fn read(access: &Access) -> Result<String, String> {
    let client = access.client().map_err(|error| error_chain::text(&error))?;
    let request = http::Request::get(PATH).header(http::header::ACCEPT, METADATA_ONLY);
    let request = request
        .body(Vec::new())
        .map_err(|error| error.to_string())?;
    let answer = timeout(PATIENCE, client.request::<Namespace>(request)).await;
    match answer {
        Ok(Ok(namespace)) if is_uid(&namespace.metadata.uid) => Ok(namespace.metadata.uid),
        Ok(Ok(_)) => Err("the UID of the namespace kube-system is malformed".to_owned()),
        Ok(Err(kube::Error::Api(status))) if status.code == 403 => Err(format!(
            "the namespace kube-system may not be read ({}): bind a cluster role with get on it, as deploy/manifests.yaml has it",
            status.message
        )),
        Ok(Err(error)) => Err(format!(
            "the namespace kube-system cannot be read ({})",
            error_chain::text(&error)
        )),
        Err(_) => Err(format!(
            "the namespace kube-system: the API server has not answered for {PATIENCE:?}"
        )),
    }
}
