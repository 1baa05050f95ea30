//! One stack belongs to one cluster: controllers of other clusters with the same ownership tags leave it alone.

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::ListParams;
use serde_json::json;

use crate::replica::Replica;
use crate::stage::{EXAMPLE, EXAMPLE_CIDRS, STACK, Stage};
use crate::standin::actions;
use crate::testbed::Testbed;
use crate::wait;

/// Two controllers without a cluster id find one stack. The second controller's VPC does not contain it.
#[tokio::test]
async fn a_stack_in_another_vpc_gets_no_write() {
    let stage = Stage::open("other-vpc").await;
    stage.second_lease("other").await;
    let world = json!({ "keep": true, "default": false, "vpc_cidr": "172.31.0.0/16" });
    let made = stage.aws.post("world", &world);
    let other = made["vpc_id"].as_str().unwrap().to_owned();
    let (vpc, first_vpc) = ("vpc-id", stage.vpc.clone());
    let first = stage.replica("r1").without("cluster-id");
    let first = first.flag(vpc, &first_vpc).start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    wait::until("at rest", || first.said(&["Keep", "as it should be"])).await;
    let (mark, exits) = (stage.aws.mark(), stage.aws.exits());

    let second = stage.replica("s1").without("cluster-id");
    let second = second
        .flag(vpc, &other)
        .flag("leader-elect-resource-name", "other")
        .start();
    let told = [
        "StackInAnotherVpc",
        first_vpc.as_str(),
        other.as_str(),
        "--cluster-id",
    ];
    wait::until("told", || second.said(&told)).await;
    stage.two_more_looks().await;
    stage.two_more_looks().await;
    assert_eq!(actions(&stage.aws.writes_since(mark)), [""; 0]);
    assert_eq!(stage.aws.exits(), exits);
    let served = |vpc: &str| {
        let tables = stage.aws.state()["route_tables"]
            .as_array()
            .unwrap()
            .clone();
        let mine = tables.into_iter().filter(|table| table["vpc_id"] == vpc);
        mine.map(|table| table["routes"].to_string())
            .filter(|routes| EXAMPLE_CIDRS.iter().all(|cidr| routes.contains(cidr)))
            .count()
    };
    assert_eq!((served(&first_vpc), served(&other)), (3, 0));
}

async fn uid(stage: &Stage) -> String {
    let api: Api<Namespace> = Api::all(stage.kube.clone());
    api.get("kube-system").await.unwrap().metadata.uid.unwrap()
}

/// Waits for an Event on the Lease with this reason and all of these texts.
async fn on_the_lease(stage: &Stage, reason: &str, texts: &[&str]) {
    wait::until_async(&format!("{reason} {texts:?} is on the Lease"), async || {
        let api: Api<Event> = Api::namespaced(stage.kube.clone(), &stage.namespace);
        let events = api.list(&ListParams::default()).await.unwrap().items;
        let found = events.iter().any(|event| {
            let lease = event.regarding.as_ref().and_then(|it| it.kind.as_deref()) == Some("Lease");
            let note = event.note.as_deref().unwrap_or_default();
            lease
                && event.reason.as_deref() == Some(reason)
                && event.type_.as_deref() == Some("Warning")
                && texts.iter().all(|text| note.contains(text))
        });
        wait::check(found, || format!("{} Events", events.len()))
    })
    .await;
}

fn problems(replica: &Replica, reason: &str) -> Option<f64> {
    let name = format!("kube_static_egress_controller_problems{{reason=\"{reason}\"}}");
    replica.metric(&name)
}

