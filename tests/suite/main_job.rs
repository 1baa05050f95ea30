//! The main job: EC2 holds what ConfigMaps and flags request, and nothing else changes.

use serde_json::json;

use crate::retained::{addresses, ips, without_stack};
use crate::stage::{EXAMPLE, EXAMPLE_CIDRS, STACK, Stage};
use crate::standin::{REGION, actions};
use crate::wait;

/// Uses the arguments of the Deployment.
#[tokio::test]
async fn three_replicas_make_one_stack_of_the_example() {
    let stage = Stage::open("example").await;
    let mut replicas: Vec<_> = ["r1", "r2", "r3"]
        .map(|name| stage.replica(name).deployed().start())
        .into();
    stage.config_map("egress-t1", &EXAMPLE).await;
    let exits = stage.routed(&EXAMPLE_CIDRS).await;
    assert_eq!(
        exits
            .keys()
            .cloned()
            .collect::<std::collections::BTreeSet<_>>(),
        Stage::zones(&["a", "b", "c"])
    );
    assert_eq!(actions(&stage.aws.writes_since(0)), ["CreateStack"]);
    assert_eq!(stage.aws.routes().len(), 3);
    let state = stage.aws.state();
    assert_eq!(state["addresses"].as_array().unwrap().len(), 3);
    assert_eq!(state["nat_gateways"].as_array().unwrap().len(), 3);
    let stack = &state["stacks"][0];
    assert_eq!(
        (&stack["name"], &stack["status"]),
        (
            &json!("egress-static-nat-example"),
            &json!("CREATE_COMPLETE")
        )
    );
    for replica in &mut replicas {
        wait::until("ready", || replica.answers("/readyz")).await;
        replica.assert_well();
    }
    assert_eq!(actions(&stage.writes_at_rest(0).await), ["CreateStack"]);
    let synced: Vec<f64> = replicas
        .iter()
        .filter_map(|replica| {
            replica.metric("kube_static_egress_controller_last_sync_timestamp_seconds")
        })
        .filter(|seconds| *seconds > 1e9)
        .collect();
    assert_eq!(
        synced.len(),
        1,
        "only the leader has synchronised: {synced:?}"
    );
}

