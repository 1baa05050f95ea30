//! The migration between direct routes and lists, step by step.

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::model::cloud::live::Live;
use crate::model::cloud::network::WorkerTable;
use crate::model::cloud::prefix_list::{ListState, PrefixList};
use crate::model::cloud::set_aside::Waits;
use crate::model::drift::tracker::Watch;
use crate::model::plan::list_tests::{Nets, ask, bench, check, direct, many, names, sizes};
use crate::model::plan::tests::{Bench, stack_of};
use crate::model::plan::types::Action;

const INTERVAL: Duration = Duration::from_secs(60);

/// A stack at rest, and what EC2 shows of it.
pub(super) struct Scene {
    pub(super) bench: Bench,
    pub(super) seen: Observed,
    now: Duration,
}

impl Scene {
    /// Returns a stack with direct routes to these networks, and with another mode from now on.
    pub(super) fn direct(nets: &Nets, mode: PrefixLists) -> Self {
        let mut scene = Self {
            bench: bench(PrefixLists::Never),
            seen: Observed::default(),
            now: Duration::ZERO,
        };
        scene.bench.watch = Watch::new(Some(INTERVAL));
        scene.bench.settings.drift = OnDrift::Report;
        ask(&mut scene.bench, nets);
        scene.change();
        assert_eq!(scene.plan().action, Action::Keep);
        scene.bench.settings.prefix_lists = mode;
        scene
    }

    /// Lets EC2 match the stack.
    pub(super) fn settle(&mut self) {
        let names = names(&self.bench);
        self.seen = Observed::default();
        for zone in self.bench.settings.zones.keys() {
            let gateway = (format!("NATGateway{zone}"), format!("nat-{zone}"));
            self.seen.ids.extend([gateway]);
        }
        for (id, list) in &names.lists {
            self.seen.ids.insert(id.clone(), physical(id));
            let list = PrefixList {
                max_entries: list.size,
                entries: list.entries.clone(),
                ..PrefixList::default()
            };
            self.seen.lists.insert(physical(id), list);
        }
        for (id, table) in &mut self.bench.network.worker_tables {
            let to_zone = Route {
                target: format!("nat-{}", table.zone),
                blackhole: false,
            };
            let foreign = |_: &Ipv4Net, route: &mut Route| !route.target.starts_with("nat-");
            table.routes.retain(foreign);
            let ours = names
                .routes
                .keys()
                .filter(|route| route.0 == *id && names.is_direct(route));
            table
                .routes
                .extend(ours.map(|(_, net)| (*net, to_zone.clone())));
            let lists = names.list_routes.values().filter(|(of, _)| of == id);
            let lists: Vec<&String> = lists.map(|(_, list)| list).collect();
            table.listed = lists.iter().map(|list| names.lists[*list].size).sum();
            let lists = lists.iter().map(|list| (physical(list), to_zone.clone()));
            table.list_routes = lists.collect();
        }
    }

    /// Makes a plan after another look.
    pub(super) fn plan(&mut self) -> Plan {
        self.now += INTERVAL;
        self.bench.watch.begin(self.now, true);
        self.bench.watch.looked("", Ok(self.seen.clone()));
        self.bench.plan()
    }

    /// Makes the next change, and checks that no network loses its way meanwhile.
    pub(super) fn change(&mut self) -> Plan {
        let plan = self.plan();
        if let Action::Create(template) | Action::Prepare(template) = &plan.action {
            let before = names(&self.bench);
            self.bench.live = Live::Ours(Box::new(stack_of(template)));
            let after = names(&self.bench);
            let all = before.routes.keys().map(|(_, net)| *net);
            let both = all.filter(|net| after.routes.keys().any(|(_, other)| other == net));
            check(&before, &after, &both.collect());
            self.settle();
        }
        plan
    }

    /// Makes changes until the plan has none, and returns the sizes of the lists and the number of direct routes after each.
    pub(super) fn changes(&mut self) -> Vec<(Vec<usize>, usize)> {
        let mut steps = Vec::new();
        for _ in 0..20 {
            let plan = self.change();
            if plan.action == Action::Keep {
                return steps;
            }
            assert!(matches!(plan.action, Action::Prepare(_)), "{plan}");
            steps.push((sizes(&self.bench), direct(&self.bench)));
        }
        panic!("{steps:?}");
    }

    pub(super) fn table(&mut self, id: &str) -> &mut WorkerTable {
        self.bench.network.worker_tables.get_mut(id).unwrap()
    }

    fn list(&mut self) -> &mut PrefixList {
        self.seen.lists.get_mut("pl-NetworkList01").unwrap()
    }

    fn route(&mut self, table: &str) -> &mut Route {
        let routes = &mut self.table(table).list_routes;
        routes.get_mut("pl-NetworkList01").unwrap()
    }
}

fn physical(id: &str) -> String {
    format!("pl-{id}")
}

pub(super) fn told(plan: &Plan) -> Vec<Reason> {
    plan.problems.iter().map(|it| it.reason).collect()
}

