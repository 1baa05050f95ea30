//! The environment of one test: its own namespace on a real API server, its own stand-in, and the service account with whose permissions
//! replicas run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use http::{Method, Request};
use serde_json::{Value, json};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::chart;
use crate::replica::Launch;
use crate::standin::{Entry, Exit, REGION, Standin};
use crate::testbed::{self, Testbed};
use crate::wait;

pub const NAME: &str = "kube-static-egress-controller";
pub const STACK: &str = "egress-static-nat-suite";
/// The ConfigMap of the README, with host bits that are cleared.
pub const EXAMPLE: [(&str, &str); 2] = [
    ("service-provider1", "192.112.1.0/21"),
    ("google-dns", "8.8.8.8/32"),
];
/// The networks that the example requests.
pub const EXAMPLE_CIDRS: [&str; 2] = ["192.112.0.0/21", "8.8.8.8/32"];

/// Tests that measure time run alone.
static TURN: RwLock<()> = RwLock::const_new(());

#[derive(Clone)]
enum Turn {
    Shared(#[allow(dead_code)] Arc<RwLockReadGuard<'static, ()>>),
    Alone(#[allow(dead_code)] Arc<RwLockWriteGuard<'static, ()>>),
    /// Runs beside tests that run alone, because it needs hardly any of the machine.
    Beside,
}

pub struct Stage {
    pub aws: Standin,
    pub namespace: String,
    pub kube: kube::Client,
    pub dir: PathBuf,
    pub vpc: String,
    /// The URL of the API server.
    pub url: String,
    turn: Turn,
}

impl Stage {
    /// Opens a stage with a network of three zones, each with one worker route table.
    pub async fn open(name: &str) -> Self {
        Self::with_world(name, json!({})).await
    }

    pub async fn with_world(name: &str, world: Value) -> Self {
        let turn = Turn::Shared(Arc::new(TURN.read().await));
        Self::build(Testbed::shared(), name, &world, turn).await
    }

    /// Opens a stage while no other test runs.
    pub async fn alone(name: &str) -> Self {
        let turn = Turn::Alone(Arc::new(TURN.write().await));
        Self::build(Testbed::shared(), name, &json!({}), turn).await
    }

    /// Opens a stage for a test that mostly waits.
    pub async fn beside(name: &str, world: Value) -> Self {
        Self::build(Testbed::shared(), name, &world, Turn::Beside).await
    }

    /// Opens another stage for the same test.
    pub async fn another(&self, name: &str) -> Self {
        Self::build(Testbed::shared(), name, &json!({}), self.turn.clone()).await
    }

    /// Opens a stage on an API server that the test may stop.
    pub async fn on(testbed: &Testbed, name: &str) -> Self {
        let turn = Turn::Shared(Arc::new(TURN.read().await));
        Self::build(testbed, name, &json!({}), turn).await
    }

    /// Opens a stage on an API server of its own, for a test that mostly waits.
    pub async fn on_beside(testbed: &Testbed, name: &str) -> Self {
        Self::build(testbed, name, &json!({}), Turn::Beside).await
    }

    /// Opens a stage without permissions, for a test that installs the chart, while no other test runs.
    pub async fn bare(testbed: &Testbed, name: &str) -> Self {
        let turn = Turn::Alone(Arc::new(TURN.write().await));
        Self::space(testbed, name, &json!({}), turn).await
    }

    async fn build(testbed: &Testbed, name: &str, world: &Value, turn: Turn) -> Self {
        let stage = Self::space(testbed, name, world, turn).await;
        stage.service_account(testbed).await;
        stage.released_lease().await;
        stage
    }

    async fn space(testbed: &Testbed, name: &str, world: &Value, turn: Turn) -> Self {
        let aws = Standin::take();
        let made = aws.post("world", world);
        let dir = testbed::directory(name);
        let suffix = dir
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .rsplit('-')
            .next()
            .unwrap();
        let stage = Self {
            namespace: format!("{name}-{suffix}"),
            kube: testbed.admin().await,
            vpc: made["vpc_id"].as_str().unwrap().to_owned(),
            url: testbed.url.clone(),
            aws,
            dir,
            turn,
        };
        stage
            .create(
                "/api/v1/namespaces",
                json!({ "metadata": { "name": stage.namespace } }),
            )
            .await;
        stage
    }

    /// Returns a replica with this name and the usual flags.
    pub fn replica(&self, name: &str) -> Launch {
        Launch::new(self.dir.clone(), name, &self.namespace, self.aws.port())
    }

    pub fn path(&self, group: &str, resource: &str) -> String {
        let root = if group.is_empty() {
            "/api/v1".to_owned()
        } else {
            format!("/apis/{group}")
        };
        format!("{root}/namespaces/{}/{resource}", self.namespace)
    }

    pub async fn request(
        &self,
        method: Method,
        path: &str,
        kind: &str,
        body: &Value,
    ) -> Result<Value, kube::Error> {
        testbed::request(&self.kube, method, path, kind, body).await
    }

    /// Sends a request. Returns the status code, and does not read the response.
    pub async fn send(&self, method: Method, path: &str, body: &Value) -> u16 {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json");
        let body = kube::client::Body::from(body.to_string().into_bytes());
        let answer = self.kube.send(request.body(body).unwrap()).await;
        answer.unwrap().status().as_u16()
    }

    pub async fn create(&self, path: &str, body: Value) -> Value {
        let made = self
            .request(Method::POST, path, "application/json", &body)
            .await;
        made.unwrap_or_else(|error| panic!("POST {path}: {error}"))
    }

    /// Creates or changes a labelled ConfigMap so that it has exactly this data.
    pub async fn config_map(&self, name: &str, data: &[(&str, &str)]) {
        let data: serde_json::Map<String, Value> = data
            .iter()
            .map(|(key, value)| ((*key).to_owned(), Value::from(*value)))
            .collect();
        self.ask(&self.namespace, name, data.into()).await;
    }

    /// Creates or changes a labelled ConfigMap in any namespace.
    pub async fn ask(&self, namespace: &str, name: &str, data: Value) {
        let body = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "data": data,
            "metadata": { "name": name, "labels": { "egress": "static" } },
        });
        let path = format!(
            "/api/v1/namespaces/{namespace}/configmaps/{name}?fieldManager=tests&force=true"
        );
        self.request(Method::PATCH, &path, "application/apply-patch+yaml", &body)
            .await
            .unwrap();
    }

