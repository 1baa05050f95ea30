//! ConfigMaps of one tenant do not exceed a container's memory. Each case runs in a control group, with a failover.
//!
//! `KSEC_LONG=1` runs this test. `KSEC_RELEASE_BINARY` names the shipped program, because the tests' own program has more code and larger
//! stack frames.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use serde_json::{Map, Value, json};

use crate::cgroup::Cgroup;
use crate::container;
use crate::memory;
use crate::replica::{PROGRAM, Replica};
use crate::town::Town;
use crate::wait;

/// The limit in MiB. The chart's limit is higher.
const LIMIT: u64 = 128;
const READERS: usize = 64;
/// The timeout of another tenant's edit. A pass over 20,000 entries takes seconds without optimization.
const PATIENCE: Duration = Duration::from_secs(150);
/// How long a replica is watched. In this time all ConfigMaps are listed again at least once.
const WATCHED: Duration = Duration::from_secs(25);

/// Sends a request and never reads the response.
fn reader(replica: &Replica, number: usize) -> TcpStream {
    let mut stream = replica.connect();
    let path = ["/api/status", "/metrics", "/"][number % 3];
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

struct Attack {
    name: &'static str,
    config_maps: usize,
    data: fn(usize) -> Value,
}

const ATTACKS: [Attack; 4] = [
    Attack {
        name: "one ConfigMap with one entry",
        config_maps: 1,
        data: |_| json!({ "web": "20.0.0.1" }),
    },
    Attack {
        name: "20,000 honest entries",
        config_maps: 1_000,
        data: |number| {
            let entries = memory::entries(number.try_into().unwrap()).into_iter();
            let entries = entries.map(|(key, value)| (key, Value::from(value)));
            entries.collect::<Map<String, Value>>().into()
        },
    },
    Attack {
        name: "3 ConfigMaps of 125,000 keys",
        config_maps: 3,
        data: |_| {
            let keys = (0..125_000).map(|number| (format!("{number:05x}"), json!("")));
            keys.collect::<Map<String, Value>>().into()
        },
    },
    Attack {
        name: "300 ConfigMaps of 1 MB",
        config_maps: 300,
        data: |_| json!({ "large": "8".repeat(1_000_000) }),
    },
];

struct Peak {
    /// The memory of the process, including the pages of the program's file.
    process: f64,
    /// The memory that the kernel counts for the limit.
    group: f64,
}

impl Attack {
    async fn run(&self) -> Vec<(String, Peak, Duration)> {
        let town = Town::open("fits").await;
        let all = futures::stream::iter(0..self.config_maps).map(|number| {
            let (town, data) = (&town, (self.data)(number));
            async move { town.hostile(&format!("many-{number:04}"), data).await }
        });
        all.buffer_unordered(4).collect::<Vec<()>>().await;
        let mut peaks = Vec::new();
        let (mut first, group) = self.replica(&town, "first");
        let edits = ["9.9.9.9", "9.9.9.10"];
        peaks.push(self.watch(&town, &mut first, &group, edits).await);
        // A standby becomes the leader and reads everything, too.
        let (mut second, group) = self.replica(&town, "second");
        wait::until("the standby is ready", || second.answers("/readyz")).await;
        first.kill();
        let edits = ["9.9.9.10", "9.9.9.11"];
        peaks.push(self.watch(&town, &mut second, &group, edits).await);
        peaks
    }

    fn replica(&self, town: &Town, name: &str) -> (Replica, Cgroup) {
        let group = Cgroup::with_memory(&format!("{name}-{}", self.config_maps), LIMIT);
        let group = group.unwrap_or_else(|error| {
            panic!("no control group for a memory limit: run as root: {error}")
        });
        let program = container::release().unwrap_or_else(|| PathBuf::from(PROGRAM));
        let launch = town.launch(name).program(&program).within(group.dir());
        let launch = launch.flag("log-level", "info").lease(15);
        (launch.start(), group)
    }

    /// Serves another tenant while readers do not read, and checks that the replica is healthy afterwards.
    async fn watch(
        &self,
        town: &Town,
        replica: &mut Replica,
        group: &Cgroup,
        [from, to]: [&str; 2],
    ) -> (String, Peak, Duration) {
        let began = Instant::now();
        town.routes(&format!("{from}/32"), true).await;
        let readers: Vec<TcpStream> = (0..READERS).map(|number| reader(replica, number)).collect();
        let what = format!("{}, {} replica", self.name, replica.name);
        let took = town.swaps_within(PATIENCE, &what, from, to).await;
        tokio::time::sleep(WATCHED.saturating_sub(began.elapsed())).await;
        assert!(replica.is_alive(), "{what} was killed");
        drop(readers);
        replica.assert_well();
        assert_eq!(group.killed(), 0, "{what}");
        let peak = Peak {
            process: replica.memory("VmHWM"),
            group: group.most_memory(),
        };
        wait::measured(&format!("{what}: {:.0} MiB of {LIMIT}", peak.process));
        (what, peak, took)
    }
}

#[tokio::test]
async fn no_tenant_makes_a_replica_run_out_of_memory() {
    if !wait::is_long() {
        return;
    }
    let program = container::release().map_or("the tests' program", |_| "the release");
    let mut table = format!(
        "memory of {program} in a control group of {LIMIT} MiB, beside {READERS} readers who do not read\n\
         | attack | process at most, MiB | control group at most, MiB | another tenant's edit |\n|---|---|---|---|"
    );
    for attack in ATTACKS {
        for (what, peak, took) in attack.run().await {
            let Peak { process, group } = peak;
            let line = format!("| {what} | {process:.0} | {group:.0} | {took:.1?} |");
            write!(table, "\n{line}").unwrap();
        }
    }
    wait::measured(&table);
}
