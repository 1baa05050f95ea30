//! Other principals change prefix lists of the stack in EC2: the controller reads little, reports the change and repairs it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::drift::kept;
use crate::replica::Launch;
use crate::stage::{EXAMPLE, EXAMPLE_CIDRS, Stage};
use crate::standin::{Exit, actions};
use crate::wait;

/// Starts a replica that puts networks into lists and looks for drift as often as the flag allows.
fn listing(stage: &Stage) -> Launch {
    let launch = stage.replica("r1").flag("prefix-lists", "always");
    launch.flag("drift-interval", "10s")
}

/// Returns the only prefix list of the account.
fn the_list(stage: &Stage) -> Value {
    let state = stage.aws.state();
    let lists = state["prefix_lists"].as_array().unwrap().clone();
    assert_eq!(lists.len(), 1, "{lists:?}");
    lists[0].clone()
}

fn id(list: &Value) -> String {
    list["id"].as_str().unwrap().to_owned()
}

/// A worker table with a route to the list.
fn table_of(stage: &Stage, list: &str) -> String {
    let state = stage.aws.state();
    let tables = state["route_tables"].as_array().unwrap().iter();
    let mut with_list = tables.filter(|table| {
        let mut routes = table["routes"].as_array().unwrap().iter();
        routes.any(|route| route["cidr"] == list)
    });
    id(with_list.next().unwrap())
}

/// Waits until the example is routed by the same NAT gateways, and until the list has its entries.
async fn repaired(stage: &Stage, exits: &BTreeMap<String, Exit>) {
    assert_eq!(stage.routed(&EXAMPLE_CIDRS).await, *exits);
    assert_eq!(the_list(stage)["entries"], json!(EXAMPLE_CIDRS));
}

#[tokio::test]
async fn a_look_reads_the_entries_of_a_version_once() {
    let stage = Stage::open("list-look").await;
    let _replica = kept(&stage, listing(&stage)).await;
    assert_eq!(the_list(&stage)["entries"], json!(EXAMPLE_CIDRS));
    stage.two_more_looks().await;
    let looks = stage.idle_looks(3).await;
    for look in &looks {
        let calls = actions(look);
        let count = |action: &str| calls.iter().filter(|call| **call == action).count();
        assert_eq!(count("DescribeManagedPrefixLists"), 1, "{calls:?}");
        let entries = count("GetManagedPrefixListEntries");
        assert_eq!(entries, 0, "the version is known: {calls:?}");
    }
    let most = looks.iter().map(Vec::len).max().unwrap();
    wait::measured(&format!(
        "an idle look at a stack with a prefix list takes {most} calls"
    ));
    assert!(most <= 6, "{looks:?}");
}

#[tokio::test]
async fn an_entry_that_was_removed_is_put_back() {
    let stage = Stage::open("list-entry").await;
    let replica = kept(&stage, listing(&stage)).await;
    let (exits, list) = (stage.aws.exits(), the_list(&stage));
    let (list_id, version) = (id(&list), list["version"].to_string());
    let fields = [
        ("PrefixListId", list_id.as_str()),
        ("CurrentVersion", version.as_str()),
        ("RemoveEntry.1.Cidr", "8.8.8.8/32"),
    ];
    stage.aws.call("ec2", "ModifyManagedPrefixList", &fields);
    repaired(&stage, &exits).await;
    replica.said(&["PrefixListChanged"]).unwrap();
}

#[tokio::test]
async fn a_route_to_a_list_that_was_deleted_is_put_back() {
    let stage = Stage::open("list-route").await;
    let _replica = kept(&stage, listing(&stage)).await;
    let (exits, list) = (stage.aws.exits(), id(&the_list(&stage)));
    let table = table_of(&stage, &list);
    let fields = [
        ("RouteTableId", table.as_str()),
        ("DestinationPrefixListId", list.as_str()),
    ];
    stage.aws.call("ec2", "DeleteRoute", &fields);
    repaired(&stage, &exits).await;
}

#[tokio::test]
async fn a_list_that_was_deleted_is_created_again_with_its_routes() {
    let stage = Stage::open("list-gone").await;
    let _replica = kept(&stage, listing(&stage)).await;
    let (exits, list) = (stage.aws.exits(), id(&the_list(&stage)));
    let deletion = json!({ "action": "delete_prefix_list", "prefix_list_id": list });
    stage.aws.post("tamper", &deletion);
    repaired(&stage, &exits).await;
    assert_ne!(id(&the_list(&stage)), list);
}

#[tokio::test]
async fn without_the_right_to_read_entries_the_error_names_it() {
    let stage = Stage::open("list-denied").await;
    let denied = json!({ "kind": "access_denied", "action": "GetManagedPrefixListEntries" });
    stage.aws.fault(denied);
    let replica = listing(&stage).start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    let remedy = ["DriftNotSeen", "allow ec2:GetManagedPrefixListEntries to"];
    wait::until("the remedy", || replica.said(&remedy)).await;
}
