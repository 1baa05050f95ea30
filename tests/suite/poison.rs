//! ConfigMaps of one tenant that could block all other tenants: odd, deep and huge ones. Another tenant's entries are served within
//! seconds, before a start and while a leader runs.

use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};

use crate::stage::{NAME, Stage};
use crate::wait;

const SOON: Duration = Duration::from_secs(20);

/// Returns an object that an API server stores as it is, and that typed clients cannot parse.
fn poison(name: &str, managed: &Value) -> Value {
    let mut managed = managed.clone();
    managed["manager"] = "tenant".into();
    managed["operation"] = "Update".into();
    managed["apiVersion"] = "v1".into();
    managed["fieldsType"] = "FieldsV1".into();
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "data": { "web": "20.0.0.1" },
        "metadata": { "name": name, "labels": { "egress": "static" }, "managedFields": [managed] },
    })
}

fn poisons() -> [(&'static str, Value); 2] {
    let mut deep = json!({});
    for _ in 0..200 {
        deep = json!({ "f:x": deep });
    }
    let year = json!({ "time": "9999-12-31T23:59:59Z", "fieldsV1": {} });
    let deep = json!({ "time": "2026-01-01T00:00:00Z", "fieldsV1": deep });
    [("year", year), ("deep", deep)]
}

/// The tenant may write ConfigMaps, and recreates each under its name.
async fn rewrite(stage: &Stage) {
    for (name, managed) in poisons() {
        let path = stage.path("", "configmaps");
        let one = format!("{path}/{name}");
        // The responses are as odd as the objects, so they are not parsed.
        let _ = stage.send(Method::DELETE, &one, &json!({})).await;
        let made = stage
            .send(Method::POST, &path, &poison(name, &managed))
            .await;
        assert_eq!(made, 201, "{name}: the API server takes it");
    }
}

#[tokio::test]
async fn an_odd_object_harms_nobody_before_a_start_and_while_the_controller_runs() {
    let stage = Stage::open("poison").await;
    rewrite(&stage).await;
    stage.config_map("victim", &[("dns", "8.8.8.8")]).await;
    let mut replica = stage.replica("r1").start();
    stage.routed(&["20.0.0.1/32", "8.8.8.8/32"]).await;
    let mut slowest = Duration::ZERO;
    for round in 0..3 {
        for _ in 0..5 {
            rewrite(&stage).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let (asked, address) = (Instant::now(), format!("9.9.9.{round}"));
        stage.config_map("victim", &[("dns", &address)]).await;
        stage
            .routed(&["20.0.0.1/32", &format!("{address}/32")])
            .await;
        slowest = slowest.max(asked.elapsed());
    }
    wait::measured(&format!(
        "beside two poisoned ConfigMaps an edit is served within {slowest:.1?}"
    ));
    assert!(slowest < SOON, "{slowest:?}");
    for reason in ["SourceNotLoaded", "SourceStale", "cannot be reached"] {
        assert!(replica.said(&[reason]).is_err(), "{reason}");
    }
    replica.assert_well();
}

/// The keys exceed every limit.
#[tokio::test]
async fn sixty_thousand_keys_harm_nobody() {
    let stage = Stage::open("many-keys").await;
    let data: serde_json::Map<String, Value> = (0..60_000)
        .map(|key| (format!("{key:06}"), "8.8.8.8".into()))
        .collect();
    let huge = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "data": data,
        "metadata": { "name": "huge", "labels": { "egress": "static" } },
    });
    let path = stage.path("", "configmaps");
    assert_eq!(stage.send(Method::POST, &path, &huge).await, 201);
    let binary = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "binaryData": { "web": "OAAuADgALgA4AC4AOAA=" },
        "metadata": { "name": "binary", "labels": { "egress": "static" } },
    });
    assert_eq!(stage.send(Method::POST, &path, &binary).await, 201);
    stage.config_map("victim", &[("dns", "8.8.8.8")]).await;
    let mut replica = stage.replica("r1").start();
    stage.routed(&["8.8.8.8/32"]).await;
    wait::until("their owners are told, each once", || {
        replica.said(&["TooManyEntries", "59000 entries more"])?;
        replica.said(&["BinaryData", "under data"])
    })
    .await;
    let log = replica.log();
    let lines = log.lines().filter(|line| line.contains("TooManyEntries"));
    assert_eq!(lines.count(), 1);
    replica.assert_well();
}

/// Typed clients could not parse the controller's own ledger and status either.
#[tokio::test]
async fn odd_fields_of_its_own_objects_stop_nothing() {
    let stage = Stage::open("own-poison").await;
    let (name, managed) = &poisons()[0];
    for suffix in ["ledger", "status"] {
        let mut object = poison(&format!("{NAME}-{suffix}"), managed);
        object["metadata"]["labels"] = json!({});
        object["data"] = json!({});
        let path = format!("{}/{NAME}-{suffix}", stage.path("", "configmaps"));
        let sent = stage.send(Method::PUT, &path, &object).await;
        assert_eq!(sent, 200, "{name}");
    }
    let mut first = stage.replica("r1").start();
    stage.config_map("tenant", &[("dns", "8.8.8.8")]).await;
    stage.routed(&["8.8.8.8/32"]).await;
    wait::until_async("the ledger is written", async || {
        let stack = stage.ledger().await?["stack"].clone();
        wait::check(stack.is_string(), || format!("{stack}"))
    })
    .await;
    first.kill();
    let mut second = stage.replica("r2").start();
    stage.config_map("tenant", &[("dns", "9.9.9.9")]).await;
    stage.routed(&["9.9.9.9/32"]).await;
    for replica in [&first, &second] {
        replica.said(&["LedgerUnavailable"]).unwrap_err();
        replica.said(&["cannot be read"]).unwrap_err();
        replica.said(&["cannot be written"]).unwrap_err();
    }
    second.assert_well();
}
