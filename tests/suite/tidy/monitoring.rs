//! Alerts and dashboard use existing metrics, and alerts fire when they should.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::{Value, json};

use super::docs::{rows, section};
use super::read;
use crate::helm::{self, CHART};

const PREFIX: &str = "kube_static_egress_controller_";

/// Returns the rendered rules.
fn rules() -> Value {
    let objects = helm::render(&json!({ "prometheusRule": { "enabled": true } })).unwrap();
    helm::find(&objects, "PrometheusRule", "")["spec"].clone()
}

fn alerts() -> BTreeSet<String> {
    let rules = rules();
    let rules = rules["groups"][0]["rules"].as_array().unwrap();
    let name = |rule: &Value| rule["alert"].as_str().unwrap().to_owned();
    rules.iter().map(name).collect()
}

/// Returns the names of all samples that Prometheus stores for the documented metrics.
fn samples() -> BTreeSet<String> {
    let types: BTreeMap<String, String> = rows(&section("metrics")).into_iter().collect();
    let suffixes = |kind: &str| match kind {
        "gauge" => [""].as_slice(),
        "counter" => &["_total"],
        "histogram" => &["_bucket", "_sum", "_count"],
        "info" => &["_info"],
        other => panic!("{other}"),
    };
    types
        .iter()
        .flat_map(|(name, kind)| {
            suffixes(kind)
                .iter()
                .map(move |suffix| format!("{name}{suffix}"))
        })
        .collect()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
}

#[test]
fn alerts_and_dashboard_ask_for_metrics_that_exist() {
    let samples = samples();
    for file in ["alerts.yaml", "dashboard.json"] {
        let text = read(format!("{CHART}/files/{file}"));
        let asked: BTreeSet<&str> = words(&text)
            .filter(|word| word.starts_with(PREFIX))
            .collect();
        assert!(asked.len() > 5, "{file}: {asked:?}");
        let unknown: Vec<&&str> = asked
            .iter()
            .filter(|name| !samples.contains(**name))
            .collect();
        assert!(
            unknown.is_empty(),
            "{file} asks for {unknown:?}, which deploy/docs/metrics.md does not have"
        );
    }
}

/// Reasons, outcomes and states that an alert names are documented.
#[test]
fn alerts_name_reasons_that_exist() {
    let told: String = super::pages::all().iter().map(read).collect();
    let text = read(format!("{CHART}/files/alerts.yaml"));
    let quoted = text
        .split('"')
        .skip(1)
        .step_by(2)
        .flat_map(|text| text.split('|'));
    let quoted: BTreeSet<&str> = quoted.collect();
    assert!(quoted.len() > 8, "{quoted:?}");
    let unknown: Vec<&&str> = quoted
        .iter()
        .filter(|name| !told.contains(&format!("`{name}`")))
        .collect();
    assert!(unknown.is_empty(), "no document has {unknown:?}");
}

/// The page shows problems of critical alerts in red.
#[test]
fn the_page_and_the_alerts_agree_on_what_is_urgent() {
    let rules = rules();
    let rules = rules["groups"][0]["rules"].as_array().unwrap();
    let critical = rules
        .iter()
        .filter(|rule| rule["labels"]["severity"] == "critical");
    let mut urgent = BTreeSet::new();
    for rule in critical {
        let reasons = rule["expr"]
            .as_str()
            .unwrap()
            .split("problems{reason=~\"")
            .skip(1);
        let reasons = reasons.filter_map(|rest| rest.split('"').next());
        urgent.extend(reasons.flat_map(|list| list.split('|')).map(str::to_owned));
    }
    assert!(urgent.len() > 10, "{urgent:?}");
    let page = read("src/report/page/base.js");
    let list = page.split_once("new Set([").unwrap().1;
    let list = list.split_once(']').unwrap().0;
    let shown: BTreeSet<String> = words(list).map(str::to_owned).collect();
    assert_eq!(shown, urgent, "src/report/page/base.js and the alerts");
}

#[test]
fn every_alert_has_its_section_in_the_runbook() {
    let runbook = read("deploy/docs/runbook.md");
    let headings = runbook.lines().filter_map(|line| line.strip_prefix("### "));
    let told: BTreeSet<String> = headings
        .filter(|heading| heading.starts_with("StaticEgress"))
        .map(str::to_owned)
        .collect();
    assert_eq!(told, alerts(), "deploy/docs/runbook.md and the alerts");
}

