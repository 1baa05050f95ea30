//! The drift of zones and routes, its repair, and changes that must never be made.

use std::collections::BTreeMap;
use std::time::Duration;

use super::tests::Bench;
use super::*;
use crate::model::base::reason::Reason;
use crate::model::base::settings::OnDrift;
use crate::model::cloud::change_set_name::change_set_name;
use crate::model::cloud::live::{Change, ChangeSet, ChangeSetState, Effect};
use crate::model::cloud::network::{OtherTable, Route};
use crate::model::cloud::observed::{Address, Gateway, Health, Observed, Subnet};
use crate::model::desired::template::Template;
use crate::model::drift::Drift;
use crate::model::drift::tracker::{MAX_REPAIRS, Watch};

/// A time after which drift is firm.
const LONG: Duration = Duration::from_secs(60);

pub(super) fn text(text: &str) -> String {
    text.to_owned()
}

/// A stack at rest, an EC2 that matches it, and a watch that has read EC2.
pub(super) struct Scene {
    pub(super) bench: Bench,
    pub(super) seen: Observed,
    now: Duration,
}

impl Scene {
    pub(super) fn new() -> Self {
        let mut bench = Bench::live(&[("dns", "8.8.8.8")]);
        bench.settings.drift = OnDrift::Repair;
        bench.watch = Watch::new(Some(LONG));
        let mut seen = Observed::default();
        let cidrs = bench.settings.zones.clone();
        for (zone, cidr) in cidrs {
            let ids = [
                ("EIP", format!("ip-{zone}")),
                ("NATGateway", format!("nat-{zone}")),
                ("NATSubnet", format!("subnet-{zone}")),
                ("NATSubnetRouteTable", format!("rtb-nat-{zone}")),
            ];
            seen.ids
                .extend(ids.map(|(part, id)| (format!("{part}{zone}"), id)));
            let gateway = Gateway {
                health: Health::Well,
                subnet: format!("subnet-{zone}"),
                public_ip: Some(format!("ip-{zone}")),
                interface: Some(format!("eni-{zone}")),
                ..Gateway::default()
            };
            seen.gateways.insert(format!("nat-{zone}"), gateway);
            let held_by = Some(format!("eni-{zone}"));
            seen.addresses.insert(
                format!("ip-{zone}"),
                Address {
                    held_by,
                    ..Address::default()
                },
            );
            let tags = BTreeMap::from([(text("Name"), format!("nat-{zone}"))]);
            let subnet = Subnet {
                cidr: Some(cidr),
                zone: zone.clone(),
                tags: tags.clone(),
            };
            seen.subnets.insert(format!("subnet-{zone}"), subnet);
            let table = format!("rtb-nat-{zone}");
            let associated = (format!("subnet-{zone}"), table.clone());
            bench.network.associations.extend([associated]);
            let routes = [(ipnet::Ipv4Net::default(), leads_to("igw-1"))].into();
            let other = OtherTable {
                routes,
                tags,
                ..OtherTable::default()
            };
            bench.network.other_tables.insert(table, other);
            let worker = bench.network.worker_tables.get_mut(&format!("rtb-{zone}"));
            let route = leads_to(&format!("nat-{zone}"));
            worker.unwrap().routes.insert(dns(), route);
        }
        let mut scene = Self {
            bench,
            seen,
            now: Duration::ZERO,
        };
        assert_eq!(scene.plan().drifts, []);
        scene
    }

    pub(super) fn allow_new_eips(&mut self) {
        let zones = self.bench.settings.zones.keys();
        let lost = zones.map(|zone| (zone.clone(), format!("ip-{zone}")));
        self.bench.settings.new_eips = lost.collect();
    }

    /// Makes a plan from a later reading of EC2.
    pub(super) fn plan(&mut self) -> Plan {
        self.now += LONG;
        self.bench.watch.begin(self.now, true);
        self.bench.watch.looked("", Ok(self.seen.clone()));
        let plan = self.bench.plan();
        let idle = plan.action == Action::Keep;
        self.bench.watch.note(&plan.drifts, true, idle);
        plan
    }

    /// Makes a plan after this number of failed repairs.
    pub(super) fn plan_after(&mut self, repairs: u32) -> Plan {
        self.plan();
        for _ in 0..repairs {
            let keys: Vec<String> = self.plan().drifts.iter().map(Drift::key).collect();
            self.bench.watch.tried(&keys);
        }
        self.plan()
    }

    /// Counts this number of attempts to recover the lost static IPs.
    pub(super) fn tried_to_recover(&mut self, times: usize) {
        let drifts = self.plan().drifts;
        let keys: Vec<String> = drifts.iter().filter_map(Drift::recovery_key).collect();
        for _ in 0..times {
            self.bench.watch.tried(&keys);
        }
    }

    pub(super) fn change_set(&mut self, template: &Template, changes: &[(&str, &str, Effect)]) {
        let change = |(id, kind, effect): &(&str, &str, Effect)| Change {
            logical_id: text(id),
            resource_type: format!("AWS::EC2::{kind}"),
            effect: *effect,
            dynamic_on: Vec::new(),
        };
        self.bench.stack().change_sets = vec![ChangeSet {
            name: change_set_name(&template.content(), 1, 0, None),
            state: ChangeSetState::Ready,
            changes: changes.iter().map(change).collect(),
            lists: None,
        }];
    }
}

