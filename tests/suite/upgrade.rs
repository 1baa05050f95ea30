//! The life cycle of the chart under load: Helm installs it, the controller manager replaces its pods and a node runs them, exactly as
//! rendered, during edits. The chart only gets the address of AWS, a free port, a log format that tests can parse, and permission for many
//! removals at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::{TryStreamExt as _, pin_mut};
use http::Method;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use crate::audit::{self, Terms};
use crate::helm::CHART;
use crate::install::{helm_beside, values};
use crate::kubelet::Kubelet;
use crate::replica::free_port;
use crate::rolling::{self, Edits};
use crate::stage::{NAME, Stage};
use crate::standin::Exit;
use crate::testbed::{self, Testbed};
use crate::wait;

const STACK: &str = "egress-static-nat-example";
const REPLICAS: usize = 2;
/// The network that is always requested.
const FIRST: &str = "9.9.9.9/32";
/// How much longer an edit may take than without a change: less than the duration of a Lease, so no edit waits for a Lease to expire.
const DELAY: Duration = Duration::from_secs(10);
/// How long edits are measured without a change.
const CALM: Duration = Duration::from_secs(4);
/// The termination grace period of a pod, as in the chart.
const GRACE: Duration = Duration::from_secs(15);

async fn helm(stage: &Stage, arguments: &[&str]) {
    helm_beside(&stage.namespace, arguments).await.unwrap();
}

/// The port of the pods, which is free on all of this machine's addresses.
static PORT: LazyLock<u16> = LazyLock::new(free_port);

/// Installs or upgrades a release of the chart with the example values and these.
pub async fn apply(stage: &Stage, release: &str, verb: &str, more: Value) {
    let own = values(&json!({
        "extraEnv": [{ "name": "AWS_ENDPOINT_URL", "value": format!("http://127.0.0.1:{}", stage.aws.port()) }],
        "log": { "level": "debug", "format": "text" },
        "port": *PORT,
        // Edits that arrive while no replica leads remove many networks at once.
        "stack": { "maxRemoval": 100 },
    }));
    let more = values(&more);
    let chart = [
        verb,
        release,
        CHART,
        "--wait",
        "--timeout=60s",
        "--values",
        "deploy/example-values.yaml",
    ];
    helm(
        stage,
        &[&chart[..], &["--values", &own, "--values", &more]].concat(),
    )
    .await;
}

fn pods(stage: &Stage) -> Api<Pod> {
    Api::namespaced(stage.kube.clone(), &stage.namespace)
}

/// Whether a Service would send requests to the pod.
fn serves(pod: &Pod) -> bool {
    let ready = |pod: &Pod| {
        let conditions = pod.status.as_ref()?.conditions.as_ref()?;
        let ready = conditions
            .iter()
            .find(|condition| condition.type_ == "Ready")?;
        Some(ready.status == "True")
    };
    pod.metadata.deletion_timestamp.is_none() && ready(pod).unwrap_or_default()
}

/// Follows every change of the pods, until dropped. Records the smallest number of pods that served at the same time.
async fn count_serving(stage: &Stage, fewest: &AtomicUsize) {
    let (mut serving, mut complete) = (BTreeSet::new(), false);
    let events = watcher(pods(stage), watcher::Config::default());
    pin_mut!(events);
    while let Some(event) = events.try_next().await.unwrap() {
        match event {
            Event::Init => (serving, complete) = (BTreeSet::new(), false),
            Event::InitDone => complete = true,
            Event::Apply(pod) | Event::InitApply(pod) if serves(&pod) => {
                serving.insert(pod.name_any());
            }
            Event::Apply(pod) | Event::InitApply(pod) | Event::Delete(pod) => {
                serving.remove(&pod.name_any());
            }
        }
        if complete {
            fewest.fetch_min(serving.len(), Ordering::Relaxed);
        }
    }
}