/// A person who gets an alert reads what to do first, and a link.
#[test]
fn every_alert_says_what_to_do_first() {
    let more = json!({ "fullnameOverride": "other", "namespaceOverride": "space", "prometheusRule": {
        "enabled": true, "runbookUrl": "https://w.example/runbook.md" } });
    let objects = helm::render(&more).unwrap();
    let rules = &helm::find(&objects, "PrometheusRule", "")["spec"]["groups"][0]["rules"];
    for rule in rules.as_array().unwrap() {
        let (name, told) = (rule["alert"].as_str().unwrap(), &rule["annotations"]);
        let said = told["description"].as_str().unwrap_or_default();
        let (text, command) = said.split_once(" First command: ").unwrap_or_default();
        // promtool's tests need no values of it.
        let plain = text.ends_with('.') && !text.contains("{{");
        assert!(plain && (80..=300).contains(&text.len()), "{name}: {said}");
        assert_ne!(told["summary"], text, "{name}");
        let wanted = match name {
            "StaticEgressLeaderMissing" => {
                "get pods -l app.kubernetes.io/instance=kube-static-egress-controller"
            }
            _ => "exec deploy/other -- /kube-static-egress-controller status",
        };
        assert_eq!(
            command,
            format!("kubectl --namespace space {wanted}"),
            "{name}"
        );
        let link = format!("https://w.example/runbook.md#{}", name.to_lowercase());
        assert_eq!(told["runbook_url"], link);
    }
}

/// Returns the tests of the alerts. Each expected alert gets the description of its rule, which is a plain text.
fn promtool_tests() -> Value {
    let mut tests: Value = serde_saphyr::from_str(&read("tests/suite/tidy/alerts.yaml")).unwrap();
    let rules = rules();
    let rules = rules["groups"][0]["rules"].as_array().unwrap();
    let cases = tests["tests"].as_array_mut().unwrap().iter_mut();
    let expected = cases.filter_map(|case| case.get_mut("alert_rule_test")?.as_array_mut());
    for case in expected.flatten() {
        let rule = rules
            .iter()
            .find(|rule| rule["alert"] == case["alertname"])
            .unwrap();
        for alert in case["exp_alerts"].as_array_mut().unwrap() {
            alert["exp_annotations"]["description"] = rule["annotations"]["description"].clone();
        }
    }
    tests
}

/// Runs promtool.
#[test]
fn alerts_fire_when_they_should_and_not_else() {
    let tests = read("tests/suite/tidy/alerts.yaml");
    for alert in alerts() {
        assert!(tests.contains(&alert), "alerts.yaml does not try {alert}");
    }
    let dir = crate::testbed::directory("alerts");
    std::fs::write(dir.join("rules.json"), rules().to_string()).unwrap();
    std::fs::write(dir.join("tests.yaml"), promtool_tests().to_string()).unwrap();
    for arguments in [
        ["check", "rules", "--lint=all", "--lint-fatal", "rules.json"].as_slice(),
        &["test", "rules", "tests.yaml"],
    ] {
        let output = Command::new(helm::tool("KSEC_PROMTOOL"))
            .current_dir(&dir)
            .args(arguments)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "promtool {arguments:?}: {said}");
    }
}

/// Checks the requirements of Grafana: panels with unique ids that do not overlap, and targets.
#[test]
fn the_dashboard_can_be_loaded() {
    let dashboard: Value =
        serde_json::from_str(&read(format!("{CHART}/files/dashboard.json"))).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    let mut cells = BTreeSet::new();
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(at("x") + at("w") <= 24, "{title}");
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(cells.insert((x, y)), "{title} lies on another panel");
            }
        }
        let targets = panel["targets"].as_array().unwrap();
        let is_expression = |target: &Value| !target["expr"].as_str().unwrap().is_empty();
        assert!(
            !targets.is_empty() && targets.iter().all(is_expression),
            "{title}"
        );
    }
    // Every expression parses once Grafana has replaced its variables.
    let expressions = panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().unwrap());
    for target in expressions {
        let text = target["expr"]
            .as_str()
            .unwrap()
            .replace("$__rate_interval", "5m");
        let output = Command::new(helm::tool("KSEC_PROMTOOL"))
            .args(["promql", "format", "--experimental", &text])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{text}: {said}");
    }
}