/// The values were copied: both clusters have the same id, in one account.
#[tokio::test]
async fn a_stack_has_one_cluster_until_it_is_moved_and_keeps_its_static_ips() {
    let stage = Stage::open("owner").await;
    let testbed = Testbed::start("owner-other");
    let other = Stage::on_beside(&testbed, "owner-other").await;
    let (ours, theirs) = (uid(&stage).await, uid(&other).await);
    assert_ne!(ours, theirs);
    let mut first = stage.replica("r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    let exits = stage.routed(&EXAMPLE_CIDRS).await;

    let second = |name: &str| other.replica(name).aws_port(stage.aws.port());
    other.config_map("egress-t2", &[("dns", "9.9.9.9")]).await;
    let mark = stage.aws.mark();
    let refused = second("s1").start();
    let remedy = format!("--take-over-stack-from={ours}");
    let told = [
        "OwnedByAnotherCluster",
        &ours,
        &theirs,
        &remedy,
        "--cluster-id",
    ];
    wait::until("told", || refused.said(&told)).await;
    on_the_lease(&other, "OwnedByAnotherCluster", &[&remedy]).await;
    assert_eq!(problems(&refused, "OwnedByAnotherCluster"), Some(1.0));
    assert_eq!(actions(&stage.aws.writes_since(mark)), [""; 0]);
    // The first controller continues, and the second one ignores the change, too.
    stage.config_map("egress-t1", &EXAMPLE[1..]).await;
    assert_eq!(stage.routed(&EXAMPLE_CIDRS[1..]).await, exits);
    other.config_map("egress-t3", &[("dns", "1.1.1.1")]).await;
    stage.two_more_looks().await;
    let key = stage.replica("r1").access_key();
    let writes = stage.aws.writes_since(mark);
    assert_eq!(actions(&writes), ["CreateChangeSet", "ExecuteChangeSet"]);
    assert!(
        writes
            .iter()
            .all(|entry| entry.access_key.as_ref() == Some(&key))
    );
    assert_eq!(problems(&first, "ForeignOperation"), None);

    // The move: the old controller stops, and the new one is allowed to take over.
    first.terminate().await;
    drop(refused);
    let mark = stage.aws.mark();
    let flag = "take-over-stack-from";
    let moved = second("s2").flag(flag, &ours).start();
    let cidrs = ["9.9.9.9/32", "1.1.1.1/32"];
    assert_eq!(stage.routed(&cidrs).await, exits);
    drop(moved);
    let _without = second("s3").start();
    other.config_map("egress-t3", &[]).await;
    assert_eq!(stage.routed(&cidrs[..1]).await, exits);
    assert!(!stage.aws.writes_since(mark).is_empty());
    let mark = stage.aws.mark();
    let late = stage.replica("r2").start();
    let told = ["OwnedByAnotherCluster", &ours, &theirs];
    wait::until("told", || late.said(&told)).await;
    on_the_lease(&stage, "OwnedByAnotherCluster", &told[1..]).await;
    stage.two_more_looks().await;
    assert_eq!(actions(&stage.aws.writes_since(mark)), [""; 0]);
}

/// Only the output changes, because nothing else differs.
#[tokio::test]
async fn taking_over_changes_no_resource() {
    let stage = Stage::open("owner-only").await;
    let testbed = Testbed::start("owner-only-other");
    let other = Stage::on_beside(&testbed, "owner-only-other").await;
    let mut first = stage.replica("r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    let exits = stage.routed(&EXAMPLE_CIDRS).await;
    first.terminate().await;
    let mark = stage.aws.mark();
    other.config_map("egress-t1", &EXAMPLE).await;
    let launch = other.replica("s1").aws_port(stage.aws.port());
    let second = launch
        .flag("take-over-stack-from", &uid(&stage).await)
        .start();
    let theirs = uid(&other).await;
    wait::until("the stack names its new owner", || {
        let shown = stage.aws.call("cloudformation", "DescribeStacks", &[]);
        wait::check(shown.contains(&theirs), || shown)
    })
    .await;
    assert_eq!(stage.routed(&EXAMPLE_CIDRS).await, exits);
    wait::until("at rest", || second.said(&["Keep", "as it should be"])).await;
    let writes = stage.aws.writes_since(mark);
    assert_eq!(actions(&writes), ["CreateChangeSet", "ExecuteChangeSet"]);
    let events = stage.aws.call(
        "cloudformation",
        "DescribeStackEvents",
        &[("StackName", STACK)],
    );
    let token = format!("-c{}-", &theirs[..8]);
    assert!(events.contains(&token), "{events}");
    let by_us = events
        .split("<member>")
        .filter(|event| event.contains(&token));
    for event in by_us {
        assert!(event.contains("AWS::CloudFormation::Stack"), "{event}");
    }
}

#[tokio::test]
async fn an_operation_of_somebody_else_is_reported() {
    let stage = Stage::open("foreign-operation").await;
    let replica = stage.replica("r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    let exits = stage.routed(&EXAMPLE_CIDRS).await;
    wait::until("at rest", || replica.said(&["Keep", "as it should be"])).await;
    assert_eq!(problems(&replica, "ForeignOperation"), None);
    let shown = stage.aws.call("cloudformation", "DescribeStacks", &[]);
    let keys = shown.split("<ParameterKey>").skip(1);
    let keys: Vec<&str> = keys.filter_map(|rest| rest.split('<').next()).collect();
    let mut fields = vec![
        ("StackName".to_owned(), STACK.to_owned()),
        ("UsePreviousTemplate".to_owned(), "true".to_owned()),
        (
            "ClientRequestToken".to_owned(),
            "Console-UpdateStack-7".to_owned(),
        ),
        ("Tags.member.1.Key".to_owned(), "by".to_owned()),
        ("Tags.member.1.Value".to_owned(), "hand".to_owned()),
        (
            "Tags.member.2.Key".to_owned(),
            "kubernetes.io/cluster/suite".to_owned(),
        ),
        ("Tags.member.2.Value".to_owned(), "owned".to_owned()),
        (
            "Tags.member.3.Key".to_owned(),
            "kubernetes:application".to_owned(),
        ),
        (
            "Tags.member.3.Value".to_owned(),
            "kube-static-egress-controller".to_owned(),
        ),
    ];
    for (key, number) in keys.iter().zip(1..) {
        let parameter = format!("Parameters.member.{number}");
        fields.push((format!("{parameter}.ParameterKey"), (*key).to_owned()));
        fields.push((format!("{parameter}.UsePreviousValue"), "true".to_owned()));
    }
    let fields: Vec<(&str, &str)> = fields
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    stage.aws.call("cloudformation", "UpdateStack", &fields);
    let told = ["ForeignOperation", "in the AWS console", "UPDATE_COMPLETE"];
    wait::until("told", || replica.said(&told)).await;
    on_the_lease(&stage, "ForeignOperation", &told[1..]).await;
    // An operation of the controller restores the tags, and the warning ends.
    wait::until("it is gone", || {
        replica.said(&["no longer", "ForeignOperation"])
    })
    .await;
    assert_eq!(stage.routed(&EXAMPLE_CIDRS).await, exits);
}

/// The pod has the permissions of an earlier version.
#[tokio::test]
async fn without_the_right_to_know_its_cluster_only_a_stack_without_owner_is_served() {
    let stage = Stage::open("owner-right").await;
    let path = format!(
        "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/static-egress-kube-static-egress-controller-owner-{}",
        stage.namespace
    );
    let removed = stage.take(&path).await;
    let mut replica = stage.replica("r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    let told = ["OwnerUnknown", "kube-system", "deploy/manifests.yaml"];
    wait::until("told", || replica.said(&told)).await;
    replica.assert_well();
    stage.put_back(&path, removed).await;
    wait::until("it is gone", || {
        replica.said(&["no longer", "OwnerUnknown"])
    })
    .await;
    let shown = || stage.aws.call("cloudformation", "DescribeStacks", &[]);
    assert!(
        !shown().contains("OwnerCluster"),
        "nothing is written for that alone"
    );
    stage.config_map("egress-t1", &EXAMPLE[1..]).await;
    stage.routed(&EXAMPLE_CIDRS[1..]).await;
    assert!(
        shown().contains(&uid(&stage).await),
        "the next change writes it"
    );

    replica.terminate().await;
    stage.take(&path).await;
    let mark = stage.aws.mark();
    let replica = stage.replica("r2").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    let told = ["OwnerUnknown", "nothing of the stack is changed"];
    wait::until("told", || replica.said(&told)).await;
    stage.two_more_looks().await;
    assert_eq!(actions(&stage.aws.writes_since(mark)), [""; 0]);
}

/// The old controller still runs after a move to another Lease. The new one adds a zone, and the old one leaves the stack alone.
#[tokio::test]
async fn of_two_controllers_in_one_cluster_the_later_one_acts() {
    let stage = Stage::open("two-leases").await;
    stage.second_lease("other").await;
    let old = stage.replica("r1").zones(&["a", "b"]).start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    wait::until("at rest", || old.said(&["Keep", "as it should be"])).await;
    let new = |name: &str| {
        let launch = stage.replica(name);
        launch.flag("leader-elect-resource-name", "other")
    };
    let started = new("s1").start();
    let told = ["AnotherController", "remove one of the two installations"];
    wait::until("the old one is told", || old.said(&told)).await;
    on_the_lease(&stage, "AnotherController", &told[1..]).await;
    assert_eq!(problems(&old, "AnotherController"), Some(1.0));
    stage.exits_of(3).await;
    let mark = stage.aws.mark();
    stage.config_map("egress-t2", &[("dns", "9.9.9.9")]).await;
    let all: Vec<&str> = EXAMPLE_CIDRS.into_iter().chain(["9.9.9.9/32"]).collect();
    stage.routed(&all).await;
    stage.two_more_looks().await;
    let key = new("s1").access_key();
    let writes = stage.aws.writes_since(mark);
    let is_new = |entry: &crate::standin::Entry| entry.access_key.as_ref() == Some(&key);
    assert!(!writes.is_empty() && writes.iter().all(is_new));
    assert_eq!(problems(&started, "AnotherController"), None);
    assert_eq!(problems(&started, "ForeignOperation"), None);
}
