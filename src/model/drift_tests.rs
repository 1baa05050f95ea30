//! Each drift is found, and told by its reason.

use super::repair_tests::{Scene, dns, leads_to, text, told};
use super::*;
use crate::model::base::settings::OnDrift;
use crate::model::cloud::network::OtherTable;
use crate::model::cloud::observed::{Health, Observed};
use crate::model::drift::Cure;

type Harm = fn(&mut Scene);

/// Each with the reasons that are told of it.
fn told_of(cases: &[(Harm, &[&str])]) {
    for (harm, expected) in cases {
        let mut scene = Scene::new();
        harm(&mut scene);
        let plan = scene.plan();
        let found: Vec<&str> = plan
            .drifts
            .iter()
            .map(|drift| drift.kind.reason())
            .collect();
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
    let cases: [(Harm, &[&str]); 10] = [
        (
            |s| {
                s.seen.gateways.remove("nat-a");
                let table = s.bench.network.worker_tables.get_mut("rtb-a").unwrap();
                table.routes.get_mut(&dns()).unwrap().blackhole = true;
            },
            &["StaticIpDetached", "NatGatewayGone", "RouteBlackhole"],
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
        (
            |s| {
                s.seen.addresses.remove("ip-a");
                s.seen.gateways.get_mut("nat-a").unwrap().health = Health::Gone;
            },
            &["StaticIpLost", "NatGatewayGone"],
        ),
        (
            |s| {
                s.seen.subnets.remove("subnet-a");
                let gateway = s.seen.gateways.get_mut("nat-a").unwrap();
                gateway.health = Health::Failed(text("x"));
                s.seen.addresses.get_mut("ip-a").unwrap().held_by = None;
            },
            &["NatGatewayFailed", "NatSubnetGone"],
        ),
        (
            |s| drop(s.seen.addresses.remove("ip-a")),
            &["AnswersContradict"],
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

#[test]
fn answers_that_contradict_each_other_prove_nothing() {
    type Case = (fn(&mut Observed), &'static [&'static str]);
    let cases: [Case; 5] = [
        (|seen| seen.addresses.clear(), &["AnswersContradict"; 2]),
        (|seen| seen.gateways.clear(), &["AnswersContradict"; 2]),
        (|seen| seen.subnets.clear(), &["AnswersContradict"; 2]),
        (
            |seen| {
                seen.addresses.clear();
                seen.gateways.clear();
                seen.subnets.clear();
            },
            &["AnswersContradict"; 6],
        ),
        (
            |seen| seen.gateways.get_mut("nat-a").unwrap().health = Health::Gone,
            &["NatGatewayGone"],
        ),
    ];
    for (harm, expected) in cases {
        let mut scene = Scene::new();
        scene.bench.settings.allow_new_eips = true;
        for zone in ["a", "b"] {
            let table = scene.bench.network.worker_tables.get_mut("rtb-a").unwrap();
            let cidr = format!("10.0.0.{}/32", zone.as_bytes()[0]).parse().unwrap();
            table.routes.insert(cidr, leads_to(&format!("nat-{zone}")));
        }
        harm(&mut scene.seen);
        for plan in [scene.plan(), scene.plan_after(1)] {
            assert_eq!(told(&plan), expected);
            assert_eq!(plan.action, Action::Keep, "{plan}");
            assert!(plan.drifts.iter().all(|drift| drift.cure == Cure::Passes));
        }
    }
}

#[test]
fn a_route_is_not_taken_out_of_a_table_into_which_it_cannot_be_put_back() {
    let mut scene = Scene::new();
    let worker = scene.bench.network.worker_tables.remove("rtb-a").unwrap();
    let mut other = OtherTable {
        routes: worker.routes,
        ..OtherTable::default()
    };
    other.routes.insert(dns(), leads_to("nat-b"));
    scene
        .bench
        .network
        .other_tables
        .insert(text("rtb-a"), other);
    let plan = scene.plan_after(1);
    let drift = plan
        .drifts
        .iter()
        .find(|it| it.kind.reason() == "RouteRetargeted");
    assert!(matches!(drift.unwrap().cure, Cure::ByHand(_)), "{plan}");
    let problems = plan.problems.iter();
    let mut texts = problems.map(|problem| problem.message.as_str());
    assert!(
        texts.any(|text| text.contains("AvailabilityZone")),
        "{plan}"
    );
}
