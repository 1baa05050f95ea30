//! Each drift is detected, and reported with its reason.

use super::repair_tests::{Scene, dns, leads_to, text, told};
use super::*;
use crate::model::base::reason::Reason;
use crate::model::base::settings::OnDrift;
use crate::model::cloud::network::OtherTable;
use crate::model::cloud::observed::{Health, Observed};
use crate::model::drift::Cure;

type Harm = fn(&mut Scene);

/// Applies each damage, and checks the reported reasons.
fn told_of(cases: &[(Harm, &[Reason])]) {
    for (harm, expected) in cases {
        let mut scene = Scene::new();
        harm(&mut scene);
        let plan = scene.plan();
        let found: Vec<Reason> = plan
            .drifts
            .iter()
            .map(|drift| drift.kind.reason())
            .collect();
        assert_eq!(found, *expected);
        assert_eq!(plan.problems.len(), expected.len());
        // In mode `report` drift is only reported; in mode `off` it is not.
        scene.bench.settings.drift = OnDrift::Report;
        assert_eq!(scene.plan().action, Action::Keep);
        scene.bench.settings.drift = OnDrift::Off;
        assert_eq!(told(&scene.plan()), []);
    }
}

#[test]
fn each_drift_of_a_zone_has_its_reason() {
    let cases: [(Harm, &[Reason]); 10] = [
        (
            |s| {
                s.seen.gateways.remove("nat-a");
                let table = s.bench.network.worker_tables.get_mut("rtb-a").unwrap();
                table.routes.get_mut(&dns()).unwrap().blackhole = true;
            },
            &[
                Reason::StaticIpDetached,
                Reason::NatGatewayGone,
                Reason::RouteBlackhole,
            ],
        ),
        (
            |s| {
                s.seen.gateways.remove("nat-a");
                s.seen.addresses.get_mut("ip-a").unwrap().held_by = None;
            },
            &[Reason::NatGatewayGone],
        ),
        (
            |s| s.seen.gateways.get_mut("nat-a").unwrap().health = Health::Leaving,
            &[Reason::NatGatewayGone],
        ),
        (
            |s| {
                s.seen.gateways.get_mut("nat-a").unwrap().health = Health::Failed(text("x"));
                s.seen.addresses.get_mut("ip-a").unwrap().held_by = None;
            },
            &[Reason::NatGatewayFailed],
        ),
        (
            |s| s.seen.gateways.get_mut("nat-a").unwrap().subnet = text("subnet-x"),
            &[Reason::NatGatewayChanged],
        ),
        (
            |s| {
                s.seen.addresses.remove("ip-a");
                s.seen.gateways.get_mut("nat-a").unwrap().health = Health::Gone;
            },
            &[Reason::StaticIpLost, Reason::NatGatewayGone],
        ),
        (
            |s| {
                s.seen.subnets.remove("subnet-a");
                let gateway = s.seen.gateways.get_mut("nat-a").unwrap();
                gateway.health = Health::Failed(text("x"));
                s.seen.addresses.get_mut("ip-a").unwrap().held_by = None;
            },
            &[Reason::NatGatewayFailed, Reason::NatSubnetGone],
        ),
        (
            |s| drop(s.seen.addresses.remove("ip-a")),
            &[Reason::AnswersContradict],
        ),
        (
            |s| s.seen.subnets.get_mut("subnet-a").unwrap().zone = text("z"),
            &[Reason::NatSubnetChanged],
        ),
        (
            |s| s.seen.subnets.get_mut("subnet-a").unwrap().tags.clear(),
            &[Reason::TagsChanged],
        ),
    ];
    told_of(&cases);
}

#[test]
fn each_drift_of_tables_and_routes_has_its_reason() {
    let cases: [(Harm, &[Reason]); 4] = [
        (
            |s| drop(s.bench.network.other_tables.remove("rtb-nat-a")),
            &[Reason::NatRouteTableGone],
        ),
        (
            |s| drop(s.bench.network.associations.remove("subnet-a")),
            &[Reason::NatSubnetUnassociated],
        ),
        (
            |s| {
                let table = s.bench.network.worker_tables.get_mut("rtb-a").unwrap();
                // The gateway of another zone.
                table.routes.insert(dns(), leads_to("nat-b"));
            },
            &[Reason::RouteRetargeted],
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
            &[Reason::RouteMissing],
        ),
    ];
    told_of(&cases);
}

