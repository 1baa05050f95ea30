//! The chart on a real API server with its controllers: what Helm does with it, and what the permissions are for.

use serde_json::{Value, json};

use crate::helm::{self, CHART};
use crate::testbed::{self, Testbed};
use crate::wait;

/// Runs Helm as the cluster's administrator.
pub fn helm_in(namespace: &str, arguments: &[&str]) -> Result<String, String> {
    helm_at(Testbed::cluster(), namespace, arguments)
}

pub fn helm_at(testbed: &Testbed, namespace: &str, arguments: &[&str]) -> Result<String, String> {
    let config = testbed.kubeconfig();
    let place = [
        "--kubeconfig",
        config.to_str().unwrap(),
        "--namespace",
        namespace,
    ];
    helm::run(&[&place[..], arguments].concat())
}

/// Runs Helm while the other tasks continue.
pub async fn helm_beside(namespace: &str, arguments: &[&str]) -> Result<String, String> {
    let namespace = namespace.to_owned();
    let all: Vec<String> = arguments.iter().map(|&text| text.to_owned()).collect();
    let run = move || {
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        helm_in(&namespace, &all)
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// Returns a file with these values. It exists as long as the test process.
pub fn values(values: &Value) -> String {
    let file = testbed::directory("values").join("values.json");
    std::fs::write(&file, values.to_string()).unwrap();
    file.to_str().unwrap().to_owned()
}

const EXAMPLE: &str = "--values=deploy/example-values.yaml";

/// Returns values that enable every optional object of the chart.
pub fn everything() -> Value {
    let on = || json!({ "enabled": true });
    json!({
        "networkPolicy": on(), "serviceMonitor": on(), "prometheusRule": on(), "grafanaDashboard": on(),
        "podMonitor": on(), "admissionPolicy": { "enabled": true, "namespaces": { "team": { "maxEntries": 5 } } },
    })
}

/// Sends a request as the administrator.
pub async fn ask(method: &str, path: &str, body: &Value) -> Result<Value, kube::Error> {
    ask_at(Testbed::cluster(), method, path, body).await
}

pub async fn ask_at(
    testbed: &Testbed,
    method: &str,
    path: &str,
    body: &Value,
) -> Result<Value, kube::Error> {
    let client = testbed.admin().await;
    let method = method.parse().unwrap();
    testbed::request(&client, method, path, "application/json", body).await
}

/// Installs the Prometheus operator's definitions, from its own release.
pub async fn definitions() {
    let dir = helm::tool("KSEC_MONITORING_CRDS");
    for file in std::fs::read_dir(&dir)
        .unwrap()
        .map(|file| file.unwrap().path())
    {
        if file
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            let text = std::fs::read_to_string(&file).unwrap();
            let crd: Value = serde_saphyr::from_str(text.trim_start_matches("---\n")).unwrap();
            let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
            let made = ask("POST", path, &crd).await;
            assert!(
                made.is_ok()
                    || made.is_err_and(|error| error.to_string().contains("already exists"))
            );
        }
    }
    for resource in ["servicemonitors", "podmonitors", "prometheusrules"] {
        wait::until_async(resource, async || {
            let path = format!("/apis/monitoring.coreos.com/v1/{resource}");
            ask("GET", &path, &Value::Null)
                .await
                .map_err(|error| error.to_string())
        })
        .await;
    }
}

/// Returns the path to which objects of this kind are posted.
pub fn collection(object: &Value) -> String {
    let version = object["apiVersion"].as_str().unwrap();
    let root = if version == "v1" {
        "/api/v1".to_owned()
    } else {
        format!("/apis/{version}")
    };
    let kind = object["kind"].as_str().unwrap().to_lowercase();
    let plural = match kind.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None => format!("{kind}s"),
    };
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("{root}/namespaces/{namespace}/{plural}"),
        None => format!("{root}/{plural}"),
    }
}

