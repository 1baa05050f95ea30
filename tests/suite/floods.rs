//! Floods by clients of the port or by authors of ConfigMaps with bad intent.

use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::ListParams;
use serde_json::json;

use crate::replica::{Launch, PROGRAM, Replica};
use crate::stage::Stage;
use crate::testbed::{self, Testbed};
use crate::wait;

const READERS: usize = 64;
/// The number of ConfigMaps that change all the time.
const FLOOD: usize = 100;

/// A replica without cluster and account, with this many ConfigMaps of 1,000 entries each.
fn alone(name: &str, config_maps: usize) -> Launch {
    let dir = testbed::directory(name);
    let manifests = dir.join("manifests");
    std::fs::create_dir_all(&manifests).unwrap();
    for number in 0..config_maps {
        let entry = |key: usize| {
            (
                format!("partner-{key:04}"),
                json!(format!("20.{number}.{}.{}", key / 100, key % 100 * 2)),
            )
        };
        let data: serde_json::Map<_, _> = (0..1_000).map(entry).collect();
        let manifest = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "data": data,
            "metadata": { "name": format!("team-{number:02}"), "namespace": "payments", "labels": { "egress": "static" } },
        });
        std::fs::write(
            manifests.join(format!("{number:02}.json")),
            manifest.to_string(),
        )
        .unwrap();
    }
    Launch::new(dir, "r1", "default", 1)
        .without("kubeconfig")
        .without("namespace")
        .flag("provider", "in-memory")
        .flag("log-level", "error")
        .flag("manifests", manifests.to_str().unwrap())
}

/// Sends ten probes, as the kubelet does.
fn assert_probes_pass(replica: &Replica) {
    for _ in 0..10 {
        replica.answers("/healthz").unwrap();
        replica.answers("/metrics").unwrap();
    }
}

#[tokio::test]
async fn readers_that_do_not_read_cost_neither_probes_nor_memory() {
    let mut replica = alone("slow-readers", 20).start();
    wait::until("20,000 entries are shown", || {
        let answer = replica.get("/api/status")?;
        wait::check(answer.body.contains("\"entries\":20000"), || {
            format!("{} bytes", answer.body.len())
        })
    })
    .await;
    let before = replica.memory("VmRSS");
    let slow: Vec<TcpStream> = (0..READERS)
        .map(|_| {
            let mut stream = replica.connect();
            stream
                .write_all(b"GET /api/status HTTP/1.1\r\nhost: localhost\r\n\r\n")
                .unwrap();
            stream
        })
        .collect();
    assert_probes_pass(&replica);
    let after = replica.memory("VmRSS");
    wait::measured(&format!(
        "{READERS} readers of 20,000 entries that do not read: {before:.0} MiB of memory before, {after:.0} with them"
    ));
    assert!(after - before < 32.0, "{before:.0} MiB, then {after:.0}");
    drop(slow);
    replica.assert_well();
}

/// Returns reason and note of the Events of a namespace's ConfigMap.
async fn events(stage: &Stage, namespace: &str, name: &str) -> Vec<(String, String)> {
    let api: Api<Event> = Api::namespaced(stage.kube.clone(), namespace);
    let all = api.list(&ListParams::default()).await.unwrap().items;
    let of_it = all.into_iter().filter(|event| {
        let object = event.regarding.as_ref();
        object.is_some_and(|object| object.name.as_deref() == Some(name))
    });
    of_it
        .map(|event| {
            (
                event.reason.unwrap_or_default(),
                event.note.unwrap_or_default(),
            )
        })
        .collect()
}

