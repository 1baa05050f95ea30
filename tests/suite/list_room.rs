//! Networks by prefix lists: 990 of them from nine route tables, and what an edit takes then.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::{Value, json};

use crate::replica::Launch;
use crate::stage::Stage;
use crate::standin::actions;
use crate::wait;

/// As many networks, none next to another.
pub fn networks(numbers: std::ops::Range<u32>) -> Vec<(String, String)> {
    let network = |number: u32| format!("20.{}.{}.0/24", number / 128, number % 128 * 2);
    numbers
        .map(|number| (format!("k{number:04}"), network(number)))
        .collect()
}

pub async fn ask(stage: &Stage, networks: &[(String, String)]) {
    let data: BTreeMap<&str, &str> = networks
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    stage.ask(&stage.namespace, "egress-t1", json!(data)).await;
}

/// Asks for these networks, waits for their routes, and prints what it took.
async fn measured(stage: &Stage, step: &str, networks: &[(String, String)]) -> Vec<String> {
    let start = (stage.aws.mark(), Instant::now());
    ask(stage, networks).await;
    served(stage, start, step, networks).await
}

/// Waits until exactly these networks are routed, and prints what it took since the start.
async fn served(
    stage: &Stage,
    (mark, started): (usize, Instant),
    step: &str,
    networks: &[(String, String)],
) -> Vec<String> {
    let cidrs: Vec<&str> = networks.iter().map(|(_, cidr)| cidr.as_str()).collect();
    stage.routed(&cidrs).await;
    let took = started.elapsed();
    let writes = stage.aws.writes_since(mark);
    println!("measured: {step}: {took:.1?}, {:?}", actions(&writes));
    actions(&writes).into_iter().map(str::to_owned).collect()
}

pub fn lists(state: &Value) -> Vec<usize> {
    let lists = state["prefix_lists"].as_array().into_iter().flatten();
    let mut sizes: Vec<usize> = lists
        .map(|list| list["entries"].as_array().map_or(0, Vec::len))
        .collect();
    sizes.sort_unstable();
    sizes
}

