//! Information for the owners of ConfigMaps: Events, the status ConfigMap, and the subcommands that read it.

use std::collections::BTreeMap;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use http::Method;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{ListParams, WatchEvent, WatchParams};
use serde_json::{Value, json};

use crate::stage::{EXAMPLE, EXAMPLE_CIDRS, Stage};
use crate::wait;

const STATUS: &str = "kube-static-egress-controller-status";

/// Returns reason and note of every Event about each ConfigMap, by name, oldest first.
async fn events(stage: &Stage) -> BTreeMap<String, Vec<(String, String)>> {
    let api: Api<Event> = Api::namespaced(stage.kube.clone(), &stage.namespace);
    let mut all = api.list(&ListParams::default()).await.unwrap().items;
    all.sort_by_key(|event| event.event_time.clone());
    let mut by_name: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for event in all {
        let regarding = event.regarding.unwrap();
        if regarding.kind.as_deref() == Some("ConfigMap") {
            let told = (event.reason.unwrap(), event.note.unwrap());
            by_name
                .entry(regarding.name.unwrap())
                .or_default()
                .push(told);
        }
    }
    by_name
}

/// Waits until a ConfigMap has an Event with this reason and all of these texts.
async fn told(stage: &Stage, name: &str, reason: &str, texts: &[&str]) {
    wait::until_async(&format!("{name} is told {reason} {texts:?}"), async || {
        let events = events(stage).await;
        let mut of_it = events.get(name).into_iter().flatten();
        let found =
            of_it.any(|(is, note)| is == reason && texts.iter().all(|text| note.contains(text)));
        wait::check(found, || format!("{events:?}"))
    })
    .await;
}

async fn written(stage: &Stage) -> Result<Value, String> {
    let api: Api<ConfigMap> = Api::namespaced(stage.kube.clone(), &stage.namespace);
    let object = api.get(STATUS).await.map_err(|error| error.to_string())?;
    let labels = object.metadata.labels.unwrap_or_default();
    assert!(!labels.contains_key("egress"), "{labels:?}");
    let text = &object.data.ok_or("no data")?["status.json"];
    Ok(serde_json::from_str(text).unwrap())
}

/// Waits until the status ConfigMap meets a condition.
async fn status(stage: &Stage, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
    wait::until_async(&format!("the status has {what}"), async || {
        let status = written(stage).await?;
        wait::check(condition(&status), || status.to_string()).map(|()| status)
    })
    .await
}

fn ask(stage: &Stage, arguments: &[&str]) -> (i32, String) {
    let kubeconfig = format!("--kubeconfig={}", stage.dir.join("kubeconfig").display());
    let place = format!("--leader-elect-resource-namespace={}", stage.namespace);
    let mut command = std::process::Command::new(crate::replica::PROGRAM);
    let output: Output = command
        .env_clear()
        .args(arguments)
        .args([kubeconfig, place])
        .output()
        .unwrap();
    let text =
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), text)
}

#[tokio::test]
async fn owners_learn_what_became_of_their_entries_once() {
    let stage = Stage::open("told").await;
    let mut first = stage.replica("r1").start();
    stage.config_map("good", &EXAMPLE).await;
    let exits = stage.routed(&EXAMPLE_CIDRS).await;
    let ips: Vec<&str> = exits.values().map(|exit| exit.ip.as_str()).collect();
    told(&stage, "good", "Accepted", &["2 of 2 entries"]).await;
    told(&stage, "good", "Routed", &ips).await;
    stage.config_map("typo", &[("dns", "8.8.8.8/33")]).await;
    stage.config_map("six", &[("v6", "2001:db8::/32")]).await;
    stage.config_map("vpc", &[("own", "172.31.9.0/24")]).await;
    told(
        &stage,
        "typo",
        "EntriesRefused",
        &["8.8.8.8/33", "write one network per key"],
    )
    .await;
    told(
        &stage,
        "six",
        "EntriesRefused",
        &["is IPv6", "IPv4 network"],
    )
    .await;
    told(
        &stage,
        "vpc",
        "EntriesRefused",
        &["inside the VPC", "remove the entry"],
    )
    .await;
    status(&stage, "three refused entries", |status| {
        status["counts"]["refused"] == 3
    })
    .await;
    // The next leader reads which Events were written.
    let api: Api<ConfigMap> = Api::namespaced(stage.kube.clone(), &stage.namespace);
    wait::until_async("what was told is written down", async || {
        let object = api.get(STATUS).await.map_err(|error| error.to_string())?;
        let told: BTreeMap<String, Value> =
            serde_json::from_str(&object.data.unwrap()["told.json"]).unwrap();
        wait::check(told.len() == 4, || format!("{told:?}"))
    })
    .await;
    let before = events(&stage).await;
    first.terminate().await;
    let _second = stage.replica("r2").start();
    stage.config_map("new", &[("dns", "9.9.9.9")]).await;
    told(&stage, "new", "Routed", &ips).await;
    status(&stage, "another leader", |status| {
        status["leader"]["epoch"].as_u64() > Some(1)
    })
    .await;
    let mut after = events(&stage).await;
    after.remove("new");
    assert_eq!(after, before);
}

