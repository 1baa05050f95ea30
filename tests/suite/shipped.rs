//! The policies of deploy/ exactly as they are shipped: from no stack to a routed entry, and back.

use serde_json::{Value, json};

use crate::retained::{addresses, ips, without_stack};
use crate::stage::{EXAMPLE, EXAMPLE_CIDRS, STACK, Stage};
use crate::standin::{REGION, REPLICA, shipped};
use crate::wait;

const ACCOUNT: &str = "123456789012";
const ROLE: &str = "arn:aws:iam::123456789012:role/for-cloudformation";

/// Gives the replicas exactly these permissions.
fn grant(stage: &Stage, separate: bool) {
    let fill = |name| {
        let values = [
            ("CFN-SERVICE-ROLE", "for-cloudformation"),
            ("ACCOUNT-ID", ACCOUNT),
            ("REGION", REGION),
            ("STACK-NAME", STACK),
            ("TEMPLATE-BUCKET", "templates"),
        ];
        let filled = shipped(name, &values);
        let text = filled.to_string();
        assert!(!text.contains("-ID") && !text.contains("REGION"), "{text}");
        filled
    };
    let (policy, roles) = if separate {
        let role =
            json!({ "policy": fill("cfn-service-role"), "trust": fill("cfn-service-role-trust") });
        (fill("iam-policy-with-cfn-role"), json!({ ROLE: role }))
    } else {
        (fill("iam-policy"), json!({}))
    };
    stage
        .aws
        .settings(json!({ "policies": { REPLICA: policy }, "roles": roles }));
}

async fn from_nothing_to_nothing(name: &str, separate: bool) {
    let stage = Stage::open(name).await;
    grant(&stage, separate);
    let mut launch = stage
        .replica("r1")
        .flag("empty-grace-period", "0s")
        .flag("on-empty", "delete")
        .flag("drift-interval", "10s")
        .flag("stack-policy", "protect")
        .arg("--stack-termination-protection");
    if separate {
        launch = launch.flag("aws-cfn-role-arn", ROLE);
    }
    let replica = launch.start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    stage.config_map("egress-t1", &EXAMPLE[..1]).await;
    let exits = stage.routed(&EXAMPLE_CIDRS[..1]).await;
    // The controller repairs a route that another principal deleted.
    let table = stage.aws.routes().into_keys().next().unwrap().0;
    let route = [
        ("RouteTableId", table.as_str()),
        ("DestinationCidrBlock", EXAMPLE_CIDRS[0]),
    ];
    stage.aws.call("ec2", "DeleteRoute", &route);
    assert_eq!(stage.routed(&EXAMPLE_CIDRS[..1]).await, exits);
    stage.delete_config_map("egress-t1").await;
    without_stack(&stage).await;
    assert_eq!(
        addresses(&stage),
        ips(&exits),
        "static IPs outlive their stack"
    );
    let denied: Vec<Value> = stage
        .aws
        .log_since(0)
        .iter()
        .filter(|entry| {
            entry
                .result
                .as_deref()
                .is_some_and(|is| is.contains("Denied") || is.contains("Unauthorized"))
        })
        .map(|entry| json!(entry.action))
        .collect();
    assert_eq!(denied, [json!(null); 0]);
    replica.said(&["not authorized"]).unwrap_err();
}

#[tokio::test]
async fn one_role_is_enough_from_nothing_to_nothing() {
    from_nothing_to_nothing("one-role", false).await;
}

#[tokio::test]
async fn two_roles_are_enough_from_nothing_to_nothing() {
    from_nothing_to_nothing("two-roles", true).await;
}

#[tokio::test]
async fn a_cluster_with_another_id_gets_no_stack_by_these_rights() {
    let stage = Stage::open("other-id").await;
    grant(&stage, false);
    let replica = stage.replica("r1").flag("cluster-id", "other").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    wait::until("the replica names what it lacks", || {
        replica.said(&["allow cloudformation:", "to the controller's role"])
    })
    .await;
    assert!(stage.aws.stacks().is_empty());
}
