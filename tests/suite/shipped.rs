//! The policies of deploy/ exactly as they are shipped: from no stack to a routed entry, and back.

use serde_json::json;

use crate::chart;
use crate::replica::Replica;
use crate::retained::{addresses, ips, without_stack};
use crate::stage::{EXAMPLE, EXAMPLE_CIDRS, STACK, Stage};
use crate::standin::{REGION, REPLICA, shipped};
use crate::wait;

const ACCOUNT: &str = "123456789012";
const ROLE: &str = "arn:aws:iam::123456789012:role/for-cloudformation";

/// Gives the replicas exactly these permissions for one stack: with a role for CloudFormation, or all for the replicas.
fn grant(stage: &Stage, stack: &str, role: Option<&str>) {
    let fill = |name| {
        let (_, role_name) = role.unwrap_or(ROLE).rsplit_once('/').unwrap();
        let values = [
            ("CFN-SERVICE-ROLE", role_name),
            ("ACCOUNT-ID", ACCOUNT),
            ("REGION", REGION),
            ("STACK-NAME", stack),
            ("TEMPLATE-BUCKET", "templates"),
        ];
        let filled = shipped(name, &values);
        let text = filled.to_string();
        assert!(!text.contains("-ID") && !text.contains("REGION"), "{text}");
        filled
    };
    let (policy, roles) = match role {
        Some(arn) => {
            let role = json!({ "policy": fill("cfn-service-role"), "trust": fill("cfn-service-role-trust") });
            (fill("iam-policy-with-cfn-role"), json!({ arn: role }))
        }
        None => (fill("iam-policy"), json!({})),
    };
    stage
        .aws
        .settings(json!({ "policies": { REPLICA: policy }, "roles": roles }));
}

/// Checks that AWS denied no call of the tests' account.
fn nothing_was_denied(stage: &Stage, replica: &Replica) {
    let log = stage.aws.log_since(0);
    let denied = log.iter().filter(|entry| {
        let result = entry.result.as_deref().unwrap_or_default();
        result.contains("Denied") || result.contains("Unauthorized")
    });
    let denied: Vec<&str> = denied.map(|entry| entry.action.as_str()).collect();
    assert_eq!(denied, [""; 0]);
    replica.said(&["not authorized"]).unwrap_err();
}

async fn from_nothing_to_nothing(name: &str, separate: bool) {
    let stage = Stage::open(name).await;
    grant(&stage, STACK, separate.then_some(ROLE));
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
    nothing_was_denied(&stage, &replica);
}

#[tokio::test]
async fn one_role_is_enough_from_nothing_to_nothing() {
    from_nothing_to_nothing("one-role", false).await;
}

#[tokio::test]
async fn two_roles_are_enough_from_nothing_to_nothing() {
    from_nothing_to_nothing("two-roles", true).await;
}

/// The installation of README.md: the two roles that deploy/iam.cloudformation.yaml creates by default, and deploy/manifests.yaml.
#[tokio::test]
async fn the_printed_installation_is_denied_nothing() {
    let stage = Stage::open("printed").await;
    let arguments = chart::arguments();
    let of_flag = |flag: &str| {
        arguments
            .iter()
            .find_map(|argument| argument.strip_prefix(flag))
    };
    let stack = format!("egress-static-nat-{}", of_flag("--cluster-id=").unwrap());
    grant(
        &stage,
        &stack,
        Some(of_flag("--aws-cfn-role-arn=").unwrap_or(ROLE)),
    );
    let replica = stage.replica("r1").deployed().start();
    stage.config_map("egress-t1", &EXAMPLE[..1]).await;
    stage.routed(&EXAMPLE_CIDRS[..1]).await;
    // A creation and a change need different rights.
    stage.config_map("egress-t1", &EXAMPLE).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    nothing_was_denied(&stage, &replica);
}

#[tokio::test]
async fn a_cluster_with_another_id_gets_no_stack_by_these_rights() {
    let stage = Stage::open("other-id").await;
    grant(&stage, STACK, None);
    let replica = stage.replica("r1").flag("cluster-id", "other").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    wait::until("the replica names what it lacks", || {
        replica.said(&["allow cloudformation:", "to the controller's role"])
    })
    .await;
    assert!(stage.aws.stacks().is_empty());
}
