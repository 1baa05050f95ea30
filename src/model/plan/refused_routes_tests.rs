//! A route or zone that AWS refuses delays no other change and removes no route.

use std::collections::BTreeSet;
use std::time::Duration;

use ipnet::Ipv4Net;

use self::bench::{Aws, WHY, fail_creation, net, nets, told};
use super::tests::{Bench, stack_of, texts};
use super::*;
use crate::model::base::cidr;
use crate::model::base::ids::TableId;
use crate::model::base::reason::Reason;
use crate::model::base::settings::PrefixLists;
use crate::model::cloud::live::Failed;
use crate::model::cloud::set_aside::Waits;
use crate::model::cloud::status::Status;
use crate::model::drift::tracker::Watch;
use crate::model::schedule::Schedule;

#[path = "refused_routes_bench_tests.rs"]
mod bench;

#[test]
fn one_refused_route_stops_nobody_else_and_is_tried_again() {
    let refused = std::cell::Cell::new(true);
    let refuses = |_: &TableId, cidr: &Ipv4Net| refused.get() && *cidr == net("7.7.7.7/32");
    let mut aws = Aws::new(
        Bench::live(&[("dns", "8.8.8.8"), ("old", "5.5.5.5")]),
        &refuses,
    );
    let wish = [("dns", "8.8.8.8"), ("bad", "7.7.7.7"), ("new", "9.9.9.9")];
    aws.bench.ask(&wish);
    let plan = aws.rest();
    // One failure suffices: the events name one table's route, and the plan leaves it out of all tables.
    assert_eq!((aws.executed, aws.failed), (2, 1));
    for table in ["rtb-a", "rtb-b"] {
        assert_eq!(nets(&plan, table), ["8.8.8.8/32", "9.9.9.9/32"]);
    }
    assert_eq!(told(&plan), ["bad"]);
    let problem = plan
        .problems
        .iter()
        .find(|it| it.reason == Reason::RouteRefused);
    let text = &problem.unwrap().message();
    for part in ["rtb-a and 1 more", WHY, "; all other changes proceed"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(
        plan.again
            .is_some_and(|wait| wait <= Duration::from_secs(120))
    );
    // The next attempt does not delay another user's entry.
    aws.later();
    aws.bench.ask(&[&wish[..], &[("more", "1.1.1.1")]].concat());
    let plan = aws.look();
    assert!(matches!(plan.action, Action::Prepare(_)));
    assert_eq!(
        nets(&plan, "rtb-a"),
        ["1.1.1.1/32", "8.8.8.8/32", "9.9.9.9/32"]
    );
    refused.set(false);
    let plan = aws.rest();
    assert_eq!(aws.failed, 1);
    assert_eq!(nets(&plan, "rtb-b").len(), 4);
    assert_eq!(told(&plan), [""; 0]);
}

#[test]
fn patience_grows_and_outlives_the_leader() {
    let refuses = |_: &TableId, cidr: &Ipv4Net| *cidr == net("7.7.7.7/32");
    let mut aws = Aws::new(Bench::live(&[("dns", "8.8.8.8")]), &refuses);
    aws.bench.network.worker_tables.remove("rtb-b");
    aws.bench.settings.zones.remove("b");
    aws.bench = Bench {
        live: Live::Absent,
        ..aws.bench
    };
    let Action::Create(template) = aws.bench.plan().action else {
        panic!()
    };
    aws.bench.live = Live::Ours(Box::new(stack_of(&template)));
    aws.bench.ask(&[("dns", "8.8.8.8"), ("bad", "7.7.7.7")]);
    let mut waits = Vec::new();
    for _ in 0..6 {
        let plan = aws.rest();
        assert_eq!(told(&plan), ["bad"]);
        waits.push(plan.again.unwrap().as_secs());
        // A new leader continues where the last one was, and counts no failure twice.
        let kept = aws.schedule.refusals.kept(Duration::from_secs(1_000));
        let text = serde_json::to_string(&kept).unwrap();
        aws.schedule = Schedule::new(Duration::from_secs(300), Watch::default());
        let kept = serde_json::from_str(&text).unwrap();
        let refusals = &mut aws.schedule.refusals;
        refusals.recall(&kept, Duration::from_secs(1_000), aws.now);
        let same = aws.rest();
        assert_eq!(same.again.unwrap().as_secs(), waits[waits.len() - 1]);
        aws.later();
    }
    assert_eq!(waits, [120, 240, 480, 960, 1_800, 1_800]);
    assert_eq!(aws.failed, 6, "one failure each");
}

#[test]
fn a_route_that_one_table_is_refused_is_made_in_the_others() {
    let refuses = |table: &TableId, cidr: &Ipv4Net| table == "rtb-b" && *cidr == net("7.7.7.7/32");
    let mut aws = Aws::new(Bench::live(&[("dns", "8.8.8.8")]), &refuses);
    aws.bench.ask(&[("dns", "8.8.8.8"), ("one", "7.7.7.7")]);
    let plan = aws.rest();
    assert_eq!((nets(&plan, "rtb-a").len(), aws.failed), (1, 1));
    aws.later();
    let plan = aws.rest();
    assert_eq!((nets(&plan, "rtb-a").len(), aws.failed), (2, 2));
    assert_eq!(nets(&plan, "rtb-b"), ["8.8.8.8/32"]);
    assert_eq!(told(&plan), ["one"]);
}

/// A part of a merged route was refused once: while the merged route exists, it is not split again.
#[test]
fn what_is_served_by_a_merged_route_is_not_refused_any_more() {
    let refused = std::cell::Cell::new(true);
    let refuses = |_: &TableId, cidr: &Ipv4Net| refused.get() && *cidr == net("20.1.0.0/16");
    let mut aws = Aws::new(Bench::live(&[("dns", "8.8.8.8")]), &refuses);
    aws.bench.ask(&[("dns", "8.8.8.8"), ("one", "20.1.0.0/16")]);
    assert_eq!(told(&aws.rest()), ["one"]);
    refused.set(false);
    aws.later();
    let both = [
        ("dns", "8.8.8.8"),
        ("one", "20.1.0.0/16"),
        ("two", "20.0.0.0/16"),
    ];
    aws.bench.ask(&both);
    let plan = aws.rest();
    assert_eq!(nets(&plan, "rtb-a"), ["8.8.8.8/32", "20.0.0.0/15"]);
    let executed = aws.executed;
    aws.later();
    aws.rest();
    assert_eq!(aws.executed, executed);
}

/// A merged route belongs to no single entry: its parts are made separately, and no entry reports a problem.
#[test]
fn a_merged_route_that_is_refused_is_made_in_parts() {
    let refuses = |_: &TableId, cidr: &Ipv4Net| *cidr == net("20.0.0.0/23");
    let mut aws = Aws::new(Bench::live(&[("a", "20.0.0.0/24")]), &refuses);
    aws.bench.ask(&[("a", "20.0.0.0/24"), ("b", "20.0.1.0/24")]);
    let plan = aws.rest();
    assert_eq!(nets(&plan, "rtb-a"), ["20.0.0.0/24", "20.0.1.0/24"]);
    assert_eq!(told(&plan), [""; 0]);
}

#[test]
fn a_wide_route_that_is_refused_takes_nothing_from_those_inside() {
    let refuses = |_: &TableId, cidr: &Ipv4Net| cidr.prefix_len() == 16;
    let inside = [("b", "20.0.1.0/24"), ("c", "20.0.7.0/24")];
    let mut aws = Aws::new(Bench::live(&inside), &refuses);
    let all = [
        &inside[..],
        &[("wide", "20.0.0.0/16"), ("d", "20.0.9.0/24")],
    ]
    .concat();
    aws.bench.ask(&all);
    let plan = aws.rest();
    assert_eq!(
        nets(&plan, "rtb-b"),
        ["20.0.1.0/24", "20.0.7.0/24", "20.0.9.0/24"]
    );
    assert_eq!(told(&plan), ["wide"]);
    // The owner of the wide entry narrows it: its old route stays until the new one exists.
    let refuses = |_: &TableId, cidr: &Ipv4Net| *cidr == net("20.0.4.0/22");
    let mut aws = Aws::new(Bench::live(&[("wide", "20.0.0.0/16")]), &refuses);
    aws.bench.ask(&[("wide", "20.0.4.0/22")]);
    assert_eq!(nets(&aws.rest(), "rtb-a"), ["20.0.0.0/16"]);
}

#[test]
fn a_full_table_waits_and_the_others_go_on() {
    let refuses = |_: &TableId, _: &Ipv4Net| false;
    let mut aws = Aws::new(
        Bench::live(&[("a", "20.0.0.0/24"), ("b", "20.1.0.0/24")]),
        &refuses,
    );
    aws.quota = 3;
    aws.bench.ask(&[
        ("a", "20.0.0.0/24"),
        ("c", "20.0.1.0/24"),
        ("d", "20.3.0.0/24"),
        ("e", "20.4.0.0/24"),
    ]);
    let plan = aws.rest();
    assert_eq!(nets(&plan, "rtb-a"), ["20.0.0.0/24"], "a removal goes");
    assert_eq!(told(&plan), ["c", "d", "e"]);
    // As many routes are added as the table has room for, one half after the other.
    for _ in 0..8 {
        aws.later();
        aws.rest();
    }
    assert_eq!(aws.live().iter().filter(|(of, _)| of == "rtb-a").count(), 3);
    aws.quota = 9;
    for _ in 0..3 {
        aws.later();
        aws.rest();
    }
    assert_eq!(told(&aws.rest()), [""; 0]);
}

/// For all requests and refusals, explained or not: no user loses a route, the other entries get routes within few operations, and every
/// refused entry is reported.
#[test]
fn progress_is_guaranteed() {
    let mut most = 0;
    for seed in 0..80 {
        let mut random = fastrand::Rng::with_seed(seed);
        let salt = random.u32(..);
        let bad = random.u8(0..3);
        let refuses = move |table: &TableId, cidr: &Ipv4Net| {
            let hash = u32::from(cidr.addr()).wrapping_mul(2_654_435_761) ^ salt;
            let here = bad < 2 || table == "rtb-a";
            here && hash % 8 == u32::from(cidr.prefix_len() % 8)
        };
        let mut aws = Aws::new(Bench::live(&[("first", "64.0.0.0/30")]), &refuses);
        aws.explains = random.bool();
        let mut entries = texts(&[("first", "64.0.0.0/30")]);
        for _ in 0..4 {
            for _ in 0..random.u8(1..16) {
                let key = format!("k{}", random.u8(0..20));
                if random.u8(0..4) == 0 {
                    entries.remove(&key);
                } else {
                    let (wide, place) = (random.u8(24..=32), random.u8(0..64));
                    let net = Ipv4Net::new([64, 0, 0, place * 4].into(), wide).unwrap();
                    entries.insert(key, net.trunc().to_string());
                }
            }
            let asked: Vec<(&str, &str)> = entries
                .iter()
                .map(|(k, v)| (k.as_str(), v.as_str()))
                .collect();
            aws.bench.ask(&asked);
            let before = aws.executed;
            let mut plan = aws.rest();
            for _ in 0..4 {
                aws.now += Duration::from_secs(400);
                plan = aws.rest();
            }
            most = most.max(aws.executed - before);
            let told = told(&plan);
            for (key, value) in &entries {
                let is_served = |table: &TableId| {
                    let live = aws.live();
                    let mine = live.iter().filter(|(of, _)| of == table);
                    let nets = cidr::minimal(mine.map(|(_, net)| *net), &BTreeSet::new());
                    cidr::covers(&nets, &net(value))
                };
                let served = aws.bench.network.worker_tables.keys().all(is_served);
                let may_fail =
                    |table: &TableId| cidr::supernets(net(value)).any(|wide| refuses(table, &wide));
                let could = !aws.bench.network.worker_tables.keys().any(may_fail);
                assert!(
                    served || told.contains(&key.as_str()),
                    "{seed}: {key} {value}"
                );
                assert!(served || !could, "{seed}: {key} {value} is not refused");
            }
        }
    }
    println!("at most {most} operations for one edit of up to 15 entries");
}

#[test]
fn a_creation_that_fails_at_a_list_goes_on_without_lists() {
    for id in ["RouteToNATrtbazNetworkList01", "NetworkList01"] {
        let mut bench = Bench::new(&[("dns", "8.8.8.8"), ("bad", "7.7.7.7")]);
        bench.settings.prefix_lists = PrefixLists::Always;
        let mut aws = Aws::new(bench, &|_, _| false);
        let (_, ids) = fail_creation(&mut aws, id);
        assert!(ids.contains(&"RouteToNATrtbaz7x7x7x7y32".to_owned()));
        assert!(!ids.iter().any(|id| id.contains("NetworkList")));
    }
}

/// A creation that failed in one zone leaves that zone out, and the other zones serve. The same holds for a route.
#[test]
fn a_creation_goes_on_without_the_zone_or_route_that_failed() {
    for (id, zones, routes) in [
        ("NATGatewayb", 1, 2),
        ("EIPb", 1, 2),
        ("RouteToNATrtbaz7x7x7x7y32", 2, 3),
    ] {
        let refuses = |_: &TableId, _: &Ipv4Net| false;
        let bench = Bench::new(&[("dns", "8.8.8.8"), ("bad", "7.7.7.7")]);
        let mut aws = Aws::new(bench, &refuses);
        let (plan, _) = fail_creation(&mut aws, id);
        assert_eq!(
            (plan.desired.zones.len(), plan.desired.routes.len()),
            (zones, routes)
        );
        let reasons: Vec<Reason> = plan.problems.iter().map(|it| it.reason).collect();
        let reason = if zones == 1 {
            Reason::ZoneWaits
        } else {
            Reason::RouteRefused
        };
        assert!(reasons.contains(&reason), "{reasons:?}");
    }
}

/// If all requested routes wait, no stack exists: its creation is still tried again.
#[test]
fn a_creation_of_which_every_route_was_refused_is_tried_again() {
    let mut bench = Bench::new(&[("dns", "8.8.8.8")]);
    let refused = |left| {
        let waits = |table: &&str| {
            let waits = Waits {
                why: WHY.to_owned(),
                left: Duration::from_secs(left),
                room: 1,
                gateway: None,
            };
            (((*table).to_owned(), Some(net("8.8.8.8"))), waits)
        };
        ["rtb-a", "rtb-b"].iter().map(waits).collect()
    };
    bench.network.headroom.refused.routes = refused(60);
    let plan = bench.plan();
    assert!(matches!(plan.action, Action::Refuse), "{plan}");
    assert_eq!(plan.again, Some(Duration::from_secs(60)));
    bench.network.headroom.refused.routes = refused(0);
    let plan = bench.plan();
    assert!(matches!(plan.action, Action::Create(_)), "{plan}");
}

/// A stack without a zone serves no traffic: if all zones have failed, all are tried again.
#[test]
fn a_creation_leaves_one_zone_at_least() {
    let mut bench = Bench::new(&[("dns", "8.8.8.8")]);
    let zones = bench.settings.zones.clone();
    let later = zones.into_iter().map(|zone| (zone, Duration::from_secs(9)));
    bench.network.headroom.later = later.collect();
    let plan = bench.plan();
    assert!(matches!(plan.action, Action::Create(_)));
    assert_eq!(plan.desired.zones.len(), 2);
}

/// A table's zone has changed, and AWS refuses to change the target of a route in it.
#[test]
fn a_route_that_is_not_turned_stays_as_it_is() {
    let bench = Bench::live(&[("dns", "8.8.8.8"), ("two", "9.9.9.9")]);
    let refuses = |_: &TableId, _: &Ipv4Net| false;
    let mut aws = Aws::new(bench, &refuses);
    let table = aws.bench.network.worker_tables.get_mut("rtb-a").unwrap();
    table.zone = "b".to_owned();
    let id = "RouteToNATrtbaz8x8x8x8y32".to_owned();
    let stack = aws.bench.stack();
    stack.status = Status::read("UPDATE_ROLLBACK_COMPLETE");
    stack.version = "1".to_owned();
    stack.failed = [(
        id.clone(),
        Failed {
            reason: WHY.to_owned(),
            table_is_full: false,
        },
    )]
    .into();
    let plan = aws.look();
    let changed: Vec<&str> = plan.differences.iter().map(|it| it.id.as_str()).collect();
    assert_eq!(changed, ["RouteToNATrtbaz9x9x9x9y32"], "{plan}");
    assert_eq!(plan.desired.routes.len(), 4);
    assert!(
        plan.problems
            .iter()
            .any(|it| it.reason == Reason::RouteRefused
                && it.subject == Subject::RouteTable("rtb-a".to_owned()))
    );
}
