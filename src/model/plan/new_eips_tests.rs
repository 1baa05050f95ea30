//! The zones that get a new static IP, in changes of one zone each.

use super::repair_tests::{Scene, release, resources, text, told};
use super::*;
use crate::model::base::reason::Reason;
use crate::model::cloud::observed::Health;
use crate::model::drift::Drift;
use crate::model::drift::tracker::MAX_REPAIRS;

#[test]
fn one_change_gives_one_zone_a_new_static_ip() {
    let mut scene = Scene::new();
    scene.allow_new_eips();
    for zone in ["a", "b"] {
        release(&mut scene, zone);
    }
    scene.tried_to_recover(1);
    for (tries, zone) in [(0, "a"), (MAX_REPAIRS, "b")] {
        for _ in 0..tries {
            let keys: Vec<String> = scene.plan().drifts.iter().map(Drift::key).collect();
            let of_a = |key: &&String| key.starts_with("EIPa");
            let keys: Vec<String> = keys.iter().filter(of_a).cloned().collect();
            scene.bench.watch.tried(&keys);
        }
        scene.plan();
        let Action::Prepare(template) = scene.plan().action else {
            panic!("{}", scene.plan());
        };
        let new: Vec<String> = resources(&template)
            .into_iter()
            .filter(|id| id.starts_with("EIP") && id.contains("Anew"))
            .collect();
        assert_eq!(new, [format!("EIP{zone}Anew1")]);
    }
}

#[test]
fn a_new_static_ip_is_allowed_for_one_zone_and_the_one_that_it_has_lost() {
    let mut scene = Scene::new();
    release(&mut scene, "a");
    scene.tried_to_recover(4);
    for (zone, ip) in [("b", "ip-a"), ("a", "ip-b"), ("a", "ip-x")] {
        scene.bench.settings.new_eips = [(text(zone), text(ip))].into();
        let plan = scene.plan_after(1);
        assert_eq!(plan.action, Action::Keep, "{plan}");
        assert!(plan.refuses_something());
    }
    release(&mut scene, "b");
    scene.tried_to_recover(4);
    scene.bench.settings.new_eips = [(text("b"), text("ip-b"))].into();
    let Action::Prepare(template) = scene.plan_after(1).action else {
        panic!("{}", scene.plan());
    };
    let ids = resources(&template);
    assert!(ids.contains(&text("EIPa")) && ids.contains(&text("EIPbAnew1")));
}

#[test]
fn the_nat_of_all_zones_is_not_rebuilt_by_one_change() {
    let mut scene = Scene::new();
    for zone in ["a", "b"] {
        let gateway = scene.seen.gateways.get_mut(&format!("nat-{zone}"));
        gateway.unwrap().health = Health::Gone;
        let address = scene.seen.addresses.get_mut(&format!("ip-{zone}"));
        address.unwrap().held_by = None;
    }
    let Action::Prepare(template) = scene.plan_after(1).action else {
        panic!("{}", scene.plan());
    };
    let ids = resources(&template);
    assert!(ids.contains(&text("NATGatewayaAnew1")) && ids.contains(&text("NATGatewayb")));
}

#[test]
fn a_permission_that_has_had_its_effect_is_told_to_be_removed() {
    let mut scene = Scene::new();
    let output = |scene: &mut Scene, ip: &str| {
        let outputs = &mut scene.bench.stack().outputs;
        outputs.insert(text("EIPa"), text(ip));
    };
    output(&mut scene, "ip-a");
    scene.allow_new_eips();
    assert_eq!(told(&scene.plan()), []);
    output(&mut scene, "ip-new");
    let plan = scene.plan();
    assert_eq!(told(&plan), [Reason::AllowNewEipsUnused]);
    let message = plan.problems[0].message();
    for part in ["--allow-new-eips=a=ip-a", "ip-new", "remove it"] {
        assert!(message.contains(part), "{message}");
    }
    scene.bench.settings.new_eips = [(text("z"), text("ip-z"))].into();
    assert_eq!(told(&scene.plan()), [Reason::AllowNewEipsUnused]);
}
