//! Ledger, status and Lease: the chart creates these objects, and never reverts the controller's content.

use serde_json::{Value, json};

use crate::chart;
use crate::helm::CHART;
use crate::install::{ask_at, helm_in};
use crate::stage::NAME;
use crate::testbed::Testbed;

const EXAMPLE: &str = "--values=deploy/example-values.yaml";
const TIME: &str = "2026-01-01T00:00:00.000000Z";

async fn ask(method: &str, path: &str, body: &Value) -> Value {
    let answer = ask_at(Testbed::cluster(), method, path, body).await;
    answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
}

/// Returns the paths of the three objects.
fn places(namespace: &str) -> Vec<String> {
    let state = chart::state(namespace).into_iter();
    state
        .map(|(path, object)| format!("{path}/{}", object["metadata"]["name"].as_str().unwrap()))
        .collect()
}

/// Fills in the content that a leader writes.
fn written(object: &mut Value) {
    if object["kind"] == "Lease" {
        object["spec"] = json!({ "holderIdentity": "leader", "leaseDurationSeconds": 15, "leaseTransitions": 7,
                                 "acquireTime": TIME, "renewTime": TIME });
    } else {
        object["data"] = json!({ "ledger.json": "{}", "status.json": "{}" });
    }
}

fn content(object: &Value) -> Value {
    json!([object["spec"], object["data"], object["metadata"]["uid"]])
}

async fn write_all(namespace: &str) -> Vec<Value> {
    let mut contents = Vec::new();
    for place in places(namespace) {
        let mut object = ask("GET", &place, &Value::Null).await;
        written(&mut object);
        contents.push(content(&ask("PUT", &place, &object).await));
    }
    contents
}

async fn contents(namespace: &str) -> Vec<Value> {
    let mut found = Vec::new();
    for place in places(namespace) {
        found.push(content(&ask("GET", &place, &Value::Null).await));
    }
    found
}

#[tokio::test]
async fn no_step_of_a_release_takes_back_what_the_controller_wrote() {
    let space = "state-of-release";
    let roles = format!("--set=watchNamespace={space}");
    let chart = [NAME, CHART, EXAMPLE, roles.as_str()];
    let install = [&["install", "--create-namespace"], &chart[..]].concat();
    helm_in(space, &install).unwrap();
    let before = write_all(space).await;
    let other = "--set=stack.resyncInterval=2m";
    helm_in(space, &[&["upgrade"], &chart[..], &[other]].concat()).unwrap();
    assert_eq!(contents(space).await, before, "upgrade");
    helm_in(
        space,
        &[
            &["upgrade", "--force-conflicts", "--server-side=true"],
            &chart[..],
        ]
        .concat(),
    )
    .or_else(|_| helm_in(space, &[&["upgrade"], &chart[..]].concat()))
    .unwrap();
    assert_eq!(
        contents(space).await,
        before,
        "upgrade on the server's side"
    );
    helm_in(space, &["rollback", NAME, "1"]).unwrap();
    assert_eq!(contents(space).await, before, "rollback");
    helm_in(space, &["uninstall", NAME]).unwrap();
    assert_eq!(contents(space).await, before, "uninstall");
    helm_in(space, &install).unwrap();
    assert_eq!(contents(space).await, before, "and installed again");
    helm_in(space, &["uninstall", NAME]).unwrap();
}

/// The objects were created by a controller with that permission, or by another release.
#[tokio::test]
async fn objects_that_are_there_already_are_left_as_they_are() {
    let space = "state-of-before";
    ask(
        "POST",
        "/api/v1/namespaces",
        &json!({ "metadata": { "name": space } }),
    )
    .await;
    for (path, mut object) in chart::state(space) {
        object["metadata"]["labels"] = json!({ "app.kubernetes.io/managed-by": NAME });
        object["metadata"]["annotations"] = Value::Null;
        ask("POST", &path, &object).await;
    }
    let before = write_all(space).await;
    let roles = format!("--set=watchNamespace={space}");
    let chart = [NAME, CHART, EXAMPLE, roles.as_str()];
    helm_in(space, &[&["install"], &chart[..]].concat()).unwrap();
    let manifest = helm_in(space, &["get", "manifest", NAME]).unwrap();
    assert!(!manifest.contains("kind: Lease"), "{manifest}");
    helm_in(space, &[&["upgrade"], &chart[..]].concat()).unwrap();
    helm_in(space, &["uninstall", NAME]).unwrap();
    assert_eq!(contents(space).await, before);
}
