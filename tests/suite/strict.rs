//! Every value of the chart, in a strict dry run of the API server: a field that Kubernetes does not know fails.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::helm;
use crate::install::{ask, collection, definitions};
use crate::tidy::values::{cases, everything, set};
use crate::wait;

const NAMESPACE: &str = "strict-values";

/// Sets what the API server needs beside a value.
fn complete(values: &mut Value, path: &str) {
    match path {
        "service.nodePort" | "service.externalTrafficPolicy" => {
            set(values, "service.type", json!("NodePort"));
        }
        "service.loadBalancerClass" | "service.loadBalancerSourceRanges" => {
            set(values, "service.type", json!("LoadBalancer"));
        }
        // The test's API server has IPv4 only.
        "service.ipFamilies" => set(values, path, json!(["IPv4"])),
        "extraVolumeMounts" => {
            set(
                values,
                "extraVolumes",
                json!([{ "name": "v", "emptyDir": {} }]),
            );
        }
        _ => {}
    }
}

/// Returns an object with a name and a namespace of this test.
fn placed(mut object: Value) -> Value {
    let name = object["metadata"]["name"].as_str().unwrap();
    object["metadata"]["name"] = json!(format!("dry-{name}"));
    if object["metadata"]["namespace"].is_string() || object["kind"] == "Secret" {
        object["metadata"]["namespace"] = json!(NAMESPACE);
    }
    // Admission needs the objects that a pod names. The Deployment has the same fields.
    if object["kind"] == "Pod" {
        object["spec"]["serviceAccountName"] = json!("default");
        let pod = object["spec"].as_object_mut().unwrap();
        pod.retain(|key, _| !["priorityClassName", "runtimeClassName"].contains(&key.as_str()));
    }
    object
}

async fn post(object: &Value) -> Result<Value, kube::Error> {
    let path = format!("{}?dryRun=All&fieldValidation=Strict", collection(object));
    ask("POST", &path, object).await
}

#[tokio::test]
async fn the_api_server_knows_every_field_that_a_value_sets() {
    definitions().await;
    let space = json!({ "metadata": { "name": NAMESPACE } });
    ask("POST", "/api/v1/namespaces", &space).await.unwrap();
    let account = format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts/default");
    wait::until_async("the namespace's service account", async || {
        let found = ask("GET", &account, &Value::Null).await;
        found.map_err(|error| error.to_string())
    })
    .await;
    let mut posted = BTreeSet::new();
    let mut findings = Vec::new();
    for case in cases() {
        let mut values = everything(&case.path);
        set(&mut values, &case.path, case.value);
        complete(&mut values, &case.path);
        let objects = helm::render(&values).unwrap();
        for object in objects.into_iter().map(placed) {
            // Most values change one object.
            if posted.insert(object.to_string())
                && let Err(error) = post(&object).await
            {
                findings.push(format!("{}: {}: {error}", case.path, object["kind"]));
            }
        }
    }
    assert!(findings.is_empty(), "{}", findings.join("\n"));
    assert!(posted.len() > 120, "{}", posted.len());
}

#[tokio::test]
async fn a_field_that_kubernetes_does_not_know_is_found() {
    let values = json!({ "livenessProbe": { "httpGet": { "path": "/healthz", "port": "http" }, "perhapsSeconds": 1 } });
    let objects = helm::render(&values).unwrap();
    let deployment = placed(helm::find(&objects, "Deployment", "").clone());
    let space = json!({ "metadata": { "name": format!("{NAMESPACE}-typo") } });
    ask("POST", "/api/v1/namespaces", &space).await.unwrap();
    let mut deployment = deployment;
    deployment["metadata"]["namespace"] = space["metadata"]["name"].clone();
    let error = post(&deployment).await.unwrap_err().to_string();
    assert!(error.contains("perhapsSeconds"), "{error}");
}
