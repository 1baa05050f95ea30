//! If not everything fits, live routes stay, entries are added as far as they fit, and waiting entries report the reason.

use serde_json::json;

use crate::errors::told;
use crate::replica::nat_cidr;
use crate::retained::allocate;
use crate::stage::{EXAMPLE, EXAMPLE_CIDRS, Stage};
use crate::standin::{REGION, actions};
use crate::wait;

/// Returns this many single addresses, of which no two are neighbours.
fn addresses(count: u32) -> Vec<(String, String)> {
    (0..count)
        .map(|number| {
            (
                format!("k{number:03}"),
                format!("203.0.{}.{}/32", number / 100, number % 100 * 2),
            )
        })
        .collect()
}

fn borrowed(data: &[(String, String)]) -> Vec<(&str, &str)> {
    data.iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect()
}

fn cidrs(data: &[(String, String)]) -> Vec<&str> {
    data.iter().map(|(_, cidr)| cidr.as_str()).collect()
}

#[tokio::test]
async fn a_template_too_long_for_a_request_needs_a_bucket_and_what_fits_is_routed() {
    let stage = Stage::open("bytes").await;
    let mut replica = stage.replica("r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    let exits = stage.routed(&EXAMPLE_CIDRS).await;
    // 3 zones of 6 resources each, and 2 networks in 3 tables.
    let share = "kube_static_egress_controller_limit_used_ratio{limit=\"stack_resources\"}";
    assert_eq!(replica.metric(share), Some(24.0 / 500.0));
    let many = addresses(150);
    stage.config_map("egress-t2", &borrowed(&many)).await;
    let remedy = ["LimitReached", "51200", "--cf-template-bucket"];
    told(&mut replica, &remedy).await;
    wait::until("what fits is routed", || {
        let fewest = stage.aws.routes().values().map(|table| table.len()).min();
        wait::check(fewest > Some(40), || {
            format!("{fewest:?} routes in a table")
        })
    })
    .await;
    for routes in stage.aws.routes().values() {
        assert!(EXAMPLE_CIDRS.iter().all(|cidr| routes.contains_key(*cidr)));
    }
    replica.terminate().await;

    stage.aws.bucket("templates");
    let mark = stage.aws.mark();
    let _replica = stage
        .replica("r2")
        .arg("--cf-template-bucket=templates")
        .start();
    let all = [&EXAMPLE_CIDRS[..], &cidrs(&many)].concat();
    assert_eq!(stage.routed(&all).await, exits);
    assert_eq!(
        actions(&stage.aws.writes_since(mark)),
        ["PutObject", "CreateChangeSet", "ExecuteChangeSet"]
    );
}

#[tokio::test]
async fn a_bucket_that_does_not_exist_is_named() {
    let stage = Stage::open("bucket").await;
    let mut replica = stage
        .replica("r1")
        .arg("--cf-template-bucket=templates")
        .start();
    // This is checked at the start, before any template needs the bucket.
    let wrong = [
        "TemplateBucketUnusable",
        "templates",
        "--cf-template-bucket",
    ];
    told(&mut replica, &wrong).await;
    let many = addresses(155);
    stage.config_map("egress-t1", &borrowed(&many)).await;
    told(
        &mut replica,
        &["LimitReached", "correct --cf-template-bucket"],
    )
    .await;
    // The error does not delay entries whose template fits into a request.
    wait::until("what fits is routed", || {
        let fewest = stage.aws.routes().values().map(|table| table.len()).min();
        wait::check(fewest > Some(40), || format!("{fewest:?} routes"))
    })
    .await;
    stage.aws.bucket("templates");
    stage.routed(&cidrs(&many)).await;
}

/// 18 resources of three zones, and a route per CIDR and table: 161 CIDRs make 501 resources, 160 CIDRs 498.
#[tokio::test]
async fn the_entry_that_would_need_the_501st_resource_waits_for_room() {
    let stage = Stage::open("resources").await;
    stage.aws.bucket("templates");
    let mut replica = stage
        .replica("r1")
        .arg("--cf-template-bucket=templates")
        .start();
    let many = addresses(161);
    stage.config_map("egress-t1", &borrowed(&many)).await;
    let remedy = [
        "LimitReached",
        "k160",
        "501 resources",
        "3 worker route tables",
    ];
    told(&mut replica, &remedy).await;
    let exits = stage.routed(&cidrs(&many[..160])).await;
    stage.config_map("egress-t1", &borrowed(&many[1..])).await;
    assert_eq!(stage.routed(&cidrs(&many[1..])).await, exits);
    replica.said(&["no longer", "LimitReached"]).unwrap();
}

#[tokio::test]
async fn a_zone_without_a_static_ip_to_be_had_waits_and_nothing_fails() {
    let stage = Stage::open("eip-quota").await;
    stage.aws.settings(json!({ "eip_quota": 2 }));
    let mut replica = stage.replica("r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    let remedy = ["LimitReached", "eu-central-1c", "EC2-VPC Elastic IPs"];
    told(&mut replica, &remedy).await;
    stage.exits_of(2).await;
    let two = stage.routed(&EXAMPLE_CIDRS).await;
    assert_eq!(actions(&stage.writes_at_rest(0).await), ["CreateStack"]);
    stage.aws.settings(json!({ "eip_quota": 3 }));
    stage.exits_of(3).await;
    let three = stage.routed(&EXAMPLE_CIDRS).await;
    assert!(two.iter().all(|(zone, exit)| three.get(zone) == Some(exit)));
}

/// Foreign routes count as well.
#[tokio::test]
async fn a_route_table_that_is_full_takes_no_more_until_there_is_room() {
    let stage = Stage::open("full-table").await;
    stage.aws.settings(json!({ "route_quota": 6 }));
    let ((table, _), _) = stage.aws.routes().into_iter().next().unwrap();
    let gateway = stage.aws.state()["internet_gateways"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let foreign = [
        ("RouteTableId", table.as_str()),
        ("DestinationCidrBlock", "198.51.100.0/24"),
        ("GatewayId", gateway.as_str()),
    ];
    stage.aws.call("ec2", "CreateRoute", &foreign);
    let mut replica = stage.replica("r1").arg("--aws-route-table-quota=5").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    stage.config_map("egress-t2", &[("dns", "9.9.9.9")]).await;
    let remedy = [
        "LimitReached",
        "egress-t2",
        table.as_str(),
        "--aws-route-table-quota",
    ];
    told(&mut replica, &remedy).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    stage.aws.call("ec2", "DeleteRoute", &foreign[..2]);
    stage
        .routed(&[&EXAMPLE_CIDRS[..], &["9.9.9.9/32"]].concat())
        .await;
}

/// The account reports its quota. Routes to `local` count as well.
#[tokio::test]
async fn the_quota_of_routes_is_the_accounts() {
    let stage = Stage::open("route-quota").await;
    // The quota includes the routes to `local` and to the internet gateway.
    let quota = 2 + EXAMPLE_CIDRS.len();
    stage.aws.settings(json!({ "route_quota": quota }));
    let mut replica = stage.replica("r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    stage.config_map("egress-t2", &[("dns", "9.9.9.9")]).await;
    let takes = format!("it takes {quota}");
    let remedy = ["LimitReached", "egress-t2", &takes, "L-93826ACB"];
    told(&mut replica, &remedy).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    assert_eq!(actions(&stage.writes_at_rest(0).await), ["CreateStack"]);
    assert!(replica.said(&["LimitUnknown"]).is_err());
    replica.terminate().await;
    stage.aws.settings(json!({ "route_quota": quota + 1 }));
    let _replica = stage.replica("r2").start();
    stage
        .routed(&[&EXAMPLE_CIDRS[..], &["9.9.9.9/32"]].concat())
        .await;
}

#[tokio::test]
async fn a_quota_that_aws_does_not_tell_is_one_problem() {
    let stage = Stage::open("quota-denied").await;
    let denied = json!({ "kind": "access_denied", "service": "servicequotas" });
    stage.aws.fault(denied);
    let mut replica = stage.replica("r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    let remedy = [
        "LimitUnknown",
        "500",
        "servicequotas:GetServiceQuota",
        "--aws-route-table-quota",
    ];
    told(&mut replica, &remedy).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    let problems = "kube_static_egress_controller_problems{reason=\"LimitUnknown\"}";
    assert_eq!(replica.metric(problems), Some(1.0));
    replica.terminate().await;
    let mark = stage.aws.mark();
    let replica = stage
        .replica("r2")
        .arg("--aws-route-table-quota=500")
        .start();
    stage.config_map("egress-t2", &[("dns", "9.9.9.9")]).await;
    stage
        .routed(&[&EXAMPLE_CIDRS[..], &["9.9.9.9/32"]].concat())
        .await;
    assert!(replica.said(&["LimitUnknown"]).is_err());
    assert_eq!(stage.aws.count_since(mark, "GetServiceQuota"), 0);
}

/// A route to a prefix list counts with the list's maximum number of entries.
#[tokio::test]
async fn a_prefix_list_takes_more_than_one_route() {
    let stage = Stage::open("prefix-list").await;
    stage.aws.settings(json!({ "route_quota": 13 }));
    let ((table, _), _) = stage.aws.routes().into_iter().next().unwrap();
    let state = stage.aws.state();
    let gateway = state["internet_gateways"][0]["id"].as_str().unwrap();
    let list = [
        ("PrefixListName", "partners"),
        ("MaxEntries", "9"),
        ("AddressFamily", "IPv4"),
    ];
    let made = stage.aws.call("ec2", "CreateManagedPrefixList", &list);
    let list = element(&made, "prefixListId");
    let route = [
        ("RouteTableId", table.as_str()),
        ("DestinationPrefixListId", list.as_str()),
        ("GatewayId", gateway),
    ];
    stage.aws.call("ec2", "CreateRoute", &route);
    let mut replica = stage
        .replica("r1")
        .arg("--aws-route-table-quota=13")
        .start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    let more = [("dns", "9.9.9.9"), ("more", "1.1.1.1")];
    stage.config_map("egress-t2", &more).await;
    told(&mut replica, &["LimitReached", "egress-t2", "prefix lists"]).await;
    let asked = stage.aws.count_since(0, "DescribeManagedPrefixLists");
    assert!(asked < 4, "asked {asked} times: it is remembered");
    stage.aws.call("ec2", "DeleteRoute", &route[..2]);
    stage
        .routed(&[&EXAMPLE_CIDRS[..], &["1.1.1.1/32", "9.9.9.9/32"]].concat())
        .await;
}

/// Returns the first value of this element in an answer of EC2.
pub fn element(answer: &str, name: &str) -> String {
    let after = answer.split_once(&format!("<{name}>")).unwrap().1;
    after.split_once('<').unwrap().0.to_owned()
}

/// Creates a foreign subnet in zone c, at the place of the NAT subnet or next to it.
fn subnet_of_others(stage: &Stage, cidr: &str) -> String {
    let vpc = stage.aws.state()["vpcs"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let zone = format!("{REGION}c");
    let fields = [
        ("VpcId", vpc.as_str()),
        ("CidrBlock", cidr),
        ("AvailabilityZone", zone.as_str()),
    ];
    element(&stage.aws.call("ec2", "CreateSubnet", &fields), "subnetId")
}

#[tokio::test]
async fn quotas_are_asked_once_while_a_change_set_is_computed() {
    let stage = Stage::open("quota-once").await;
    let mut replica = stage.replica("r1").zones(&["a", "b"]).start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    stage.exits_of(2).await;
    replica.terminate().await;
    stage.aws.settings(json!({ "changeset_ms": 6_000 }));
    let mark = stage.aws.mark();
    let _replica = stage.replica("r2").start();
    stage.exits_of(3).await;
    let asked = stage.aws.count_since(mark, "DescribeAccountAttributes");
    let polls = stage.aws.count_since(mark, "ListChangeSets");
    // Once before the change set is created, and once before it is executed.
    assert!(asked <= 3 && polls > 4, "{asked} of {polls}");
}

#[tokio::test]
async fn a_zone_without_a_nat_gateway_to_be_had_waits_and_nothing_fails() {
    let stage = Stage::open("nat-quota").await;
    stage.aws.settings(json!({ "nat_quota_per_zone": 1 }));
    let subnet = subnet_of_others(&stage, "172.31.201.0/28");
    let address = allocate(&stage);
    let fields = [("SubnetId", subnet.as_str()), ("AllocationId", &address)];
    let made = stage.aws.call("ec2", "CreateNatGateway", &fields);
    let theirs = element(&made, "natGatewayId");
    let mut replica = stage.replica("r1").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    let remedy = [
        "LimitReached",
        "eu-central-1c",
        "NAT gateways per Availability Zone",
    ];
    told(&mut replica, &remedy).await;
    // The foreign NAT gateway counts as well.
    stage.exits_of(3).await;
    let mark = stage.aws.mark();
    assert!(stage.writes_at_rest(mark).await.is_empty());
    let mut two = stage.aws.exits();
    two.retain(|_, exit| exit.gateway != theirs);
    stage
        .aws
        .call("ec2", "DeleteNatGateway", &[("NatGatewayId", &theirs)]);
    stage.exits_of(3).await;
    let three = stage.routed(&EXAMPLE_CIDRS).await;
    assert!(two.iter().all(|(zone, exit)| three.get(zone) == Some(exit)));
}

/// AWS does not report this limit before an attempt. The other entries wait for one failed change only.
#[tokio::test]
async fn a_zone_that_cannot_be_added_holds_up_nobody() {
    let stage = Stage::open("zone-waits").await;
    let subnet = subnet_of_others(&stage, &nat_cidr("c"));
    stage
        .aws
        .fault(json!({ "kind": "access_denied", "service": "servicequotas" }));
    let mut replica = stage.replica("r1").zones(&["a", "b"]).start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    let two = stage.routed(&EXAMPLE_CIDRS).await;
    replica.terminate().await;
    // Now the service does not answer at all. Each pass that would add the zone waits 4 s for it.
    stage.aws.clear_faults();
    let hangs = json!({ "kind": "delay", "ms": 30_000, "service": "servicequotas" });
    stage.aws.fault(hangs);
    let mut replica = stage.replica("r2").start();
    told(
        &mut replica,
        &["ZoneWaits", "eu-central-1c", "--aws-nat-cidr-block"],
    )
    .await;
    let mark = stage.aws.mark();
    stage.config_map("egress-t2", &[("dns", "9.9.9.9")]).await;
    let more = [&EXAMPLE_CIDRS[..], &["9.9.9.9/32"]].concat();
    assert_eq!(stage.routed(&more).await, two);
    assert_eq!(
        actions(&stage.writes_at_rest(mark).await),
        ["CreateChangeSet", "ExecuteChangeSet"]
    );
    // The next leader makes one more attempt, because the former leader may have ended before its call left.
    replica.terminate().await;
    stage
        .aws
        .call("ec2", "DeleteSubnet", &[("SubnetId", &subnet)]);
    let _replica = stage.replica("r3").start();
    stage.exits_of(3).await;
    let three = stage.routed(&more).await;
    assert!(two.iter().all(|(zone, exit)| three.get(zone) == Some(exit)));
}

/// EC2 refuses a NAT gateway in a Local Zone if its static IP belongs to the region.
#[tokio::test]
async fn a_local_zone_gets_a_static_ip_of_its_own_border_group() {
    const ZONE: &str = "eu-central-1-ham-1a";
    let stage = Stage::open("local-zone").await;
    let replica = stage.replica("r1").zones(&["b"]);
    let replica = replica.arg(&format!("--aws-az={ZONE}"));
    let _replica = replica.arg("--aws-nat-cidr-block=172.31.200.0/28").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    stage.routed(&EXAMPLE_CIDRS).await;
    let exits = stage.aws.exits();
    assert!(exits.len() == 2 && exits.contains_key(ZONE), "{exits:?}");
    assert_eq!(actions(&stage.writes_at_rest(0).await), ["CreateStack"]);
}