#[test]
fn direct_routes_move_into_lists_one_list_at_a_time() {
    let mut scene = Scene::direct(&many(0..150), PrefixLists::Always);
    let steps = [
        (vec![100], 300),
        (vec![100], 100),
        (vec![100, 50], 100),
        (vec![100, 50], 0),
    ];
    assert_eq!(scene.changes(), steps);
    assert_eq!(scene.plan().problems, []);
}

#[test]
fn only_always_begins_and_when_full_ends_what_was_begun() {
    let mut scene = Scene::direct(&many(0..30), PrefixLists::WhenFull);
    assert_eq!(scene.changes(), []);
    scene.bench.settings.prefix_lists = PrefixLists::Always;
    scene.change();
    assert_eq!((sizes(&scene.bench), direct(&scene.bench)), (vec![30], 60));
    scene.bench.settings.prefix_lists = PrefixLists::WhenFull;
    assert_eq!(scene.changes(), [(vec![30], 0)]);
}

/// A direct route leaves only while EC2 has the list with all entries and the route of every table to the zone's gateway.
#[test]
fn no_direct_route_leaves_before_ec2_shows_that_the_list_serves() {
    type Harm = fn(&mut Scene);
    let harms: [Harm; 11] = [
        |s| s.seen.lists.clear(),
        |s| s.seen.ids.retain(|id, _| id != "NetworkList01"),
        |s| _ = s.list().entries.pop_first(),
        |s| s.list().max_entries = 10,
        |s| s.list().state = ListState::InProgress,
        |s| s.list().state = ListState::Failed("x".to_owned()),
        |s| s.table("rtb-b").list_routes.clear(),
        |s| s.route("rtb-b").blackhole = true,
        |s| s.route("rtb-b").target = "nat-a".to_owned(),
        |s| s.seen.ids.retain(|id, _| id != "NATGatewayb"),
        |s| _ = s.bench.snapshot.unsure.insert("cluster".to_owned()),
    ];
    for (number, harm) in harms.into_iter().enumerate() {
        let mut scene = Scene::direct(&many(0..30), PrefixLists::Always);
        scene.change();
        harm(&mut scene);
        let plan = scene.plan();
        assert_eq!(plan.action, Action::Keep, "{number}: {plan}");
    }
    let mut scene = Scene::direct(&many(0..30), PrefixLists::Always);
    scene.change();
    scene.bench.watch.looked("", Err("denied".to_owned()));
    assert_eq!(scene.bench.plan().action, Action::Keep);
    scene
        .bench
        .watch
        .looked("an earlier version", Ok(scene.seen.clone()));
    assert_eq!(scene.bench.plan().action, Action::Keep);
    assert!(matches!(scene.plan().action, Action::Prepare(_)));
}

/// Twelve parts of two zones and 244 networks in two tables are 500 resources: a list with its two routes needs room for three.
#[test]
fn in_a_full_stack_two_networks_move_at_once_and_the_others_after_a_look() {
    let mut scene = Scene::direct(&many(0..244), PrefixLists::Never);
    let full = scene.bench.plan().size.map(|size| size.resources);
    assert_eq!(full, Some(500));
    scene.bench.settings.prefix_lists = PrefixLists::Always;
    let steps = [
        (vec![100], 2 * 242),
        (vec![100], 2 * 144),
        (vec![100, 100], 2 * 144),
        (vec![100, 100], 2 * 44),
        (vec![100, 100, 44], 2 * 44),
        (vec![100, 100, 44], 0),
    ];
    assert_eq!(scene.changes(), steps);
}

#[test]
fn edits_go_first_at_every_step() {
    let mut scene = Scene::direct(&many(0..30), PrefixLists::Always);
    ask(&mut scene.bench, &many(0..31));
    scene.change();
    assert_eq!((sizes(&scene.bench), direct(&scene.bench)), (vec![1], 60));
    // The networks enter the list that exists.
    scene.change();
    assert_eq!((sizes(&scene.bench), direct(&scene.bench)), (vec![31], 60));
    ask(&mut scene.bench, &many(3..33));
    scene.change();
    assert_eq!((sizes(&scene.bench), direct(&scene.bench)), (vec![30], 54));
    assert_eq!(scene.changes(), [(vec![30], 0)]);
}

#[test]
fn a_network_that_somebody_else_routes_stays_direct_and_is_reported() {
    let mut scene = Scene::direct(&many(0..30), PrefixLists::Always);
    let net = *many(3..4).first().unwrap();
    let peering = Route {
        target: "pcx-1".to_owned(),
        blackhole: false,
    };
    scene.change();
    scene.change();
    assert_eq!((sizes(&scene.bench), direct(&scene.bench)), (vec![30], 0));
    scene.table("rtb-a").routes.insert(net, peering.clone());
    let plan = scene.plan();
    assert_eq!(
        (plan.action.clone(), told(&plan)),
        (Action::Keep, vec![Reason::RouteExists])
    );
    // In another stack the route is there before the network has entered a list.
    let mut scene = Scene::direct(&many(0..3), PrefixLists::Never);
    scene.table("rtb-b").routes.insert(net, peering);
    ask(&mut scene.bench, &many(0..30));
    scene.change();
    scene.bench.settings.prefix_lists = PrefixLists::Always;
    assert_eq!(scene.changes(), [(vec![29], 59), (vec![29], 1)]);
    assert_eq!(told(&scene.plan()), [Reason::RouteExists]);
}

