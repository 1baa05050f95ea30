//! The stack policy: set when the stack is created or taken over, and opened only for planned removals, whichever replica leads.

use serde_json::json;

use crate::golang::GoStack;
use crate::replica::{Launch, Replica};
use crate::stage::{EXAMPLE, EXAMPLE_CIDRS, STACK, Stage};
use crate::standin::{REGION, actions};
use crate::wait;

fn protecting(stage: &Stage, name: &str) -> Launch {
    stage.replica(name).flag("stack-policy", "protect")
}

async fn protected(stage: &Stage) -> Replica {
    let replica = protecting(stage, "r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    replica
}

fn is_closed(stage: &Stage) -> Result<(), String> {
    let fields = [("StackName", STACK)];
    let policy = stage.aws.call("cloudformation", "GetStackPolicy", &fields);
    wait::check(policy.contains("Update:Replace"), || policy.clone())
}

#[tokio::test]
async fn a_stack_is_created_with_it() {
    let stage = Stage::open("policy-create").await;
    let _replica = protected(&stage).await;
    is_closed(&stage).unwrap();
    let writes = stage.writes_at_rest(0).await;
    assert_eq!(actions(&writes), ["CreateStack"]);
}

#[tokio::test]
async fn a_stack_that_is_taken_over_gets_it() {
    let stage = Stage::open("policy-adopt").await;
    let go = GoStack {
        name: STACK,
        ..GoStack::default()
    };
    go.make(&stage).await;
    stage.config_map("egress-t1", &EXAMPLE).await;
    let _replica = protecting(&stage, "r1").start();
    wait::until("closed", || is_closed(&stage)).await;
    let writes = stage.writes_at_rest(0).await;
    assert_eq!(actions(&writes), ["SetStackPolicy"]);
}

/// The leader dies while the policy is open and a zone is being removed. Its successor closes the policy.
#[tokio::test]
async fn it_is_opened_for_a_zone_that_goes_and_closed_by_whoever_leads() {
    let stage = Stage::open("policy-zone").await;
    let mut first = protected(&stage).await;
    let exits = stage.aws.exits();
    first.terminate().await;
    stage.aws.settings(json!({ "operation_ms": 3000 }));
    let fewer = |name: &str| {
        let launch = protecting(&stage, name).zones(&["a", "b"]);
        launch.arg("--remove-zone=eu-central-1c")
    };
    let mark = stage.aws.mark();
    let mut second = fewer("r2").start();
    wait::until("the zone goes", || {
        let executed = stage.aws.count_since(mark, "ExecuteChangeSet");
        wait::check(executed == 1, || "not yet".to_owned())
    })
    .await;
    is_closed(&stage).unwrap_err();
    second.kill();
    let _third = fewer("r3").start();
    wait::until("closed", || is_closed(&stage)).await;
    let after = stage.aws.exits();
    assert_eq!(after.len(), 2);
    assert!(after.iter().all(|(zone, exit)| exits[zone] == *exit));
    let sequence = [
        "CreateChangeSet",
        "SetStackPolicy",
        "ExecuteChangeSet",
        "SetStackPolicy",
    ];
    assert_eq!(actions(&stage.writes_at_rest(mark).await), sequence);
}

#[tokio::test]
async fn it_is_opened_for_a_nat_gateway_that_is_made_anew() {
    let stage = Stage::open("policy-nat").await;
    stage.aws.settings(json!({ "revert_drift": "unsupported" }));
    let launch = protecting(&stage, "r1").flag("drift-interval", "10s");
    let _replica = launch.start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    let exits = stage.routed(&EXAMPLE_CIDRS).await;
    let gone = &exits[&format!("{REGION}a")];
    let fields = [("NatGatewayId", gone.gateway.as_str())];
    stage.aws.call("ec2", "DeleteNatGateway", &fields);
    wait::until("another NAT gateway", || {
        let now = stage.aws.exits();
        let new = now.get(&format!("{REGION}a")).ok_or("none")?;
        wait::check(new.ip == gone.ip, || format!("{new:?}"))
    })
    .await;
    stage.routed(&EXAMPLE_CIDRS).await;
    wait::until("closed again", || is_closed(&stage)).await;
}

/// The policy is read in turn with the NAT subnets, so that a read of EC2 takes no more calls.
#[tokio::test]
async fn a_policy_that_somebody_opened_is_closed() {
    let stage = Stage::open("policy-opened").await;
    let launch = protecting(&stage, "r1").flag("drift-interval", "10s");
    let _replica = launch.start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    stage.two_more_looks().await;
    let looks = stage.idle_looks(4).await;
    let reading = |action: &str| {
        let reads = |look: &&Vec<_>| actions(look).contains(&action);
        looks.iter().filter(reads).count()
    };
    let (policy, subnets) = (reading("GetStackPolicy"), reading("DescribeSubnets"));
    assert_eq!((policy, subnets), (2, 2), "{looks:?}");
    let most = looks.iter().map(Vec::len).max().unwrap();
    wait::measured(&format!(
        "an idle look with a stack policy takes {most} calls"
    ));
    assert!(most <= 5, "{looks:?}");

    let mark = stage.aws.mark();
    let open =
        r#"{"Statement":[{"Effect":"Allow","Action":"Update:*","Principal":"*","Resource":"*"}]}"#;
    let fields = [("StackName", STACK), ("StackPolicyBody", open)];
    stage.aws.call("cloudformation", "SetStackPolicy", &fields);
    is_closed(&stage).unwrap_err();
    wait::until("closed again", || is_closed(&stage)).await;
    let writes = stage.writes_at_rest(mark).await;
    assert_eq!(actions(&writes), ["SetStackPolicy"]);
}

/// An unreadable policy prevents nothing else, not even reads for drift.
#[tokio::test]
async fn a_policy_that_cannot_be_read_stops_nothing_and_is_told() {
    let stage = Stage::open("policy-unread").await;
    let unread = json!({ "kind": "error500", "action": "GetStackPolicy" });
    stage.aws.fault(unread);
    let launch = protecting(&stage, "r1").flag("drift-interval", "10s");
    let replica = launch.start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    stage.config_map("egress-t2", &[("dns", "9.9.9.9")]).await;
    let cidrs = [&EXAMPLE_CIDRS[..], &["9.9.9.9/32"]].concat();
    let exits = stage.routed(&cidrs).await;
    let remedy = ["the stack policy cannot be read", "GetStackPolicy"];
    wait::until("told", || replica.said(&remedy)).await;
    let asked = stage.aws.count_since(0, "GetStackPolicy");
    wait::until("a look at the policy", || {
        let now = stage.aws.count_since(0, "GetStackPolicy");
        wait::check(now > asked, || now.to_string())
    })
    .await;
    crate::drift::remove_route(&stage, "a");
    assert_eq!(stage.routed(&cidrs).await, exits, "repaired");
    replica.said(&["DriftNotSeen"]).unwrap_err();
    stage.aws.clear_faults();
    is_closed(&stage).unwrap();
}

#[tokio::test]
async fn without_the_right_to_set_it_routes_are_kept_all_the_same() {
    let stage = Stage::open("policy-denied").await;
    for action in ["GetStackPolicy", "SetStackPolicy"] {
        let denied = json!({ "kind": "access_denied", "action": action });
        stage.aws.fault(denied);
    }
    let replica = protected(&stage).await;
    stage.config_map("egress-t2", &[("dns", "9.9.9.9")]).await;
    let cidrs = [&EXAMPLE_CIDRS[..], &["9.9.9.9/32"]].concat();
    stage.routed(&cidrs).await;
    let remedy = ["AccessDenied", "allow cloudformation:SetStackPolicy to"];
    wait::until("told", || replica.said(&remedy)).await;
}