#[tokio::test]
async fn the_subcommands_tell_what_the_leader_wrote_down() {
    let stage = Stage::open("told-asked").await;
    let _replica = stage.replica("r1").start();
    stage.config_map("good", &EXAMPLE).await;
    let exits = stage.routed(&EXAMPLE_CIDRS).await;
    let ips: Vec<&str> = exits.values().map(|exit| exit.ip.as_str()).collect();
    let is = status(&stage, "two routed entries", |status| {
        status["counts"]["routed"] == 2
    })
    .await;
    assert_eq!(is["leader"]["epoch"], json!(1));
    assert_eq!(is["stack"]["status"], json!("CREATE_COMPLETE"));
    let (code, text) = ask(&stage, &["status"]);
    assert!(
        code == 0 && text.contains("Routed") && text.contains(ips[0]),
        "{code} {text}"
    );
    let (code, text) = ask(&stage, &["check", "192.112.7.255"]);
    assert!(
        code == 0 && text.contains("by the route to 192.112.0.0/21"),
        "{code} {text}"
    );
    let (code, text) = ask(&stage, &["check", "1.1.1.1"]);
    assert!(
        code == 2 && text.contains("no ConfigMap asks for it"),
        "{code} {text}"
    );

    stage.config_map("typo", &[("dns", "8.8.8.8/33")]).await;
    status(&stage, "a refused entry", |status| {
        status["counts"]["refused"] == 1
    })
    .await;
    let (code, text) = ask(&stage, &["status", "-n", &stage.namespace, "typo"]);
    assert!(
        code == 2 && text.contains("NotACidr") && !text.contains("google-dns"),
        "{code} {text}"
    );
    let (code, text) = ask(&stage, &["status", "good", "--output=json"]);
    let entries = serde_json::from_str::<Value>(&text).unwrap()["entries"].clone();
    assert_eq!((code, entries.as_array().unwrap().len()), (0, 2));
    let (code, text) = ask(&stage, &["status", "goood"]);
    assert!(code == 2 && text.contains("no entry is known"), "{text}");
    let path = format!("/api/v1/namespaces/{}/configmaps", stage.namespace);
    let body = json!({ "metadata": { "name": "misspelt", "labels": { "egress": "Static" } } });
    let made = stage.request(Method::POST, &path, "application/json", &body);
    made.await.unwrap();
    for (name, part) in [
        ("misspelt", "write egress: static"),
        ("goood", "does not exist"),
    ] {
        let (code, text) = ask(&stage, &["status", "-n", &stage.namespace, name]);
        assert!(code == 2 && text.contains(part), "{text}");
    }
}

#[tokio::test]
async fn a_quota_that_is_reached_is_told_to_those_who_wait_for_it() {
    let stage = Stage::open("told-quota").await;
    let quota =
        "The maximum number of addresses has been reached. (Service: Ec2, Status Code: 400)";
    stage.aws.fault(
        json!({ "kind": "resource_fails", "logical_id": "EIP*", "times": 1, "message": quota }),
    );
    let _replica = stage.replica("r1").start();
    stage.config_map("good", &EXAMPLE).await;
    told(&stage, "good", "Waiting", &["maximum number of addresses"]).await;
    told(&stage, "good", "Routed", &["2 entries routed"]).await;
    let reasons: Vec<String> = events(&stage).await["good"]
        .iter()
        .map(|(reason, _)| reason.clone())
        .collect();
    assert_eq!(
        reasons,
        ["Accepted", "Waiting", "Waiting", "Routed"],
        "first for the quota, then for the zone that is added later; no more than that"
    );
    // The status is written a few seconds after the Events.
    let is = status(&stage, "no setback after the deletion", |status| {
        let steps = status["timeline"].to_string();
        status["setback"].is_null() && steps.contains("DeleteStack")
    })
    .await;
    let steps = is["timeline"].to_string();
    assert!(steps.contains("maximum number of addresses"), "{steps}");
}

/// 155 routes in three tables are more than a template within a request may have.
#[tokio::test]
async fn a_limit_is_told_once_for_all_entries_that_it_holds_up() {
    let stage = Stage::open("told-limit").await;
    let replica = stage.replica("r1").start();
    stage.config_map("good", &EXAMPLE).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    let keys: Vec<(String, String)> = (0..155)
        .map(|number| {
            (
                format!("k{number:03}"),
                format!("203.0.{}.{}", number / 100, number % 100 * 2),
            )
        })
        .collect();
    let data: Vec<(&str, &str)> = keys
        .iter()
        .map(|(key, cidr)| (key.as_str(), cidr.as_str()))
        .collect();
    stage.config_map("many", &data).await;
    let texts = [
        "of 155 entries waiting: \"k",
        "Older entries come first",
        "--cf-template-bucket",
    ];
    told(&stage, "many", "Waiting", &texts).await;
    let all = |status: &Value| {
        let count = |state: &str| status["counts"][state].as_u64().unwrap();
        count("waiting") > 0 && count("waiting") + count("routed") == 157
    };
    status(&stage, "what fits routed, and the rest waiting", all).await;
    let events = events(&stage).await;
    assert_eq!(
        events["good"].len(),
        2,
        "they are not concerned: {events:?}"
    );
    assert_eq!(events["many"].len(), 1, "{events:?}");
    drop(replica);
}

