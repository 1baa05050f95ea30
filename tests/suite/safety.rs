//! Safety: a typo must not remove routes, and a foreign stack must not change.

use crate::drift::{looking, remove_route};
use crate::errors::told;
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

    // Good entries are added meanwhile, and the problem ends when the typo is corrected.
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

/// Returns more networks inside 20.0.0.0/8 than fit without a bucket.
fn inside() -> Vec<(String, String)> {
    let one = |n: u32| (format!("k{n:03}"), format!("20.0.{n}.1/32"));
    (0..100).map(one).collect()
}

fn pairs(data: &[(String, String)]) -> Vec<(&str, &str)> {
    data.iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect()
}

#[tokio::test]
async fn a_wide_entry_that_goes_loses_nothing_of_what_is_inside_of_it() {
    let stage = Stage::open("wide").await;
    let mut replica = looking(&stage)
        .flag("empty-grace-period", "0s")
        .flag("on-empty", "delete")
        .start();
    let wide = ["20.0.0.0/8"];
    stage.config_map("egress-wide", &[("wide", wide[0])]).await;
    let exits = stage.routed(&wide).await;
    stage.config_map("egress-t1", &pairs(&inside())).await;
    let mark = stage.aws.mark();
    stage.delete_config_map("egress-wide").await;
    let remedy = [
        "LimitReached",
        "20.0.0.0/8",
        "nobody requests",
        "--cf-template-bucket",
    ];
    told(&mut replica, &remedy).await;
    assert_eq!(actions(&stage.writes_at_rest(mark).await), [""; 0]);
    assert_eq!(stage.routed(&wide).await, exits);

    // Everything else continues: another tenant is served, and drift is repaired.
    stage.config_map("egress-t2", &[("dns", "8.8.8.8")]).await;
    assert_eq!(stage.routed(&["20.0.0.0/8", "8.8.8.8/32"]).await, exits);
    remove_route(&stage, "a");
    wait::until("told", || replica.said(&["RouteMissing", "8.8.8.8/32"])).await;
    assert_eq!(stage.routed(&["20.0.0.0/8", "8.8.8.8/32"]).await, exits);

    // Once there is room, each network gets its own route.
    stage.config_map("egress-t1", &pairs(&inside()[..40])).await;
    let mut cidrs: Vec<String> = inside().into_iter().take(40).map(|(_, net)| net).collect();
    cidrs.push("8.8.8.8/32".to_owned());
    let cidrs: Vec<&str> = cidrs.iter().map(String::as_str).collect();
    assert_eq!(stage.routed(&cidrs).await, exits);
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