pub(super) fn dns() -> ipnet::Ipv4Net {
    "8.8.8.8/32".parse().unwrap()
}

pub(super) fn leads_to(target: &str) -> Route {
    Route {
        target: text(target),
        blackhole: false,
    }
}

pub(super) fn told(plan: &Plan) -> Vec<Reason> {
    plan.problems.iter().map(|problem| problem.reason).collect()
}

/// Returns the logical ids of a template's resources.
pub(super) fn resources(template: &Template) -> Vec<String> {
    let layout = Layout::read(&template.text, &template.parameters).unwrap();
    layout.resources.into_keys().collect()
}

#[test]
fn what_others_add_is_no_drift() {
    let mut scene = Scene::new();
    let net = |text: &str| text.parse().unwrap();
    let worker = scene.bench.network.worker_tables.get_mut("rtb-a").unwrap();
    worker.routes.insert(net("10.0.0.0/8"), leads_to("pcx-1"));
    let other = scene
        .bench
        .network
        .other_tables
        .get_mut("rtb-nat-a")
        .unwrap();
    other.routes.insert(net("10.0.0.0/8"), leads_to("pcx-1"));
    other.tags.insert(text("cost"), text("centre"));
    assert_eq!(scene.plan().drifts, []);
}

pub(super) fn lose_gateway(scene: &mut Scene) {
    scene.seen.gateways.remove("nat-a");
    scene.seen.addresses.get_mut("ip-a").unwrap().held_by = None;
}

#[test]
fn a_gateway_is_reverted_by_a_change_set_that_touches_no_more() {
    let mut scene = Scene::new();
    lose_gateway(&mut scene);
    let Action::Revert(template) = scene.plan().action else {
        panic!("{}", scene.plan());
    };
    assert_eq!(template.text, scene.bench.stack().template);
    let gateway = ("NATGatewaya", "NatGateway", Effect::Add);
    scene.change_set(&template, &[gateway]);
    let plan = scene.plan();
    assert!(matches!(plan.action, Action::Execute { .. }), "{plan}");
    assert_eq!(plan.repairs.len(), 1);
    for surprise in [
        ("EIPa", "EIP", Effect::Add),
        ("NATGatewayb", "NatGateway", Effect::MayReplace),
        ("NATSubneta", "Subnet", Effect::MayReplace),
        ("RouteX", "Route", Effect::Remove),
    ] {
        scene.change_set(&template, &[gateway, surprise]);
        let plan = scene.plan();
        assert!(
            matches!(plan.action, Action::Discard { .. }),
            "{surprise:?}: {plan}"
        );
        assert_eq!(plan.repairs.len(), 1, "it counts");
    }
    // The change set changes a resource that has not drifted.
    scene.change_set(&template, &[("NATSubnetb", "Subnet", Effect::Modify)]);
    assert!(matches!(scene.plan().action, Action::Discard { .. }));
}

#[test]
fn a_gateway_is_made_anew_with_its_static_ip() {
    let mut scene = Scene::new();
    lose_gateway(&mut scene);
    let Action::Prepare(template) = scene.plan_after(1).action else {
        panic!("{}", scene.plan());
    };
    let stack = scene.bench.stack();
    let before = Layout::read(&stack.template, &stack.parameters)
        .unwrap()
        .resources;
    let after = resources(&template);
    let new: Vec<&String> = after
        .iter()
        .filter(|id| !before.contains_key(*id))
        .collect();
    assert_eq!(new, ["NATGatewayaAnew1"]);
    assert!(after.contains(&text("EIPa")) && !after.contains(&text("NATGatewaya")));
    let renamed = [
        ("NATGatewayaAnew1", "NatGateway", Effect::Add),
        ("NATGatewaya", "NatGateway", Effect::Remove),
        ("RouteToNATrtbaz8x8x8x8y32", "Route", Effect::Modify),
    ];
    scene.change_set(&template, &renamed);
    let plan = scene.plan();
    assert!(matches!(plan.action, Action::Execute { .. }), "{plan}");
    assert_eq!(plan.repairs.len(), 1);
    let lost = ("EIPa", "EIP", Effect::MayReplace);
    scene.change_set(&template, &[&renamed[..], &[lost]].concat());
    let plan = scene.plan();
    assert!(matches!(plan.action, Action::Discard { .. }), "{plan}");
    assert_eq!(
        (told(&plan), plan.repairs.len()),
        (vec![Reason::NatGatewayGone], 1)
    );
    // After the change, the plan knows the new name and wants no change.
    scene.bench.stack().change_sets.clear();
    scene.bench.stack().template = template.text;
    scene
        .seen
        .ids
        .insert(text("NATGatewayaAnew1"), text("nat-new"));
    let mut gateway = scene.seen.gateways["nat-b"].clone();
    (gateway.subnet, gateway.public_ip) = (text("subnet-a"), Some(text("ip-a")));
    scene.seen.gateways.insert(text("nat-new"), gateway);
    let worker = scene.bench.network.worker_tables.get_mut("rtb-a").unwrap();
    worker.routes.insert(dns(), leads_to("nat-new"));
    let plan = scene.plan();
    assert_eq!((plan.action, plan.drifts), (Action::Keep, vec![]));
}

