//! The annotations on the teams' ConfigMaps.

use std::collections::BTreeMap;

use http::Method;
use serde_json::{Value, json};

use crate::replica::{Launch, Replica};
use crate::stage::{EXAMPLE, EXAMPLE_CIDRS, Stage};
use crate::{chart, helm, wait};

const WRITES: &str = "kube_static_egress_controller_cluster_writes_total";
const PREFIX: &str = "kube-static-egress-controller/";
const MANAGER: &str = "kube-static-egress-controller-annotations";

/// Grants the permission that the chart grants with `annotateConfigMaps`.
async fn allow(stage: &Stage) {
    let objects = helm::render(&json!({ "annotateConfigMaps": true })).unwrap();
    for (path, object) in chart::rights_of(objects, &stage.namespace) {
        if object["kind"] == "ClusterRole" {
            let path = format!("{path}/{}", object["metadata"]["name"].as_str().unwrap());
            let put = stage.request(Method::PUT, &path, "application/json", &object);
            put.await.unwrap();
        }
    }
}

fn annotating(stage: &Stage, name: &str) -> Launch {
    stage.replica(name).flag("annotate-configmaps", "true")
}

async fn get(stage: &Stage, name: &str) -> Result<Value, kube::Error> {
    let path = format!("{}/{name}", stage.path("", "configmaps"));
    let get = http::Request::get(&path).body(Vec::new()).unwrap();
    stage.kube.request(get).await
}

/// Returns our annotations, without their prefix.
fn ours(object: &Value) -> BTreeMap<&str, &str> {
    let all = object["metadata"]["annotations"].as_object();
    let all = all.into_iter().flatten();
    all.filter_map(|(key, value)| Some((key.strip_prefix(PREFIX)?, value.as_str()?)))
        .collect()
}

/// Waits until the ConfigMap has this state, and a message with this text. Returns the ConfigMap.
async fn bears(stage: &Stage, name: &str, state: &str, text: &str) -> Value {
    wait::until_async(&format!("{name} bears {state}: {text}"), async || {
        let object = get(stage, name).await.map_err(|error| error.to_string())?;
        let is = ours(&object);
        let found = is.get("state") == Some(&state) && is["message"].contains(text);
        wait::check(found, || object.to_string())?;
        Ok(object)
    })
    .await
}

/// Waits until the ConfigMap has none of our annotations.
async fn bare(stage: &Stage, name: &str) -> Value {
    wait::until_async(&format!("{name} is bare"), async || {
        let object = get(stage, name).await.map_err(|error| error.to_string())?;
        wait::check(ours(&object).is_empty(), || object.to_string())?;
        Ok(object)
    })
    .await
}

fn written(replica: &Replica, result: &str) -> f64 {
    let sample = format!("{WRITES}{{object=\"annotations\",result=\"{result}\"}}");
    replica.metric(&sample).unwrap_or_default()
}

/// Applies a ConfigMap as a GitOps tool does, with an annotation of its own.
async fn apply(stage: &Stage, name: &str, key: &str, data: &[(&str, &str)]) {
    let data: BTreeMap<&str, &str> = data.iter().copied().collect();
    let body = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "data": data,
        "metadata": { "name": name, "labels": { "egress": "static" }, "annotations": { key: "theirs" } },
    });
    let path = format!(
        "{}/{name}?fieldManager=gitops",
        stage.path("", "configmaps")
    );
    let kind = "application/apply-patch+yaml";
    let applied = stage.request(Method::PATCH, &path, kind, &body).await;
    applied.unwrap();
}

