//! What must never happen: a typo that costs routes, a stack that is not ours being touched.

use crate::golang::GoStack;
use crate::stage::{EXAMPLE, EXAMPLE_CIDRS, STACK, Stage};
use crate::standin::actions;
use crate::wait;

#[tokio::test]
async fn a_typo_in_the_only_config_map_loses_nothing() {
    let stage = Stage::open("typo").await;
    let replica = stage
        .replica("r1")
        .flag("empty-grace-period", "0s")
        .flag("on-empty", "delete")
        .start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    let exits = stage.routed(&EXAMPLE_CIDRS).await;
    let mark = stage.aws.mark();
    stage
        .config_map(
            "egress-t1",
            &[
                ("service-provider1", "192.112.1.0/2l"),
                ("google-dns", "8.8.8,8/32"),
            ],
        )
        .await;
    let remedy = [
        "NotACidr",
        "192.112.1.0/2l",
        "egress-t1",
        "write one network per key",
    ];
    wait::until("told", || replica.said(&remedy)).await;
    assert_eq!(actions(&stage.writes_at_rest(mark).await), [""; 0]);
    assert_eq!(stage.routed(&EXAMPLE_CIDRS).await, exits);

    // Good entries are added meanwhile, and all is well once it is corrected.
    stage.config_map("egress-t2", &[("dns", "9.9.9.9")]).await;
    stage
        .routed(&[&EXAMPLE_CIDRS[..], &["9.9.9.9/32"]].concat())
        .await;
    stage
        .config_map("egress-t1", &[("service-provider1", "192.112.1.0/21")])
        .await;
    assert_eq!(stage.routed(&["192.112.0.0/21", "9.9.9.9/32"]).await, exits);
    replica.said(&["no longer", "NotACidr"]).unwrap();
}

#[tokio::test]
async fn a_stack_of_somebody_else_under_our_name_is_left_alone() {
    let stage = Stage::open("foreign").await;
    let tags = [("kubernetes.io/cluster/other", "owned")];
    GoStack {
        name: STACK,
        untagged: true,
        more_tags: &tags,
        ..GoStack::default()
    }
    .make(&stage)
    .await;
    let mut replica = stage.replica("r1").start();
    stage.config_map("egress-t1", &[("dns", "9.9.9.9")]).await;
    let remedy = [
        "StackNotOurs",
        STACK,
        "kubernetes.io/cluster/suite=owned",
        "--cluster-id",
    ];
    wait::until("told", || replica.said(&remedy)).await;
    assert_eq!(actions(&stage.writes_at_rest(0).await), [""; 0]);
    replica.assert_well();
}

#[tokio::test]
async fn two_stacks_that_claim_to_be_ours_are_left_alone() {
    let stage = Stage::open("several").await;
    GoStack {
        name: "egress-static-nat-suite-one",
        zones: &["a"],
        ..GoStack::default()
    }
    .make(&stage)
    .await;
    GoStack {
        name: "egress-static-nat-suite-two",
        zones: &["b"],
        ..GoStack::default()
    }
    .make(&stage)
    .await;
    let mut replica = stage.replica("r1").start();
    stage.config_map("egress-t1", &[("dns", "9.9.9.9")]).await;
    let names = [
        "SeveralStacks",
        "egress-static-nat-suite-one",
        "egress-static-nat-suite-two",
        "remove the tags",
    ];
    wait::until("told", || replica.said(&names)).await;
    assert_eq!(actions(&stage.writes_at_rest(0).await), [""; 0]);
    replica.assert_well();
}
