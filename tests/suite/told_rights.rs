//! Rights to publish the status, and to read it. Without permission to publish, the controller says so once, and continues.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::chart;
use crate::replica::PROGRAM;
use crate::rights;
use crate::stage::{NAME, Stage};
use crate::wait;

const WRITES: &str = "kube_static_egress_controller_cluster_writes_total";

#[tokio::test]
async fn rights_to_tell_that_are_missing_are_told_once_and_harm_no_route() {
    let stage = Stage::open("told-rights").await;
    for right in rights::rights(&stage.namespace) {
        if right.resource == "events" || right.name.ends_with("-status") {
            rights::take(&stage, &right).await;
        }
    }
    let mut replica = stage.replica("r1").start();
    let cidrs = ["8.8.8.8/32", "9.9.9.9/32", "203.0.113.0/24"];
    for (number, cidr) in (1..).zip(cidrs) {
        let name = format!("egress-t{number}");
        stage.config_map(&name, &[("one", cidr)]).await;
        stage.routed(&cidrs[..number]).await;
    }
    let refused = |object: &str, least: f64| {
        let sample = format!("{WRITES}{{object=\"{object}\",result=\"forbidden\"}}");
        let count = replica.metric(&sample);
        wait::check(count >= Some(least), || format!("{sample}: {count:?}"))
    };
    // Accepted and Routed for three ConfigMaps, and the leader's own Event.
    wait::until("Events are refused", || refused("event", 6.0)).await;
    wait::until("the status is refused twice", || refused("status", 2.0)).await;
    for (what, remedy) in [
        (
            "an Event on the ConfigMap",
            "check the permission to create events.events.k8s.io",
        ),
        (
            "kube-static-egress-controller-status",
            "the permission to get and patch it",
        ),
    ] {
        let warned = replica.when(&["WARN", "forbidden", what, remedy]);
        assert_eq!(warned.len(), 1, "{what}: {}", replica.log());
    }
    replica.assert_well();
}

/// Creates an account without rights. Returns its kubeconfig.
async fn account(stage: &Stage, name: &str) -> PathBuf {
    let accounts = stage.path("", "serviceaccounts");
    let object = json!({ "metadata": { "name": name } });
    stage.create(&accounts, object).await;
    let request = json!({ "spec": { "expirationSeconds": 3600 } });
    let token = stage
        .create(&format!("{accounts}/{name}/token"), request)
        .await;
    let text = std::fs::read(stage.dir.join("kubeconfig")).unwrap();
    let mut config: Value = serde_json::from_slice(&text).unwrap();
    config["users"][0]["user"] = json!({ "token": token["status"]["token"] });
    let file = stage.dir.join(format!("{name}-kubeconfig"));
    std::fs::write(&file, config.to_string()).unwrap();
    file
}

/// Binds the account to the chart's Role for users who read the status, and to nothing else.
async fn bind(stage: &Stage, account: &str) {
    let roles = stage.path("rbac.authorization.k8s.io/v1", "roles");
    let bindings = stage.path("rbac.authorization.k8s.io/v1", "rolebindings");
    let role = format!("{NAME}-status-reader");
    let mut objects = chart::objects().into_iter();
    let mut object = objects
        .find(|object| object["kind"] == "Role" && object["metadata"]["name"] == role.as_str())
        .unwrap();
    object["metadata"]["namespace"] = stage.namespace.as_str().into();
    stage.create(&roles, object).await;
    let binding = json!({
        "metadata": { "name": account },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role },
        "subjects": [{ "kind": "ServiceAccount", "name": account, "namespace": stage.namespace }],
    });
    stage.create(&bindings, binding).await;
}

#[tokio::test]
async fn the_role_for_teams_is_enough_for_status_and_check() {
    let stage = Stage::open("reader").await;
    let _replica = stage.replica("r1").flag("provider", "in-memory").start();
    stage.config_map("egress-t1", &[("dns", "8.8.8.8")]).await;
    let ask = |kubeconfig: &PathBuf, question: &[&str]| {
        let output = Command::new(PROGRAM)
            .env_clear()
            .args(question)
            .arg(format!("--kubeconfig={}", kubeconfig.display()))
            .arg(format!(
                "--leader-elect-resource-namespace={}",
                stage.namespace
            ))
            .output()
            .unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code().unwrap(), text)
    };
    let questions = [&["status"][..], &["check", "8.8.8.8"]];
    let own = stage.dir.join("kubeconfig");
    wait::until("it is routed", || {
        let (code, text) = ask(&own, &["status"]);
        wait::check(code == 0 && text.contains("Routed"), || text)
    })
    .await;
    let team = account(&stage, "team").await;
    for question in questions {
        let (code, text) = ask(&team, question);
        let right = format!(
            "lacks the right to get the ConfigMap {}/{NAME}-status: bind it to the Role …-status-reader",
            stage.namespace
        );
        assert!(code == 1 && text.contains(&right), "{code}: {text}");
    }
    bind(&stage, "team").await;
    wait::until("the Role counts", || {
        let (code, text) = ask(&team, &["status"]);
        wait::check(code == 0, || text)
    })
    .await;
    for question in questions {
        let (code, text) = ask(&team, question);
        assert!(code == 0 && text.contains("198.51.100.1"), "{text}");
        // The Lease is read as well.
        let (code, text) = ask(&team, &[question, &["--output=json"]].concat());
        let answer: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (code, &answer["lease"]["held"]),
            (0, &json!(true)),
            "{text}"
        );
    }
}
