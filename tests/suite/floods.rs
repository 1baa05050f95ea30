//! Floods: whoever may reach the port, or may write ConfigMaps, and means harm.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::json;

use crate::replica::{Launch, Replica};
use crate::{testbed, wait};

const READERS: usize = 64;

/// Without cluster and account, with this many ConfigMaps of 1,000 entries each.
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

/// Ten probes, as kubelet sends them.
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
    let address: SocketAddr = replica
        .url("")
        .trim_start_matches("http://")
        .parse()
        .unwrap();
    let slow: Vec<TcpStream> = (0..READERS)
        .map(|_| {
            let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).unwrap();
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