/// The number of these networks that a table did not route for a moment.
pub fn gaps(stage: &Stage, networks: &[(String, String)]) -> usize {
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

pub async fn stage(name: &str, tables_per_zone: u32) -> Stage {
    let stage = Stage::with_world(name, json!({ "tables_per_zone": tables_per_zone })).await;
    stage.aws.bucket("templates");
    stage
        .aws
        .settings(json!({ "route_quota": 1000, "note_gaps": "true" }));
    stage
}

pub fn replica(stage: &Stage, name: &str, mode: &str) -> Launch {
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
    let writes = measured(&stage, "50 others", &others).await;
    let executed = writes.iter().filter(|it| *it == "ExecuteChangeSet").count();
    assert_eq!(executed, 1, "{writes:?}");
    assert_eq!(lists(&stage.aws.state()), full);
    assert_eq!(gaps(&stage, &all[50..]), 0);
}

/// The routes of EC2 that lead to this NAT gateway: each one of a list counts once.
fn routes_to(stage: &Stage, gateway: &str) -> usize {
    let state = stage.aws.state();
    let tables = state["route_tables"].as_array().into_iter().flatten();
    let routes = tables.flat_map(|table| table["routes"].as_array().into_iter().flatten());
    routes.filter(|route| route["target"] == gateway).count()
}

/// Direct routes would be 2,970 in a zone.
#[tokio::test]
async fn a_renewed_nat_gateway_gets_thirty_routes_and_one_wide_network_replaces_all() {
    let stage = stage("lists-renewed", 3).await;
    let launch = replica(&stage, "r1", "always").flag("drift-interval", "10s");
    let replica = launch.start();
    let all = networks(0..990);
    measured(&stage, "990 networks", &all).await;
    let first = stage.aws.exits()["eu-central-1a"].clone();
    assert_eq!(routes_to(&stage, &first.gateway), 30);

    let start = (stage.aws.mark(), Instant::now());
    let fields = [("NatGatewayId", first.gateway.as_str())];
    stage.aws.call("ec2", "DeleteNatGateway", &fields);
    let renewed = wait::until("another NAT gateway", || {
        let exit = stage.aws.exits().remove("eu-central-1a");
        let renewed = exit.filter(|exit| exit.gateway != first.gateway);
        renewed.ok_or_else(|| "none in eu-central-1a".to_owned())
    })
    .await;
    served(&stage, start, "a renewed NAT gateway", &all).await;
    assert_eq!(renewed.ip, first.ip);
    assert_eq!(routes_to(&stage, &renewed.gateway), 30);
    assert_eq!(routes_to(&stage, &first.gateway), 0);
    replica.said(&["NatGatewayGone"]).unwrap();

    // The narrower networks have no route for as long as the gateway was away: only gaps after that count.
    let before = gaps(&stage, &all);
    let wide = vec![("wide".to_owned(), "20.0.0.0/12".to_owned())];
    let start = (stage.aws.mark(), Instant::now());
    ask(&stage, &[&wide[..], &all].concat()).await;
    served(&stage, start, "all of them merged", &wide).await;
    // The lists are full, so the wide network gets direct routes first. It enters a list once the other lists are gone.
    wait::until("one list is left", || {
        let sizes = lists(&stage.aws.state());
        wait::check(sizes == [1], || format!("{sizes:?}"))
    })
    .await;
    stage.routed(&["20.0.0.0/12"]).await;
    assert_eq!(gaps(&stage, &all), before);
}

/// With three tables a stack takes 160 networks without lists, and then not even one list with its routes.
#[tokio::test]
async fn what_does_not_fit_goes_into_a_list_and_nobody_loses_a_route() {
    let stage = stage("when-full", 1).await;
    let mut first = replica(&stage, "r1", "never").start();
    let exits = {
        measured(&stage, "without lists", &networks(0..160)).await;
        stage.aws.exits()
    };
    first.terminate().await;
    let _second = replica(&stage, "r2", "when-full").start();
    measured(&stage, "with lists", &networks(0..300)).await;
    assert_eq!(lists(&stage.aws.state()), [100, 100]);
    assert_eq!(stage.aws.exits(), exits);
    assert_eq!(gaps(&stage, &networks(0..160)), 0);
}

/// What others do to a list, to a route to one, and to a NAT gateway is repaired, and every static IP stays.
#[tokio::test]
async fn lists_that_others_change_in_ec2_are_repaired() {
    let stage = stage("list-drift", 1).await;
    let launch = replica(&stage, "r1", "always").flag("drift-interval", "10s");
    let replica = launch.start();
    let all = networks(0..150);
    measured(&stage, "150 networks", &all).await;
    let cidrs: Vec<&str> = all.iter().map(|(_, cidr)| cidr.as_str()).collect();
    let ips = |stage: &Stage| -> Vec<String> {
        let exits = stage.aws.exits();
        exits.into_values().map(|exit| exit.ip).collect()
    };
    let before = ips(&stage);
    let state = stage.aws.state();
    let list = &state["prefix_lists"][0];
    let id = list["id"].as_str().unwrap();
    let version = list["version"].to_string();
    let entry = list["entries"][0].as_str().unwrap();
    let fields = [
        ("PrefixListId", id),
        ("CurrentVersion", version.as_str()),
        ("RemoveEntry.1.Cidr", entry),
    ];
    stage.aws.call("ec2", "ModifyManagedPrefixList", &fields);
    stage.routed(&cidrs).await;
    replica.said(&["PrefixListChanged", "lacks 1"]).unwrap();

    let (table, _) = stage.aws.routes().into_keys().next().unwrap();
    let fields = [
        ("RouteTableId", table.as_str()),
        ("DestinationPrefixListId", id),
    ];
    stage.aws.call("ec2", "DeleteRoute", &fields);
    stage.routed(&cidrs).await;
    replica.said(&["RouteMissing", "network list"]).unwrap();

    let exits = stage.aws.exits();
    let gateway = exits.values().next().unwrap().gateway.clone();
    let fields = [("NatGatewayId", gateway.as_str())];
    stage.aws.call("ec2", "DeleteNatGateway", &fields);
    wait::until("another NAT gateway", || {
        let exits = stage.aws.exits();
        let is_new = exits.len() == 3 && exits.values().all(|exit| exit.gateway != gateway);
        wait::check(is_new, || format!("{exits:?}"))
    })
    .await;
    stage.routed(&cidrs).await;
    replica.said(&["NatGatewayGone"]).unwrap();
    assert_eq!(ips(&stage), before);
}