    pub async fn unlabel(&self, name: &str) {
        let path = format!("{}/{name}", self.path("", "configmaps"));
        let patch = json!({ "metadata": { "labels": { "egress": null } } });
        self.request(Method::PATCH, &path, "application/merge-patch+json", &patch)
            .await
            .unwrap();
    }

    pub async fn delete_config_map(&self, name: &str) {
        let path = format!("{}/{name}", self.path("", "configmaps"));
        self.request(Method::DELETE, &path, "application/json", &json!({}))
            .await
            .unwrap();
    }

    /// Creates permissions and objects for a second controller, whose Lease has this name.
    pub async fn second_lease(&self, name: &str) {
        let own_name = |value: &mut Value| {
            let text = value.as_str().unwrap_or_default().replace(NAME, name);
            *value = text.into();
        };
        for (path, mut object) in chart::rights(&self.namespace) {
            match object["kind"].as_str().unwrap() {
                "Role" => {
                    let names = object["rules"].as_array_mut().unwrap().iter_mut();
                    let names = names.filter_map(|rule| rule.get_mut("resourceNames")?.get_mut(0));
                    names.for_each(own_name);
                }
                "RoleBinding" => own_name(&mut object["roleRef"]["name"]),
                _ => continue,
            }
            own_name(&mut object["metadata"]["name"]);
            self.create(&path, object).await;
        }
        for (path, mut object) in chart::state(&self.namespace) {
            own_name(&mut object["metadata"]["name"]);
            self.create(&path, object).await;
        }
    }

    /// Returns the ledger's document.
    pub async fn ledger(&self) -> Result<Value, String> {
        let path = format!("{}/{NAME}-ledger", self.path("", "configmaps"));
        let get = Request::get(&path).body(Vec::new()).unwrap();
        let object: Result<Value, kube::Error> = self.kube.request(get).await;
        let object = object.map_err(|error| error.to_string())?;
        let text = object["data"]["ledger.json"].as_str().unwrap_or_default();
        serde_json::from_str(text).map_err(|error| format!("{error}: {object}"))
    }

    /// Removes an object, and returns it as it was.
    pub async fn take(&self, path: &str) -> Value {
        let get = Request::get(path).body(Vec::new()).unwrap();
        let object = self.kube.request(get).await.unwrap();
        self.request(Method::DELETE, path, "application/json", &json!({}))
            .await
            .unwrap();
        object
    }

    /// Creates again what [`Self::take`] removed.
    pub async fn put_back(&self, path: &str, mut object: Value) {
        let metadata = object["metadata"].as_object_mut().unwrap();
        metadata.retain(|key, _| ["name", "namespace", "labels"].contains(&key.as_str()));
        let (collection, _) = path.rsplit_once('/').unwrap();
        self.create(collection, object).await;
    }

