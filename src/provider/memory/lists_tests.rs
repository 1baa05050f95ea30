//! Requests for prefix lists that EC2 refuses, and CloudFormation's operations on lists.

use std::collections::BTreeMap;

use ipnet::Ipv4Net;
use serde_json::{Value, json};

use super::super::MemoryProvider;
use super::super::account::Account;
use super::*;
use crate::model::cloud::layout::{Layout, Resource};
use crate::model::cloud::live::Effect;
use crate::model::cloud::observed::Health;

fn net(text: &str) -> Ipv4Net {
    text.parse().expect("a network")
}

fn nets(count: u8) -> Vec<String> {
    (0..count).map(|it| format!("20.0.{it}.0/24")).collect()
}

fn list(entries: &[String], most: usize) -> Value {
    let entries: Vec<Value> = entries.iter().map(|cidr| json!({ "Cidr": cidr })).collect();
    json!({ "PrefixListName": "one", "AddressFamily": "IPv4", "MaxEntries": most.to_string(),
            "Entries": entries })
}

fn wish(kind: &str, properties: Value) -> Wish {
    let kind = format!("AWS::EC2::{kind}");
    Wish::new(&Resource { kind, properties }, &BTreeMap::new())
}

fn list_wish(entries: &[String], most: usize) -> Wish {
    wish("PrefixList", list(entries, most))
}

fn account() -> Account {
    let zones = [("eu-central-1a".to_owned(), net("10.0.200.0/28"))].into();
    Account::new(MemoryProvider::network_for(&zones))
}

/// Applies the template to the account. Returns why that fails.
fn bring(account: &mut Account, resources: &Value, revert: bool) -> Result<(), String> {
    let text = json!({ "Resources": resources }).to_string();
    let layout = Layout::read(&text, &BTreeMap::new()).expect("a template");
    let done = account.bring(&layout, revert);
    (account.ec2, account.made) = done.map_err(|refusal| refusal.why)?;
    Ok(())
}

fn resources(entries: &[String], most: usize) -> Value {
    let of = |kind: &str, properties: Value| json!({ "Type": format!("AWS::EC2::{kind}"), "Properties": properties });
    json!({
        "Eip": of("EIP", json!({ "Domain": "vpc" })),
        "Subnet": of("Subnet", json!({ "CidrBlock": "10.0.200.0/28", "AvailabilityZone": "eu-central-1a" })),
        "Nat": of("NatGateway", json!({ "SubnetId": { "Ref": "Subnet" }, "AllocationId": { "Fn::GetAtt": ["Eip", "AllocationId"] } })),
        "List": of("PrefixList", list(entries, most)),
        "Route": of("Route", json!({
            "RouteTableId": "rtb-1", "DestinationPrefixListId": { "Ref": "List" }, "NatGatewayId": { "Ref": "Nat" },
        })),
    })
}

/// Returns an account with a stack: a list of five entries with room for 100, and a route to the list.
fn made() -> Account {
    let mut account = account();
    bring(&mut account, &resources(&nets(5), 100), false).expect("a stack");
    account
}

fn the_list(account: &Account) -> &PrefixList {
    account.ec2.lists.values().next().expect("a list")
}

fn route(account: &Account) -> Option<&Route> {
    let table = &account.ec2.network.worker_tables["rtb-1"];
    table.list_routes.get("pl-one")
}

#[test]
fn a_list_has_no_more_entries_than_ec2_takes() {
    let mut ec2 = account().ec2;
    let refused = |ec2: &mut Ec2, entries: &[String], most| {
        let made = ec2.make(&list_wish(entries, most));
        made.expect_err("refused")
    };
    assert!(refused(&mut ec2, &nets(101), 200).contains("more than 100 entries at once"));
    assert!(refused(&mut ec2, &nets(6), 5).contains("no more than 5 entries"));
    assert!(refused(&mut ec2, &nets(1), 1_001).contains("no size"));
    let twice = [nets(1), nets(1)].concat();
    assert!(refused(&mut ec2, &twice, 100).contains("more than once"));
    ec2.list_quota = Some(1);
    assert_eq!(ec2.network().limits.lists, Some(1));
    assert_eq!(
        ec2.make(&list_wish(&nets(100), 100)),
        Ok("pl-one".to_owned())
    );
    assert!(ec2.has("pl-one"));
    assert_eq!(ec2.network().limits.lists, Some(0));
    assert!(refused(&mut ec2, &nets(1), 100).contains("no more prefix lists"));
}

