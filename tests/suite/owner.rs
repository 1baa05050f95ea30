//! One stack, one cluster: whoever else has the same ownership tags leaves it alone.

use serde_json::json;

use crate::stage::{EXAMPLE, EXAMPLE_CIDRS, Stage};
use crate::standin::actions;
use crate::wait;

/// Two controllers without a cluster id find one stack. Of the second one's VPC it says nothing.
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