#[tokio::test]
async fn the_api_server_takes_every_object_in_a_strict_dry_run() {
    definitions().await;
    ask(
        "POST",
        "/api/v1/namespaces",
        &json!({ "metadata": { "name": "strict", "labels": {
        "pod-security.kubernetes.io/enforce": "restricted" } } }),
    )
    .await
    .unwrap();
    wait::until_async("the namespace's service account", async || {
        let path = "/api/v1/namespaces/strict/serviceaccounts/default";
        ask("GET", path, &Value::Null)
            .await
            .map_err(|error| error.to_string())
    })
    .await;
    let mut objects = helm::render(&everything()).unwrap();
    objects.extend(helm::render(&json!({ "watchNamespace": "strict" })).unwrap());
    let mut kinds = std::collections::BTreeSet::new();
    for mut object in objects {
        let kind = object["kind"].as_str().unwrap().to_owned();
        let name = object["metadata"]["name"].as_str().unwrap();
        object["metadata"]["name"] = json!(format!("strict-{name}"));
        if object["metadata"]["namespace"].is_string() {
            object["metadata"]["namespace"] = json!("strict");
        }
        let mut posted = vec![object.clone()];
        if kind == "Deployment" {
            // The pod itself must satisfy the restricted pod security standard.
            let mut pod = object["spec"]["template"].clone();
            pod["apiVersion"] = json!("v1");
            pod["kind"] = json!("Pod");
            pod["metadata"]["name"] = json!("pod");
            pod["metadata"]["namespace"] = json!("strict");
            posted.push(pod);
        }
        for mut object in posted {
            if object["kind"] == "Pod" {
                object["spec"]["serviceAccountName"] = json!("default");
            }
            let path = format!("{}?dryRun=All&fieldValidation=Strict", collection(&object));
            let made = ask("POST", &path, &object).await;
            made.unwrap_or_else(|error| panic!("{kind}: {error}"));
        }
        kinds.insert(kind);
    }
    assert!(kinds.len() >= 15, "{kinds:?}");
}

const NAMESPACE: &str = "life";
const MOVED: &str = "life-moved";

async fn get(path: &str) -> Value {
    let found = ask("GET", path, &Value::Null).await;
    found.unwrap_or_else(|error| panic!("{path}: {error}"))
}

async fn deployment() -> Value {
    get(&format!(
        "/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{NAMESPACE}"
    ))
    .await
}

async fn arguments() -> String {
    deployment().await["spec"]["template"]["spec"]["containers"][0]["args"].to_string()
}

async fn pods() -> Vec<Value> {
    let path = format!("/api/v1/namespaces/{NAMESPACE}/pods");
    get(&path).await["items"].as_array().unwrap().clone()
}

/// Sets the status that a node would report for these pods.
async fn make_ready(pods: &[Value]) {
    for pod in pods {
        let mut pod = pod.clone();
        pod["status"] =
            json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] });
        pod["metadata"]["resourceVersion"] = Value::Null;
        let name = pod["metadata"]["name"].as_str().unwrap();
        let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{name}/status");
        match ask("PUT", &path, &pod).await {
            // The pod may just have been replaced.
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            told => drop(told.unwrap()),
        }
    }
}

/// Waits until the Deployment has this many pods, this many ready ones, and this many from its latest template.
async fn counts(all: u64, ready: u64, updated: u64) {
    let what = format!("{all} pods, {ready} ready, {updated} updated");
    wait::until_async(&what, async || {
        let status = deployment().await["status"].clone();
        let is = |key: &str| status[key].as_u64().unwrap_or(0);
        let right =
            (is("replicas"), is("readyReplicas"), is("updatedReplicas")) == (all, ready, updated);
        wait::check(right, || status.to_string())
    })
    .await;
}

