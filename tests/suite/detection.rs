//! CloudFormation's own drift detection confirms drift that persists, and names the properties.

use serde_json::json;

use crate::drift::{kept, looking, remove_route};
use crate::replica::{Replica, nat_cidr};
use crate::stage::Stage;
use crate::standin::actions;
use crate::wait;

/// Creates a stack, deletes a route and adds a foreign tag to a NAT subnet, with a replica that only reports drift.
async fn reported(stage: &Stage) -> Replica {
    let launch = looking(stage).flag("drift-detection", "report");
    let replica = kept(stage, launch).await;
    remove_route(stage, "a");
    let state = stage.aws.state();
    let mut subnets = state["subnets"].as_array().unwrap().iter();
    let nat = subnets.find(|subnet| subnet["cidr"] == nat_cidr("b"));
    let fields = [
        ("ResourceId.1", nat.unwrap()["id"].as_str().unwrap()),
        ("Tag.1.Key", "owner"),
        ("Tag.1.Value", "somebody"),
    ];
    stage.aws.call("ec2", "CreateTags", &fields);
    replica
}

#[tokio::test]
async fn it_confirms_and_names_properties() {
    let stage = Stage::open("detect").await;
    let mut replica = reported(&stage).await;
    let mark = stage.aws.mark();
    let confirmed = ["RouteMissing", "drift detection says DELETED"];
    wait::until("confirmed", || replica.said(&confirmed)).await;
    replica
        .said(&["PropertiesChanged", "NATSubnet", "/Tags/", "somebody"])
        .unwrap();
    let detection = || {
        let mut log = stage.aws.log_since(mark);
        log.retain(|call| call.action.contains("Drift"));
        actions(&log)
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let expected = [
        "DetectStackDrift",
        "DescribeStackDriftDetectionStatus",
        "DescribeStackResourceDrifts",
    ];
    assert_eq!(detection(), expected);
    stage.two_more_looks().await;
    assert_eq!(detection(), expected, "it is asked once");
    let writes = stage.writes_at_rest(mark).await;
    assert_eq!(actions(&writes), [""; 0]);
    replica.assert_well();
}

#[tokio::test]
async fn what_it_does_not_cover_is_said() {
    let stage = Stage::open("detect-unsupported").await;
    let unsupported = json!({ "drift_unsupported_types": ["AWS::EC2::Route"] });
    stage.aws.settings(unsupported);
    let replica = reported(&stage).await;
    let unseen = ["RouteMissing", "drift detection does not show it"];
    wait::until("told", || replica.said(&unseen)).await;
}

#[tokio::test]
async fn without_the_right_to_it_the_drift_is_told_all_the_same() {
    let stage = Stage::open("detect-denied").await;
    let denied = json!({ "kind": "access_denied", "action": "DetectStackDrift" });
    stage.aws.fault(denied);
    let mut replica = reported(&stage).await;
    wait::until("told", || replica.said(&["RouteMissing"])).await;
    let remedy = [
        "RouteMissing",
        "drift detection could not be made",
        "allow cloudformation:DetectStackDrift to",
    ];
    wait::until("told why", || replica.said(&remedy)).await;
    replica.assert_well();
}

/// Repaired drift does not persist, so CloudFormation's detection is not started.
#[tokio::test]
async fn drift_that_is_repaired_is_not_asked_about() {
    let stage = Stage::open("detect-repaired").await;
    let replica = kept(&stage, looking(&stage)).await;
    let mark = stage.aws.mark();
    remove_route(&stage, "a");
    wait::until("told that it is over", || {
        replica.said(&["no longer", "RouteMissing"])
    })
    .await;
    stage.two_more_looks().await;
    assert_eq!(stage.aws.count_since(mark, "DetectStackDrift"), 0);
}
