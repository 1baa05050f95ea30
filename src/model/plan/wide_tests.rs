//! A wide entry is removed while more entries are inside of it than fit: no user who requests a network loses a route or a static IP.

use std::time::{Duration, Instant};

use ipnet::Ipv4Net;

use super::*;
use crate::model::base::ids::{ObjectId, TableId};
use crate::model::base::problem::Severity;
use crate::model::base::reason::Reason;
use crate::model::base::settings::OnEmpty;

/// Returns a world with a live route to a /8 that is not requested any more, and `inside` entries inside of it.
fn removed_wide(inside: u32) -> Bench {
    let mut bench = bench(&[("wide".to_owned(), "20.0.0.0/8".to_owned())]);
    done(&mut bench);
    let mut entries = many(0..inside);
    entries.push(("wide".to_owned(), "20.0.0.0/8".to_owned()));
    ask(&mut bench, &entries);
    assert_eq!(done(&mut bench).action, Action::Keep);
    ask(&mut bench, &many(0..inside));
    bench
}

fn routes(plan: &Plan) -> Vec<Ipv4Net> {
    let table = |(of, _): &&(TableId, Ipv4Net)| of == "rtb-a";
    let routes = plan.desired.routes.iter().filter(table);
    routes.map(|(_, cidr)| *cidr).collect()
}

#[test]
fn a_request_of_which_nothing_fits_is_not_empty() {
    for on_empty in [OnEmpty::Keep, OnEmpty::Delete] {
        for grace in [0, 600] {
            let mut bench = removed_wide(246);
            bench.settings.on_empty = on_empty;
            bench.settings.max_removal = 50;
            bench.grace_left = Duration::from_secs(grace);
            let plan = bench.plan();
            let case = format!("{on_empty:?}, {grace} s: {plan:?}");
            assert_eq!(plan.action, Action::Keep, "{case}");
            assert_eq!(plan.why, "the stack is as it should be", "{case}");
            assert!(!plan.nothing_asked(), "{case}");
            assert_eq!(routes(&plan), ["20.0.0.0/8".parse().unwrap()], "{case}");
        }
    }
}

#[test]
fn a_wide_route_that_stays_is_reported_with_all_that_it_serves() {
    let plan = removed_wide(246).plan();
    let of_stack = |problem: &&Problem| matches!(problem.subject, Subject::Stack(_));
    let told = plan.problems.iter().find(of_stack).unwrap();
    assert_eq!(
        (told.severity, told.reason),
        (Severity::Warning, Reason::LimitReached)
    );
    for part in [
        "20.0.0.0/8",
        "nobody requests",
        "504 resources",
        "wider networks",
    ] {
        assert!(told.message().contains(part), "{told}");
    }
    assert_eq!(waiting(&plan).len(), 246);
    let is_served = |problem: &&Problem| problem.message().contains("served by a wider route");
    assert_eq!(plan.problems.iter().filter(is_served).count(), 246);
}

#[test]
fn others_go_on_while_a_wide_route_stays() {
    let mut bench = removed_wide(246);
    let mut entries = many(0..246);
    entries.push(("other".to_owned(), "9.9.9.9".to_owned()));
    ask(&mut bench, &entries);
    let plan = done(&mut bench);
    assert!(matches!(plan.action, Action::Prepare(_)), "{plan}");
    assert_eq!(routes(&plan).len(), 2, "there is room for the new entry");
    // Tags, zones and drift are still compared.
    bench
        .settings
        .tags
        .insert("team".to_owned(), "net".to_owned());
    let plan = bench.plan();
    assert!(matches!(plan.action, Action::Prepare(_)), "{plan}");
}

#[test]
fn the_wide_route_goes_when_everything_fits() {
    let mut bench = removed_wide(246);
    ask(&mut bench, &many(0..240));
    let plan = done(&mut bench);
    assert_eq!(routes(&plan).len(), 240, "{plan}");
    assert_eq!(waiting(&plan), [""; 0]);
    // New entries that do not fit do not add the wide route again.
    ask(&mut bench, &many(0..300));
    let plan = done(&mut bench);
    assert_eq!(routes(&plan).len(), 244, "{plan}");
    let mut all = removed_wide(100);
    ask(&mut all, &many(0..100));
    assert_eq!(routes(&done(&mut all)).len(), 100);
}

