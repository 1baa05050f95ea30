//! Resources that the clean-up at the end of an update could not delete: no status shows them, and they cost money or take traffic.

use serde_json::json;

use crate::stage::{EXAMPLE, EXAMPLE_CIDRS, STACK, Stage};
use crate::standin::actions;
use crate::wait;

#[tokio::test]
async fn a_nat_gateway_that_stays_is_told_by_each_leader_until_it_is_gone() {
    let stage = Stage::open("left-gateway").await;
    let mut replica = stage.replica("r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    let three = stage.routed(&EXAMPLE_CIDRS).await;
    replica.terminate().await;
    let left = three["eu-central-1c"].gateway.clone();

    let fault = json!({ "kind": "delete_fails", "logical_id": "NATGateway*", "message": "no right to delete" });
    stage.aws.fault(fault);
    let launch = |name: &str| {
        let launch = stage.replica(name).flag("drift-interval", "10s");
        launch.zones(&["a", "b"])
    };
    let mut replica = launch("r2").arg("--remove-zone=eu-central-1c").start();
    let command = format!("aws ec2 delete-nat-gateway --nat-gateway-id {left}");
    let told = ["CleanUpFailed", "no right to delete", &command];
    wait::until("told", || replica.said(&told)).await;
    assert_eq!(stage.aws.stacks()[STACK], "UPDATE_COMPLETE");
    replica.assert_well();
    replica.terminate().await;

    // A later operation does not end the warning.
    let mut replica = launch("r3").start();
    wait::until("told by the next leader", || replica.said(&told)).await;
    let mark = stage.aws.mark();
    stage.config_map("egress-t2", &[("dns", "9.9.9.9")]).await;
    wait::until("another operation", || {
        let executed = stage.aws.count_since(mark, "ExecuteChangeSet");
        let rests = stage.aws.stacks()[STACK] == "UPDATE_COMPLETE";
        wait::check(executed == 1 && rests, || format!("{executed}"))
    })
    .await;
    stage.two_more_looks().await;
    replica.said(&["no longer", "CleanUpFailed"]).unwrap_err();
    // The calls are those of a look without anything left behind.
    for look in stage.idle_looks(2).await {
        let calls = actions(&look);
        let count = |action: &str| calls.iter().filter(|call| **call == action).count();
        let reads = [
            "DescribeNatGateways",
            "DescribeAddresses",
            "DescribeSubnets",
        ]
        .map(count);
        let passes = count("DescribeStacks") + count("DescribeRouteTables");
        assert_eq!((reads, calls.len() - passes), ([1; 3], 3), "{calls:?}");
    }
    replica.terminate().await;

    let replica = launch("r4").start();
    wait::until("told after another operation", || replica.said(&told)).await;
    let gateway = [("NatGatewayId", left.as_str())];
    stage.aws.call("ec2", "DeleteNatGateway", &gateway);
    wait::until("told that it is over", || {
        replica.said(&["no longer", "CleanUpFailed", &left])
    })
    .await;
}

#[tokio::test]
async fn a_route_that_stays_is_told_until_it_is_deleted() {
    let stage = Stage::open("left-route").await;
    let replica = stage.replica("r1").start();
    let more = [&EXAMPLE[..], &[("dns", "9.9.9.9")]].concat();
    stage.config_map("egress-t1", &more).await;
    let all = [&EXAMPLE_CIDRS[..], &["9.9.9.9/32"]].concat();
    stage.routed(&all).await;
    let fault = json!({ "kind": "delete_fails", "logical_id": "*9x9x9x9*" });
    stage.aws.fault(fault);
    stage.config_map("egress-t1", &EXAMPLE).await;
    let tables: Vec<String> = stage.aws.routes().into_keys().map(|(id, _)| id).collect();
    for table in &tables {
        let command = format!(
            "aws ec2 delete-route --route-table-id {table} --destination-cidr-block 9.9.9.9/32"
        );
        wait::until("told", || replica.said(&["CleanUpFailed", &command])).await;
    }
    stage.aws.clear_faults();
    let mark = stage.aws.mark();
    for table in &tables {
        let route = [
            ("RouteTableId", table.as_str()),
            ("DestinationCidrBlock", "9.9.9.9/32"),
        ];
        stage.aws.call("ec2", "DeleteRoute", &route);
    }
    stage.routed(&EXAMPLE_CIDRS).await;
    for table in &tables {
        wait::until("told that it is over", || {
            replica.said(&["no longer", "CleanUpFailed", table])
        })
        .await;
    }
    let writes = stage.writes_at_rest(mark).await;
    let of_replica: Vec<&str> = actions(&writes);
    assert_eq!(of_replica, [""; 0], "nothing was repaired");
    // The entry gets its route as before.
    stage.config_map("egress-t1", &more).await;
    stage.routed(&all).await;
}