#[test]
fn the_next_list_waits_for_a_route_that_was_left_behind() {
    let mut scene = Scene::direct(&many(0..150), PrefixLists::Always);
    scene.change();
    scene.change();
    let net = *many(0..1).first().unwrap();
    let ours = Route {
        target: "nat-a".to_owned(),
        blackhole: false,
    };
    scene.table("rtb-a").routes.insert(net, ours);
    let plan = scene.plan();
    assert_eq!(
        (plan.action.clone(), told(&plan)),
        (Action::Keep, vec![Reason::RouteExists])
    );
    scene.table("rtb-a").routes.remove(&net);
    assert!(matches!(scene.plan().action, Action::Prepare(_)));
}

#[test]
fn without_room_for_a_list_the_networks_stay_and_the_limit_is_told() {
    let mut scene = Scene::direct(&many(0..150), PrefixLists::Always);
    scene.bench.settings.route_table_quota = Some(250);
    let plan = scene.plan();
    assert_eq!(
        (plan.action.clone(), told(&plan)),
        (Action::Keep, vec![Reason::LimitReached])
    );
    scene.bench.settings.route_table_quota = Some(251);
    assert!(matches!(scene.plan().action, Action::Prepare(_)));
    scene.bench.network.limits.lists = Some(0);
    assert_eq!(told(&scene.plan()), [Reason::LimitReached]);
}

/// A list of the rest of a table is enough if it takes all networks.
/// The change would fail for all tables.
#[test]
fn no_network_enters_a_list_while_a_table_is_refused_routes() {
    let mut scene = Scene::direct(&many(0..3), PrefixLists::Always);
    let refused = &mut scene.bench.network.headroom.refused.routes;
    let waits = Waits {
        left: Duration::from_secs(60),
        ..Waits::default()
    };
    refused.insert(("rtb-a".to_owned(), None), waits);
    assert_eq!(scene.plan().action, Action::Keep);
    scene.bench.network.headroom.refused.routes.clear();
    assert!(matches!(scene.plan().action, Action::Prepare(_)));
}

#[test]
fn a_smaller_list_takes_the_networks_if_it_takes_all() {
    let mut scene = Scene::direct(&many(0..30), PrefixLists::Always);
    scene.bench.settings.route_table_quota = Some(61);
    assert_eq!(scene.changes(), [(vec![30], 60), (vec![30], 0)]);
    assert_eq!(names(&scene.bench).lists["NetworkList01"].size, 30);
}

#[test]
fn a_zone_without_a_gateway_holds_up_the_migration() {
    let mut scene = Scene::direct(&many(0..30), PrefixLists::Always);
    scene.bench.settings.drift = OnDrift::Off;
    for route in scene.table("rtb-b").routes.values_mut() {
        route.blackhole = true;
    }
    scene.bench.watch = Watch::new(None);
    assert_eq!(told(&scene.bench.plan()), []);
    scene.settle();
    let plan = scene.bench.plan();
    assert_eq!(
        (plan.action.clone(), told(&plan)),
        (Action::Keep, vec![Reason::DriftNotSeen])
    );
}

/// Random edits and other flags come between the steps, and looks may show a list that is not complete.
#[test]
fn edits_during_the_migration_leave_no_gap_and_it_ends() {
    let mut random = fastrand::Rng::with_seed(17);
    for _ in 0..2 {
        let mut numbers: BTreeSet<u32> = (0..200).collect();
        let mut scene = Scene::direct(&many(numbers.iter().copied()), PrefixLists::Always);
        for _ in 0..12 {
            let modes = [
                PrefixLists::Always,
                PrefixLists::Never,
                PrefixLists::WhenFull,
            ];
            scene.bench.settings.prefix_lists = modes[random.usize(0..3)];
            for _ in 0..random.usize(0..20) {
                let number = random.u32(0..240);
                if !numbers.remove(&number) {
                    numbers.insert(number);
                }
            }
            ask(&mut scene.bench, &many(numbers.iter().copied()));
            for _ in 0..random.usize(0..3) {
                if random.bool() && !scene.seen.lists.is_empty() {
                    let lists = scene.seen.lists.values_mut();
                    lists.for_each(|list| list.state = ListState::InProgress);
                }
                scene.change();
            }
        }
        scene.settle();
        scene.bench.settings.prefix_lists = PrefixLists::Always;
        scene.changes();
        assert_eq!(direct(&scene.bench), 0);
        assert_eq!(sizes(&scene.bench).iter().sum::<usize>(), numbers.len());
        assert_eq!(told(&scene.plan()), []);
    }
}