#[test]
fn new_entries_do_not_keep_a_wide_route() {
    let mut bench = removed_wide(200);
    let mut entries = many(0..200);
    entries.extend(
        many(300..500)
            .into_iter()
            .map(|(key, net)| (key, format!("3{}", &net[1..]))),
    );
    ask(&mut bench, &entries);
    let plan = bench.plan();
    assert_eq!(routes(&plan).len(), 244, "{plan}");
    assert!(!routes(&plan).contains(&"20.0.0.0/8".parse().unwrap()));
    assert_eq!(waiting(&plan).len(), 156);
}

#[test]
fn a_full_table_keeps_the_wide_route_until_there_is_room_beside_it() {
    let mut bench = Bench::live(&[("wide", "20.0.0.0/8")]);
    bench.ask(&[("wide", "20.0.0.0/8"), ("one", "20.1.2.3")]);
    done(&mut bench);
    bench.settings.route_table_quota = Some(2);
    for table in bench.network.worker_tables.values_mut() {
        let target = "nat-1".to_owned();
        let route = crate::model::cloud::network::Route {
            target,
            blackhole: false,
        };
        table.routes.insert("20.0.0.0/8".parse().unwrap(), route);
    }
    bench.ask(&[("one", "20.1.2.3")]);
    let plan = bench.plan();
    assert_eq!(plan.action, Action::Keep, "{plan}");
    assert_eq!(waiting(&plan), ["one"]);
    bench.settings.route_table_quota = Some(3);
    assert_eq!(routes(&bench.plan()), ["20.1.2.3/32".parse().unwrap()]);
}

/// Two neighbours merge into one route: a single one may not fit, and both together do.
#[test]
fn neighbours_that_share_a_route_are_admitted_together() {
    let net = |third: u32| format!("30.0.{third}.0/24");
    let mut entries = many(0..243);
    entries.push(("m1".to_owned(), net(0)));
    let mut bench = bench(&entries);
    done(&mut bench);
    entries.extend(
        many(243..244)
            .into_iter()
            .map(|(_, it)| ("n".to_owned(), it)),
    );
    entries.push(("o".to_owned(), net(1)));
    entries.push(("p".to_owned(), net(2)));
    entries.push(("q".to_owned(), net(3)));
    ask(&mut bench, &entries);
    let plan = bench.plan();
    assert_eq!(waiting(&plan), ["n"], "{plan}");
    assert!(routes(&plan).contains(&"30.0.0.0/22".parse().unwrap()));
}

#[test]
fn the_most_entries_in_many_tables_are_planned_in_no_time() {
    let mut bench = bench(&many(0..18));
    for n in 0..25 {
        let table = WorkerTable {
            zone: if n % 2 == 0 { "a" } else { "b" }.to_owned(),
            ..WorkerTable::default()
        };
        bench
            .network
            .worker_tables
            .insert(format!("rtb-new-{n}"), table);
    }
    done(&mut bench);
    let entry = |n: u32| {
        (
            format!("k{n:05}"),
            format!("{}.{}.{}.0/24", 30 + n / 16_384, n / 128 % 128, n % 128 * 2),
        )
    };
    let objects = (0..20).map(|object| {
        let entries = (object * 1_000..object * 1_000 + 1_000).map(entry);
        let id = ObjectId {
            namespace: "default".to_owned(),
            name: format!("map-{object}"),
            ..Default::default()
        };
        let content = crate::model::input::request::Object {
            data: entries.collect(),
            ..Default::default()
        };
        (id, content)
    });
    bench.snapshot.objects = objects.collect();
    let before = Instant::now();
    let plan = bench.plan();
    let took = before.elapsed();
    println!("20,000 entries in 27 tables are planned in {took:.1?}");
    assert_eq!(waiting(&plan).len(), 20_000 - routes(&plan).len());
    assert!(took < Duration::from_secs(60), "{took:?}");
}