    /// Waits until exactly these destinations are routed from every worker table whose zone has a NAT gateway, each to the gateway of its
    /// own zone, the stack is at rest, and no other table has a route.
    pub async fn routed(&self, cidrs: &[&str]) -> BTreeMap<String, Exit> {
        let what = format!("exactly {cidrs:?} are routed");
        wait::until(&what, || {
            let stacks = self.aws.stacks();
            let rests = !stacks.is_empty() && stacks.values().all(|is| is.ends_with("_COMPLETE"));
            wait::check(rests, || format!("{stacks:?}"))?;
            let exits = self.aws.exits();
            for ((table, zone), routes) in self.aws.routes() {
                let target = exits.get(&zone).map(|exit| exit.gateway.clone());
                let expected: BTreeMap<String, String> = target
                    .iter()
                    .flat_map(|gateway| {
                        cidrs
                            .iter()
                            .map(|cidr| ((*cidr).to_owned(), gateway.clone()))
                    })
                    .collect();
                wait::check(routes == expected, || {
                    format!("{table} in {zone} has {routes:?}")
                })?;
            }
            Ok(exits)
        })
        .await
    }

    /// Waits until this many zones have an available NAT gateway.
    pub async fn exits_of(&self, zones: usize) -> BTreeMap<String, Exit> {
        wait::until(&format!("{zones} zones have NAT gateways"), || {
            let exits = self.aws.exits();
            wait::check(exits.len() == zones, || format!("{exits:?}")).map(|()| exits)
        })
        .await
    }

    /// Makes the leader run two more passes, and waits for them. Then the leader has started every step that the current state requires.
    pub async fn two_more_looks(&self) {
        for round in 0..2 {
            let mark = self.aws.mark();
            // A ConfigMap that requests nothing is created and deleted.
            match round {
                0 => self.config_map("nudge", &[]).await,
                _ => self.delete_config_map("nudge").await,
            }
            wait::until("another look at AWS", || {
                let looks = self.aws.count_since(mark, "DescribeRouteTables");
                wait::check(looks > 0, || format!("none since request {mark}"))
            })
            .await;
        }
    }

    /// Waits until the stack is at rest, waits for two passes, and returns the changes of replicas since the given request.
    pub async fn writes_at_rest(&self, since: usize) -> Vec<Entry> {
        self.two_more_looks().await;
        self.aws.writes_since(since)
    }

    /// Returns the calls of this many complete looks for drift at a stack at rest, one list a look. The replica looks every ten seconds.
    pub async fn idle_looks(&self, count: usize) -> Vec<Vec<Entry>> {
        let mark = self.aws.mark();
        let looks = || {
            let mut log = self.aws.log_since(mark);
            log.retain(Entry::of_replica);
            let looks = log.chunk_by(|call, next| next.t.saturating_sub(call.t) < 5_000);
            looks.map(<[Entry]>::to_vec).collect::<Vec<_>>()
        };
        // The first look and the last one may be incomplete.
        wait::until("looks for drift", || {
            wait::check(looks().len() >= count + 2, || format!("{:?}", looks()))
        })
        .await;
        let mut complete = looks();
        complete.truncate(count + 1);
        complete.split_off(1)
    }

    /// Returns the names of the zones with these letters.
    pub fn zones(letters: &[&str]) -> BTreeSet<String> {
        letters
            .iter()
            .map(|letter| format!("{REGION}{letter}"))
            .collect()
    }

    /// Creates the service account and its permissions as deployed, and a kubeconfig with the account's own token.
    async fn service_account(&self, testbed: &Testbed) {
        for (path, object) in chart::rights(&self.namespace) {
            self.create(&path, object).await;
        }
        for (path, object) in chart::state(&self.namespace) {
            if object["kind"] != "Lease" {
                self.create(&path, object).await;
            }
        }
        let path = format!("{}/{NAME}/token", self.path("", "serviceaccounts"));
        let token = self
            .create(&path, json!({ "spec": { "expirationSeconds": 3600 } }))
            .await;
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "suite",
            "contexts": [{ "name": "suite", "context": { "cluster": "suite", "user": "suite" } }],
            "clusters": [{ "name": "suite",
                           "cluster": { "server": testbed.url, "certificate-authority": testbed.ca } }],
            "users": [{ "name": "suite", "user": { "token": token["status"]["token"] } }],
        });
        std::fs::write(self.dir.join("kubeconfig"), kubeconfig.to_string()).unwrap();
    }
}

/// Shows the logs after a failure.
impl Drop for Stage {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let released = &self.aws.state()["released"];
            assert_eq!(
                released,
                &json!([]),
                "no call of a replica releases a static IP"
            );
            return;
        }
        for entry in std::fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "log") {
                let text = std::fs::read_to_string(&path).unwrap_or_default();
                let lines: Vec<&str> = text.lines().collect();
                let tail = &lines[lines.len().saturating_sub(40)..];
                eprintln!("--- {}\n{}", path.display(), tail.join("\n"));
            }
        }
        eprintln!("--- stand-in {:?}\n{}", self.aws.stacks(), self.aws.tail());
    }
}
