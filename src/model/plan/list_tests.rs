//! Network lists, and the networks that go into them and out of them.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;

use super::*;
use crate::model::base::cidr::{covers, minimal, overlap};
use crate::model::base::settings::PrefixLists;
use crate::model::cloud::layout::Layout;
use crate::model::cloud::live::Live;
use crate::model::cloud::network::Route;
use crate::model::cloud::network_lists::{NetworkList, SIZE};
use crate::model::cloud::prefix_list::MOST_CHANGES;
use crate::model::desired::template::Template;
use crate::model::plan::tests::{Bench, stack_of};
use crate::model::plan::types::Action;

pub(super) type Nets = BTreeSet<Ipv4Net>;

/// Returns networks that do not merge.
pub(super) fn many(numbers: impl IntoIterator<Item = u32>) -> Nets {
    let net = |n: u32| format!("20.{}.{}.0/24", n / 128, n % 128 * 2).parse();
    numbers
        .into_iter()
        .map(net)
        .collect::<Result<_, _>>()
        .unwrap()
}

/// Returns the lists of a template.
pub(super) fn lists_of(template: &Template) -> Option<BTreeMap<String, NetworkList>> {
    let layout = Layout::read(&template.text, &template.parameters).ok()?;
    Some(layout.names().lists)
}

pub(super) fn bench(mode: PrefixLists) -> Bench {
    let mut bench = Bench::new(&[]);
    bench.settings.prefix_lists = mode;
    bench.settings.template_bucket = true;
    bench.settings.max_removal = 100;
    bench
}

pub(super) fn ask(bench: &mut Bench, nets: &Nets) {
    let nets: Vec<String> = nets.iter().map(ToString::to_string).collect();
    let key = |net: &String| net.replace('/', "-");
    let entries: Vec<(String, String)> = nets.iter().map(|net| (key(net), net.clone())).collect();
    let entries: Vec<(&str, &str)> = entries
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    bench.ask(&entries);
}

pub(super) fn names(bench: &Bench) -> Names {
    let Live::Ours(stack) = &bench.live else {
        return Names::default();
    };
    Layout::read(&stack.template, &stack.parameters)
        .unwrap()
        .names()
}

/// Makes one change: the plan's template becomes the live stack, and EC2 matches it.
pub(super) fn change(bench: &mut Bench) -> Plan {
    let plan = bench.plan();
    if let Action::Create(template) | Action::Prepare(template) = &plan.action {
        bench.live = Live::Ours(Box::new(stack_of(template)));
        let names = names(bench);
        for (id, table) in &mut bench.network.worker_tables {
            table.routes.retain(|_, route| route.target == "igw-1");
            let ours = names
                .routes
                .keys()
                .filter(|route| route.0 == *id && names.is_direct(route));
            let target = "nat-1".to_owned();
            let route = Route {
                target,
                blackhole: false,
            };
            table
                .routes
                .extend(ours.map(|(_, net)| (*net, route.clone())));
            let lists = names.list_routes.values().filter(|(of, _)| of == id);
            table.listed = lists.map(|(_, list)| names.lists[list].size).sum();
        }
    }
    plan
}

/// Makes changes until no more are planned.
fn settle(bench: &mut Bench) -> Plan {
    for _ in 0..9 {
        let plan = change(bench);
        if plan.action == Action::Keep {
            return plan;
        }
        assert!(
            matches!(plan.action, Action::Create(_) | Action::Prepare(_)),
            "{plan}"
        );
    }
    panic!("{}", bench.plan());
}

pub(super) fn sizes(bench: &Bench) -> Vec<usize> {
    names(bench)
        .lists
        .values()
        .map(|list| list.entries.len())
        .collect()
}

pub(super) fn direct(bench: &Bench) -> usize {
    let names = names(bench);
    names
        .routes
        .keys()
        .filter(|route| names.is_direct(route))
        .count()
}

#[test]
fn what_does_not_fit_goes_into_lists() {
    let mut bench = bench(PrefixLists::WhenFull);
    ask(&mut bench, &many(0..200));
    settle(&mut bench);
    assert_eq!((sizes(&bench), direct(&bench)), (vec![], 400));
    ask(&mut bench, &many(0..260));
    let plan = settle(&mut bench);
    assert_eq!((sizes(&bench), direct(&bench)), (vec![60], 400), "{plan}");
    // After a list exists, its free slots are used first.
    ask(&mut bench, &many(0..310));
    let plan = change(&mut bench);
    assert_eq!((sizes(&bench), direct(&bench)), (vec![100], 420), "{plan}");
    ask(&mut bench, &many(0..410));
    let plan = settle(&mut bench);
    // The table has room for 500: 210 direct routes, one to the internet, and two lists.
    assert_eq!(
        (sizes(&bench), direct(&bench)),
        (vec![100, 100], 420),
        "{plan}"
    );
    assert!(plan.problems.is_empty(), "{plan}");
}