#[tokio::test]
async fn config_maps_are_added_edited_unlabelled_and_deleted() {
    let stage = Stage::open("edits").await;
    let _replica = stage.replica("r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    let exits = stage.routed(&EXAMPLE_CIDRS).await;
    stage
        .config_map(
            "egress-t1",
            &[("service-provider1", "192.112.1.0/21"), ("dns", "9.9.9.9")],
        )
        .await;
    stage.routed(&["192.112.0.0/21", "9.9.9.9/32"]).await;
    stage
        .config_map(
            "egress-t2",
            &[("low", "198.51.100.0/25"), ("high", " 198.51.100.128/25\n")],
        )
        .await;
    stage
        .routed(&["192.112.0.0/21", "9.9.9.9/32", "198.51.100.0/24"])
        .await;
    // A network that another entry contains needs no route of its own.
    stage
        .config_map(
            "egress-t3",
            &[("inside", "198.51.100.7"), ("more", "203.0.113.9/32")],
        )
        .await;
    stage
        .routed(&[
            "192.112.0.0/21",
            "9.9.9.9/32",
            "198.51.100.0/24",
            "203.0.113.9/32",
        ])
        .await;
    stage.unlabel("egress-t2").await;
    stage
        .routed(&[
            "192.112.0.0/21",
            "9.9.9.9/32",
            "198.51.100.7/32",
            "203.0.113.9/32",
        ])
        .await;
    stage.delete_config_map("egress-t1").await;
    let after = stage.routed(&["198.51.100.7/32", "203.0.113.9/32"]).await;
    assert_eq!(after, exits, "no static IP has changed on the way");
    let mark = stage.aws.mark();
    assert_eq!(actions(&stage.writes_at_rest(mark).await), [""; 0]);
}

fn new_route_table(stage: &Stage) -> String {
    let made = stage
        .aws
        .call("ec2", "CreateRouteTable", &[("VpcId", &stage.vpc)]);
    let id = made.split("<routeTableId>").nth(1).unwrap();
    id.split('<').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_new_zone_and_a_new_route_table_leave_the_others_alone() {
    let stage = Stage::open("zones").await;
    let mut replica = stage.replica("r1").zones(&["a", "b"]).start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    let two = stage.routed(&EXAMPLE_CIDRS).await;
    assert_eq!(two.len(), 2);
    replica.said(&["NoNatInZone", "--aws-az"]).unwrap();
    replica.terminate().await;

    // Another order of the flags means the same configuration.
    let mark = stage.aws.mark();
    let mut replica = stage.replica("r2").zones(&["b", "a"]).start();
    wait::until("r2 leads", || replica.said(&["this replica leads"])).await;
    assert_eq!(actions(&stage.writes_at_rest(mark).await), [""; 0]);
    replica.terminate().await;

    let replica = stage.replica("r3").zones(&["c", "a", "b"]).start();
    let three = stage.exits_of(3).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    assert!(
        two.iter().all(|(zone, exit)| three.get(zone) == Some(exit)),
        "{two:?} {three:?}"
    );

    let id = &new_route_table(&stage);
    let zone = format!("{REGION}a");
    let tag = [
        ("ResourceId.1", id.as_str()),
        ("Tag.1.Key", "AvailabilityZone"),
        ("Tag.1.Value", &zone),
    ];
    stage.aws.call("ec2", "CreateTags", &tag);
    assert_eq!(stage.aws.routes().len(), 4);
    let after = stage.routed(&EXAMPLE_CIDRS).await;
    assert_eq!(after, three);

    // A lost tag is more often a mistake than intended, so the routes stay until their removal is allowed.
    let mark = stage.aws.mark();
    stage.aws.call("ec2", "DeleteTags", &tag);
    wait::until("told", || {
        replica.said(&["RouteTableKept", id, "AvailabilityZone=none"])
    })
    .await;
    assert!(stage.writes_at_rest(mark).await.is_empty());
    let released = [tag[0], tag[1], ("Tag.1.Value", "none")];
    stage.aws.call("ec2", "CreateTags", &released);
    wait::until("its routes are gone", || {
        let state = stage.aws.state();
        let mut tables = state["route_tables"].as_array().unwrap().iter();
        let table = tables.find(|table| table["id"] == *id).unwrap();
        let routes = table["routes"].to_string();
        wait::check(!routes.contains("nat-"), || routes)
    })
    .await;
    assert_eq!(stage.routed(&EXAMPLE_CIDRS).await, three);
    drop(replica);
}

#[tokio::test]
async fn a_zone_and_its_static_ip_go_only_when_that_is_allowed() {
    let stage = Stage::open("zone-removal").await;
    let mut replica = stage.replica("r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    let three = stage.routed(&EXAMPLE_CIDRS).await;
    replica.terminate().await;

    let mark = stage.aws.mark();
    let mut replica = stage.replica("r2").zones(&["a", "b"]).start();
    wait::until("told", || {
        replica.said(&["ZoneKept", "--remove-zone=eu-central-1c"])
    })
    .await;
    assert_eq!(actions(&stage.writes_at_rest(mark).await), [""; 0]);
    assert_eq!(stage.aws.exits(), three);
    replica.terminate().await;

    let _replica = stage
        .replica("r3")
        .zones(&["a", "b"])
        .arg("--remove-zone=eu-central-1c")
        .start();
    let two = stage.exits_of(2).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    assert!(
        two.iter().all(|(zone, exit)| three.get(zone) == Some(exit)),
        "{two:?} {three:?}"
    );
    // The zone's static IP stays in the account, unassociated.
    assert_eq!(addresses(&stage), ips(&three));
}

#[tokio::test]
async fn without_config_maps_routes_go_and_static_ips_stay() {
    let stage = Stage::open("empty-keep").await;
    let replica = stage.replica("r1").flag("empty-grace-period", "3s").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    let exits = stage.routed(&EXAMPLE_CIDRS).await;
    let start = std::time::Instant::now();
    stage.delete_config_map("egress-t1").await;
    wait::until("told", || {
        replica.said(&["no ConfigMap asks for a route any more"])
    })
    .await;
    let after = stage.routed(&[]).await;
    assert!(
        start.elapsed().as_secs_f64() >= 3.0,
        "gone within the grace period: {:?}",
        start.elapsed()
    );
    assert_eq!(after, exits);
    // The NAT gateways serve again.
    stage.config_map("egress-t2", &[("dns", "9.9.9.9")]).await;
    assert_eq!(stage.routed(&["9.9.9.9/32"]).await, exits);
}

#[tokio::test]
async fn without_config_maps_the_stack_goes_when_that_is_asked_for() {
    let stage = Stage::open("empty-delete").await;
    let _replica = stage
        .replica("r1")
        .flag("empty-grace-period", "0s")
        .flag("on-empty", "delete")
        .arg("--stack-termination-protection")
        .start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    let exits = stage.routed(&EXAMPLE_CIDRS).await;
    assert_eq!(stage.aws.state()["stacks"][0]["protected"], json!(true));
    stage.delete_config_map("egress-t1").await;
    without_stack(&stage).await;
    assert_eq!(
        addresses(&stage),
        ips(&exits),
        "static IPs outlive their stack"
    );
    let writes = ["CreateStack", "UpdateTerminationProtection", "DeleteStack"];
    assert_eq!(actions(&stage.writes_at_rest(0).await), writes);
}

#[tokio::test]
async fn tags_and_protection_are_rolled_out_and_route_tables_filtered() {
    let stage = Stage::open("tags").await;
    let mut replica = stage.replica("r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    let exits = stage.routed(&EXAMPLE_CIDRS).await;
    replica.terminate().await;

    let mark = stage.aws.mark();
    let _replica = stage
        .replica("r2")
        .arg("--additional-stack-tags=team=network")
        .arg("--stack-termination-protection=true")
        .arg("--aws-route-table-tag=Type=dmz")
        .start();
    wait::until("the stack has its tag and protection", || {
        let xml = stage
            .aws
            .call("cloudformation", "DescribeStacks", &[("StackName", STACK)]);
        let done = xml.contains("<Key>team</Key>")
            && xml.contains("<EnableTerminationProtection>true</EnableTerminationProtection>");
        wait::check(done, || xml)
    })
    .await;
    stage.routed(&EXAMPLE_CIDRS).await;
    let writes = stage.writes_at_rest(mark).await;
    let mut names = actions(&writes);
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "CreateChangeSet",
            "ExecuteChangeSet",
            "UpdateTerminationProtection"
        ]
    );
    assert_eq!(stage.aws.exits(), exits);
}

/// CloudFormation also sets a stack's tags on its static IPs, and AWS has refused such changes.
#[tokio::test]
async fn a_change_of_tags_that_fails_holds_up_no_route() {
    let stage = Stage::open("tags-fail").await;
    let mut replica = stage.replica("r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    let exits = stage.routed(&EXAMPLE_CIDRS).await;
    replica.terminate().await;

    let fault = json!({ "kind": "resource_fails", "logical_id": "EIP*", "message": "no tags" });
    stage.aws.fault(fault);
    let launch = stage.replica("r2");
    let mut replica = launch.arg("--additional-stack-tags=team=network").start();
    wait::until("the change of tags has failed", || {
        replica.said(&["no tags"])?;
        let stacks = stage.aws.stacks();
        let failed = stacks[STACK] == "UPDATE_ROLLBACK_COMPLETE";
        wait::check(failed, || format!("{stacks:?}"))
    })
    .await;
    let mark = stage.aws.mark();
    stage.config_map("egress-t2", &[("dns", "9.9.9.9")]).await;
    let all = [&EXAMPLE_CIDRS[..], &["9.9.9.9/32"]].concat();
    assert_eq!(stage.routed(&all).await, exits);
    let executed = stage.aws.count_since(mark, "ExecuteChangeSet");
    assert_eq!(executed, 1, "the routes alone");

    // The tags follow once AWS takes them.
    stage.aws.clear_faults();
    wait::until("the stack has its tag", || {
        let named = [("StackName", STACK)];
        let xml = stage.aws.call("cloudformation", "DescribeStacks", &named);
        wait::check(xml.contains("<Key>team</Key>"), || xml)
    })
    .await;
    assert_eq!(stage.routed(&all).await, exits);
    replica.assert_well();
}