#[tokio::test]
async fn helm_installs_upgrades_rolls_back_and_uninstalls() {
    let full = format!("--set=fullnameOverride={NAMESPACE}");
    // The policy applies to its own namespace only, because other tests have another policy.
    let mut more = everything();
    more["watchNamespace"] = json!(NAMESPACE);
    let more = values(&more);
    let chart = [
        NAMESPACE,
        CHART,
        EXAMPLE,
        full.as_str(),
        "--values",
        more.as_str(),
    ];
    definitions().await;
    helm_in(
        NAMESPACE,
        &[&["install", "--create-namespace"], &chart[..]].concat(),
    )
    .unwrap();
    counts(2, 0, 2).await;
    make_ready(&pods().await).await;
    counts(2, 2, 2).await;
    assert!(arguments().await.contains("--resync-interval=5m"));

    // Two Leases at the same time would allow two leaders.
    for renamed in ["leaderElection.resourceName", "fullnameOverride"] {
        let renamed = format!("--set={renamed}=other");
        let refused = helm_in(
            NAMESPACE,
            &[&["upgrade"], &chart[..], &[renamed.as_str()]].concat(),
        )
        .unwrap_err();
        let remedy = format!("leaderElection.resourceName={NAMESPACE}");
        assert!(
            refused.contains("two leaders could act at once"),
            "{refused}"
        );
        assert!(refused.contains(&remedy), "{refused}");
    }

    let other = json!({ "stack": { "resyncInterval": "2m" }, "service": { "port": 80 } });
    let other = values(&other);
    helm_in(
        NAMESPACE,
        &[&["upgrade"], &chart[..], &["--values", &other]].concat(),
    )
    .unwrap();
    assert!(arguments().await.contains("--resync-interval=2m"));
    // There is one more pod than requested, and no ready pod ends before a new one is ready.
    counts(3, 2, 1).await;
    make_ready(&pods().await).await;
    counts(3, 2, 2).await;
    make_ready(&pods().await).await;
    counts(2, 2, 2).await;

    helm_in(NAMESPACE, &["rollback", NAMESPACE, "1"]).unwrap();
    assert!(arguments().await.contains("--resync-interval=5m"));
    counts(3, 2, 1).await;

    // A second release of the same name would allow a second leader.
    let refused = helm_in(MOVED, &[&["install"], &chart[..]].concat()).unwrap_err();
    assert!(refused.contains("invalid ownership metadata"), "{refused}");
    uninstall().await;
    move_to_another_namespace(&chart).await;
}

/// As in the runbook: the ledger is copied, and Helm keeps the copy.
async fn move_to_another_namespace(chart: &[&str]) {
    let ledgers = |namespace| format!("/api/v1/namespaces/{namespace}/configmaps");
    let name = format!("{NAMESPACE}-ledger");
    let data = json!({ "ledger.json": "{}" });
    let place = json!({ "metadata": { "name": MOVED } });
    ask("POST", "/api/v1/namespaces", &place).await.unwrap();
    let path = format!("{}/{name}", ledgers(NAMESPACE));
    let mut ledger = get(&path).await;
    ledger["data"] = data.clone();
    ask("PUT", &path, &ledger).await.unwrap();
    let ledger = get(&path).await;
    let copy = json!({
        "apiVersion": ledger["apiVersion"], "kind": ledger["kind"],
        "metadata": { "name": ledger["metadata"]["name"] }, "data": ledger["data"],
    });
    ask("POST", &ledgers(MOVED), &copy).await.unwrap();
    helm_in(MOVED, &[&["install"], chart].concat()).unwrap();
    let kept = get(&format!("{}/{name}", ledgers(MOVED))).await;
    assert_eq!(kept["data"], data);
    helm_in(MOVED, &["uninstall", NAMESPACE]).unwrap();
}

/// Uninstalling removes every object except the controller's state.
async fn uninstall() {
    let manifest = helm_in(NAMESPACE, &["get", "manifest", NAMESPACE]).unwrap();
    let (kept, objects): (Vec<Value>, Vec<Value>) = helm::objects(&manifest)
        .into_iter()
        .partition(|object| object["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep");
    assert!(kept.len() == 3 && objects.len() >= 14, "{}", objects.len());
    let path = |object: &Value| {
        format!(
            "{}/{}",
            collection(object),
            object["metadata"]["name"].as_str().unwrap()
        )
    };
    for object in objects.iter().chain(&kept) {
        get(&path(object)).await;
    }
    helm_in(NAMESPACE, &["uninstall", NAMESPACE]).unwrap();
    for object in &objects {
        let path = path(object);
        wait::until_async(&format!("{path} is gone"), async || {
            wait::check(ask("GET", &path, &Value::Null).await.is_err(), || {
                "it is there".to_owned()
            })
        })
        .await;
    }
    // The controller's state outlives the release.
    for object in &kept {
        get(&path(object)).await;
    }
    wait::until_async("no pods are left", async || {
        let left = pods().await.len();
        wait::check(left == 0, || left.to_string())
    })
    .await;
}