/// 100 ConfigMaps of one namespace fail in ever new ways. The other namespace still gets its Events, and the log stays small.
#[tokio::test]
async fn a_flood_of_mistakes_hides_nobody_s_events_and_fills_no_log() {
    let testbed = Testbed::start("floods");
    let stage = Stage::on(&testbed, "floods").await;
    for namespace in ["aaa-flood", "zzz-victim"] {
        let body = json!({ "metadata": { "name": namespace } });
        stage.create("/api/v1/namespaces", body).await;
    }
    let flood = async |round: usize| {
        let write = async |number: usize| {
            let entry = |key: usize| (format!("k{key}-{round}"), json!(format!("bad {round}")));
            let data: serde_json::Map<_, _> = (0..20).map(entry).collect();
            stage
                .ask("aaa-flood", &format!("flood-{number}"), data.into())
                .await;
        };
        let writes = futures::stream::iter(0..FLOOD).map(write);
        writes.buffer_unordered(4).collect::<Vec<()>>().await;
    };
    flood(0).await;
    let mut replica = stage
        .replica("r1")
        .without("namespace")
        .flag("provider", "in-memory")
        .flag("log-level", "info")
        .start();
    wait::until("it leads", || replica.said(&["this replica leads"])).await;
    let start = Instant::now();
    let mut told = None;
    let mut round = 0;
    while round < 40 || (told.is_none() && start.elapsed() < Duration::from_secs(60)) {
        round += 1;
        flood(round).await;
        if round == 10 {
            stage
                .ask("zzz-victim", "typo", json!({ "bank": "8.8.8.8/33" }))
                .await;
            stage
                .ask(
                    "zzz-victim",
                    "partners",
                    json!({ "bank": "203.0.113.0/24" }),
                )
                .await;
        }
        let good = events(&stage, "zzz-victim", "partners").await;
        let bad = events(&stage, "zzz-victim", "typo").await;
        if !good.is_empty() && !bad.is_empty() && told.is_none() {
            told = Some(start.elapsed());
        }
    }
    let took = told.expect("the other namespace has its Events");
    let (seconds, bytes) = (start.elapsed().as_secs(), replica.log().len());
    wait::measured(&format!(
        "{} edits of 20 mistakes each in {seconds} s: the other namespace had its Events after {took:.1?}; {bytes} bytes of log",
        round * FLOOD
    ));
    assert!(bytes < 200_000, "{bytes} bytes of log in {seconds} s");
    replica.said(&["more NotACidr problems"]).unwrap();
    replica.said(&["zzz-victim/typo", "NotACidr"]).unwrap();
    replica.assert_well();
}

#[test]
fn names_in_manifests_write_no_lines_of_their_own() {
    let hostile = "x\n::error::all is lost\u{1b}[31m\u{202e}";
    let manifest = |namespace: &str, name: &str, key: &str, value: &str| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "data": { key: value },
            "metadata": { "name": name, "namespace": namespace, "labels": { "egress": "static" } },
        })
    };
    for (manifest, part) in [
        (manifest("team", "one", "key", hostile), "NotACidr"),
        (
            manifest(hostile, "one", "key", "8.8.8.8"),
            "metadata.namespace",
        ),
        (
            manifest("Team_A", "one", "key", "8.8.8.8"),
            "metadata.namespace",
        ),
        (manifest("team", hostile, "key", "8.8.8.8"), "metadata.name"),
        (manifest("team", "one", hostile, "8.8.8.8"), "has the key"),
        (manifest("team", "one", "a b", "8.8.8.8"), "has the key"),
    ] {
        let path = testbed::directory("hostile").join("manifest\n::error::x.yaml");
        std::fs::write(&path, manifest.to_string()).unwrap();
        for form in ["text", "json"] {
            let output = plan(&path, &[&format!("--output={form}")]);
            assert_eq!(output.status.code(), Some(1), "{output:?}");
            let shown = [output.stdout, output.stderr].concat();
            let shown = String::from_utf8(shown).unwrap();
            assert!(shown.contains(part), "{part}: {shown}");
            let forged = |line: &str| line.trim_start().starts_with("::");
            let acts = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
            assert!(
                !shown.lines().any(forged) && !shown.contains(acts),
                "{shown:?}"
            );
        }
    }
}

#[test]
fn a_network_file_without_end_is_not_read() {
    let path = testbed::directory("endless");
    std::fs::write(path.join("one.yaml"), "").unwrap();
    let endless = path.join("network.yaml");
    std::os::unix::fs::symlink("/dev/zero", &endless).unwrap();
    let large = path.join("large.json");
    std::fs::write(&large, vec![b' '; (1 << 20) + 1]).unwrap();
    for (network, part) in [
        (endless, "is not a regular file"),
        (large, "more than 1048576 bytes"),
    ] {
        let start = Instant::now();
        let output = plan(
            &path.join("one.yaml"),
            &[&format!("--network={}", network.display())],
        );
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(
            output.status.code() == Some(1) && told.contains(part),
            "{told}"
        );
        assert!(start.elapsed() < Duration::from_secs(10), "{told}");
    }
}

fn plan(manifests: &Path, more: &[&str]) -> Output {
    Command::new(PROGRAM)
        .env_clear()
        .args([
            "plan",
            "--aws-az=eu-central-1a",
            "--aws-nat-cidr-block=172.31.200.0/28",
        ])
        .arg("--provider=in-memory")
        .arg("--manifests")
        .arg(manifests)
        .args(more)
        .output()
        .unwrap()
}
