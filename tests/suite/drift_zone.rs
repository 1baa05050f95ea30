//! Each resource of a zone's NAT is damaged outside of CloudFormation. The controller detects, reports and repairs the damage, and every
//! existing static IP stays.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::drift::{kept, looking};
use crate::replica::nat_cidr;
use crate::stage::{EXAMPLE_CIDRS, Stage};
use crate::standin::REGION;
use crate::wait;

const LETTERS: [&str; 3] = ["a", "b", "c"];

fn found<'a>(
    state: &'a Value,
    what: &str,
    is: impl Fn(&Value) -> bool,
) -> Result<&'a Value, String> {
    let mut all = state[what].as_array().unwrap().iter();
    all.find(|item| is(item))
        .ok_or_else(|| format!("{what}: not there"))
}

/// The resources of a zone's NAT in EC2: the subnet, its route table, and the gateway.
pub struct Pieces {
    subnet: String,
    table: String,
    pub association: String,
    pub gateway: String,
    pub ip: String,
}

pub fn pieces(state: &Value, letter: &str) -> Result<Pieces, String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let subnet = found(state, "subnets", |subnet| {
        subnet["cidr"] == nat_cidr(letter)
    })?;
    let name = format!("nat-{REGION}{letter}");
    wait::check(subnet["tags"]["Name"] == name, || format!("{subnet}"))?;
    let associated = |table: &Value| {
        let mut associations = table["associations"].as_array().unwrap().iter().cloned();
        associations.find(|association| association["subnet"] == subnet["id"])
    };
    let table = found(state, "route_tables", |table| associated(table).is_some())?;
    wait::check(table["tags"]["Name"] == name, || format!("{table}"))?;
    let mut routes = table["routes"].as_array().unwrap().iter();
    let out = routes.any(|route| {
        route["cidr"] == "0.0.0.0/0"
            && route["state"] == "active"
            && text(&route["target"]).starts_with("igw-")
    });
    wait::check(out, || format!("{table}"))?;
    let gateway = found(state, "nat_gateways", |gateway| {
        gateway["subnet"] == subnet["id"] && gateway["state"] == "available"
    })?;
    let address = found(state, "addresses", |address| {
        address["public_ip"] == gateway["eip"] && address["nat_gateway"] == gateway["id"]
    })?;
    Ok(Pieces {
        subnet: text(&subnet["id"]),
        table: text(&table["id"]),
        association: text(&associated(table).unwrap()["id"]),
        gateway: text(&gateway["id"]),
        ip: text(&address["public_ip"]),
    })
}

/// Returns the static IPs by zone, if every zone is intact.
pub fn whole(stage: &Stage) -> Result<BTreeMap<&'static str, String>, String> {
    let state = stage.aws.state();
    let ip = |letter| Ok((letter, pieces(&state, letter)?.ip));
    LETTERS.into_iter().map(ip).collect()
}

/// Damages a resource, and waits until the damage is reported with this reason and repaired, for each way of repairing.
async fn is_repaired(name: &str, reason: &str, harm: impl Fn(&Stage)) {
    for mode in ["works", "unsupported", "no_effect"] {
        let stage = Stage::open(name).await;
        stage.aws.settings(json!({ "revert_drift": mode }));
        let mut replica = kept(&stage, looking(&stage)).await;
        let ips = whole(&stage).unwrap();
        let mark = stage.aws.mark();
        harm(&stage);
        wait::until("told", || replica.said(&[reason])).await;
        let after = wait::until("whole again", || {
            let rests = stage
                .aws
                .stacks()
                .values()
                .all(|is| is.ends_with("E_COMPLETE"));
            wait::check(rests, || format!("{:?}", stage.aws.stacks()))?;
            whole(&stage)
        })
        .await;
        assert_eq!(after, ips, "{mode}: the static IPs");
        stage.routed(&EXAMPLE_CIDRS).await;
        wait::until("told that it is over", || {
            replica.said(&["no longer", reason])
        })
        .await;
        let mark_after = stage.aws.mark();
        assert!(stage.writes_at_rest(mark_after).await.is_empty(), "{mode}");
        let writes = stage.aws.writes_since(mark).len();
        let calls = stage.aws.log_since(mark).len();
        wait::measured(&format!(
            "{reason}, REVERT_DRIFT {mode}: {writes} writes, {calls} calls"
        ));
        assert!(writes <= 7 && calls < 250, "{mode}: {writes}, {calls}");
        replica.assert_well();
    }
}