#[tokio::test]
async fn drift_and_its_repair_are_told() {
    let stage = Stage::open("told-drift").await;
    let _replica = stage.replica("r1").start();
    stage.config_map("good", &EXAMPLE).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    told(&stage, "good", "Routed", &["2 entries routed"]).await;
    let (table, _) = stage.aws.routes().into_keys().next().unwrap();
    let route = [
        ("RouteTableId", table.as_str()),
        ("DestinationCidrBlock", "8.8.8.8/32"),
    ];
    stage.aws.call("ec2", "DeleteRoute", &route);
    let texts = [
        "1 of 2 entries waiting: \"google-dns\"",
        "changed outside of CloudFormation",
    ];
    told(&stage, "good", "Waiting", &texts).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    wait::until_async("its repair is told", async || {
        let events = events(&stage).await;
        let reasons: Vec<&str> = events["good"]
            .iter()
            .map(|(reason, _)| reason.as_str())
            .collect();
        let told = reasons == ["Accepted", "Routed", "Waiting", "Routed"];
        wait::check(told, || format!("{events:?}"))
    })
    .await;
    status(&stage, "no drift", |status| status["drift"] == json!([])).await;
}

/// Counts the writes of an object.
fn count_writes(api: Api<ConfigMap>) -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        let parameters = WatchParams::default().fields(&format!("metadata.name={STATUS}"));
        let mut changes = api.watch(&parameters, "0").await.unwrap().boxed();
        while let Some(Ok(change)) = changes.next().await {
            if matches!(change, WatchEvent::Added(_) | WatchEvent::Modified(_)) {
                counted.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    count
}

#[tokio::test]
async fn a_thousand_bad_entries_are_no_flood() {
    let stage = Stage::open("told-flood").await;
    let names: Vec<String> = (0..1_000)
        .map(|number| format!("bad-{number:03}"))
        .collect();
    let made =
        futures::stream::iter(&names).map(|name| stage.config_map(name, &[("typo", "8.8.8.8/33")]));
    made.buffer_unordered(20).collect::<Vec<()>>().await;
    let writes = count_writes(Api::namespaced(stage.kube.clone(), &stage.namespace));
    let start = Instant::now();
    let mut replica = stage.replica("r1").start();
    stage.config_map("good", &EXAMPLE).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    let routed = start.elapsed();
    let is = status(&stage, "all of them", |status| {
        status["counts"]["refused"] == 1_000 && status["counts"]["routed"] == 2
    })
    .await;
    assert_eq!(
        is["entries"].as_array().unwrap().len(),
        1_002,
        "there is room for that many"
    );
    wait::until_async("the burst of Events is over", async || {
        let told = events(&stage).await.values().map(Vec::len).sum::<usize>();
        wait::check(told >= 32, || format!("{told}"))
    })
    .await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let told: usize = events(&stage).await.values().map(Vec::len).sum();
    let (took, writes) = (start.elapsed(), writes.load(Ordering::Relaxed));
    wait::measured(&format!(
        "1,000 ConfigMaps with a bad entry: routed after {routed:.1?}; {told} Events and {writes} writes of the status in {took:.1?}"
    ));
    // As documented in deploy/docs/teams.md: 30 Events, and then one every 2 s; the ConfigMap every 5 s.
    let seconds = usize::try_from(took.as_secs()).unwrap() + 1;
    assert!(told <= 30 + seconds / 2 + 1, "{told} Events in {took:?}");
    assert!(writes <= 1 + seconds / 5 + 1, "{writes} writes in {took:?}");
    replica.assert_well();
}

#[tokio::test]
async fn the_subcommands_say_what_is_missing() {
    let stage = Stage::open("told-none").await;
    let (code, text) = ask(&stage, &["status"]);
    assert!(
        code == 1 && text.contains("no leader has written a status there"),
        "{code} {text}"
    );
    let (code, text) = ask(&stage, &["status", "--leader-elect-resource-name=other"]);
    assert!(code == 1 && text.contains("other-status"), "{code} {text}");
    let (code, text) = ask(&stage, &["check", "2001:db8::1"]);
    assert!(code == 1 && text.contains("2001:db8::1"), "{code} {text}");
    let output = std::process::Command::new(crate::replica::PROGRAM)
        .env_clear()
        .args(["status", "--manifests=."])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.code() == Some(1) && text.contains("`plan`"),
        "{text}"
    );
}