#[test]
fn answers_that_contradict_each_other_prove_nothing() {
    type Case = (fn(&mut Observed), &'static [Reason]);
    let cases: [Case; 6] = [
        (
            |seen| seen.addresses.clear(),
            &[Reason::AnswersContradict; 2],
        ),
        (
            |seen| seen.gateways.clear(),
            &[Reason::AnswersContradict; 2],
        ),
        (|seen| seen.subnets.clear(), &[Reason::AnswersContradict; 2]),
        (
            |seen| {
                seen.addresses.clear();
                seen.gateways.clear();
                seen.subnets.clear();
            },
            &[Reason::AnswersContradict; 6],
        ),
        (
            |seen| seen.gateways.get_mut("nat-a").unwrap().health = Health::Gone,
            &[Reason::NatGatewayGone],
        ),
        (
            // Available, with an empty set of addresses.
            |seen| {
                let gateway = seen.gateways.get_mut("nat-a").unwrap();
                (gateway.public_ip, gateway.interface) = (None, None);
            },
            &[Reason::AnswersContradict],
        ),
    ];
    for (harm, expected) in cases {
        let mut scene = Scene::new();
        scene.allow_new_eips();
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
        .find(|it| it.kind.reason() == Reason::RouteRetargeted);
    assert!(matches!(drift.unwrap().cure, Cure::ByHand(_)), "{plan}");
    let problems = plan.problems.iter();
    let mut texts = problems.map(|problem| &*problem.what);
    assert!(
        texts.any(|text| text.contains("AvailabilityZone")),
        "{plan}"
    );
}

/// An incomplete answer proves nothing: EC2 has to confirm the absence when asked for exactly that id.
#[test]
fn what_ec2_does_not_deny_is_not_rebuilt() {
    type Case = (Harm, &'static str, &'static [Reason]);
    let cases: [Case; 5] = [
        (
            |s| {
                s.seen.addresses.remove("ip-a");
                s.seen.gateways.get_mut("nat-a").unwrap().health = Health::Gone;
            },
            "ip-a",
            &[Reason::AnswersContradict, Reason::NatGatewayGone],
        ),
        (
            |s| {
                s.seen.gateways.remove("nat-a");
                s.seen.addresses.get_mut("ip-a").unwrap().held_by = None;
            },
            "nat-a",
            &[Reason::AnswersContradict],
        ),
        (
            |s| {
                s.seen.subnets.remove("subnet-a");
                let gateway = s.seen.gateways.get_mut("nat-a").unwrap();
                gateway.health = Health::Failed(text("x"));
                s.seen.addresses.get_mut("ip-a").unwrap().held_by = None;
            },
            "subnet-a",
            &[Reason::NatGatewayFailed, Reason::AnswersContradict],
        ),
        (
            // The subnet is gone, but its gateway may still exist.
            |s| {
                s.seen.subnets.remove("subnet-a");
                s.seen.gateways.remove("nat-a");
                s.seen.addresses.get_mut("ip-a").unwrap().held_by = None;
            },
            "nat-a",
            &[Reason::AnswersContradict, Reason::NatSubnetGone],
        ),
        (
            |s| drop(s.bench.network.other_tables.remove("rtb-nat-a")),
            "rtb-nat-a",
            &[Reason::AnswersContradict],
        ),
    ];
    for (harm, id, expected) in cases {
        let mut scene = Scene::new();
        harm(&mut scene);
        scene.allow_new_eips();
        let rebuilt = scene.plan_after(1);
        assert_ne!(rebuilt.action, Action::Keep, "{id}: {rebuilt}");

        let mut scene = Scene::new();
        scene.allow_new_eips();
        scene.seen.unproven.insert(text(id));
        scene.bench.network.unproven.insert(text(id));
        harm(&mut scene);
        for plan in [scene.plan(), scene.plan_after(1)] {
            let found = plan.drifts.iter().map(|drift| drift.kind.reason());
            assert_eq!(found.collect::<Vec<_>>(), expected);
            assert_eq!(plan.action, Action::Keep, "{id}: {plan}");
        }
    }
}

#[test]
fn the_routes_of_a_table_that_an_answer_lacks_stay_until_ec2_denies_it() {
    let mut scene = Scene::new();
    scene.bench.network.worker_tables.remove("rtb-a");
    scene.bench.network.unproven.insert(text("rtb-a"));
    // Routes that are no longer requested stay as well, because the table's content is unknown.
    for entries in [&[("dns", "8.8.8.8")][..], &[("other", "9.9.9.9")]] {
        scene.bench.ask(entries);
        let plan = scene.plan();
        assert!(told(&plan).contains(&Reason::AnswersContradict));
        let rtb_a = |(table, cidr): &(TableId, _)| table == "rtb-a" && *cidr == dns();
        assert!(plan.desired.routes.iter().any(rtb_a), "{plan}");
    }
    scene.bench.ask(&[("dns", "8.8.8.8")]);
    assert_eq!(scene.plan().action, Action::Keep);
    scene.bench.network.unproven.clear();
    assert!(matches!(scene.plan().action, Action::Prepare(_)));
}

#[test]
fn what_the_answers_lack_is_known_by_its_id() {
    let mut seen = Observed::default();
    for (logical, physical) in [
        ("EIPa", "203.0.113.7"),
        ("NATGatewaya", "nat-a"),
        ("NATSubneta", "subnet-a"),
        ("NATSubnetRouteTablea", "rtb-a"),
        ("NATSubnetRouteTableAssociationa", "rtbassoc-a"),
    ] {
        seen.ids.insert(text(logical), text(physical));
    }
    let missing = ["203.0.113.7", "nat-a", "subnet-a"].map(text);
    assert_eq!(seen.missing(), missing.into());
    seen.gateways.insert(text("nat-a"), Default::default());
    seen.addresses
        .insert(text("203.0.113.7"), Default::default());
    assert_eq!(seen.missing(), [text("subnet-a")].into());
}