pub fn of_a(stage: &Stage) -> Pieces {
    pieces(&stage.aws.state(), "a").unwrap()
}

pub fn delete_gateway(stage: &Stage) {
    let gateway = of_a(stage).gateway;
    stage
        .aws
        .call("ec2", "DeleteNatGateway", &[("NatGatewayId", &gateway)]);
}

#[tokio::test]
async fn a_nat_gateway_that_was_deleted() {
    is_repaired("drift-nat", "NatGatewayGone", delete_gateway).await;
}

/// EC2 may divide every list into pages of one item. What is on a later page is there.
#[tokio::test]
async fn every_page_of_a_list_is_read() {
    is_repaired("drift-pages", "NatGatewayGone", |stage| {
        stage.aws.settings(json!({ "ec2_page_size": 1 }));
        delete_gateway(stage);
    })
    .await;
}

#[tokio::test]
async fn a_nat_gateway_that_has_failed() {
    is_repaired("drift-failed", "NatGatewayFailed", |stage| {
        let gateway = of_a(stage).gateway;
        let harm = json!({ "action": "fail_nat_gateway", "nat_gateway_id": gateway });
        stage.aws.post("tamper", &harm);
    })
    .await;
}

/// EC2 never disassociates the first address of a NAT gateway, so an answer without it proves nothing.
#[tokio::test]
async fn a_gateway_without_any_address_in_the_answer_is_not_rebuilt() {
    let stage = Stage::open("drift-detached").await;
    let replica = kept(&stage, looking(&stage)).await;
    let before = of_a(&stage).gateway;
    let mark = stage.aws.mark();
    let harm = json!({ "action": "detach_address", "public_ip": of_a(&stage).ip });
    stage.aws.post("tamper", &harm);
    wait::until("told", || {
        replica.said(&["AnswersContradict", "shows no address"])
    })
    .await;
    assert!(stage.writes_at_rest(mark).await.is_empty());
    let state = stage.aws.state();
    let mut gateways = state["nat_gateways"].as_array().unwrap().iter();
    assert!(gateways.any(|it| it["id"] == before.as_str() && it["state"] == "available"));
}

#[tokio::test]
async fn a_nat_subnet_that_was_deleted() {
    is_repaired("drift-subnet", "NatSubnetGone", |stage| {
        let subnet = of_a(stage).subnet;
        delete_gateway(stage);
        stage
            .aws
            .call("ec2", "DeleteSubnet", &[("SubnetId", &subnet)]);
    })
    .await;
}

#[tokio::test]
async fn a_route_table_that_was_deleted() {
    is_repaired("drift-table", "NatRouteTableGone", |stage| {
        let Pieces {
            association, table, ..
        } = of_a(stage);
        let fields = [("AssociationId", association.as_str())];
        stage.aws.call("ec2", "DisassociateRouteTable", &fields);
        stage
            .aws
            .call("ec2", "DeleteRouteTable", &[("RouteTableId", &table)]);
    })
    .await;
}

#[tokio::test]
async fn an_association_that_was_removed() {
    is_repaired("drift-assoc", "NatSubnetUnassociated", |stage| {
        let association = of_a(stage).association;
        let fields = [("AssociationId", association.as_str())];
        stage.aws.call("ec2", "DisassociateRouteTable", &fields);
    })
    .await;
}

#[tokio::test]
async fn the_way_out_of_a_nat_subnet() {
    is_repaired("drift-out", "RouteMissing", |stage| {
        let table = of_a(stage).table;
        let fields = [
            ("RouteTableId", table.as_str()),
            ("DestinationCidrBlock", "0.0.0.0/0"),
        ];
        stage.aws.call("ec2", "DeleteRoute", &fields);
    })
    .await;
}

#[tokio::test]
async fn tags_that_were_changed() {
    is_repaired("drift-tags", "TagsChanged", |stage| {
        let Pieces { subnet, table, .. } = of_a(stage);
        let fields = [
            ("ResourceId.1", subnet.as_str()),
            ("Tag.1.Key", "Name"),
            ("Tag.1.Value", "mine"),
        ];
        stage.aws.call("ec2", "CreateTags", &fields);
        let fields = [("ResourceId.1", table.as_str()), ("Tag.1.Key", "Name")];
        stage.aws.call("ec2", "DeleteTags", &fields);
    })
    .await;
}

