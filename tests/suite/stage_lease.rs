//! The Lease of a stage.

use http::{Method, Request};
use serde_json::{Value, json};

use crate::chart;
use crate::stage::{NAME, Stage};
use crate::wait;

impl Stage {
    /// Creates the Lease as if a holder had released it. Candidates wait for the duration of a Lease that never had a holder, and most
    /// tests start after that.
    pub async fn released_lease(&self) {
        let time = "2026-01-01T00:00:00.000000Z";
        let spec = json!({
            "holderIdentity": "", "leaseDurationSeconds": 1, "leaseTransitions": 0,
            "acquireTime": time, "renewTime": time,
        });
        let lease = json!({ "metadata": { "name": NAME }, "spec": spec });
        self.create(&self.path("coordination.k8s.io/v1", "leases"), lease)
            .await;
    }

    /// Replaces the Lease by a new one as the chart creates it, which never had a holder.
    pub async fn new_lease(&self) {
        self.delete_lease().await;
        let state = chart::state(&self.namespace);
        let (path, lease) = state
            .into_iter()
            .find(|(_, object)| object["kind"] == "Lease")
            .unwrap();
        self.create(&path, lease).await;
    }

    pub async fn delete_lease(&self) {
        let path = format!("{}/{NAME}", self.path("coordination.k8s.io/v1", "leases"));
        self.request(Method::DELETE, &path, "application/json", &json!({}))
            .await
            .unwrap();
    }

    /// Returns the Lease from the API server.
    pub async fn lease(&self) -> Result<Value, String> {
        let path = format!("{}/{NAME}", self.path("coordination.k8s.io/v1", "leases"));
        let request = Request::get(&path).body(Vec::new()).unwrap();
        let lease = self.kube.request(request).await;
        lease.map_err(|error| error.to_string())
    }

    /// Returns how often the Lease went from one holder to another.
    pub async fn transitions(&self) -> u64 {
        let lease = wait::until_async("the Lease is read", async || self.lease().await).await;
        lease["spec"]["leaseTransitions"].as_u64().unwrap_or(0)
    }

    /// Returns the name of the replica that holds the Lease.
    pub async fn leader(&self) -> Result<String, String> {
        let lease = self.lease().await?;
        let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
        match holder.split('_').next() {
            Some(name) if !name.is_empty() => Ok(name.to_owned()),
            _ => Err(format!("nobody holds the Lease: {}", lease["spec"])),
        }
    }

    pub async fn some_leader(&self) -> String {
        wait::until_async("somebody leads", async || self.leader().await).await
    }
}
