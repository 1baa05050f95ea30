//! An address that a person associated with a NAT gateway is not forgotten with it.

use super::super::repair_tests::{Scene, text};
use super::*;
use crate::model::persisted::ledger::Ledger;

const IP: &str = "203.0.113.7";

/// Returns a world in which a person has associated an address with the NAT gateway of zone b.
fn by_hand() -> Scene {
    let mut scene = Scene::new();
    scene.bench.ledger = Some(Ledger::new("egress"));
    let gateway = scene.seen.gateways.get_mut("nat-b").unwrap();
    gateway.secondary_ips = vec![text(IP)];
    held_by(&mut scene, Some("eni-b"));
    look(&mut scene);
    scene
}

fn held_by(scene: &mut Scene, holder: Option<&str>) {
    let address = Address {
        held_by: holder.map(text),
        allocation: text("eipalloc-7"),
    };
    scene.seen.addresses.insert(text(IP), address);
}

/// Reads EC2, stores the ledger, and returns the texts about the address.
fn look(scene: &mut Scene) -> Vec<String> {
    let plan = scene.plan();
    scene.bench.ledger.clone_from(&plan.ledger);
    let problems = plan.problems.iter();
    let about = problems.filter(|it| it.reason == Reason::StaticIpDetached);
    about.map(|it| it.message()).collect()
}

/// CloudFormation has made the NAT gateway of zone b again.
fn replace(scene: &mut Scene) {
    let old = scene.seen.gateways.remove("nat-b").unwrap();
    let new = Gateway {
        secondary_ips: Vec::new(),
        interface: Some(text("eni-b2")),
        ..old
    };
    scene.seen.gateways.insert(text("nat-b2"), new);
    scene.seen.ids.insert(text("NATGatewayb"), text("nat-b2"));
    let first = scene.seen.addresses.get_mut("ip-b").unwrap();
    first.held_by = Some(text("eni-b2"));
    held_by(scene, None);
}

#[test]
fn an_address_that_a_replaced_nat_gateway_had_is_named_until_it_is_associated_again() {
    let mut scene = by_hand();
    assert_eq!(look(&mut scene), [""; 0]);
    replace(&mut scene);
    let told = look(&mut scene);
    let command =
        "associate-nat-gateway-address --nat-gateway-id nat-b2 --allocation-ids eipalloc-7";
    assert!(told.len() == 1 && told[0].contains(command), "{told:?}");
    // A later leader knows it from the ledger.
    let stored = scene.bench.ledger.as_ref().unwrap().text();
    let read = Ledger::read(&stored, "egress", &std::collections::BTreeSet::new());
    scene.bench.ledger = Some(read.unwrap());
    assert_eq!(look(&mut scene), told);
    let gateway = scene.seen.gateways.get_mut("nat-b2").unwrap();
    gateway.secondary_ips = vec![text(IP)];
    held_by(&mut scene, Some("eni-b2"));
    assert_eq!(look(&mut scene), [""; 0]);
    // An answer without the address proves nothing.
    scene.seen.gateways.get_mut("nat-b2").unwrap().secondary_ips = Vec::new();
    scene.seen.addresses.remove(IP);
    look(&mut scene);
    assert_eq!(scene.bench.ledger.as_ref().unwrap().former_ips.len(), 1);
}

#[test]
fn an_address_that_a_person_takes_away_or_uses_elsewhere_is_forgotten() {
    let mut scene = by_hand();
    let gateway = scene.seen.gateways.get_mut("nat-b").unwrap();
    gateway.secondary_ips.clear();
    held_by(&mut scene, None);
    assert_eq!(look(&mut scene), [""; 0]);
    assert!(scene.bench.ledger.as_ref().unwrap().former_ips.is_empty());
    let mut scene = by_hand();
    replace(&mut scene);
    held_by(&mut scene, Some("i-1"));
    assert_eq!(look(&mut scene), [""; 0]);
    assert!(scene.bench.ledger.as_ref().unwrap().former_ips.is_empty());
}
