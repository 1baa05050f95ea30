//! Static IPs of stacks of an earlier form, and of stacks whose creation fails when they come back.

use serde_json::json;

use crate::golang::GoStack;
use crate::retained::{addresses, delete_stack, ips, noted, served_and_deleted, without_stack};
use crate::stage::{EXAMPLE, EXAMPLE_CIDRS, Stage};
use crate::standin::actions;
use crate::wait;

/// The Go controller's EIPs have no DeletionPolicy, and a half-deleted stack cannot get one: the next deletion would release them.
#[tokio::test]
async fn a_half_deleted_stack_of_the_go_controller_is_not_deleted_again() {
    let stage = Stage::open("older-deleted").await;
    GoStack::default().make(&stage).await;
    let before = addresses(&stage);
    let fault =
        json!({ "kind": "delete_fails", "logical_id": "NATGateway*", "message": "no", "times": 3 });
    stage.aws.fault(fault);
    delete_stack(&stage);
    wait::until("half deleted", || {
        let stacks = stage.aws.stacks();
        let failed = stacks.values().all(|status| status == "DELETE_FAILED");
        wait::check(failed && !stacks.is_empty(), || format!("{stacks:?}"))
    })
    .await;
    assert_eq!(addresses(&stage), before, "the gateways hold the addresses");
    let launch = stage.replica("r1").flag("empty-grace-period", "0s");
    let mut replica = launch.flag("on-empty", "delete").start();
    wait::until("refused", || {
        replica.said(&["DeleteFailed", "--retain-resources EIP"])
    })
    .await;
    assert_eq!(actions(&stage.writes_at_rest(0).await), [""; 0]);
    assert_eq!(addresses(&stage), before);
    replica.assert_well();
}

/// The deletion has released the EIPs, and failed after that: the next one can release nothing.
#[tokio::test]
async fn a_half_deleted_stack_whose_addresses_are_gone_is_deleted() {
    let stage = Stage::open("older-gone").await;
    GoStack::default().make(&stage).await;
    let fault =
        json!({ "kind": "delete_fails", "logical_id": "NATSubnet*", "message": "no", "times": 3 });
    stage.aws.fault(fault);
    delete_stack(&stage);
    wait::until("half deleted", || {
        let stacks = stage.aws.stacks();
        let failed = stacks.values().all(|status| status == "DELETE_FAILED");
        wait::check(failed && !stacks.is_empty(), || format!("{stacks:?}"))
    })
    .await;
    assert!(addresses(&stage).is_empty(), "the deletion released them");
    let launch = stage.replica("r1").flag("empty-grace-period", "0s");
    let mut replica = launch.flag("on-empty", "delete").start();
    without_stack(&stage).await;
    replica.assert_well();
}

/// An adopted stack gets a second static IP for each zone, and a zone that is removed and added again has the same one.
#[tokio::test]
async fn the_go_controller_s_stack_keeps_its_static_ips_through_every_new_feature() {
    let stage = Stage::open("older-features").await;
    GoStack::default().make(&stage).await;
    let first = stage.aws.exits();
    stage
        .aws
        .settings(json!({ "note_gaps": "true", "eip_quota": 6 }));
    stage.config_map("egress-t1", &EXAMPLE).await;
    let two = |name: &str| stage.replica(name).flag("aws-eips-per-zone", "2");
    let mut replica = two("r1").start();
    wait::until("six addresses", || {
        let all = addresses(&stage);
        wait::check(all.len() == 6, || format!("{all:?}"))
    })
    .await;
    assert_eq!(stage.routed(&EXAMPLE_CIDRS).await, first);
    assert_eq!(stage.aws.state()["gaps"], json!([]));
    noted(&stage).await;
    replica.terminate().await;
    let known = addresses(&stage);
    let launch = two("r2").zones(&["a", "b"]);
    let mut replica = launch.arg("--remove-zone=eu-central-1c").start();
    stage.exits_of(2).await;
    replica.terminate().await;
    assert_eq!(addresses(&stage), known, "the zone's addresses stay");
    let _replica = two("r3").start();
    stage.exits_of(3).await;
    let exits = stage.routed(&EXAMPLE_CIDRS).await;
    assert_eq!(ips(&exits), ips(&first));
    assert_eq!(exits["eu-central-1c"].ip, first["eu-central-1c"].ip);
    assert_eq!(addresses(&stage), known);
}

/// A creation that is rolled back releases no address that the stack had before.
#[tokio::test]
async fn a_stack_whose_creation_fails_when_it_comes_back_has_the_same_static_ips() {
    let stage = Stage::open("older-rollback").await;
    let first = served_and_deleted(&stage).await;
    let known = addresses(&stage);
    let fault = json!({ "kind": "resource_fails", "logical_id": "NATGateway*", "message": "no", "times": 1 });
    stage.aws.fault(fault);
    let replica = stage.replica("r2").start();
    wait::until("failed once", || {
        replica.said(&["the stack is ROLLBACK_COMPLETE"])
    })
    .await;
    // The zone whose NAT gateway failed waits.
    stage.exits_of(2).await;
    let exits = stage.routed(&EXAMPLE_CIDRS).await;
    for (zone, exit) in &exits {
        assert_eq!(exit.ip, first[zone].ip, "{zone}");
    }
    assert_eq!(addresses(&stage), known, "none is released or allocated");
}
