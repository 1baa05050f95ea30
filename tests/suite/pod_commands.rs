//! What operators run in the pods of a release: `helm test`, and `status` and `check` as `kubectl exec` runs them. The release has another
//! name than the chart, because the names of the Lease and the status follow it.

use std::path::{Path, PathBuf};

use http::Method;
use serde_json::{Value, json};

use crate::container::{exec, run, said};
use crate::install::helm_beside;
use crate::kubelet::Kubelet;
use crate::stage::Stage;
use crate::testbed::Testbed;
use crate::upgrade::apply;
use crate::wait;

const RELEASE: &str = "team-a";
/// The name of the release's objects.
const CONTROLLER: &str = "team-a-kube-static-egress-controller";
const NETWORK: &str = "9.9.9.9/32";

/// Runs the program in the container until it exits with this code. Returns its output.
async fn run_in(container: &Path, arguments: &[&str], code: i32) -> String {
    let program = ["/kube-static-egress-controller"];
    let what = format!("{arguments:?} exits with {code} in {}", container.display());
    wait::until(&what, || {
        let output = run(&mut exec(container, &[&program, arguments].concat()));
        let done = output.status.code() == Some(code);
        wait::check(done, || said(&output))?;
        Ok(said(&output))
    })
    .await
}

/// Runs `helm test`, which waits for the end of its pod. Returns its result, and the phase of the pod.
async fn helm_test(stage: &Stage) -> (Result<String, String>, Value) {
    let tested = helm_beside(&stage.namespace, &["test", RELEASE, "--timeout=60s"]).await;
    let path = format!("{}/{CONTROLLER}-plan", stage.path("", "pods"));
    let pod = stage.request(Method::GET, &path, "application/json", &Value::Null);
    (tested, pod.await.unwrap()["status"]["phase"].clone())
}

/// Returns the leader's container and the standby's.
async fn replicas(stage: &Stage, kubelet: &Kubelet) -> [PathBuf; 2] {
    let leases = stage.path("coordination.k8s.io/v1", "leases");
    let leader = wait::until_async("a pod of the release leads", async || {
        let path = format!("{leases}/{CONTROLLER}");
        let lease = stage.request(Method::GET, &path, "application/json", &Value::Null);
        let lease = lease.await.map_err(|error| error.to_string())?;
        let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
        let (pod, _) = holder.split_once('_').ok_or_else(|| lease.to_string())?;
        Ok(pod.to_owned())
    })
    .await;
    let told = kubelet.told();
    let of_pod = |name: &String| told[name].container.clone();
    let mut standby = told.keys().filter(|name| **name != leader);
    let both = [of_pod(&leader), of_pod(standby.next().unwrap())];
    assert_eq!(standby.next(), None);
    both
}

#[tokio::test]
async fn helm_test_status_and_check_work_under_another_release_name() {
    let cluster = Testbed::cluster();
    let stage = Stage::bare(cluster, "commands").await;
    let kubelet = Kubelet::start(&stage, cluster);
    apply(&stage, RELEASE, "install", json!({})).await;
    stage.config_map("egress-t1", &[("dns", NETWORK)]).await;
    let exits = stage.routed(&[NETWORK]).await;

    for container in replicas(&stage, &kubelet).await {
        for arguments in [&["status"][..], &["check", "9.9.9.9"]] {
            let told = run_in(&container, arguments, 0).await;
            for exit in exits.values() {
                assert!(told.contains(&exit.ip), "{arguments:?}: {told}");
            }
        }
        let told = run_in(&container, &["check", "1.1.1.1"], 2).await;
        assert!(told.contains("1.1.1.1"), "{told}");
    }

    let (tested, phase) = helm_test(&stage).await;
    assert!(tested.is_ok(), "{tested:?}");
    assert_eq!(phase, "Succeeded");
    let plan = kubelet.told()[&format!("{CONTROLLER}-plan")].clone();
    assert_eq!(plan.faults, [""; 0]);
    let plan = std::fs::read_to_string(&plan.log).unwrap();
    assert!(plan.contains("Keep"), "{plan}");
    // The test fails where the controller could not work.
    let roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
    stage.take(&format!("{roles}/{CONTROLLER}")).await;
    wait::until_async("helm test fails without rights", async || {
        let (tested, phase) = helm_test(&stage).await;
        wait::check(tested.is_err() && phase == "Failed", || {
            format!("{phase}: {tested:?}")
        })
    })
    .await;
    helm_beside(
        &stage.namespace,
        &["uninstall", RELEASE, "--wait", "--timeout=60s"],
    )
    .await
    .unwrap();
}