#[test]
fn a_route_to_a_list_counts_as_all_entries_that_the_list_may_have() {
    let mut account = account();
    // The default route counts, too.
    account.ec2.route_quota = Some(100);
    let refused = bring(&mut account, &resources(&nets(5), 100), false);
    assert_eq!(refused, Err(format!("rtb-1 {NO_ROOM}")));
    account.ec2.route_quota = Some(101);
    bring(&mut account, &resources(&nets(5), 100), false).expect("room");
    assert_eq!(account.ec2.network().worker_tables["rtb-1"].listed, 100);
    let direct = json!({ "RouteTableId": "rtb-1", "DestinationCidrBlock": "8.8.8.8/32", "GatewayId": "igw-1" });
    let refused = account.ec2.make(&wish("Route", direct));
    assert_eq!(refused, Err(format!("rtb-1 {NO_ROOM}")));
    // A larger list needs room in every table with a route to the list.
    let refused = bring(&mut account, &resources(&nets(5), 101), false);
    assert_eq!(refused, Err(format!("rtb-1 {NO_ROOM}")));
    bring(&mut account, &resources(&nets(5), 50), false).expect("less room");
    assert_eq!(the_list(&account).max_entries, 50);
}

#[test]
fn one_call_changes_the_size_or_a_hundred_entries() {
    let mut account = made();
    let refused = bring(&mut account, &resources(&nets(6), 101), false);
    assert!(refused.is_err_and(|why| why.contains("size and its entries")));
    let others = (0..=100).map(|it| format!("30.0.{it}.0/24"));
    let refused = bring(
        &mut account,
        &resources(&others.collect::<Vec<_>>(), 200),
        false,
    );
    assert!(refused.is_err_and(|why| why.contains("more than 100 entries")));
    assert_eq!(
        (the_list(&account).version, the_list(&account).entries.len()),
        (1, 5)
    );
    bring(&mut account, &resources(&nets(100), 100), false).expect("95 more");
    assert_eq!(
        (the_list(&account).version, the_list(&account).entries.len()),
        (2, 100)
    );
    let mut turned = nets(100);
    turned.reverse();
    bring(&mut account, &resources(&turned, 100), false).expect("another order");
    assert_eq!(the_list(&account).version, 2, "EC2 has no order");
}

#[test]
fn an_entry_that_no_route_can_lead_to_is_refused_while_a_route_leads_to_the_list() {
    let mut account = account();
    account.ec2.refused = [net("20.0.1.0/24")].into();
    let refused = bring(&mut account, &resources(&nets(5), 100), false);
    assert_eq!(refused, Err(format!("20.0.1.0/24 {NOT_SUPPORTED}")));
    bring(&mut account, &resources(&nets(1), 100), false).expect("without the entry");
    let refused = bring(&mut account, &resources(&nets(2), 100), false);
    assert_eq!(refused, Err(format!("20.0.1.0/24 {NOT_SUPPORTED}")));
}

#[test]
fn a_list_that_a_route_leads_to_stays() {
    let mut account = made();
    account.ec2.remove_list("pl-one");
    assert_eq!(account.ec2.lists.len(), 1);
    account.clear();
    assert_eq!(account.ec2.lists.len(), 0, "routes go before lists");
    assert_eq!(route(&account), None);
}

#[test]
fn a_route_to_a_list_becomes_a_blackhole_with_its_gateway_and_follows_another() {
    let mut account = made();
    let gateway = route(&account).expect("a route").target.clone();
    account.ec2.end(&gateway, Health::Gone);
    account.ec2.gateways.remove(&gateway);
    assert!(route(&account).is_some_and(|route| route.blackhole));
    assert_eq!(account.reversions().len(), 2);
    bring(&mut account, &resources(&nets(5), 100), true).expect("another gateway");
    let now = route(&account).expect("a route");
    assert!(!now.blackhole && now.target != gateway);
}

#[test]
fn what_others_do_to_a_list_is_seen_and_reverted() {
    let mut account = made();
    assert_eq!(account.reversions(), []);
    let seen = account.observed();
    assert_eq!(seen.ids["List"], "pl-one");
    assert_eq!(&seen.lists["pl-one"], the_list(&account));
    // CloudFormation does not compare the state.
    let list = account.ec2.lists.get_mut("pl-one").expect("a list");
    list.state = ListState::Failed("no room".to_owned());
    assert_eq!(account.reversions(), []);
    let list = account.ec2.lists.get_mut("pl-one").expect("a list");
    list.entries.pop_first();
    list.version += 1;
    let effects = |account: &Account| -> Vec<(String, Effect)> {
        let changes = account.reversions().into_iter();
        changes
            .map(|change| (change.logical_id, change.effect))
            .collect()
    };
    assert_eq!(effects(&account), [("List".to_owned(), Effect::Modify)]);
    bring(&mut account, &resources(&nets(5), 100), true).expect("reverted");
    assert_eq!(
        (the_list(&account).version, the_list(&account).entries.len()),
        (3, 5)
    );
    assert!(the_list(&account).state.is_settled());
    // The list and the route to it are deleted.
    let table = account.ec2.network.worker_tables.get_mut("rtb-1");
    table.expect("a table").list_routes.clear();
    account.ec2.lists.clear();
    assert!(account.observed().missing().contains("pl-one"));
    let gone = ["List", "Route"].map(|id| (id.to_owned(), Effect::Add));
    assert_eq!(effects(&account), gone);
    bring(&mut account, &resources(&nets(5), 100), true).expect("made again");
    let table = &account.ec2.network.worker_tables["rtb-1"];
    assert!(table.list_routes.contains_key("pl-one-2"));
}
