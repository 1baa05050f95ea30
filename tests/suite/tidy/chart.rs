//! The chart as a dependency, in clusters of other kinds, and with settings that exclude each other.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::root;
use crate::helm::{self, CHART, find, render};
use crate::testbed;

const NAME: &str = "kube-static-egress-controller";

/// Copies a chart without the files that this test does not need.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Creates a chart that has this one as an optional dependency.
fn umbrella() -> PathBuf {
    let dir = testbed::directory("umbrella");
    copy(&root().join(CHART), &dir.join("charts").join(NAME));
    let chart = json!({
        "apiVersion": "v2", "name": "platform", "version": "1.0.0",
        "dependencies": [{ "name": NAME, "version": "*", "condition": format!("{NAME}.enabled") }],
    });
    fs::write(dir.join("Chart.yaml"), chart.to_string()).unwrap();
    dir
}

fn template(chart: &Path, values: &Value, more: &[&str]) -> Result<Vec<Value>, String> {
    let file = testbed::directory("values").join("values.json");
    fs::write(&file, values.to_string()).unwrap();
    let values = format!("--values={}", file.display());
    let usual = ["template", "r", chart.to_str().unwrap(), &values];
    helm::run(&[&usual[..], more].concat()).map(|text| helm::objects(&text))
}

fn example() -> Value {
    let text = super::read("deploy/example-values.yaml");
    serde_saphyr::from_str(&text).unwrap()
}

/// Runs the chart's own unit tests by helm-unittest, which renders with the library of Helm 3.
#[test]
fn the_unit_tests_of_the_chart() {
    let program = helm::tool("KSEC_HELM_UNITTEST");
    let output = Command::new(&program)
        .current_dir(root())
        .args(["--strict", CHART])
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    let count = said
        .lines()
        .find_map(|line| line.strip_prefix("Tests:")?.split_whitespace().next());
    let count: usize = count.unwrap().parse().unwrap();
    assert!(count >= 17, "{said}");
}

#[test]
fn an_umbrella_chart_may_leave_it_out_and_gives_it_global_secrets() {
    let dir = umbrella();
    let mut own = example();
    own["enabled"] = json!(true);
    let mut values =
        json!({ "global": { "imagePullSecrets": [{ "name": "all" }], "other": 1 }, NAME: own });
    let objects = template(&dir, &values, &[]).unwrap();
    let pod = &find(&objects, "Deployment", "")["spec"]["template"]["spec"];
    assert_eq!(pod["imagePullSecrets"], json!([{ "name": "all" }]));
    values[NAME]["enabled"] = json!(false);
    assert_eq!(template(&dir, &values, &[]).unwrap(), Vec::<Value>::new());
    let _ = fs::remove_dir_all(dir);
}

#[test]
fn the_network_policy_selects_the_pods_and_the_pod_of_helm_test() {
    let objects = render(&json!({ "networkPolicy": { "enabled": true } })).unwrap();
    let policy = &find(&objects, "NetworkPolicy", "")["spec"];
    // If all other traffic is denied, `helm test` needs the same egress rules as the controller.
    let test = objects
        .iter()
        .find(|object| object["kind"] == "Pod")
        .unwrap();
    let deployment = find(&objects, "Deployment", "");
    let selected = &policy["podSelector"]["matchExpressions"][0];
    assert_eq!(selected["key"], "app.kubernetes.io/name");
    for labels in [
        &test["metadata"]["labels"],
        &deployment["spec"]["template"]["metadata"]["labels"],
    ] {
        let name = &labels["app.kubernetes.io/name"];
        assert!(
            selected["values"].as_array().unwrap().contains(name),
            "{name}"
        );
        let instance = &policy["podSelector"]["matchLabels"]["app.kubernetes.io/instance"];
        assert_eq!(&labels["app.kubernetes.io/instance"], instance);
    }
    let own = &deployment["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"];
    assert_ne!(&test["metadata"]["labels"]["app.kubernetes.io/name"], own);
}

#[test]
fn a_new_version_of_the_chart_alone_restarts_no_pod() {
    let dir = testbed::directory("bumped");
    copy(&root().join(CHART), &dir);
    let about = super::read(format!("{CHART}/Chart.yaml"));
    let version = format!("version: {}\n", env!("CARGO_PKG_VERSION"));
    assert!(about.contains(&version));
    let bumped = about.replacen(&version, "version: 99.0.0\n", 1);
    fs::write(dir.join("Chart.yaml"), bumped).unwrap();
    let pods = |chart: &Path| {
        let objects = template(chart, &example(), &[]).unwrap();
        find(&objects, "Deployment", "").clone()
    };
    let (before, after) = (pods(&root().join(CHART)), pods(&dir));
    assert_ne!(before["metadata"], after["metadata"]);
    assert_eq!(before["spec"], after["spec"]);
    let _ = fs::remove_dir_all(dir);
}

#[test]
fn commands_in_the_pod_find_the_lease_of_every_release_name() {
    let objects = template(&root().join(CHART), &example(), &[]).unwrap();
    let lease = find(&objects, "Lease", "")["metadata"]["name"].clone();
    assert_eq!(lease, "r-kube-static-egress-controller");
    let container = &find(&objects, "Deployment", "")["spec"]["template"]["spec"]["containers"][0];
    let variable = "KUBE_STATIC_EGRESS_CONTROLLER_LEADER_ELECT_RESOURCE_NAME";
    let env = container["env"].as_array().unwrap();
    let named = env.iter().find(|env| env["name"] == variable).unwrap();
    assert_eq!(named["value"], lease);
    let args = container["args"].to_string();
    assert!(!args.contains("resource-name"), "{args}");
}
