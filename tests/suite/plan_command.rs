//! `plan` and `--dry-run` show the steps and their reasons, and change nothing.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::replica::{Launch, PROGRAM};
use crate::stage::{EXAMPLE, EXAMPLE_CIDRS, STACK, Stage};
use crate::standin::actions;
use crate::wait;

const CONFIG_MAP: &str = "apiVersion: v1
kind: ConfigMap
metadata: {name: egress-t1, namespace: default, labels: {egress: static}}
data:
  service-provider1: 192.112.1.0/21
";

/// Runs `plan` as in a check of pull requests: with files, and a description of the network.
fn check(manifests: &Path, more: &[&str]) -> Output {
    let network = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios/network.yaml");
    Command::new(PROGRAM)
        .env_clear()
        .arg("plan")
        .args([
            "--aws-az=eu-central-1a",
            "--aws-nat-cidr-block=172.31.200.0/28",
        ])
        .arg("--manifests")
        .arg(manifests)
        .arg("--network")
        .arg(network)
        .args(more)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn folder(files: &[(&str, &str)]) -> PathBuf {
    let folder = crate::testbed::directory("manifests");
    for (name, content) in files {
        std::fs::write(folder.join(name), content).unwrap();
    }
    folder
}

#[test]
fn good_manifests_exit_with_2_because_something_would_change() {
    let output = check(&folder(&[("a.yaml", CONFIG_MAP)]), &[]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let told = text(&output.stdout);
    assert!(
        told.contains("CreateStack") && told.contains("192.112.0.0/21"),
        "{told}"
    );
}

#[test]
fn no_config_map_exits_with_0() {
    let other = "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: default}\n";
    let output = check(&folder(&[("a.yaml", other)]), &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn bad_manifests_exit_with_1_and_say_where_and_why() {
    let bad = CONFIG_MAP.replace("192.112.1.0/21", "192.112.1.0/2l");
    let output = check(
        &folder(&[("a.yaml", CONFIG_MAP), ("b.yaml", &bad.replace("t1", "t2"))]),
        &[],
    );
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told = text(&output.stdout) + &text(&output.stderr);
    for part in [
        "NotACidr",
        "default/egress-t2",
        "service-provider1",
        "192.112.1.0/2l",
    ] {
        assert!(told.contains(part), "{part} is not in {told}");
    }
}

/// Manifests come from anybody who opens a pull request, and the output is shown in a terminal.
#[test]
fn hostile_names_and_values_reach_no_terminal() {
    const HOSTILE: &str = "x\u{1b}[2J\u{7}\u{202e}y";
    let config_map = |name: &str, key: &str| {
        let config_map = serde_json::json!({
            "apiVersion": "v1", "kind": "ConfigMap", "data": { key: HOSTILE, "good": "8.8.8.8" },
            "metadata": { "name": name, "namespace": "default", "labels": { "egress": "static" } },
        });
        config_map.to_string()
    };
    let contents = [
        ("name.json", config_map(HOSTILE, "key")),
        ("key.json", config_map("partners", HOSTILE)),
        ("value.json", config_map("partners", "key")),
        ("x\u{1b}[2J.yaml", "kind: [\u{1b}[2J".to_owned()),
    ];
    let contents = contents
        .each_ref()
        .map(|(name, text)| (*name, text.as_str()));
    let files = folder(&contents);
    let is_hostile = |it: char| it.is_control() && it != '\n' || it == '\u{202e}';
    for more in [&[][..], &["--output=json"], &["--template"]] {
        for (name, _) in contents {
            let output = check(&files.join(name), more);
            assert_eq!(output.status.code(), Some(1), "{output:?}");
            let told = text(&output.stdout) + &text(&output.stderr);
            assert!(!told.contains(is_hostile), "{more:?} {name:?} {told:?}");
        }
    }
    let told = check(&files.join("value.json"), &[]);
    assert!(text(&told.stdout).contains("NotACidr"), "{told:?}");
}

#[test]
fn manifests_that_cannot_be_read_exit_with_1() {
    let broken = folder(&[("a.yaml", "kind: ConfigMap\n  data: [")]);
    for path in [broken.clone(), broken.join("missing.yaml")] {
        let output = check(&path, &[]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let told = text(&output.stdout) + &text(&output.stderr);
        assert!(told.contains("yaml"), "{told}");
    }
}

/// Exit code 2 would mean that the plan changes the stack.
#[test]
fn flags_that_are_wrong_exit_with_1() {
    let manifests = folder(&[("a.yaml", CONFIG_MAP)]);
    for flag in ["--resync-interval=soon", "--no-such-flag"] {
        let output = check(&manifests, &[flag]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(text(&output.stderr).contains(&flag[..8]), "{output:?}");
    }
}

#[test]
fn the_template_is_printed_on_request() {
    let output = check(&folder(&[("a.yaml", CONFIG_MAP)]), &["--template"]);
    let told = text(&output.stdout);
    assert!(
        told.contains("AWS::EC2::NatGateway") && told.contains("AWSTemplateFormatVersion"),
        "{told}"
    );
    let output = check(
        &folder(&[("a.yaml", CONFIG_MAP)]),
        &["--output=json", "--template"],
    );
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(
        value.to_string().contains("AWS::EC2::NatGateway"),
        "{value:#}"
    );
}

/// Runs `plan` against cluster and account.
fn live(launch: &Launch) -> (i32, Value) {
    let output = launch
        .command()
        .arg("plan")
        .args(launch.arguments())
        .arg("--output=json")
        .output()
        .unwrap();
    let value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{error}: {} {}", text(&output.stdout), text(&output.stderr))
    });
    (output.status.code().unwrap(), value)
}

#[tokio::test]
async fn a_live_plan_is_right_and_only_reads() {
    let stage = Stage::open("plan").await;
    let planner = stage.replica("planner");
    assert_eq!(live(&planner).0, 0, "no ConfigMap, no stack");
    stage.config_map("egress-t1", &EXAMPLE).await;
    let (code, plan) = live(&planner);
    assert_eq!(
        (code, &plan["action"]),
        (2, &Value::from("CreateStack")),
        "{plan:#}"
    );
    assert_eq!(plan["routes"].as_array().unwrap().len(), 6, "{plan:#}");
    assert_eq!(actions(&stage.aws.writes_since(0)), [""; 0]);

    // A described network takes precedence, also for ConfigMaps of a cluster.
    let mark = stage.aws.mark();
    let network = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios/network.yaml");
    let described = stage.replica("planner").zones(&["a"]);
    let (code, plan) = live(&described.arg(&format!("--network={}", network.display())));
    assert_eq!(
        (code, &plan["routes"][0]["routeTable"]),
        (2, &Value::from("rtb-a")),
        "{plan:#}"
    );
    assert_eq!(stage.aws.count_since(mark, "DescribeRouteTables"), 0);

    let _replica = stage.replica("r1").start();
    stage.routed(&EXAMPLE_CIDRS).await;
    let mark = stage.aws.mark();
    let (code, plan) = live(&planner);
    assert_eq!(
        (code, &plan["action"]),
        (0, &Value::from("Keep")),
        "{plan:#}"
    );
    // The plan adds zones while a replica without them runs.
    let (code, plan) = live(&stage.replica("planner").zones(&["a", "b", "c", "d"]));
    assert_eq!(
        (code, &plan["action"]),
        (2, &Value::from("CreateChangeSet")),
        "{plan:#}"
    );
    assert_eq!(actions(&stage.aws.writes_since(mark)), [""; 0]);
    assert!(stage.aws.count_since(mark, "DescribeRouteTables") >= 2);
}

#[tokio::test]
async fn a_dry_run_tells_the_plan_and_writes_nothing() {
    let stage = Stage::open("dry-run").await;
    let mut replica = stage.replica("r1").arg("--dry-run").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    wait::until("the plan is told", || {
        replica.said(&["CreateStack on stack", STACK])
    })
    .await;
    wait::until("with its routes", || replica.said(&["route 8.8.8.8/32 in"])).await;
    assert_eq!(actions(&stage.writes_at_rest(0).await), [""; 0]);
    assert_eq!(stage.aws.stacks().len(), 0);
    replica.assert_well();
}