#[test]
fn a_thousand_routes_are_taken_up_by_lists_and_then_the_rest_waits() {
    let mut bench = bench(PrefixLists::Always);
    bench.settings.route_table_quota = Some(1_000);
    ask(&mut bench, &many(0..1_020));
    let plan = settle(&mut bench);
    let full = [&[SIZE; 9][..], &[90]].concat();
    assert_eq!((sizes(&bench), direct(&bench)), (full, 2 * 9), "{plan}");
    assert_eq!(plan.admitted.entries.len(), 999);
    let bytes = plan.size.unwrap().bytes;
    assert!(bytes < 70_000, "{bytes}");
}

/// The stack has 12 parts of two zones, and 244 networks in two tables: not even one list with its routes fits beside them.
#[test]
fn in_a_full_stack_networks_move_into_the_lists_that_new_ones_need() {
    for mode in [PrefixLists::WhenFull, PrefixLists::Always] {
        let mut bench = bench(PrefixLists::Never);
        ask(&mut bench, &many(0..244));
        let full = settle(&mut bench);
        assert_eq!(full.size.map(|size| size.resources), Some(500));
        bench.settings.prefix_lists = mode;
        assert_eq!(bench.plan().action, Action::Keep);
        ask(&mut bench, &many(0..260));
        let old = names(&bench);
        let plan = change(&mut bench);
        check(&old, &names(&bench), &many(0..244));
        assert_eq!(
            (sizes(&bench), direct(&bench)),
            (vec![100], 2 * 160),
            "{plan}"
        );
        assert!(plan.problems.is_empty(), "{plan}");
        assert_eq!(bench.plan().action, Action::Keep);
    }
}

#[test]
fn never_makes_no_list_and_without_a_look_drops_none() {
    let mut bench = bench(PrefixLists::Always);
    ask(&mut bench, &many(0..20));
    settle(&mut bench);
    bench.settings.prefix_lists = PrefixLists::Never;
    assert_eq!(change(&mut bench).action, Action::Keep);
    ask(&mut bench, &many(5..25));
    settle(&mut bench);
    assert_eq!((sizes(&bench), direct(&bench)), (vec![15], 10));
    ask(&mut bench, &many(20..25));
    settle(&mut bench);
    assert_eq!((sizes(&bench), direct(&bench)), (vec![], 10));
}

#[test]
fn a_network_with_an_exception_stays_direct() {
    let mut bench = bench(PrefixLists::Always);
    let nets = many(0..3);
    let foreign = Route {
        target: "pcx-1".to_owned(),
        blackhole: true,
    };
    let table = bench.network.worker_tables.get_mut("rtb-a").unwrap();
    table.routes.insert(*nets.first().unwrap(), foreign);
    ask(&mut bench, &nets);
    let Action::Create(template) = bench.plan().action else {
        panic!("{}", bench.plan());
    };
    let names = Layout::read(&template.text, &template.parameters)
        .unwrap()
        .names();
    assert_eq!(names.lists["NetworkList01"].entries, many(1..3));
    let own = ("rtb-b".to_owned(), *nets.first().unwrap());
    assert!(names.is_direct(&own));
    assert!(!names.routes.contains_key(&("rtb-a".to_owned(), own.1)));
}

#[test]
fn the_order_of_entries_is_no_difference() {
    let mut bench = bench(PrefixLists::Always);
    ask(&mut bench, &many(0..3));
    settle(&mut bench);
    let stack = bench.stack();
    let mut text: serde_json::Value = serde_json::from_str(&stack.template).unwrap();
    let list = &mut text["Resources"]["NetworkList01"]["Properties"];
    list["Entries"].as_array_mut().unwrap().reverse();
    list["MaxEntries"] = serde_json::json!("100");
    stack.template = text.to_string();
    assert_eq!(bench.plan().action, Action::Keep);
}

