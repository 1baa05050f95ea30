//! Static IPs outlive the stacks and zones that used them.

use std::collections::{BTreeMap, BTreeSet};

use crate::golang::GoStack;
use crate::ledger::LEDGER;
use crate::limits::element;
use crate::stage::{EXAMPLE, EXAMPLE_CIDRS, Stage};
use crate::standin::{Exit, actions};
use crate::wait;

pub fn ips(exits: &BTreeMap<String, Exit>) -> BTreeSet<String> {
    exits.values().map(|exit| exit.ip.clone()).collect()
}

/// Returns the addresses in the account.
pub fn addresses(stage: &Stage) -> BTreeSet<String> {
    let state = stage.aws.state();
    let addresses = state["addresses"].as_array().unwrap().iter();
    let ip = |address: &serde_json::Value| address["public_ip"].as_str().unwrap().to_owned();
    addresses.map(ip).collect()
}

/// Returns the static IP of each zone.
fn by_zone(exits: &BTreeMap<String, Exit>) -> BTreeMap<&str, &str> {
    let exits = exits.iter();
    exits
        .map(|(zone, exit)| (zone.as_str(), exit.ip.as_str()))
        .collect()
}

/// Waits until the ledger has the static IPs of all three zones.
pub async fn noted(stage: &Stage) {
    wait::until_async("noted", || async {
        let ledger = stage.ledger().await?;
        let known = ledger["staticIps"].as_object().map_or(0, |it| it.len());
        wait::check(known == 3, || ledger.to_string())
    })
    .await;
}

/// Deletes the stack as an operator would.
pub fn delete_stack(stage: &Stage) {
    let stacks = stage.aws.stacks();
    let name = stacks.keys().next().unwrap().as_str();
    stage
        .aws
        .call("cloudformation", "DeleteStack", &[("StackName", name)]);
}

pub async fn without_stack(stage: &Stage) {
    wait::until("the stack is gone", || {
        let stacks = stage.aws.stacks();
        wait::check(stacks.is_empty(), || format!("{stacks:?}"))
    })
    .await;
}

