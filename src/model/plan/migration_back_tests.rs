//! The way back from lists to direct routes, step by step.

use super::tests::{Scene, told};
use super::*;
use crate::model::plan::list_tests::{ask, direct, many, names, sizes};
use crate::model::plan::types::Action;

#[test]
fn never_brings_the_networks_back_to_direct_routes() {
    let mut scene = Scene::direct(&many(0..150), PrefixLists::Always);
    scene.changes();
    scene.bench.settings.prefix_lists = PrefixLists::WhenFull;
    assert_eq!(scene.changes(), []);
    scene.bench.settings.prefix_lists = PrefixLists::Never;
    let steps = [
        (vec![100, 50], 100),
        (vec![100], 100),
        (vec![100], 300),
        (vec![], 300),
    ];
    assert_eq!(scene.changes(), steps);
    assert_eq!(told(&scene.plan()), []);
}

/// What stands side by side belongs to either way.
#[test]
fn the_flag_may_change_at_any_step() {
    let mut scene = Scene::direct(&many(0..30), PrefixLists::Always);
    let mut step = |mode| {
        scene.bench.settings.prefix_lists = mode;
        scene.change();
        (sizes(&scene.bench), direct(&scene.bench))
    };
    assert_eq!(step(PrefixLists::Always), (vec![30], 60));
    assert_eq!(step(PrefixLists::Never), (vec![], 60));
    assert_eq!(step(PrefixLists::Always), (vec![30], 60));
    assert_eq!(step(PrefixLists::Always), (vec![30], 0));
    assert_eq!(step(PrefixLists::Never), (vec![30], 60));
    assert_eq!(step(PrefixLists::Always), (vec![30], 0));
}

#[test]
fn no_list_goes_before_ec2_shows_the_direct_routes() {
    type Harm = fn(&mut Scene, Ipv4Net);
    let harms: [Harm; 4] = [
        |s, net| _ = s.table("rtb-b").routes.remove(&net),
        |s, net| s.table("rtb-b").routes.get_mut(&net).unwrap().blackhole = true,
        |s, net| s.table("rtb-b").routes.get_mut(&net).unwrap().target = "nat-a".to_owned(),
        |s, _| s.seen.ids.retain(|id, _| id != "NATGatewayb"),
    ];
    for harm in harms {
        let mut scene = Scene::direct(&many(0..30), PrefixLists::Always);
        scene.changes();
        scene.bench.settings.prefix_lists = PrefixLists::Never;
        scene.change();
        assert_eq!((sizes(&scene.bench), direct(&scene.bench)), (vec![30], 60));
        harm(&mut scene, *many(7..8).first().unwrap());
        let plan = scene.plan();
        assert_eq!(plan.action, Action::Keep, "{plan}");
        scene.settle();
        assert_eq!(scene.changes(), [(vec![], 60)]);
    }
}

/// The last list has no room beside the routes of its networks, so two of them move at once.
#[test]
fn a_full_stack_comes_back() {
    let mut scene = Scene::direct(&many(0..244), PrefixLists::Always);
    scene.changes();
    scene.bench.settings.prefix_lists = PrefixLists::Never;
    let steps = [
        (vec![100, 100, 44], 2 * 44),
        (vec![100, 100], 2 * 44),
        (vec![100, 100], 2 * 144),
        (vec![100], 2 * 144),
        (vec![100], 2 * 242),
        (vec![], 2 * 244),
    ];
    assert_eq!(scene.changes(), steps);
}

#[test]
fn what_does_not_fit_without_lists_stays_in_them() {
    let mut scene = Scene::direct(&many(0..244), PrefixLists::Always);
    ask(&mut scene.bench, &many(0..245));
    scene.changes();
    scene.bench.settings.prefix_lists = PrefixLists::Never;
    let plan = scene.plan();
    assert_eq!(plan.action, Action::Keep, "{plan}");
    assert_eq!(told(&plan), [Reason::LimitReached]);
    assert_eq!(names(&scene.bench).lists.len(), 3);
    ask(&mut scene.bench, &many(0..240));
    scene.change();
    scene.bench.settings.route_table_quota = Some(240);
    assert_eq!(told(&scene.plan()), [Reason::LimitReached]);
    scene.bench.settings.route_table_quota = None;
    assert_eq!(scene.changes().last(), Some(&(vec![], 480)));
}

/// Returns a stack with a list of 30 networks that are to get routes of their own, and tables that have room for this many more routes.
fn tight(free: u16) -> Scene {
    let mut scene = Scene::direct(&many(0..30), PrefixLists::Always);
    scene.changes();
    assert_eq!((sizes(&scene.bench), direct(&scene.bench)), (vec![30], 0));
    scene.bench.settings.prefix_lists = PrefixLists::Never;
    let tables = scene.bench.network.worker_tables.values();
    let counted = tables.map(|table| table.routes.len() + table.listed).max();
    let counted = u16::try_from(counted.unwrap()).unwrap();
    scene.bench.settings.route_table_quota = Some(counted + free);
    scene
}

#[test]
fn a_list_stays_where_a_table_has_no_room_for_all_its_networks_beside_it() {
    let mut scene = tight(29);
    let plan = scene.plan();
    assert_eq!(plan.action, Action::Keep, "{plan}");
    assert_eq!(told(&plan), [Reason::LimitReached]);
    assert_eq!(tight(30).changes(), [(vec![30], 60), (vec![], 60)]);
}

#[test]
fn a_new_network_goes_into_a_list_where_a_table_has_no_other_room() {
    let mut scene = tight(0);
    ask(&mut scene.bench, &many(0..31));
    let plan = scene.change();
    assert_eq!(
        (sizes(&scene.bench), direct(&scene.bench)),
        (vec![31], 0),
        "{plan}"
    );
    assert_eq!(told(&scene.plan()), [Reason::LimitReached]);
    let mut scene = tight(1);
    ask(&mut scene.bench, &many(0..31));
    scene.change();
    assert_eq!((sizes(&scene.bench), direct(&scene.bench)), (vec![30], 2));
}
