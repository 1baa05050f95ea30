//! A leader with very little CPU keeps its Lease.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::cgroup::Cgroup;
use crate::stage::Stage;
use crate::wait::{self, is_long};

/// The CPU limit, which applies from the process's first instruction.
const MILLICORES: u32 = 5;
const MAPS: usize = 200;
/// The timeout of creating 200 routes, and of each edit, with so little CPU.
const PATIENCE: Duration = Duration::from_secs(400);
const PROBES: Duration = Duration::from_secs(5);
const EDITS: Duration = Duration::from_secs(30);

async fn patiently(what: &str, mut probe: impl FnMut() -> Result<(), String>) {
    let start = Instant::now();
    while let Err(complaint) = probe() {
        assert!(start.elapsed() < PATIENCE, "{what}: {complaint}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Runs with the deployed times, a standby that would take the Lease, and edits, probes and scrapes as in a cluster.
#[tokio::test]
async fn the_leader_keeps_its_lease_with_five_millicores_of_cpu() {
    let group = match Cgroup::with_millicores("leader", MILLICORES) {
        Ok(group) => group,
        Err(error) if !is_long() => {
            let text = "no CPU limit was tried: run as root to make control groups";
            return wait::measured(&format!("{text} ({error})"));
        }
        Err(error) => panic!("no control group for a CPU limit: run as root: {error}"),
    };
    let stage = Stage::beside("cpu-limit", json!({ "zones": ["eu-central-1a"] })).await;
    stage.aws.bucket("templates");
    let cidr = |map: usize, round: usize| format!("198.51.{map}.{}/32", round % 250);
    for map in 0..MAPS {
        let name = format!("egress-{map}");
        stage.config_map(&name, &[("net", &cidr(map, 0))]).await;
    }
    let launch = |name: &str| {
        let launch = stage.replica(name).zones(&["a"]).default_lease();
        let launch = launch.flag("cf-template-bucket", "templates");
        launch.without("resync-interval").flag("log-level", "info")
    };
    let routed = |cidr: &str| {
        let routes = stage.aws.routes();
        let all = routes.values().all(|table| table.contains_key(cidr));
        wait::check(all, || format!("{cidr} is not routed"))
    };
    let start = Instant::now();
    let mut leader = launch("r1").within(group.dir()).start();
    patiently("the first stack", || routed(&cidr(MAPS - 1, 0))).await;
    let settled = start.elapsed();
    let _standby = launch("r2").start();
    let transitions = stage.transitions().await;

    let length = Duration::from_secs(if is_long() { 600 } else { 60 });
    let (began, mut round, mut slowest, mut renewal) = (Instant::now(), 0, 0.0_f64, 0.0_f64);
    while began.elapsed() < length {
        tokio::time::sleep(PROBES).await;
        let asked = Instant::now();
        leader.assert_well();
        slowest = slowest.max(asked.elapsed().as_secs_f64());
        let latency = "kube_static_egress_controller_lease_renewal_latency_seconds";
        renewal = renewal.max(leader.metric(latency).unwrap_or_default());
        if began.elapsed() > EDITS * round {
            round += 1;
            let data = cidr(7, round as usize);
            stage.config_map("egress-7", &[("net", &data)]).await;
        }
    }
    let last = cidr(7, round as usize);
    patiently("the last edit", || routed(&last)).await;
    assert_eq!(stage.transitions().await, transitions, "the Lease was lost");
    wait::measured(&format!(
        "{MILLICORES} m of CPU, {MAPS} ConfigMaps, a debug build: the stack was there after {:.0} s, the Lease kept for {:.0} s; \
         slowest renewal {renewal:.1} s, slowest pair of probes {slowest:.1} s, throttled in {} periods",
        settled.as_secs_f64(),
        began.elapsed().as_secs_f64(),
        group.throttled()
    ));
    assert!(group.throttled() > 0, "there was no limit");
    leader.kill();
}