#[tokio::test]
async fn teams_read_their_static_ips_on_their_config_maps() {
    let stage = Stage::open("annotated").await;
    allow(&stage).await;
    let mut first = annotating(&stage, "r1").start();
    apply(&stage, "good", "team", &EXAMPLE).await;
    let exits = stage.routed(&EXAMPLE_CIDRS).await;
    let object = bears(&stage, "good", "Routed", "2 entries routed").await;
    let mut ips: Vec<&str> = exits.values().map(|exit| exit.ip.as_str()).collect();
    ips.sort_unstable();
    assert_eq!(ours(&object)["static-ips"], ips.join(","));
    // The controller sets no other annotation, and keeps those of other managers.
    assert_eq!(object["metadata"]["annotations"]["team"], "theirs");
    assert_eq!(object["metadata"]["labels"], json!({ "egress": "static" }));
    assert_eq!(object["data"], json!(BTreeMap::from(EXAMPLE)));
    let managers = object["metadata"]["managedFields"].as_array().unwrap();
    let of = |name: &str| managers.iter().find(|entry| entry["manager"] == name);
    assert_eq!(of("gitops").unwrap()["operation"], "Apply");
    let fields = &of(MANAGER).unwrap()["fieldsV1"];
    assert_eq!(fields.as_object().unwrap().len(), 1, "{fields}");
    let fields = fields["f:metadata"].as_object().unwrap();
    assert!(fields.len() == 1 && fields.contains_key("f:annotations"));

    // Neither another pass nor a new leader writes unchanged annotations, and neither does the other manager's next apply.
    let version = object["metadata"]["resourceVersion"].clone();
    stage.two_more_looks().await;
    let writes = written(&first, "ok");
    stage.two_more_looks().await;
    assert_eq!(written(&first, "ok"), writes);
    first.terminate().await;
    let second = annotating(&stage, "r2").start();
    wait::until("r2 leads", || {
        let leads = second.metric("kube_static_egress_controller_leader") == Some(1.0);
        wait::check(leads, || "it does not".to_owned())
    })
    .await;
    apply(&stage, "good", "team", &EXAMPLE).await;
    stage.two_more_looks().await;
    let object = get(&stage, "good").await.unwrap();
    assert_eq!(object["metadata"]["resourceVersion"], version, "{object}");
    assert_eq!(written(&second, "ok"), 0.0);

    // The annotations follow the entries, and are removed with the label.
    let data = [EXAMPLE[0], EXAMPLE[1], ("typo", "8.8.8.8/33")];
    apply(&stage, "good", "team", &data).await;
    let object = bears(&stage, "good", "Refused", "\"typo\": \"8.8.8.8/33\" is not").await;
    assert_eq!(ours(&object)["static-ips"], ips.join(","));
    apply(&stage, "good", "team", &EXAMPLE[..1]).await;
    bears(&stage, "good", "Routed", "1 entry routed").await;
    apply(&stage, "good", "team", &[]).await;
    bare(&stage, "good").await;
    apply(&stage, "good", "team", &EXAMPLE[..1]).await;
    bears(&stage, "good", "Routed", "1 entry routed").await;
    stage.unlabel("good").await;
    let object = bare(&stage, "good").await;
    assert_eq!(
        object["metadata"]["annotations"],
        json!({ "team": "theirs" })
    );
}

/// Server-side apply creates missing objects, and the controller may create ConfigMaps in the namespace of its Lease.
#[tokio::test]
async fn a_config_map_that_is_gone_is_not_made_anew() {
    let stage = Stage::open("annotated-gone").await;
    allow(&stage).await;
    let replica = annotating(&stage, "r1").start();
    for name in ["gone", "anew"] {
        apply(&stage, name, "team", &EXAMPLE).await;
        bears(&stage, name, "Routed", "routed").await;
    }
    stage.delete_config_map("gone").await;
    stage.delete_config_map("anew").await;
    let ours = format!("{PREFIX}state");
    let anew = json!({ "metadata": { "name": "anew", "annotations": { &ours: "somebody's" } } });
    let made = stage.create(&stage.path("", "configmaps"), anew).await;
    wait::until("both have been tried", || {
        let gone = written(&replica, "gone");
        wait::check(gone >= 2.0, || format!("{gone}"))
    })
    .await;
    let error = get(&stage, "gone").await.unwrap_err();
    assert!(error.to_string().contains("not found"), "{error}");
    assert_eq!(get(&stage, "anew").await.unwrap(), made);
    replica.said(&["WARN", "annotated"]).unwrap_err();
}