/// Releases an IP as EC2 does: only after its gateway is gone.
pub(super) fn release(scene: &mut Scene, zone: &str) {
    let gateway = scene.seen.gateways.get_mut(&format!("nat-{zone}"));
    gateway.unwrap().health = Health::Gone;
    scene.seen.addresses.remove(&format!("ip-{zone}"));
}

#[test]
fn a_static_ip_that_is_gone_is_replaced_only_if_that_is_allowed() {
    let mut scene = Scene::new();
    release(&mut scene, "a");
    scene.bench.network.associations.remove("subnet-b");
    let plan = scene.plan();
    assert_eq!(
        told(&plan),
        [
            Reason::StaticIpLost,
            Reason::NatGatewayGone,
            Reason::NatSubnetUnassociated
        ]
    );
    assert!(plan.refuses_something());
    scene.tried_to_recover(4);
    // Reverting would allocate a new IP, so the other zone is repaired by another change.
    let Action::Prepare(template) = scene.plan().action else {
        panic!("{}", scene.plan());
    };
    let ids = resources(&template);
    assert!(ids.contains(&text("NATSubnetRouteTableAssociationbAnew1")));
    assert!(ids.contains(&text("EIPa")) && ids.contains(&text("NATGatewaya")));

    scene.allow_new_eips();
    let mut scene = Scene { now: LONG, ..scene };
    assert!(matches!(scene.plan().action, Action::Revert(_)));
    let Action::Prepare(template) = scene.plan_after(1).action else {
        panic!("{}", scene.plan());
    };
    assert!(resources(&template).contains(&text("EIPaAnew1")));
    let layout = Layout::read(&template.text, &template.parameters).unwrap();
    assert!(layout.outputs.contains_key("EIPaAnew1") && !layout.outputs.contains_key("EIPa"));
}

#[test]
fn what_nobody_wants_any_more_is_not_repaired() {
    let mut scene = Scene::new();
    let worker = scene.bench.network.worker_tables.get_mut("rtb-a").unwrap();
    worker.routes.remove(&dns());
    scene.bench.ask(&[("other", "9.9.9.9")]);
    assert!(matches!(scene.plan().action, Action::Prepare(_)));
}

#[test]
fn after_three_repairs_it_is_left_alone_and_other_changes_go_on() {
    let mut scene = Scene::new();
    lose_gateway(&mut scene);
    let plan = scene.plan_after(MAX_REPAIRS);
    assert_eq!(plan.action, Action::Keep);
    assert_eq!(
        told(&plan),
        [Reason::DriftRepairFailed, Reason::NatGatewayGone]
    );
    scene.bench.ask(&[("dns", "8.8.8.8"), ("other", "9.9.9.9")]);
    assert!(matches!(scene.plan().action, Action::Prepare(_)));
    // The same gateway shows another symptom.
    let mut failed = scene.seen.gateways["nat-b"].clone();
    failed.health = Health::Failed(text("no capacity"));
    scene.seen.gateways.insert(text("nat-a"), failed);
    assert!(matches!(scene.plan().action, Action::Revert(_)));
}

#[test]
fn a_look_that_fails_is_told_and_routes_are_compared_all_the_same() {
    let mut scene = Scene::new();
    lose_gateway(&mut scene);
    let worker = scene.bench.network.worker_tables.get_mut("rtb-a").unwrap();
    worker.routes.remove(&dns());
    scene.bench.watch.looked("", Err(text("no right")));
    let plan = scene.bench.plan();
    assert_eq!(told(&plan), [Reason::RouteMissing, Reason::DriftNotSeen]);
    assert!(matches!(plan.action, Action::Revert(_)));
}

#[test]
fn what_was_seen_of_another_version_of_the_stack_is_not_believed() {
    let mut scene = Scene::new();
    lose_gateway(&mut scene);
    assert_eq!(scene.plan().drifts.len(), 1);
    scene.bench.stack().version = text("2");
    assert!(scene.bench.watch.is_due("2"));
    assert_eq!(scene.bench.plan().drifts, []);
}

#[test]
fn an_address_that_somebody_added_is_known_while_ec2_cannot_be_seen() {
    let mut scene = Scene::new();
    let more = [text("203.0.113.7")].to_vec();
    let gateway = scene.seen.gateways.get_mut("nat-b").unwrap();
    gateway.secondary_ips.clone_from(&more);
    let all = BTreeMap::from([(text("b"), more)]);
    assert_eq!(scene.plan().secondary_ips, all);
    scene.bench.watch.looked("", Err(text("throttled")));
    assert_eq!(scene.bench.plan().secondary_ips, all);
    scene.bench.stack().status = crate::model::cloud::status::Status::UpdateInProgress;
    assert_eq!(scene.bench.plan().secondary_ips, all);
}