/// Checks the account all the time: static IPs stay, and the first network stays served.
async fn guard(stage: &Stage, exits: &BTreeMap<String, Exit>, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        assert_eq!(stage.aws.exits(), *exits);
        for ((table, zone), routes) in stage.aws.routes() {
            assert_eq!(routes.get(FIRST), Some(&exits[&zone].gateway), "{table}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until this many pods serve, and no others are left.
async fn serving(stage: &Stage, count: usize) {
    wait::until_async(&format!("{count} pods serve"), async || {
        let all = pods(stage).list(&kube::api::ListParams::default()).await;
        let all = all.map_err(|error| error.to_string())?.items;
        let serving = all.iter().filter(|pod| serves(pod)).count();
        wait::check((serving, all.len()) == (count, count), || {
            format!("{serving} of {}", all.len())
        })
    })
    .await;
}

/// Checks the logs of the replicas and the log of AWS.
fn judge(stage: &Stage, kubelet: &Kubelet) {
    let log = stage.aws.log_since(0);
    let told = kubelet.told();
    let mut terms = Terms::default();
    for entry in log.iter().filter(|entry| entry.issued.is_some()) {
        let pod = entry.pod.as_ref().expect("the token is bound to its pod");
        let text = std::fs::read_to_string(&told[pod].log).unwrap();
        terms.add_log(entry.issued.as_ref().unwrap(), &text);
    }
    let writes = stage.aws.writes_since(0);
    terms.audit(&writes);
    audit::nothing_failed(&stage.aws, STACK);
    for (pod, told) in told {
        assert_eq!(told.faults, [""; 0], "{pod}");
        if let Some((code, took)) = told.ended {
            assert_eq!(code, Some(0), "{pod}");
            assert!(took < GRACE, "{pod} ended after {took:?}");
        }
    }
}

/// Checks that no permission is missing, and that no problem for operators is reported.
fn nothing_is_told(kubelet: &Kubelet) {
    for (pod, told) in kubelet.told() {
        let text = std::fs::read_to_string(&told.log).unwrap();
        for bad in [
            "forbidden",
            "Forbidden",
            "Unauthorized",
            " WARN ",
            " ERROR ",
        ] {
            assert_eq!(text.lines().find(|line| line.contains(bad)), None, "{pod}");
        }
    }
}

/// Evicts a pod, as a drain does. Returns false if its disruption budget forbids the eviction now.
async fn evict(client: &kube::Client, pod: &ObjectMeta) -> bool {
    let (space, name) = (pod.namespace.as_ref().unwrap(), pod.name.as_ref().unwrap());
    let path = format!("/api/v1/namespaces/{space}/pods/{name}/eviction");
    let body =
        json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": name } });
    let answer = testbed::request(client, Method::POST, &path, "application/json", &body).await;
    match answer {
        Ok(_) => true,
        Err(kube::Error::Api(status)) if status.code == 429 => false,
        Err(error) => panic!("{path}: {error}"),
    }
}

/// The load during all changes of the replicas.
struct Load {
    edits: Edits,
    exits: BTreeMap<String, Exit>,
    /// The longest time of an edit without a change.
    usual: Option<Duration>,
}

impl Load {
    /// Edits until the change is complete. Meanwhile at least this many pods serve, and no route is lost.
    async fn during(
        &mut self,
        stage: &Stage,
        what: &str,
        pods: usize,
        change: impl Future<Output = ()>,
    ) {
        let (stop, fewest) = (AtomicBool::new(false), AtomicUsize::new(usize::MAX));
        let transitions = stage.transitions().await;
        let all = async {
            change.await;
            serving(stage, REPLICAS).await;
            stop.store(true, Ordering::Relaxed);
        };
        let work = async {
            tokio::join!(
                self.edits.stream(stage, &stop),
                guard(stage, &self.exits, &stop),
                all
            )
        };
        let (took, (), ()) = tokio::select! {
            done = work => done,
            () = count_serving(stage, &fewest) => unreachable!("the watch goes on"),
        };
        let changes = stage.transitions().await - transitions;
        let (longest, fewest) = (rolling::longest(&took), fewest.load(Ordering::Relaxed));
        wait::measured(&format!(
            "{what}: {} edits, each routed after at most {:.2} s; {changes} changes of the leader; {fewest} pods served at least",
            took.len(),
            longest.as_secs_f64(),
        ));
        let Some(usual) = self.usual else {
            self.usual = Some(longest);
            return;
        };
        assert!(longest < usual + DELAY, "{took:?}");
        assert!((pods..=REPLICAS + 1).contains(&fewest), "{fewest}");
        assert!((1..=REPLICAS as u64).contains(&changes), "{changes}");
    }
}

/// Drains the node of one pod after the other, the leader first.
async fn drain(stage: &Stage) {
    let leader = stage.some_leader().await;
    let all = pods(stage).list(&kube::api::ListParams::default()).await;
    let all = all.unwrap().items.into_iter().map(|pod| pod.metadata);
    let (first, others): (Vec<_>, Vec<_>) = all.partition(|pod| pod.name.as_ref() == Some(&leader));
    // The budget has counted the pods of the last change.
    wait::until_async("one pod may go", async || {
        let path = format!("{}/{NAME}", stage.path("policy/v1", "poddisruptionbudgets"));
        let budget = stage.request(Method::GET, &path, "application/json", &Value::Null);
        let status = budget.await.map_err(|error| error.to_string())?["status"].clone();
        let counts = ["currentHealthy", "expectedPods", "disruptionsAllowed"];
        let counts = counts.map(|key| status[key].as_u64());
        wait::check(counts == [Some(2), Some(2), Some(1)], || status.to_string())
    })
    .await;
    let client = Testbed::cluster().impatient().await;
    assert!(evict(&client, &first[0]).await);
    // The first pod has no replacement yet.
    assert!(!evict(&client, &others[0]).await, "both may go at once");
    wait::until_async("the other one may go", async || {
        wait::check(evict(&client, &others[0]).await, String::new)
    })
    .await;
}

#[tokio::test]
async fn helm_upgrades_and_rolls_back_and_nodes_are_drained_under_edits() {
    let cluster = Testbed::cluster();
    let stage = Stage::bare(cluster, "upgrade").await;
    stage.released_lease().await;
    stage
        .aws
        .settings(json!({ "operation_ms": 600, "changeset_ms": 200 }));
    stage
        .aws
        .fault(json!({ "kind": "delay", "action": "*", "ms": 30 }));
    let kubelet = Kubelet::start(&stage, cluster);
    apply(&stage, NAME, "install", json!({})).await;
    stage.config_map("egress-t1", &[("first", FIRST)]).await;
    let exits = stage.routed(&[FIRST]).await;
    let edits = Edits::of("egress-t2", "198.51");
    let usual = None;
    let mut load = Load {
        edits,
        exits,
        usual,
    };
    let calm = tokio::time::sleep(CALM);
    load.during(&stage, "nothing", REPLICAS, calm).await;

    let other = json!({ "stack": { "resyncInterval": "2m" } });
    let change = apply(&stage, NAME, "upgrade", other);
    load.during(&stage, "helm upgrade", REPLICAS, change).await;
    let change = helm(&stage, &["rollback", NAME, "1", "--wait", "--timeout=60s"]);
    load.during(&stage, "helm rollback", REPLICAS, change).await;
    load.during(&stage, "drain", REPLICAS - 1, drain(&stage))
        .await;
    assert_eq!(
        kubelet.told().len(),
        4 * REPLICAS,
        "pods are replaced once each"
    );
    nothing_is_told(&kubelet);

    helm(&stage, &["uninstall", NAME, "--wait", "--timeout=60s"]).await;
    serving(&stage, 0).await;
    judge(&stage, &kubelet);
    assert_eq!(stage.aws.exits(), load.exits);
}
