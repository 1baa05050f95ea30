//! Networks by prefix lists: 990 of them from nine route tables, and what an edit takes then.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::{Value, json};

use crate::replica::Launch;
use crate::stage::Stage;
use crate::standin::actions;

/// As many networks, none next to another.
fn networks(numbers: std::ops::Range<u32>) -> Vec<(String, String)> {
    let network = |number: u32| format!("20.{}.{}.0/24", number / 128, number % 128 * 2);
    numbers
        .map(|number| (format!("k{number:04}"), network(number)))
        .collect()
}

async fn ask(stage: &Stage, networks: &[(String, String)]) {
    let data: BTreeMap<&str, &str> = networks
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    stage.ask(&stage.namespace, "egress-t1", json!(data)).await;
}

/// Waits for these routes, and prints what it took.
async fn measured(stage: &Stage, step: &str, networks: &[(String, String)]) -> Vec<String> {
    let (mark, started) = (stage.aws.mark(), Instant::now());
    ask(stage, networks).await;
    let cidrs: Vec<&str> = networks.iter().map(|(_, cidr)| cidr.as_str()).collect();
    stage.routed(&cidrs).await;
    let took = started.elapsed();
    let writes = stage.aws.writes_since(mark);
    println!("measured: {step}: {took:.1?}, {:?}", actions(&writes));
    actions(&writes).into_iter().map(str::to_owned).collect()
}

fn lists(state: &Value) -> Vec<usize> {
    let lists = state["prefix_lists"].as_array().into_iter().flatten();
    let mut sizes: Vec<usize> = lists
        .map(|list| list["entries"].as_array().map_or(0, Vec::len))
        .collect();
    sizes.sort_unstable();
    sizes
}

/// The number of these networks that a table did not route for a moment.
fn gaps(stage: &Stage, networks: &[(String, String)]) -> usize {
    let state = stage.aws.state();
    let gaps = state["gaps"].as_array().into_iter().flatten();
    let gaps = gaps.map(ToString::to_string);
    let is_one = |gap: &String| {
        networks
            .iter()
            .any(|(_, cidr)| gap.contains(&format!("\"{cidr}\"")))
    };
    gaps.filter(is_one).count()
}

async fn stage(name: &str, tables_per_zone: u32) -> Stage {
    let stage = Stage::with_world(name, json!({ "tables_per_zone": tables_per_zone })).await;
    stage.aws.bucket("templates");
    stage
        .aws
        .settings(json!({ "route_quota": 1000, "note_gaps": "true" }));
    stage
}

fn replica(stage: &Stage, name: &str, mode: &str) -> Launch {
    let replica = stage.replica(name).flag("prefix-lists", mode);
    replica
        .arg("--aws-route-table-quota=1000")
        .arg("--cf-template-bucket=templates")
}

#[tokio::test]
async fn nine_hundred_and_ninety_networks_from_nine_route_tables() {
    let stage = stage("lists", 3).await;
    let _replica = replica(&stage, "r1", "always").start();
    let all = networks(0..989);
    assert_eq!(
        measured(&stage, "989 networks", &all).await,
        ["PutObject", "CreateStack"]
    );
    let full = [&[89][..], &[100; 9]].concat();
    assert_eq!(lists(&stage.aws.state()), full);
    let one_change = ["PutObject", "CreateChangeSet", "ExecuteChangeSet"];
    let more = networks(0..990);
    assert_eq!(measured(&stage, "one more", &more).await, one_change);
    assert_eq!(measured(&stage, "one fewer", &all).await, one_change);
    let others = [&all[50..], &networks(1000..1050)].concat();
    assert_eq!(measured(&stage, "50 others", &others).await, one_change);
    assert_eq!(lists(&stage.aws.state()), full);
    assert_eq!(gaps(&stage, &all[50..]), 0);
}

/// With three tables a stack takes 160 networks without lists.
#[tokio::test]
async fn what_does_not_fit_goes_into_a_list_and_nobody_loses_a_route() {
    let stage = stage("when-full", 1).await;
    let mut first = replica(&stage, "r1", "never").start();
    let exits = {
        measured(&stage, "without lists", &networks(0..150)).await;
        stage.aws.exits()
    };
    first.terminate().await;
    let _second = replica(&stage, "r2", "when-full").start();
    measured(&stage, "with lists", &networks(0..300)).await;
    assert_eq!(lists(&stage.aws.state()), [50, 100]);
    assert_eq!(stage.aws.exits(), exits);
    assert_eq!(gaps(&stage, &networks(0..150)), 0);
}