#[test]
fn a_list_that_serves_networks_is_not_taken_away() {
    let mut bench = bench(PrefixLists::Always);
    ask(&mut bench, &many(0..3));
    settle(&mut bench);
    let names = names(&bench);
    let plan = bench.plan();
    let routes: Vec<&str> = names.list_routes.keys().map(String::as_str).collect();
    assert_eq!(
        routes,
        [
            "RouteToNATrtbazNetworkList01",
            "RouteToNATrtbbzNetworkList01"
        ]
    );
    for id in [routes[0], "NetworkList01"] {
        assert!(plan.uses_list(&names, id), "{id}");
    }
    // Without any NAT gateway, no route leads to the list.
    let without_routes = Names {
        list_routes: BTreeMap::new(),
        ..names.clone()
    };
    assert!(!plan.uses_list(&without_routes, "NetworkList01"));
    ask(&mut bench, &Nets::new());
    assert!(!bench.plan().uses_list(&names, "NetworkList01"));
}

fn serves<'a>(nets: impl IntoIterator<Item = &'a Ipv4Net>, net: &Ipv4Net) -> bool {
    covers(&minimal(nets.into_iter().copied(), &Nets::new()), net)
}

/// Checks that networks requested before and after the change always have a route, at each step from `before` to `after`.
pub(super) fn check(before: &Names, after: &Names, both: &Nets) {
    let own = |names: &Names| -> Nets {
        let routes = names.routes.keys().filter(|route| names.is_direct(route));
        routes
            .filter(|(table, _)| table == "rtb-a")
            .map(|(_, net)| *net)
            .collect()
    };
    let empty = NetworkList::default();
    for (id, list) in &after.lists {
        let old = &before.lists.get(id).unwrap_or(&empty).entries;
        let changes = old.symmetric_difference(&list.entries).count();
        assert!(changes <= MOST_CHANGES, "{changes} changes of {id}");
        assert!(list.entries.len() <= list.size && list.size <= SIZE, "{id}");
        let live = before.lists.get(id);
        assert!(live.is_none_or(|live| live.size == list.size), "{id}");
        for (other, list) in before.lists.iter().filter(|(other, _)| *other != id) {
            let moved: Nets = after.lists[id].entries.difference(old).copied().collect();
            let still = &after.lists.get(other).unwrap_or(&empty).entries;
            let moved = moved
                .iter()
                .filter(|net| list.entries.contains(net) && !still.contains(net));
            assert_eq!(moved.count(), 0, "from {other} to {id}");
        }
    }
    let all = |names: &Names| -> Nets { names.routes.keys().map(|(_, net)| *net).collect() };
    let (old, new) = (all(before), all(after));
    for net in both {
        for route in old.iter().filter(|route| overlap(route, net)) {
            let part = if route.contains(net) { net } else { route };
            // CloudFormation makes routes and changes lists before it deletes routes.
            let by_route = serves(&own(before), part) && serves(&new, part);
            let by_list = before.lists.iter().any(|(id, list)| {
                let stays = &after.lists.get(id).unwrap_or(&empty).entries;
                // A list is deleted after all routes are made.
                let follows = !after.lists.contains_key(id) && serves(&own(after), part);
                serves(&list.entries, part) && (follows || serves(stays, part))
            });
            assert!(by_route || by_list, "{part} of {net}");
        }
    }
}

#[test]
fn no_edit_leaves_a_moment_without_a_route() {
    let mut random = 7_u64;
    let mut next = |below: u64| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    for mode in [PrefixLists::Always, PrefixLists::WhenFull] {
        let mut bench = bench(mode);
        let mut nets = many(0..240);
        ask(&mut bench, &nets);
        settle(&mut bench);
        for _ in 0..12 {
            let before = nets.clone();
            for _ in 0..next(120) {
                let (a, b, bits) = (next(3), next(256), 24 + next(3));
                let host = (next(4) << 6) & !((1 << (32 - bits)) - 1) & 255;
                let net: Ipv4Net = format!("20.{a}.{b}.{host}/{bits}").parse().unwrap();
                if next(2) == 0 || nets.iter().any(|other| overlap(other, &net)) {
                    nets.retain(|other| !net.contains(other));
                } else {
                    nets.insert(net);
                }
            }
            ask(&mut bench, &nets);
            let mut both: Nets = nets.intersection(&before).copied().collect();
            for _ in 0..9 {
                let old = names(&bench);
                let plan = change(&mut bench);
                let routed: Vec<Ipv4Net> = {
                    let live = old.routes.keys().map(|(_, net)| *net);
                    minimal(live, &BTreeSet::new())
                };
                both.retain(|net| covers(&routed, net));
                check(&old, &names(&bench), &both);
                both = nets.clone();
                if plan.action == Action::Keep {
                    break;
                }
            }
            let plan = bench.plan();
            assert_eq!(plan.action, Action::Keep, "{plan}");
        }
    }
}
