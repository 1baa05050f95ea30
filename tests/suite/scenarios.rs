//! The folders of tests/scenarios: manifests and the output of `plan` for them, without cluster and account.
//!
//! Each folder has `manifests.yaml`, the expected outputs `plan.txt` and `plan.json`, and may have its own `network.yaml` and `flags`.
//! UPDATE_GOLDEN=1 writes the expected outputs: review the difference before committing it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use kube_static_egress_controller::model::base::reason::{About, Reason};
use serde_json::Value;

use crate::replica::PROGRAM;

const ZONES: [&str; 4] = [
    "--aws-az=eu-central-1a",
    "--aws-nat-cidr-block=172.31.200.0/28",
    "--aws-az=eu-central-1b",
    "--aws-nat-cidr-block=172.31.200.16/28",
];

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios")
}

/// Returns `network.yaml` of the scenario, and its flags. Paths are relative to the scenario's folder.
pub fn setting(folder: &Path) -> (&'static str, Vec<String>) {
    let network = if folder.join("network.yaml").exists() {
        "network.yaml"
    } else {
        "../network.yaml"
    };
    let flags = std::fs::read_to_string(folder.join("flags")).ok();
    let flags = flags.unwrap_or_else(|| ZONES.join("\n"));
    (network, flags.lines().map(str::to_owned).collect())
}

/// Runs `plan` in the scenario's folder, so that the output contains no path of this machine.
pub fn plan(folder: &Path, output: &str) -> Output {
    let (network, flags) = setting(folder);
    Command::new(PROGRAM)
        .current_dir(folder)
        .env_clear()
        .args([
            "plan",
            "--manifests=manifests.yaml",
            "--network",
            network,
            "--output",
            output,
        ])
        .args(flags)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Returns the output in the format of the golden file.
fn answer(output: &Output, json: bool) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if json {
        let value: Value = serde_json::from_str(&text).unwrap_or_else(|error| {
            panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr))
        });
        return format!("{value:#}\n");
    }
    let code = output.status.code().unwrap();
    format!(
        "{text}{}exit code {code}\n",
        String::from_utf8_lossy(&output.stderr)
    )
}

fn compare(file: &Path, is: &str, failures: &mut Vec<String>) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        return std::fs::write(file, is).unwrap();
    }
    let wanted = std::fs::read_to_string(file).unwrap_or_default();
    if wanted != is {
        let differs = wanted.lines().zip(is.lines()).position(|(a, b)| a != b);
        let line = differs.unwrap_or(wanted.lines().count().min(is.lines().count()));
        let show = |text: &str| text.lines().nth(line).unwrap_or("(end)").to_owned();
        let name = file.strip_prefix(root()).unwrap().display();
        failures.push(format!(
            "{name} line {}:\n  wanted: {}\n  is:     {}",
            line + 1,
            show(&wanted),
            show(is)
        ));
    }
}

pub fn folders() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut folders: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    folders.sort();
    assert!(!folders.is_empty());
    folders
}

#[test]
fn plans_are_as_written_down() {
    let mut failures = Vec::new();
    for folder in folders() {
        let text = answer(&plan(&folder, "text"), false);
        compare(&folder.join("plan.txt"), &text, &mut failures);
        let json = answer(&plan(&folder, "json"), true);
        compare(&folder.join("plan.json"), &json, &mut failures);
    }
    assert!(
        failures.is_empty(),
        "{}\nUPDATE_GOLDEN=1 writes them anew",
        failures.join("\n")
    );
}

/// A new reason without a scenario fails this test.
#[test]
fn every_reason_to_refuse_or_warn_of_has_its_scenario() {
    let concerns = |reason: &&Reason| {
        let mut about = reason.about().iter();
        about.any(|about| matches!(about, About::Entry | About::Object))
    };
    let plans: String = folders()
        .iter()
        .map(|folder| std::fs::read_to_string(folder.join("plan.json")).unwrap_or_default())
        .collect();
    let reasons = Reason::ALL.iter().filter(concerns).copied();
    let missing = reasons.filter(|reason| !plans.contains(&format!("\"{reason}\"")));
    let missing: Vec<Reason> = missing.collect();
    let expected = [
        // These reasons need a stack, or an earlier failure.
        Reason::Drifted,
        Reason::DryRun,
        Reason::LedgerUnavailable,
        Reason::NoRoute,
        Reason::NoRouteTable,
        // No readable manifest contains such an object.
        Reason::ObjectUnreadable,
        Reason::OperationFailed,
        Reason::RouteRefused,
        // A test below covers this limit, because a folder would need thousands of lines.
        Reason::TooManyEntries,
    ];
    assert_eq!(missing, expected);
}

#[test]
fn entries_after_the_limit_are_refused_and_no_other() {
    let folder = crate::testbed::directory("limit");
    let entries: String = (0..1001)
        .map(|number| format!("  k{number:04}: 198.51.{}.{}\n", number / 250, number % 250))
        .collect();
    let manifest = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: many, namespace: default, labels: {{egress: static}}}}\n\
         data:\n{entries}"
    );
    std::fs::write(folder.join("manifests.yaml"), manifest).unwrap();
    std::fs::copy(root().join("network.yaml"), folder.join("network.yaml")).unwrap();
    let output = plan(&folder, "json");
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    let refused: Vec<&Value> = value["problems"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|problem| problem["reason"] == "TooManyEntries")
        .collect();
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!(refused[0]["subject"]["object"]["name"], "many");
    assert!(
        refused[0]["message"]
            .as_str()
            .unwrap()
            .starts_with("it has 1 entries more")
    );
    assert_eq!(value["problems"].as_array().unwrap().len(), 1);
    assert_eq!(output.status.code(), Some(1));
}
