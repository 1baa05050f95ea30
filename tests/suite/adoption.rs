//! The controller takes over a stack of the Go controller as it is. Changing the image changes no static IP.

use serde_json::{Value, json};

use crate::golang::GoStack;
use crate::replica::Launch;
use crate::stage::{EXAMPLE, EXAMPLE_CIDRS, Stage};
use crate::standin::actions;
use crate::wait;

/// Returns the properties that identify a subnet. Tags of the stack may be propagated to it.
fn subnets(stage: &Stage) -> Vec<[Value; 3]> {
    let state = stage.aws.state();
    let subnets = state["subnets"].as_array().unwrap().iter();
    subnets
        .map(|subnet| ["id", "cidr", "az"].map(|key| subnet[key].clone()))
        .collect()
}

/// Takes over the stack with ConfigMaps that request its routes, then adds a CIDR, then runs another pass.
async fn adopt(
    stage: &Stage,
    go: GoStack<'_>,
    flags: impl Fn(Launch) -> Launch,
    first_writes: &[&str],
) {
    go.make(stage).await;
    stage.config_map("egress-t1", &EXAMPLE).await;
    let before = stage.aws.exits();
    let subnets = subnets(stage);
    assert_eq!(before.len(), go.zones.len());

    let mut replica = flags(stage.replica("r1").zones(&["a", "b", "c"])).start();
    wait::until("r1 leads", || replica.said(&["this replica leads"])).await;
    stage.two_more_looks().await;
    stage.routed(&EXAMPLE_CIDRS).await;
    assert_eq!(
        actions(&stage.writes_at_rest(0).await),
        first_writes,
        "at the first look"
    );

    let mark = stage.aws.mark();
    stage.config_map("egress-t2", &[("dns", "9.9.9.9")]).await;
    let cidrs = [&EXAMPLE_CIDRS[..], &["9.9.9.9/32"]].concat();
    stage.routed(&cidrs).await;
    let writes = stage.aws.writes_since(mark);
    assert_eq!(actions(&writes), ["CreateChangeSet", "ExecuteChangeSet"]);

    let mark = stage.aws.mark();
    replica.terminate().await;
    let second = flags(stage.replica("r2").zones(&["a", "b", "c"])).start();
    wait::until("r2 leads", || second.said(&["this replica leads"])).await;
    assert_eq!(
        actions(&stage.writes_at_rest(mark).await),
        [""; 0],
        "at the second pass"
    );

    let after = stage.routed(&cidrs).await;
    assert_eq!(after, before, "NAT gateways and static IPs");
    assert_eq!(self::subnets(stage), subnets);
    let stacks = stage.aws.stacks();
    assert_eq!(
        stacks.keys().collect::<Vec<_>>(),
        [go.name],
        "no stack of our own"
    );
}

#[tokio::test]
async fn a_stack_with_a_uuid_in_its_name() {
    let stage = Stage::open("adopt-uuid").await;
    adopt(&stage, GoStack::default(), |launch| launch, &[]).await;
}

#[tokio::test]
async fn a_stack_of_the_very_old_name() {
    let stage = Stage::open("adopt-old").await;
    let go = GoStack {
        name: "egress-static-nat",
        ..GoStack::default()
    };
    adopt(&stage, go, |launch| launch, &[]).await;
}

/// The stack gets its tags, which changes no resource.
#[tokio::test]
async fn a_stack_older_than_the_tags() {
    let stage = Stage::open("adopt-untagged").await;
    let go = GoStack {
        name: "egress-static-nat",
        untagged: true,
        ..GoStack::default()
    };
    let flags = |launch: Launch| launch.without("cluster-id");
    adopt(&stage, go, flags, &["CreateChangeSet", "ExecuteChangeSet"]).await;
}

#[tokio::test]
async fn a_stack_with_additional_tags_and_protection() {
    let stage = Stage::open("adopt-tags").await;
    let go = GoStack {
        more_tags: &[
            ("InfrastructureComponent", "true"),
            ("application", "egress"),
        ],
        protected: true,
        ..GoStack::default()
    };
    let flags = |launch: Launch| {
        launch
            .arg("--additional-stack-tags=InfrastructureComponent=true")
            .arg("--additional-stack-tags=application=egress")
            .arg("--stack-termination-protection")
    };
    adopt(&stage, go, flags, &[]).await;
}

/// In this stack, EIP1 belongs to the zone that comes last.
#[tokio::test]
async fn a_stack_whose_zones_had_another_order() {
    let stage = Stage::open("adopt-order").await;
    let go = GoStack {
        zones: &["c", "a", "b"],
        ..GoStack::default()
    };
    adopt(&stage, go, |launch| launch, &[]).await;
}

#[tokio::test]
async fn a_stack_with_two_route_tables_in_each_zone() {
    let stage = Stage::with_world("adopt-tables", json!({ "tables_per_zone": 2 })).await;
    adopt(&stage, GoStack::default(), |launch| launch, &[]).await;
}

/// The Go controller does not merge neighbours, and keeps CIDRs that no ConfigMap requests any more.
#[tokio::test]
async fn a_stack_whose_routes_are_not_minimal() {
    let stage = Stage::open("adopt-merge").await;
    let cidrs = [
        "192.112.0.0/22",
        "192.112.4.0/22",
        "8.8.8.8/32",
        "203.0.113.0/24",
    ];
    let go = GoStack {
        cidrs: &cidrs,
        ..GoStack::default()
    };
    adopt(
        &stage,
        go,
        |launch| launch,
        &["CreateChangeSet", "ExecuteChangeSet"],
    )
    .await;
}
