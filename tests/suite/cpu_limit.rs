//! A leader that gets hardly any CPU keeps its Lease.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::cgroup::Cgroup;
use crate::stage::Stage;
use crate::wait;

const MILLICORES: u32 = 5;
const MAPS: usize = 200;

/// With the deployed times, a standby that would take the Lease, and edits, probes and scrapes as in a cluster.
#[tokio::test]
async fn the_leader_keeps_its_lease_with_five_millicores_of_cpu() {
    let length = Duration::from_secs(std::env::var("LENGTH").map_or(60, |l| l.parse().unwrap()));
    let stage = Stage::beside("cpu-limit", json!({ "zones": ["eu-central-1a"] })).await;
    stage.aws.bucket("templates");
    let cidr = |number: usize, round: usize| format!("198.51.{number}.{}/32", round % 250);
    for number in 0..MAPS {
        let name = format!("egress-{number}");
        stage.config_map(&name, &[("net", &cidr(number, 1))]).await;
    }
    let launch = |name: &str| {
        stage
            .replica(name)
            .zones(&["a"])
            .flag("cf-template-bucket", "templates")
            .without("leader-elect-lease-duration")
            .without("leader-elect-renew-deadline")
            .without("leader-elect-retry-period")
            .without("resync-interval")
            .flag("log-level", "info")
    };
    let group = Cgroup::with_millicores("leader", MILLICORES).unwrap();
    let start = Instant::now();
    let mut leader = launch("r1").within(group.dir()).start();
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if leader.said(&["Keep: the stack is as it should be"]).is_ok() {
            break;
        }
        if start.elapsed() > Duration::from_secs(300) {
            eprintln!("{}", leader.log());
            panic!("slow");
        }
    }
    wait::measured(&format!("settled after {:?}", start.elapsed()));
    let standby = launch("r2").start();
    let transitions = stage.transitions().await;
    let began = Instant::now();
    let mut round = 1;
    let stat = || {
        let s = std::fs::read_to_string(format!("/proc/{}/stat", leader.pid())).unwrap();
        let f: Vec<String> = s.split(' ').map(str::to_owned).collect();
        (f[13].clone(), f[14].clone())
    };
    eprintln!("cpu {:?}", stat());
    while began.elapsed() < length {
        tokio::time::sleep(Duration::from_secs(5)).await;
        let t = Instant::now();
        let probe = leader.get("/healthz").map(|a| a.status);
        let latency = leader.metric("kube_static_egress_controller_lease_renewal_latency_seconds");
        eprintln!(
            "{:?} probe {probe:?} {:?} latency {latency:?} cpu {:?} throttled {}",
            began.elapsed(),
            t.elapsed(),
            stat(),
            group.throttled()
        );
        if began.elapsed() > Duration::from_secs(30 * round as u64) {
            round += 1;
            stage
                .config_map("egress-7", &[("net", &cidr(7, round))])
                .await;
        }
    }
    assert_eq!(
        stage.transitions().await,
        transitions,
        "{}\n{}",
        leader.log(),
        standby.log()
    );
    eprintln!("{}", leader.log());
    assert!(leader.is_alive());
    leader.kill();
}