/// Another name of the same server stands in for a second cluster.
#[tokio::test]
async fn each_cluster_s_config_maps_are_annotated_there() {
    let stage = Stage::open("annotated-two").await;
    allow(&stage).await;
    let second = stage.url.replace("127.0.0.1", "localhost");
    let masters = format!("--master={},{second}", stage.url);
    let replica = annotating(&stage, "r1").arg(&masters).start();
    apply(&stage, "both", "team", &EXAMPLE).await;
    bears(&stage, "both", "Routed", "2 entries routed").await;
    wait::until("it is written in each", || {
        let ok = written(&replica, "ok");
        wait::check(ok >= 2.0, || format!("{ok}"))
    })
    .await;
    replica.said(&["WARN", "annotated"]).unwrap_err();
}

#[tokio::test]
async fn a_label_that_is_lost_while_nobody_leads_is_found() {
    let stage = Stage::open("annotated-lost").await;
    allow(&stage).await;
    let mut first = annotating(&stage, "r1").start();
    apply(&stage, "lost", "team", &EXAMPLE).await;
    bears(&stage, "lost", "Routed", "routed").await;
    first.terminate().await;
    stage.unlabel("lost").await;
    let _second = annotating(&stage, "r2").start();
    bare(&stage, "lost").await;
}

#[tokio::test]
async fn what_somebody_else_sets_stays_theirs() {
    let stage = Stage::open("annotated-theirs").await;
    allow(&stage).await;
    let replica = annotating(&stage, "r1").start();
    apply(&stage, "theirs", &format!("{PREFIX}state"), &EXAMPLE).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    wait::until("the conflict is told", || {
        replica.said(&["WARN", "/theirs", "gitops", "remove them from"])
    })
    .await;
    stage.two_more_looks().await;
    let object = get(&stage, "theirs").await.unwrap();
    assert_eq!(ours(&object), BTreeMap::from([("state", "theirs")]));
    assert!(written(&replica, "conflict") >= 1.0);
    assert_eq!(replica.when(&["WARN", "/theirs", "conflict"]).len(), 1);
    // Other ConfigMaps are still annotated.
    stage.config_map("mine", &[("dns", "9.9.9.9")]).await;
    bears(&stage, "mine", "Routed", "routed").await;
}

#[tokio::test]
async fn without_the_right_it_is_told_once_and_routes_are_made() {
    let stage = Stage::open("annotated-not").await;
    let replica = annotating(&stage, "r1").start();
    stage.config_map("one", &EXAMPLE).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    stage.config_map("two", &[("dns", "9.9.9.9")]).await;
    wait::until("it is refused twice", || {
        let refused = written(&replica, "forbidden");
        wait::check(refused >= 2.0, || format!("{refused}"))
    })
    .await;
    let remedy = "grant the permission to patch configmaps (value annotateConfigMaps)";
    let told = replica.when(&["WARN", "forbidden", "cannot be annotated", remedy]);
    assert_eq!(told.len(), 1, "{}", replica.log());
    assert!(ours(&get(&stage, "one").await.unwrap()).is_empty());
    allow(&stage).await;
    bears(&stage, "one", "Routed", "2 entries routed").await;
    bears(&stage, "two", "Routed", "1 entry routed").await;
}

/// If one namespace is watched, the permission is limited to that namespace.
#[test]
fn the_right_reaches_no_further_than_the_watch() {
    for (namespace, kind) in [("", "ClusterRole"), ("team", "Role")] {
        let values = json!({ "annotateConfigMaps": true, "watchNamespace": namespace });
        let objects = helm::render(&values).unwrap();
        let may_patch = |object: &&Value| {
            let rules = object["rules"].as_array().into_iter().flatten();
            let mut rules = rules.filter(|rule| rule["resources"] == json!(["configmaps"]));
            rules.any(|rule| {
                let verbs = rule["verbs"].as_array().unwrap();
                verbs.contains(&json!("patch")) && rule["resourceNames"].is_null()
            })
        };
        let found: Vec<&Value> = objects.iter().filter(may_patch).collect();
        let [role] = found.as_slice() else {
            panic!("{found:?}");
        };
        let place = role["metadata"]["namespace"].as_str().unwrap_or_default();
        assert_eq!((role["kind"].as_str(), place), (Some(kind), namespace));
    }
}