/// Serves the example until the ledger has the static IPs. Then an operator deletes the stack while no replica runs. Returns how each zone
/// was served.
pub async fn served_and_deleted(stage: &Stage) -> BTreeMap<String, Exit> {
    let mut replica = stage.replica("r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    let exits = stage.routed(&EXAMPLE_CIDRS).await;
    noted(stage).await;
    replica.terminate().await;
    delete_stack(stage);
    without_stack(stage).await;
    exits
}

/// Deleting the Go controller's stack would release its static IPs. A change of its own prevents that first.
#[tokio::test]
async fn an_adopted_stack_retains_its_static_ips_before_it_is_deleted() {
    let stage = Stage::open("retained-adopted").await;
    GoStack::default().make(&stage).await;
    let before = ips(&stage.aws.exits());
    stage.config_map("egress-t1", &EXAMPLE).await;
    let launch = stage.replica("r1").flag("empty-grace-period", "0s");
    let replica = launch.flag("on-empty", "delete").start();
    wait::until("r1 leads", || replica.said(&["this replica leads"])).await;
    stage.two_more_looks().await;
    let mark = stage.aws.mark();
    assert_eq!(actions(&stage.writes_at_rest(0).await), [""; 0]);
    stage.delete_config_map("egress-t1").await;
    without_stack(&stage).await;
    assert_eq!(addresses(&stage), before);
    let writes = ["CreateChangeSet", "ExecuteChangeSet", "DeleteStack"];
    assert_eq!(actions(&stage.aws.writes_since(mark)), writes);
}

#[tokio::test]
async fn a_stack_that_somebody_deletes_leaves_its_static_ips() {
    let stage = Stage::open("retained-deleted").await;
    let mut replica = stage.replica("r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    let before = ips(&stage.routed(&EXAMPLE_CIDRS).await);
    replica.terminate().await;
    delete_stack(&stage);
    without_stack(&stage).await;
    assert_eq!(addresses(&stage), before);
}

#[tokio::test]
async fn a_stack_that_comes_back_has_the_same_static_ips() {
    let stage = Stage::open("retained-back").await;
    let launch = || stage.replica("r1").flag("empty-grace-period", "0s");
    let mut replica = launch().flag("on-empty", "delete").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    let first = stage.routed(&EXAMPLE_CIDRS).await;
    for round in 0..2 {
        stage.delete_config_map("egress-t1").await;
        without_stack(&stage).await;
        stage.config_map("egress-t1", &EXAMPLE).await;
        let exits = stage.routed(&EXAMPLE_CIDRS).await;
        assert_eq!(by_zone(&exits), by_zone(&first), "round {round}");
    }
    // An operator deletes the stack while entries request it.
    delete_stack(&stage);
    let start = std::time::Instant::now();
    wait::until("other NAT gateways", || {
        let exits = stage.aws.exits();
        let renewed = exits.len() == 3
            && exits
                .iter()
                .all(|(zone, exit)| first[zone].gateway != exit.gateway);
        wait::check(renewed, || format!("{exits:?}"))
    })
    .await;
    let exits = stage.routed(&EXAMPLE_CIDRS).await;
    println!("egress was away for {:.1} s", start.elapsed().as_secs_f64());
    assert_eq!(by_zone(&exits), by_zone(&first));
    assert_eq!(
        addresses(&stage),
        ips(&first),
        "no address is allocated again"
    );
    replica.terminate().await;
}

#[tokio::test]
async fn a_cluster_without_a_ledger_finds_its_static_ips_by_their_tags() {
    let stage = Stage::open("retained-tags").await;
    let first = served_and_deleted(&stage).await;
    stage.delete_config_map(LEDGER).await;
    let _replica = stage.replica("r2").start();
    let exits = stage.routed(&EXAMPLE_CIDRS).await;
    assert_eq!(by_zone(&exits), by_zone(&first));
}

#[tokio::test]
async fn a_zone_that_is_added_again_has_the_same_static_ip() {
    let stage = Stage::open("retained-zone").await;
    let mut replica = stage.replica("r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    let first = stage.routed(&EXAMPLE_CIDRS).await;
    noted(&stage).await;
    replica.terminate().await;
    let launch = stage.replica("r2").zones(&["a", "b"]);
    let mut replica = launch.arg("--remove-zone=eu-central-1c").start();
    stage.exits_of(2).await;
    replica.terminate().await;
    // The quota is the number of existing addresses.
    stage.aws.settings(serde_json::json!({ "eip_quota": 3 }));
    let _replica = stage.replica("r3").start();
    stage.exits_of(3).await;
    let exits = stage.routed(&EXAMPLE_CIDRS).await;
    assert_eq!(by_zone(&exits), by_zone(&first));
}

/// Allocates an Elastic IP address with the tests' own credentials. Returns its allocation id.
pub fn allocate(stage: &Stage) -> String {
    let answer = stage
        .aws
        .call("ec2", "AllocateAddress", &[("Domain", "vpc")]);
    element(&answer, "allocationId")
}

#[tokio::test]
async fn a_zone_uses_the_address_that_a_flag_names_and_a_wrong_one_holds_up_nobody_else() {
    let stage = Stage::open("retained-own").await;
    let own = allocate(&stage);
    let wrong = "--aws-eip-allocation-id=eu-central-1b=eipalloc-0123456789abcdef0";
    let flag = format!("--aws-eip-allocation-id=eu-central-1a={own}");
    let mut replica = stage.replica("r1").arg(&flag).arg(wrong).start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    let exits = stage.routed(&EXAMPLE_CIDRS).await;
    assert_eq!(exits["eu-central-1a"].allocation, own);
    assert_eq!(exits.len(), 2, "zone b waits: {exits:?}");
    wait::until("told", || {
        replica.said(&[
            "StaticIpUndecided",
            "eipalloc-0123456789abcdef0",
            "eu-central-1b",
        ])
    })
    .await;
    replica.terminate().await;
    // Another allocation id in the flags changes no live zone.
    let other = allocate(&stage);
    let flag = format!("--aws-eip-allocation-id=eu-central-1a={other}");
    let replica = stage.replica("r2").arg(&flag).start();
    wait::until("told", || replica.said(&["StaticIpKept", &other])).await;
    let after = stage.aws.exits();
    assert_eq!(after["eu-central-1a"], exits["eu-central-1a"]);
}

/// Allocates an Elastic IP address that zones of the region cannot use.
fn allocate_elsewhere(stage: &Stage) -> String {
    let group = ("NetworkBorderGroup", "eu-central-1-ham-1");
    let call = [("Domain", "vpc"), group];
    element(
        &stage.aws.call("ec2", "AllocateAddress", &call),
        "allocationId",
    )
}

#[tokio::test]
async fn a_static_ip_is_replaced_on_request_without_a_gap() {
    let stage = Stage::open("retained-replaced").await;
    let mut replica = stage.replica("r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    let first = stage.routed(&EXAMPLE_CIDRS).await;
    noted(&stage).await;
    replica.terminate().await;
    stage
        .aws
        .settings(serde_json::json!({ "note_gaps": "true" }));
    let own = allocate(&stage);
    let flag = format!("--aws-eip-allocation-id=eu-central-1a={own}");
    let replace = "--replace-static-ip=eu-central-1a";
    let mut replica = stage.replica("r2").arg(&flag).arg(replace).start();
    wait::until("replaced", || {
        let exits = stage.aws.exits();
        let is_own = exits.len() == 3 && exits["eu-central-1a"].allocation == own;
        wait::check(is_own, || format!("{exits:?}"))
    })
    .await;
    let exits = stage.routed(&EXAMPLE_CIDRS).await;
    let gaps = stage.aws.state()["gaps"].clone();
    assert_eq!(
        gaps,
        serde_json::json!([]),
        "every route was active all the time"
    );
    let (before, after) = (&first["eu-central-1a"], &exits["eu-central-1a"]);
    assert_ne!(before.gateway, after.gateway);
    for zone in ["eu-central-1b", "eu-central-1c"] {
        assert_eq!(first[zone], exits[zone]);
    }
    assert!(
        addresses(&stage).contains(&before.ip),
        "it stays in the account"
    );
    // The flag stays set, and a replica without the flag leads again.
    stage.two_more_looks().await;
    let mark = stage.aws.mark();
    assert_eq!(actions(&stage.writes_at_rest(mark).await), [""; 0]);
    noted(&stage).await;
    replica.terminate().await;
    let mut replica = stage.replica("r3").start();
    wait::until("r3 leads", || replica.said(&["this replica leads"])).await;
    stage.two_more_looks().await;
    assert_eq!(actions(&stage.writes_at_rest(mark).await), [""; 0]);
    replica.terminate().await;
    // The zone is removed and added again.
    let launch = stage.replica("r4").zones(&["b", "c"]);
    let mut replica = launch.arg("--remove-zone=eu-central-1a").start();
    stage.exits_of(2).await;
    replica.terminate().await;
    let _replica = stage.replica("r5").start();
    let exits = stage.exits_of(3).await;
    assert_eq!(exits["eu-central-1a"].allocation, own);
}

#[tokio::test]
async fn an_address_that_cannot_be_used_changes_no_zone() {
    let stage = Stage::open("retained-unusable").await;
    stage.aws.settings(serde_json::json!({ "eip_quota": 9 }));
    let (used, elsewhere) = (allocate(&stage), allocate_elsewhere(&stage));
    let state = stage.aws.state();
    let subnet = state["subnets"][0]["id"].as_str().unwrap();
    let call = [("SubnetId", subnet), ("AllocationId", used.as_str())];
    stage.aws.call("ec2", "CreateNatGateway", &call);
    let named = [
        ("eu-central-1a", used.as_str()),
        ("eu-central-1b", elsewhere.as_str()),
        ("eu-central-1c", "eipalloc-0123456789abcdef0"),
    ];
    let flags = named.map(|(zone, id)| format!("--aws-eip-allocation-id={zone}={id}"));
    // Two zones are added, and the third one waits.
    let mut replica = stage.replica("r1").arg(&flags[1]).start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    let told =
        |replica: &crate::replica::Replica, reason, zone, id| replica.said(&[reason, zone, id]);
    let (zone, id) = named[1];
    wait::until("told", || told(&replica, "StaticIpUndecided", zone, id)).await;
    wait::until("told", || {
        replica.said(&["eu-central-1-ham-1", "border group"])
    })
    .await;
    replica.terminate().await;
    let mut replica = stage.replica("r2").start();
    let before = stage.exits_of(3).await;
    replica.terminate().await;
    let mut launch = stage.replica("r3");
    for ((zone, _), flag) in named.iter().zip(&flags) {
        launch = launch.arg(flag).arg(&format!("--replace-static-ip={zone}"));
    }
    let replica = launch.start();
    for (zone, id) in named {
        wait::until("told", || told(&replica, "StaticIpKept", zone, id)).await;
    }
    let more = [EXAMPLE.as_slice(), &[("more", "9.9.9.9")]].concat();
    stage.config_map("egress-t2", &more[2..]).await;
    wait::until("others go on", || {
        let routes = stage.aws.routes();
        let all = routes.values().all(|it| it.contains_key("9.9.9.9/32"));
        wait::check(all, || format!("{routes:?}"))
    })
    .await;
    assert_eq!(stage.aws.exits(), before);
}

/// Releases a static IP that nothing uses, as an operator would.
pub fn release(stage: &Stage, exit: &Exit) {
    let call = [("AllocationId", exit.allocation.as_str())];
    stage.aws.call("ec2", "ReleaseAddress", &call);
}

#[tokio::test]
async fn former_static_ips_that_were_released_come_back_while_their_zones_are_added() {
    let stage = Stage::open("retained-released").await;
    let first = served_and_deleted(&stage).await;
    release(&stage, &first["eu-central-1a"]);
    let mut replica = stage.replica("r2").start();
    stage.exits_of(3).await;
    let exits = stage.routed(&EXAMPLE_CIDRS).await;
    assert_eq!(by_zone(&exits), by_zone(&first));
    noted(&stage).await;
    replica.terminate().await;
    // No zone has its static IP: they come back one after the other.
    delete_stack(&stage);
    without_stack(&stage).await;
    exits.values().for_each(|exit| release(&stage, exit));
    let start = std::time::Instant::now();
    let mut replica = stage.replica("r3").start();
    stage.exits_of(3).await;
    let exits = stage.routed(&EXAMPLE_CIDRS).await;
    wait::measured(&format!(
        "three released static IPs were back after {:.1} s",
        start.elapsed().as_secs_f64()
    ));
    assert_eq!(by_zone(&exits), by_zone(&first));
    assert_eq!(addresses(&stage), ips(&first));
    replica.assert_well();
}

#[tokio::test]
async fn a_former_static_ip_that_was_given_away_is_no_other_zones_problem() {
    let stage = Stage::open("retained-lost").await;
    let first = served_and_deleted(&stage).await;
    let lost = &first["eu-central-1a"];
    release(&stage, lost);
    let away = serde_json::json!({ "action": "give_address_away", "public_ip": lost.ip });
    stage.aws.post("tamper", &away);
    let mut replica = stage.replica("r2").start();
    wait::until("told", || replica.said(&["StaticIpLost", &lost.ip])).await;
    let exits = stage.routed(&EXAMPLE_CIDRS).await;
    let mut expected = by_zone(&first);
    expected.remove("eu-central-1a");
    assert_eq!(by_zone(&exits), expected);
    // AWS was asked once, and new entries are served.
    wait::until_async("the attempt is noted", || async {
        let ledger = stage.ledger().await?;
        let key = format!("recover eu-central-1a {}", lost.ip);
        wait::check(ledger["tries"][&key].is_object(), || ledger.to_string())
    })
    .await;
    let more = [EXAMPLE.as_slice(), &[("more", "9.9.9.9")]].concat();
    stage.config_map("egress-t2", &more[2..]).await;
    let cidrs = [&EXAMPLE_CIDRS[..], &["9.9.9.9/32"]].concat();
    let exits = stage.routed(&cidrs).await;
    assert_eq!(by_zone(&exits), expected);
    replica.terminate().await;
    let allowed = format!("--allow-new-eips=eu-central-1a={}", lost.ip);
    let _replica = stage.replica("r3").arg(&allowed).start();
    stage.exits_of(3).await;
    let exits = stage.routed(&cidrs).await;
    assert_ne!(exits["eu-central-1a"].ip, lost.ip);
}
