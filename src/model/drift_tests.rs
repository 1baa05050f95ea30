//! Each drift is found, and told by its reason.

use super::repair_tests::{Scene, dns, leads_to, text, told};
use super::*;
use crate::model::desired::OnDrift;
use crate::model::observed::Health;

type Harm = fn(&mut Scene);

/// Each with the reasons that are told of it.
fn told_of(cases: &[(Harm, &[&str])]) {
    for (harm, expected) in cases {
        let mut scene = Scene::new();
        harm(&mut scene);
        let plan = scene.plan();
        let found: Vec<&str> = plan.drifts.iter().map(|drift| drift.reason).collect();
        assert_eq!(found, *expected);
        assert_eq!(plan.problems.len(), expected.len());
        // Told and nothing else; not even told.
        scene.bench.settings.drift = OnDrift::Report;
        assert_eq!(scene.plan().action, Action::Keep);
        scene.bench.settings.drift = OnDrift::Off;
        assert_eq!(told(&scene.plan()), [""; 0]);
    }
}

#[test]
fn each_drift_of_a_zone_has_its_reason() {
    let cases: [(Harm, &[&str]); 9] = [
        (
            |s| drop(s.seen.gateways.remove("nat-a")),
            &["StaticIpDetached", "NatGatewayGone"],
        ),
        (
            |s| {
                s.seen.gateways.remove("nat-a");
                s.seen.addresses.get_mut("ip-a").unwrap().held_by = None;
            },
            &["NatGatewayGone"],
        ),
        (
            |s| s.seen.gateways.get_mut("nat-a").unwrap().health = Health::Leaving,
            &["NatGatewayGone"],
        ),
        (
            |s| {
                s.seen.gateways.get_mut("nat-a").unwrap().health = Health::Failed(text("x"));
                s.seen.addresses.get_mut("ip-a").unwrap().held_by = None;
            },
            &["NatGatewayFailed"],
        ),
        (
            |s| s.seen.gateways.get_mut("nat-a").unwrap().subnet = text("subnet-x"),
            &["NatGatewayChanged"],
        ),
        (|s| drop(s.seen.addresses.remove("ip-a")), &["StaticIpLost"]),
        (
            |s| drop(s.seen.subnets.remove("subnet-a")),
            &["NatSubnetGone"],
        ),
        (
            |s| s.seen.subnets.get_mut("subnet-a").unwrap().zone = text("z"),
            &["NatSubnetChanged"],
        ),
        (
            |s| s.seen.subnets.get_mut("subnet-a").unwrap().tags.clear(),
            &["TagsChanged"],
        ),
    ];
    told_of(&cases);
}

#[test]
fn each_drift_of_tables_and_routes_has_its_reason() {
    let cases: [(Harm, &[&str]); 4] = [
        (
            |s| drop(s.bench.network.other_tables.remove("rtb-nat-a")),
            &["NatRouteTableGone"],
        ),
        (
            |s| drop(s.bench.network.associations.remove("subnet-a")),
            &["NatSubnetUnassociated"],
        ),
        (
            |s| {
                let table = s.bench.network.worker_tables.get_mut("rtb-a").unwrap();
                // The gateway of another zone.
                table.routes.insert(dns(), leads_to("nat-b"));
            },
            &["RouteRetargeted"],
        ),
        (
            |s| {
                drop(
                    s.bench
                        .network
                        .other_tables
                        .get_mut("rtb-nat-b")
                        .unwrap()
                        .routes
                        .pop_first(),
                )
            },
            &["RouteMissing"],
        ),
    ];
    told_of(&cases);
}
