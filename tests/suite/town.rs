//! Two tenants of one cluster: one is hostile, and the other is still served within a bound.

use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};

use crate::replica::Launch;
use crate::stage::Stage;
use crate::testbed::Testbed;
use crate::wait;

/// The name sorts first.
pub const HOSTILE: &str = "aaa-hostile";
pub const HONEST: &str = "zzz-honest";
/// The maximum time of the honest tenant's edit, whatever the hostile tenant does. Change sets and updates of the stand-in take a moment
/// each.
pub const SOON: Duration = Duration::from_secs(30);
/// The maximum time if passes handle thousands of entries, with a program without optimization on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(100);

/// Two tenants of one cluster.
pub struct Town {
    // Dropped before the servers that it depends on.
    pub stage: Stage,
    _testbed: Testbed,
}

impl Town {
    pub async fn open(name: &str) -> Self {
        let testbed = Testbed::start(name);
        let stage = Stage::on(&testbed, name).await;
        for namespace in [HOSTILE, HONEST] {
            let body = json!({ "metadata": { "name": namespace } });
            stage.create("/api/v1/namespaces", body).await;
        }
        let town = Self {
            stage,
            _testbed: testbed,
        };
        town.honest(json!({ "old": "9.9.9.9" })).await;
        town
    }

    pub fn launch(&self, name: &str) -> Launch {
        self.stage.replica(name).without("namespace")
    }

    pub async fn honest(&self, data: Value) {
        self.stage.ask(HONEST, "partners", data).await;
    }

    /// Creates a ConfigMap of the hostile tenant without managed fields, which would take most of the time.
    pub async fn hostile(&self, name: &str, data: Value) {
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "data": data,
            "metadata": { "name": name, "labels": { "egress": "static" }, "managedFields": [{}] },
        });
        let path = format!("/api/v1/namespaces/{HOSTILE}/configmaps");
        let answer = self.stage.send(Method::POST, &path, &object).await;
        assert_eq!(answer, 201, "{name}");
    }

    /// Waits until every worker table routes the network, or none does.
    pub async fn routes(&self, cidr: &str, wanted: bool) {
        wait::until(&format!("{cidr} routed: {wanted}"), || {
            let tables = self.stage.aws.routes();
            let mut all = tables.values();
            let right = all.all(|routes| routes.contains_key(cidr) == wanted);
            let done = !tables.is_empty() && right;
            wait::check(done, || format!("{tables:?}"))
        })
        .await;
    }

    /// Adds a network of the honest tenant, and removes the previous one, both within the bound.
    pub async fn swaps(&self, what: &str, from: &str, to: &str) {
        self.swaps_within(SOON, what, from, to).await;
    }

    /// Same as [`Self::swaps`], with another bound. Returns how long the edit took.
    pub async fn swaps_within(
        &self,
        bound: Duration,
        what: &str,
        from: &str,
        to: &str,
    ) -> Duration {
        let start = Instant::now();
        self.honest(json!({ "key": to })).await;
        self.routes(&format!("{to}/32"), true).await;
        self.routes(&format!("{from}/32"), false).await;
        let took = start.elapsed();
        wait::measured(&format!("{what}: another tenant's edit took {took:.1?}"));
        assert!(took < bound, "{what}: {took:?}");
        took
    }
}
