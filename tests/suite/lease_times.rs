//! The cost of a Lease of the default duration, and the time without a leader after a crash.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::stage::{EXAMPLE, EXAMPLE_CIDRS, Stage};
use crate::testbed::Testbed;
use crate::wait::{self, is_long};

const LEASE: u32 = 15;
/// The maximum number of requests per hour. client-go makes about 4,050.
const REQUESTS_AN_HOUR: f64 = 1_000.0;

#[tokio::test]
async fn after_a_crash_another_replica_leads_as_soon_as_the_lease_has_run_out() {
    let stage = Stage::open("crash-times").await;
    let mut replicas = ["r1", "r2", "r3"].map(|name| stage.replica(name).default_lease().start());
    stage.config_map("egress-t1", &EXAMPLE).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    for replica in &replicas {
        wait::until("ready", || replica.answers("/readyz")).await;
    }
    let leader = stage.some_leader().await;
    let [crashed, others @ ..] = {
        replicas.sort_by_key(|replica| replica.name != leader);
        &mut replicas
    };
    let renewed = |lease: &Value| lease["spec"]["renewTime"].as_str().unwrap().to_owned();
    crashed.kill();
    let killed = jiff::Timestamp::now();
    let lease = stage.lease().await.unwrap();
    let renewed: jiff::Timestamp = renewed(&lease).parse().unwrap();
    let led = wait::until("another leads", || {
        let mut led = others
            .iter()
            .flat_map(|replica| replica.when(&["this replica leads"]));
        led.next().ok_or_else(|| "nobody leads".to_owned())
    })
    .await;
    let seconds = |since: jiff::Timestamp| led.duration_since(since).as_secs_f64();
    wait::measured(&format!(
        "next leader {:.2} s after a crash, {:.2} s after the last renewal, with a Lease of {LEASE} s",
        seconds(killed),
        seconds(renewed)
    ));
    // On a quiet machine, half a second is enough.
    assert!(seconds(renewed) >= f64::from(LEASE), "too early");
    assert!(seconds(killed) < f64::from(LEASE) + 2.0, "too late");
}

/// Returns requests from the API server's audit log.
fn audited(path: &str, namespace: &str) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let entries = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    entries
        .filter(|entry: &Value| {
            let object = &entry["objectRef"];
            object["resource"] == "leases"
                && object["namespace"] == namespace
                && entry["user"]["username"]
                    .as_str()
                    .is_some_and(|user| user.starts_with("system:serviceaccount:"))
        })
        .collect()
}

#[tokio::test]
async fn three_idle_replicas_make_few_requests_for_the_lease() {
    let dir = crate::testbed::directory("audit");
    let (policy, log) = (dir.join("policy.yaml"), dir.join("audit.log"));
    // One line per request, on arrival.
    let rules = "apiVersion: audit.k8s.io/v1\nkind: Policy\n\
                 omitStages: [ResponseStarted, ResponseComplete, Panic]\n\
                 rules:\n- {level: Metadata, resources: [{group: coordination.k8s.io, resources: [leases]}]}\n\
                 - {level: None}\n";
    fs::write(&policy, rules).unwrap();
    let flag = |name: &str, path: &std::path::Path| format!("--{name}={}", path.display());
    let flags = [
        flag("audit-policy-file", &policy),
        flag("audit-log-path", &log),
    ];
    let testbed = Testbed::start_with("requests", &["--", &flags[0], &flags[1]]);
    let stage = Stage::on_beside(&testbed, "requests").await;
    let replicas = ["r1", "r2", "r3"].map(|name| stage.replica(name).default_lease().start());
    stage.some_leader().await;
    for replica in &replicas {
        wait::until("ready", || replica.answers("/readyz")).await;
    }
    // New connections and the first watches are not part of the idle rate.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let count = || audited(log.to_str().unwrap(), &stage.namespace).len();
    let length = Duration::from_secs(if is_long() { 600 } else { 150 });
    let before = count();
    tokio::time::sleep(length).await;
    let requests = count() - before;
    let an_hour = |requests: usize| requests as f64 * 3_600.0 / length.as_secs_f64();
    wait::measured(&format!(
        "3 idle replicas: {requests} requests for the Lease in {length:?}, or {:.0} an hour",
        an_hour(requests)
    ));
    assert!(requests > 0, "nothing was counted");
    // Each replica may have sent one request a moment too early.
    let sure = requests.saturating_sub(replicas.len());
    assert!(an_hour(sure) <= REQUESTS_AN_HOUR, "{requests}");
}