/// An incomplete answer of EC2 proves nothing, whatever the flags allow. If no route leads to a NAT gateway, no other answer contradicts it
/// either.
#[tokio::test]
async fn lists_of_ec2_that_are_empty_for_a_while_cost_nothing() {
    const WHILE: Duration = Duration::from_secs(20);
    let all = &[
        "DescribeAddresses",
        "DescribeNatGateways",
        "DescribeSubnets",
    ];
    for (lists, routed) in [(&all[..1], true), (&all[..], true), (&all[..], false)] {
        let stage = Stage::open("drift-empty").await;
        let launch = || looking(&stage).flag("empty-grace-period", "0s");
        let mut replica = kept(&stage, launch()).await;
        let ips = whole(&stage).unwrap();
        if !routed {
            stage.config_map("egress-t1", &[]).await;
            stage.routed(&[]).await;
        }
        replica.terminate().await;
        let all = ips.iter().map(|(zone, ip)| format!("{REGION}{zone}={ip}"));
        let all = all.collect::<Vec<_>>().join(",");
        let mut replica = launch().flag("allow-new-eips", &all).start();
        let mark = stage.aws.mark();
        for list in lists {
            let empty = json!({ "kind": "empty", "service": "ec2", "action": list });
            stage.aws.fault(empty);
        }
        let begin = Instant::now();
        wait::until("told", || replica.said(&["AnswersContradict"])).await;
        wait::until("it has looked for long enough", || {
            let since = begin.elapsed();
            wait::check(since > WHILE, || format!("{since:?}"))
        })
        .await;
        stage.aws.clear_faults();
        let over = ["no longer", "AnswersContradict"];
        wait::until("told that it is over", || replica.said(&over)).await;
        assert_eq!(whole(&stage).unwrap(), ips, "{lists:?}: the static IPs");
        let writes = stage.aws.writes_since(mark);
        assert!(writes.is_empty(), "{lists:?}: {writes:?}");
        assert_eq!(stage.aws.state()["addresses"].as_array().unwrap().len(), 3);
        replica.assert_well();
    }
}

/// A tag bot or an operator tags every table of the VPC as a worker table.
#[tokio::test]
async fn the_table_of_a_nat_subnet_is_no_workers_whatever_its_tags() {
    let stage = Stage::open("nat-table-tagged").await;
    let replica = kept(&stage, looking(&stage)).await;
    let Pieces { table, .. } = of_a(&stage);
    let zone = format!("{REGION}a");
    let fields = [
        ("ResourceId.1", table.as_str()),
        ("Tag.1.Key", "AvailabilityZone"),
        ("Tag.1.Value", zone.as_str()),
    ];
    stage.aws.call("ec2", "CreateTags", &fields);
    stage.config_map("egress-t9", &[("dns", "9.9.9.9")]).await;
    wait::until("told", || replica.said(&["NatTableTagged", &table])).await;
    let own = || {
        let state = stage.aws.state();
        let own = found(&state, "route_tables", |it| it["id"] == table.as_str());
        own.unwrap()["routes"].clone()
    };
    wait::until("the workers have the route", || {
        let served = stage.aws.routes();
        let served = served.iter().filter(|((id, _), _)| *id != table);
        let all = served
            .clone()
            .all(|(_, routes)| routes.contains_key("9.9.9.9/32"));
        wait::check(all, || format!("{:?}", stage.aws.routes()))
    })
    .await;
    let routes = own();
    assert!(!routes.to_string().contains("nat-"), "{routes}");
    let fields = [
        ("ResourceId.1", table.as_str()),
        ("Tag.1.Key", "AvailabilityZone"),
    ];
    stage.aws.call("ec2", "DeleteTags", &fields);
    wait::until("it is over", || {
        replica.said(&["no longer", "NatTableTagged"])
    })
    .await;
    replica.said(&["TagsChanged"]).unwrap_err();
    stage
        .routed(&[&EXAMPLE_CIDRS[..], &["9.9.9.9/32"]].concat())
        .await;
}
