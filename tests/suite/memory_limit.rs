//! What a tenant may put into ConfigMaps does not take more memory than a container has: in a control group, with a failover each.
//!
//! KSEC_RELEASE_BINARY names the program as it is shipped, and KSEC_LONG=1 makes the attacks as large as they can be.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use futures::StreamExt as _;
use http::Method;
use serde_json::{Map, Value, json};

use crate::cgroup::Cgroup;
use crate::container;
use crate::memory;
use crate::replica::{PROGRAM, Replica};
use crate::tenants::{HOSTILE, Town};
use crate::wait::{self, is_long};

/// Of the program that is shipped.
const LIMIT: u64 = 128;
/// One that is not optimized has larger frames and more code.
const LIMIT_OF_TESTS: u64 = 160;
const READERS: usize = 64;
/// For one edit: a pass over 20,000 entries takes seconds where nothing is optimized.
const PATIENCE: Duration = Duration::from_secs(100);

/// A ConfigMap whose fields the API server does not note: it would need more room for them than for the keys.
async fn make(town: &Town, name: &str, data: Value) {
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "data": data,
        "metadata": { "name": name, "labels": { "egress": "static" }, "managedFields": [{}] },
    });
    let path = format!("/api/v1/namespaces/{HOSTILE}/configmaps");
    let answer = town.stage.send(Method::POST, &path, &object).await;
    assert_eq!(answer, 201, "{name}");
}

async fn make_all(town: &Town, count: usize, data: impl Fn(usize) -> Value) {
    let all = futures::stream::iter(0..count).map(|number| {
        let data = data(number);
        async move { make(town, &format!("many-{number:04}"), data).await }
    });
    all.buffer_unordered(4).collect::<Vec<()>>().await;
}

/// A reader of the status who asks and never reads.
fn reader(replica: &Replica) -> TcpStream {
    let address = replica.url("").trim_start_matches("http://").to_owned();
    let address: SocketAddr = address.parse().unwrap();
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).unwrap();
    let request = b"GET /api/status HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(request).unwrap();
    stream
}

/// Two replicas, one after the other, each with readers: another tenant is served by both.
async fn survives(town: &Town, what: &str) {
    let program = container::release();
    let limit = program.as_ref().map_or(LIMIT_OF_TESTS, |_| LIMIT);
    let program = program.unwrap_or_else(|| PathBuf::from(PROGRAM));
    let group = match Cgroup::with_memory("memory", limit) {
        Ok(group) => Some(group),
        Err(error) if is_long() => {
            panic!("no control group for a memory limit: run as root: {error}")
        }
        Err(_) => None,
    };
    let start = |name: &str| {
        let launch = town.launch(name).program(&program);
        let launch = launch.flag("log-level", "info").default_lease().lease(15);
        let launch = launch.flag("resync-interval", "1m");
        match &group {
            Some(group) => launch.within(group.dir()).start(),
            None => launch.start(),
        }
    };
    let mut most: f64 = 0.0;
    for (name, from, to) in [
        ("r1", "9.9.9.9", "9.9.9.10"),
        ("r2", "9.9.9.10", "9.9.9.11"),
    ] {
        let mut replica = start(name);
        town.routes(&format!("{from}/32"), true).await;
        let readers: Vec<TcpStream> = (0..READERS).map(|_| reader(&replica)).collect();
        town.swaps_within(PATIENCE, &format!("{what}, {name}"), from, to)
            .await;
        assert!(replica.is_alive(), "{name} was killed");
        replica.answers("/healthz").unwrap();
        most = most.max(replica.memory("VmHWM"));
        drop(readers);
        // Its Lease is given up, so that nobody waits for it; the next one starts from nothing all the same.
        replica.terminate().await;
    }
    let counted = group.as_ref().map_or(f64::NAN, Cgroup::most_memory);
    wait::measured(&format!(
        "{what}: {most:.0} MiB of memory at most, {counted:.0} MiB counted by the control group, of {limit}"
    ));
    assert!(most < limit as f64, "{most} of {limit} MiB");
}

#[tokio::test]
async fn as_many_honest_entries_as_there_may_be() {
    let town = Town::open("fits-honest").await;
    make_all(&town, 1_000, |number| {
        let entries = memory::entries(number.try_into().unwrap()).into_iter();
        let entries = entries.map(|(key, value)| (key, Value::from(value)));
        entries.collect::<Map<String, Value>>().into()
    })
    .await;
    survives(&town, "20,000 entries").await;
}

#[tokio::test]
async fn as_many_keys_as_a_config_map_can_have() {
    let town = Town::open("fits-keys").await;
    make_all(&town, 3, |_| {
        let keys = (0..125_000).map(|number| (format!("{number:05x}"), json!("")));
        keys.collect::<Map<String, Value>>().into()
    })
    .await;
    survives(&town, "3 ConfigMaps of 125,000 keys").await;
}

#[tokio::test]
async fn as_many_megabytes_as_anybody_writes() {
    let town = Town::open("fits-megabytes").await;
    let count = if is_long() { 300 } else { 150 };
    let large = "8".repeat(1_000_000);
    make_all(&town, count, |_| json!({ "large": large })).await;
    survives(&town, &format!("{count} ConfigMaps of 1 MB")).await;
}
