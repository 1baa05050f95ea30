//! The state in the ledger, which outlives a leader: the networks of entries, the stack, failed attempts, grace periods.

use serde_json::json;

use crate::chart;
use crate::golang::GoStack;
use crate::replica::Replica;
use crate::stage::{EXAMPLE, EXAMPLE_CIDRS, Stage};
use crate::standin::actions;
use crate::wait;

pub const LEDGER: &str = "kube-static-egress-controller-ledger";
const NONSENSE: [(&str, &str); 2] = [
    ("service-provider1", "192.112.1.0/2l"),
    ("google-dns", "8.8.8,8/32"),
];

async fn leads(replica: &Replica) {
    wait::until("it leads", || replica.said(&["this replica leads"])).await;
}

/// Starts another replica, and lets it take over after the old one has crashed.
async fn fail_over(stage: &Stage, mut old: Replica, name: &str) -> Replica {
    old.kill();
    let new = stage.replica(name).without("max-removal").start();
    leads(&new).await;
    new
}

#[tokio::test]
async fn a_typo_keeps_its_routes_while_another_tenant_s_go() {
    let stage = Stage::open("kept").await;
    let mut replica = stage.replica("r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    stage.config_map("egress-t2", &[("dns", "9.9.9.9")]).await;
    stage.config_map("egress-t3", &[("dns", "1.1.1.1")]).await;
    let all = [&EXAMPLE_CIDRS[..], &["9.9.9.9/32", "1.1.1.1/32"]].concat();
    let exits = stage.routed(&all).await;
    stage.config_map("egress-t1", &NONSENSE).await;
    let told = [
        "NotACidr",
        "egress-t1",
        "kept: 8.8.8.8/32 until it is corrected or removed",
    ];
    wait::until("told", || replica.said(&told)).await;
    stage.delete_config_map("egress-t2").await;
    let left = [&EXAMPLE_CIDRS[..], &["1.1.1.1/32"]].concat();
    assert_eq!(stage.routed(&left).await, exits);
    stage.config_map("egress-t3", &[("dns", "1.0.0.1")]).await;
    let left = [&EXAMPLE_CIDRS[..], &["1.0.0.1/32"]].concat();
    assert_eq!(stage.routed(&left).await, exits);
    replica.said(&["RemovalsFrozen"]).unwrap_err();

    // No process is left that could remember the network.
    replica.kill();
    stage.delete_config_map("egress-t3").await;
    let replica = stage.replica("r2").start();
    assert_eq!(stage.routed(&EXAMPLE_CIDRS).await, exits);
    wait::until("told", || replica.said(&told)).await;
    stage.config_map("egress-t1", &EXAMPLE[1..]).await;
    assert_eq!(stage.routed(&EXAMPLE_CIDRS[1..]).await, exits);
}

#[tokio::test]
async fn without_a_ledger_a_typo_freezes_removals_until_it_is_mended() {
    let stage = Stage::open("no-ledger").await;
    let mut replica = stage.replica("r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    stage.config_map("egress-t2", &[("dns", "9.9.9.9")]).await;
    let all = [&EXAMPLE_CIDRS[..], &["9.9.9.9/32"]].concat();
    stage.routed(&all).await;
    replica.terminate().await;
    stage.delete_config_map(LEDGER).await;
    stage.config_map("egress-t1", &NONSENSE).await;
    stage.delete_config_map("egress-t2").await;

    let mark = stage.aws.mark();
    let replica = stage.replica("r2").start();
    wait::until("told", || replica.said(&["RemovalsFrozen"])).await;
    assert_eq!(actions(&stage.writes_at_rest(mark).await), [""; 0]);
    stage.routed(&all).await;
    stage.config_map("egress-t1", &EXAMPLE).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    // Its role cannot create the ConfigMap. The log names what creates it.
    replica
        .said(&[
            "does not exist and may not be created",
            "install the chart again",
        ])
        .unwrap();
    let state = chart::state(&stage.namespace).into_iter();
    for (path, object) in state.filter(|(_, object)| object["metadata"]["name"] == LEDGER) {
        stage.create(&path, object).await;
    }
    wait::until("it is there", || {
        replica.said(&["no longer", "LedgerUnavailable"])
    })
    .await;
    // The recreated ConfigMap works from now on.
    stage
        .config_map("egress-t1", &[EXAMPLE[0], NONSENSE[1]])
        .await;
    stage.config_map("egress-t1", &[NONSENSE[1]]).await;
    stage.routed(&EXAMPLE_CIDRS[1..]).await;
}

#[tokio::test]
async fn without_the_right_to_it_the_controller_works_as_if_there_were_none() {
    let stage = Stage::open("ledger-right").await;
    let binding = format!(
        "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings/kube-static-egress-controller-ledger",
        stage.namespace
    );
    let removed = stage.take(&binding).await;
    let mut replica = stage.replica("r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    stage.config_map("egress-t2", &[("dns", "9.9.9.9")]).await;
    let all = [&EXAMPLE_CIDRS[..], &["9.9.9.9/32"]].concat();
    stage.routed(&all).await;
    let told = [
        "LedgerUnavailable",
        "bind a role with get and update",
        "deploy/manifests.yaml",
    ];
    wait::until("told", || replica.said(&told)).await;
    let times = replica
        .log()
        .matches("bind a role with get and update")
        .count();
    assert_eq!(times, 1, "once");
    stage.delete_config_map("egress-t2").await;
    stage.routed(&EXAMPLE_CIDRS).await;
    stage
        .config_map("egress-t1", &[EXAMPLE[0], NONSENSE[1]])
        .await;
    stage
        .config_map("egress-t1", &[NONSENSE[1], ("dns", "9.9.9.9")])
        .await;
    stage.routed(&all).await;
    replica.said(&["RemovalsFrozen"]).unwrap();
    replica.assert_well();
    stage.put_back(&binding, removed).await;
    stage
        .config_map("egress-t1", &[EXAMPLE[1], ("dns", "9.9.9.9")])
        .await;
    stage.routed(&["8.8.8.8/32", "9.9.9.9/32"]).await;
    wait::until("it is there", || {
        replica.said(&["no longer", "LedgerUnavailable"])
    })
    .await;
    stage.ledger().await.unwrap();
}

#[tokio::test]
async fn a_selector_that_finds_nothing_after_a_restart_costs_nothing() {
    let stage = Stage::open("selector").await;
    let replica = stage.replica("r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    let exits = stage.routed(&EXAMPLE_CIDRS).await;
    stage.unlabel("egress-t1").await;
    let mark = stage.aws.mark();
    let replica = fail_over(&stage, replica, "r2").await;
    wait::until("told", || {
        replica.said(&["no ConfigMap asks", "the controller acts on that after"])
    })
    .await;
    stage.config_map("egress-t1", &EXAMPLE).await;
    assert_eq!(actions(&stage.writes_at_rest(mark).await), [""; 0]);
    assert_eq!(stage.routed(&EXAMPLE_CIDRS).await, exits);
}

#[tokio::test]
async fn config_maps_that_come_back_within_the_grace_period_lose_nothing_over_a_failover() {
    let stage = Stage::open("come-back").await;
    let replica = stage.replica("r1").without("max-removal");
    let replica = replica.flag("on-empty", "delete").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    stage.config_map("egress-t2", &[("dns", "9.9.9.9")]).await;
    let all = [&EXAMPLE_CIDRS[..], &["9.9.9.9/32"]].concat();
    let exits = stage.routed(&all).await;
    let mark = stage.aws.mark();
    stage.delete_config_map("egress-t1").await;
    stage.delete_config_map("egress-t2").await;
    let since = async || match stage.ledger().await?["emptySince"].as_u64() {
        Some(since) => Ok(since),
        None => Err("not empty".to_owned()),
    };
    let before = wait::until_async("it is noted", since).await;
    let replica = fail_over(&stage, replica, "r2").await;
    wait::until("told", || {
        replica.said(&["no ConfigMap asks", "the controller acts on that after"])
    })
    .await;
    // The second leader adds its own time to the time that the first one recorded.
    assert!(since().await.unwrap() >= before);
    stage.config_map("egress-t1", &EXAMPLE).await;
    stage.config_map("egress-t2", &[("dns", "9.9.9.9")]).await;
    assert_eq!(actions(&stage.writes_at_rest(mark).await), [""; 0]);
    assert_eq!(stage.routed(&all).await, exits);
    wait::until_async("it is over", async || {
        let empty = stage.ledger().await?["emptySince"].is_null();
        wait::check(empty, || "empty".to_owned())
    })
    .await;
}

#[tokio::test]
async fn a_large_removal_waits_over_a_failover() {
    let stage = Stage::open("large").await;
    let start = |name: &str| {
        let replica = stage.replica(name).without("max-removal");
        replica.flag("empty-grace-period", "20s").start()
    };
    let mut replica = start("r1");
    stage.config_map("egress-t1", &EXAMPLE).await;
    stage.config_map("egress-t2", &[("dns", "9.9.9.9")]).await;
    stage
        .routed(&[&EXAMPLE_CIDRS[..], &["9.9.9.9/32"]].concat())
        .await;
    let removed = std::time::Instant::now();
    stage.config_map("egress-t1", &[("new", "1.1.1.1")]).await;
    let told = [
        "LargeRemovalWaits",
        "2 of 3 networks keep their routes",
        "--max-removal=50 percent",
    ];
    wait::until("told", || replica.said(&told)).await;
    stage
        .routed(&[&EXAMPLE_CIDRS[..], &["9.9.9.9/32", "1.1.1.1/32"]].concat())
        .await;
    wait::until_async("it is noted", async || {
        let noted = stage.ledger().await?["largeRemoval"][1] == 2;
        wait::check(noted, || "not yet".to_owned())
    })
    .await;
    replica.kill();
    let _replica = start("r2");
    stage.routed(&["9.9.9.9/32", "1.1.1.1/32"]).await;
    let waited = removed.elapsed().as_secs_f64();
    wait::measured(&format!("a large removal was done after {waited:.1} s"));
    assert!(waited > 18.0, "{waited}");
}

/// The name of the Go controller's stack cannot be derived.
#[tokio::test]
async fn a_stack_that_lost_its_tags_is_found_and_gets_no_twin() {
    let stage = Stage::open("tags-lost").await;
    let go = GoStack::default();
    let name = go.name;
    go.make(&stage).await;
    stage.config_map("egress-t1", &EXAMPLE).await;
    let replica = stage.replica("r1").start();
    wait::until("adopted", || replica.said(&["Keep", "as it should be"])).await;
    let exits = stage.aws.exits();
    let mut fields = vec![
        ("StackName".to_owned(), name.to_owned()),
        ("UsePreviousTemplate".to_owned(), "true".to_owned()),
        ("Tags.member.1.Key".to_owned(), "team".to_owned()),
        ("Tags.member.1.Value".to_owned(), "x".to_owned()),
    ];
    let tables = (1..=3).map(|number| format!("AZ{number}RouteTableIDParameter"));
    let others = ["VPCIDParameter", "InternetGatewayIDParameter"].map(str::to_owned);
    for (number, parameter) in (1..).zip(tables.chain(others)) {
        let member = format!("Parameters.member.{number}");
        fields.push((format!("{member}.ParameterKey"), parameter));
        fields.push((format!("{member}.UsePreviousValue"), "true".to_owned()));
    }
    let fields: Vec<(&str, &str)> = fields
        .iter()
        .map(|(key, value)| (&key[..], &value[..]))
        .collect();
    let mark = stage.aws.mark();
    stage.aws.call("cloudformation", "UpdateStack", &fields);
    let replica = fail_over(&stage, replica, "r2").await;
    let told = ["StackNotOurs", "give it these tags"];
    wait::until("told", || replica.said(&told)).await;
    replica.said(&["StackNotOurs", name]).unwrap();
    assert_eq!(actions(&stage.writes_at_rest(mark).await), [""; 0]);
    assert_eq!(stage.aws.stacks().keys().collect::<Vec<_>>(), [name]);
    assert_eq!(stage.aws.exits(), exits);
}

#[tokio::test]
async fn a_new_leader_makes_as_many_calls_among_2000_stacks_as_alone() {
    let stage = Stage::open("many-stacks").await;
    stage.aws.post("foreign-stacks", &json!({ "count": 2000 }));
    let replica = stage.replica("r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    wait::until_async("it is noted", async || {
        let stack = stage.ledger().await?["stack"].clone();
        wait::check(stack.is_string(), || format!("{stack}"))
    })
    .await;
    let first = stage.aws.count_since(0, "DescribeStacks");
    let mark = stage.aws.mark();
    let _replica = fail_over(&stage, replica, "r2").await;
    assert_eq!(actions(&stage.writes_at_rest(mark).await), [""; 0]);
    let (then, looks) = (
        stage.aws.count_since(mark, "DescribeStacks"),
        stage.aws.count_since(mark, "DescribeRouteTables"),
    );
    wait::measured(&format!(
        "among 2,000 foreign stacks: {first} DescribeStacks until the first stack stood, {then} in {looks} passes of a new leader"
    ));
    assert!(first > 20, "the search goes through all pages once");
    assert!(then <= looks + 1, "{then} in {looks} passes");
}

/// Each cluster has its own zones, so that both can route the same networks.
#[tokio::test]
async fn two_clusters_in_one_account_have_a_stack_and_a_ledger_each() {
    let stage = Stage::open("two-clusters").await;
    stage.second_lease("other").await;
    let one = |name: &str| stage.replica(name).zones(&["a", "b"]).start();
    let other = |name: &str| {
        let launch = stage.replica(name).flag("cluster-id", "other");
        let launch = launch.flag("leader-elect-resource-name", "other");
        launch.zones(&["c"]).start()
    };
    let (mut first, mut second) = (one("r1"), other("s1"));
    stage.config_map("egress-t1", &EXAMPLE).await;
    stage.exits_of(3).await;
    let exits = stage.routed(&EXAMPLE_CIDRS).await;
    let stacks = stage.aws.stacks();
    let names = ["egress-static-nat-other", "egress-static-nat-suite"];
    assert_eq!(stacks.keys().collect::<Vec<_>>(), names);
    for replica in [&first, &second] {
        wait::until("at rest", || replica.said(&["Keep", "as it should be"])).await;
        replica.said(&["LedgerUnavailable"]).unwrap_err();
    }

    first.kill();
    second.kill();
    stage.config_map("egress-t1", &NONSENSE).await;
    let mark = stage.aws.mark();
    let replicas = [one("r2"), other("s2")];
    for replica in &replicas {
        wait::until("told", || replica.said(&["NotACidr", "kept: 8.8.8.8/32"])).await;
    }
    assert_eq!(actions(&stage.writes_at_rest(mark).await), [""; 0]);
    assert_eq!(stage.routed(&EXAMPLE_CIDRS).await, exits);
    assert_eq!(stage.aws.stacks(), stacks);
}

#[tokio::test]
async fn what_always_fails_is_tried_no_sooner_after_a_failover() {
    let stage = Stage::open("patience").await;
    let fault =
        json!({ "kind": "resource_fails", "logical_id": "NATGateway*", "message": "no capacity" });
    stage.aws.fault(fault);
    stage.config_map("egress-t1", &EXAMPLE).await;
    // A stack of several zones would be retried without the failed zone, as another stack.
    let one = |name: &str| stage.replica(name).zones(&["a"]).start();
    let mut replica = one("r0");
    let tries = |stage: &Stage| {
        let log = stage.aws.log_since(0).into_iter();
        let creations = log.filter(|entry| entry.action == "CreateStack");
        creations.map(|entry| entry.t).collect::<Vec<u64>>()
    };
    let mut failovers = 0;
    while tries(&stage).len() < 3 {
        wait::until("it has looked", || {
            let held = replica.metric("kube_static_egress_controller_step_tries");
            wait::check(held.is_some_and(|tries| tries > 0.0), || {
                format!("{held:?}")
            })
        })
        .await;
        failovers += 1;
        replica.kill();
        replica = one(&format!("r{failovers}"));
        leads(&replica).await;
    }
    let times = tries(&stage);
    let apart: Vec<f64> = times
        .windows(2)
        .map(|pair| (pair[1] - pair[0]) as f64 / 1000.0)
        .collect();
    wait::measured(&format!("{failovers} failovers, tries {apart:.1?} s apart"));
    assert!(apart[0] >= 7.0 && apart[1] >= 14.0, "{apart:?}");
    let tries = &stage.ledger().await.unwrap()["tries"];
    assert!(
        tries.as_object().is_some_and(|tries| !tries.is_empty()),
        "{tries}"
    );
    stage.aws.clear_faults();
}
