//! Entries that fit are served, served entries stay, and the newest entries wait.

use std::collections::BTreeMap;
use std::time::Duration;

use ipnet::Ipv4Net;

use super::tests::{Bench, texts};
use super::*;
use crate::model::base::ids::{ObjectId, Zone};
use crate::model::base::problem::Severity;
use crate::model::base::reason::Reason;
use crate::model::cloud::network::{Headroom, Route, WorkerTable};
use crate::model::plan::diff::Kind;

#[path = "wide_tests.rs"]
mod wide;

#[path = "room_tests.rs"]
mod room;

/// Returns networks that do not merge, under keys in the order of their numbers.
fn many(numbers: impl IntoIterator<Item = u32>) -> Vec<(String, String)> {
    let one = |n: u32| {
        let net = format!("20.{}.{}.0/24", n / 128, n % 128 * 2);
        (format!("k{n:04}"), net)
    };
    numbers.into_iter().map(one).collect()
}

fn ask(bench: &mut Bench, entries: &[(String, String)]) {
    let entries: Vec<(&str, &str)> = entries
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    bench.ask(&entries);
}

fn bench(entries: &[(String, String)]) -> Bench {
    let mut bench = Bench::new(&[]);
    bench.settings.template_bucket = true;
    ask(&mut bench, entries);
    bench
}

/// Makes the plan's template the live stack.
fn done(bench: &mut Bench) -> Plan {
    let plan = bench.plan();
    if let Action::Create(template) | Action::Prepare(template) = &plan.action {
        bench.live = Live::Ours(Box::new(super::tests::stack_of(template)));
        let desired = &plan.desired.routes;
        for (id, table) in &mut bench.network.worker_tables {
            table.routes.retain(|_, route| route.target == "igw-1");
            let ours = desired.iter().filter(|(of, _)| of == id);
            table.routes.extend(ours.map(|(_, cidr)| {
                let target = "nat-1".to_owned();
                (
                    *cidr,
                    Route {
                        target,
                        blackhole: false,
                    },
                )
            }));
        }
    }
    plan
}

/// Returns the keys of the entries that wait.
fn waiting(plan: &Plan) -> Vec<String> {
    let entry = |problem: &Problem| match &problem.subject {
        Subject::Entry(entry) if problem.reason == Reason::LimitReached => Some(entry.key.clone()),
        _ => None,
    };
    plan.problems.iter().filter_map(entry).collect()
}

#[test]
fn what_fits_is_created_and_the_rest_waits() {
    // 12 + 2 * 244 = 500 resources.
    let plan = bench(&many(0..246)).plan();
    assert!(matches!(plan.action, Action::Create(_)));
    assert_eq!(plan.desired.routes.len(), 488);
    assert_eq!(waiting(&plan), ["k0244", "k0245"]);
    let told = &plan.problems[0].message();
    assert!(
        told.contains("502 resources")
            && told.contains("Older entries")
            && told.contains("most have default (244 routes in each table)"),
        "{told}"
    );
}

/// The limit that a request breaks as a whole may be another one than the limit at which its entries wait.
#[test]
fn the_limit_that_binds_is_named_with_the_cheapest_way_out() {
    let of_stack = |plan: &Plan| {
        let mut problems = plan.problems.iter();
        let found = problems.find(|it| matches!(it.subject, Subject::Stack(_)));
        found.expect("one for all entries").clone()
    };
    let mut bench = bench(&many(0..600));
    let plan = bench.plan();
    let told = of_stack(&plan);
    assert_eq!(told.severity, Severity::Warning);
    assert!(
        told.what
            .contains("356 entries wait for room, and what is routed stays")
            && told.what.contains("502 resources, 490 of them routes")
            && told.remedy().contains("fewer than 2 worker route tables"),
        "{told}"
    );
    bench.settings.template_bucket = false;
    let plan = bench.plan();
    let told = of_stack(&plan);
    assert!(
        told.what.contains("takes 51200 in a request")
            && told.remedy().starts_with("set --cf-template-bucket"),
        "{told}"
    );
    // Every entry that waits has the same severity and remedy.
    let entries = plan.problems.iter().filter(|it| it.waits());
    let alike = entries.filter(|it| it.remedy() == told.remedy() && it.severity == told.severity);
    assert_eq!(alike.count(), waiting(&plan).len());
    // A table's limit binds before that of the stack.
    bench.settings.template_bucket = true;
    for (quota, remedy) in [(50, "L-93826ACB"), (1_000, "AWS allows no table more")] {
        let tables = bench.network.worker_tables.values_mut();
        tables.for_each(|table| table.listed = usize::from(quota) - 50);
        bench.network.limits.routes = Some(quota);
        let told = of_stack(&bench.plan());
        assert!(
            told.what.contains(&format!("it takes {quota}")) && told.remedy().contains(remedy),
            "{told}"
        );
        assert!(!told.remedy().contains("--aws-route-table-quota"), "{told}");
    }
}

#[test]
fn without_a_bucket_what_fits_into_a_request_is_served() {
    let mut bench = bench(&many(0..244));
    bench.settings.template_bucket = false;
    let plan = bench.plan();
    assert!(matches!(&plan.action, Action::Create(template) if !template.needs_bucket()));
    assert!(!waiting(&plan).is_empty());
    assert!(plan.problems[0].message().contains("--cf-template-bucket"));
}

#[test]
fn what_is_served_comes_before_what_has_a_smaller_name() {
    let mut bench = bench(&many(2..246));
    done(&mut bench);
    ask(&mut bench, &many(0..246));
    let plan = bench.plan();
    assert_eq!(plan.action, Action::Keep, "{plan}");
    assert_eq!(waiting(&plan), ["k0000", "k0001"]);
    // There is room as soon as one entry is removed.
    ask(&mut bench, &many((0..246).filter(|n| *n != 100)));
    let plan = done(&mut bench);
    assert_eq!(waiting(&plan), ["k0001"]);
    assert_eq!(bench.plan().action, Action::Keep);
}

#[test]
fn what_takes_no_room_does_not_wait() {
    let mut bench = bench(&many(0..244));
    done(&mut bench);
    let mut entries = many(0..245);
    entries.push(("inside".to_owned(), "20.0.0.7".to_owned()));
    ask(&mut bench, &entries);
    assert_eq!(waiting(&bench.plan()), ["k0244"]);
}

#[test]
fn a_route_table_that_is_full_gets_no_more_and_keeps_what_it_has() {
    let mut bench = Bench::live(&[("dns", "8.8.8.8"), ("web", "9.9.9.9")]);
    done(&mut bench);
    for table in bench.network.worker_tables.values_mut() {
        for cidr in ["8.8.8.8/32", "9.9.9.9/32"] {
            let target = "nat-1".to_owned();
            let route = Route {
                target,
                blackhole: false,
            };
            table.routes.insert(cidr.parse().unwrap(), route);
        }
    }
    // The quota counts the default route, too.
    bench.settings.route_table_quota = Some(3);
    assert_eq!(bench.plan().action, Action::Keep);
    bench.ask(&[("dns", "8.8.8.0/24"), ("web", "9.9.9.9")]);
    let plan = bench.plan();
    assert_eq!(plan.action, Action::Keep, "the narrow route stays: {plan}");
    assert_eq!(waiting(&plan), ["dns"]);
    assert!(
        plan.problems[0]
            .message()
            .contains("--aws-route-table-quota")
    );
    // The first change makes room, and the second one uses it.
    bench.ask(&[("dns", "8.8.8.0/24")]);
    let plan = done(&mut bench);
    assert_eq!(plan.differences.len(), 2, "the other's routes go: {plan}");
    done(&mut bench);
    assert_eq!(waiting(&bench.plan()), [""; 0]);
}

#[test]
fn a_new_route_table_for_which_there_is_no_room_waits_and_the_rest_goes_on() {
    let mut bench = bench(&many(0..240));
    done(&mut bench);
    let table = WorkerTable {
        zone: "a".to_owned(),
        ..WorkerTable::default()
    };
    bench
        .network
        .worker_tables
        .insert("rtb-c".to_owned(), table);
    let plan = bench.plan();
    assert_eq!(plan.action, Action::Keep, "{plan}");
    assert_eq!(
        plan.problems[0].subject,
        Subject::RouteTable("rtb-c".to_owned())
    );
    ask(&mut bench, &many(0..241));
    let plan = bench.plan();
    assert_eq!(plan.differences.len(), 2, "{plan}");
}

#[test]
fn a_zone_for_which_there_is_no_static_ip_waits_and_the_rest_goes_on() {
    let mut bench = Bench::new(&[("dns", "8.8.8.8")]);
    assert_eq!(bench.plan().new_zones.len(), 2);
    bench.network.headroom.addresses = Some(1);
    let plan = done(&mut bench);
    assert_eq!(plan.new_zones.len(), 1);
    let zone = Subject::Zone("b".to_owned());
    let told = |plan: &Plan| plan.problems.iter().any(|problem| problem.subject == zone);
    assert!(told(&plan));
    // The zone is configured, so no problem asks to add it.
    let table = Subject::RouteTable("rtb-b".to_owned());
    let mut problems = plan.problems.iter();
    let no_nat = problems.find(|it| it.subject == table).unwrap();
    assert_eq!(no_nat.reason, Reason::NoNatInZone);
    let text = no_nat.message();
    assert!(
        !text.contains("--aws-az") && text.contains("see the problem of that zone"),
        "{text}"
    );
    bench.network.headroom.addresses = Some(0);
    let plan = bench.plan();
    assert_eq!(plan.action, Action::Keep, "what is there takes no more");
    assert!(told(&plan));
    bench.network.headroom.addresses = Some(1);
    assert!(!told(&done(&mut bench)));
    let mut none = Bench::new(&[("dns", "8.8.8.8")]);
    none.network.headroom.addresses = Some(0);
    assert_eq!(none.plan().action, Action::Refuse);
}

#[test]
fn a_zone_that_takes_no_more_nat_gateways_waits_and_so_does_one_that_could_not_be_added() {
    let waits = |plan: &Plan| {
        let of_zone = plan
            .problems
            .iter()
            .find(|it| it.subject == Subject::Zone("b".to_owned()));
        of_zone.map(|problem| problem.reason)
    };
    let mut bench = Bench::new(&[("dns", "8.8.8.8")]);
    bench.network.headroom.nat_gateways = [("a".to_owned(), 1), ("b".to_owned(), 0)].into();
    assert_eq!(waits(&done(&mut bench)), Some(Reason::LimitReached));
    bench.network.headroom = Headroom::default();
    let plan = bench.plan();
    assert_eq!((waits(&plan), plan.new_zones.len()), (None, 1));

    let minute = Duration::from_secs(60);
    let mut zones = bench.settings.zones.clone();
    let other: Ipv4Net = "172.31.99.0/28".parse().unwrap();
    zones.insert("c".to_owned(), other);
    let later = zones.into_iter().map(|zone| (zone, minute));
    bench.network.headroom.later = later.collect();
    bench.ask(&[("dns", "8.8.8.8"), ("more", "9.9.9.9")]);
    let plan = done(&mut bench);
    assert_eq!(waits(&plan), Some(Reason::ZoneWaits));
    let zones: Vec<&Zone> = plan.later.keys().map(|(zone, _)| zone).collect();
    assert_eq!(
        zones,
        ["b"],
        "what is there does not wait, nor what nobody wants"
    );
    assert!(matches!(plan.action, Action::Prepare(_)) && plan.new_zones.is_empty());
    assert_eq!(bench.plan().action, Action::Keep);
    bench.settings.zones.insert("b".to_owned(), other);
    assert_eq!(waits(&bench.plan()), None, "another range is tried at once");
}

/// For all requests and limits: live routes that are requested stay, and every entry that waits is reported.
#[test]
fn nobody_who_is_served_loses_a_route_to_another() {
    for seed in 0..60 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut bench = Bench::new(&[]);
        let mut entries: BTreeMap<String, String> = texts(&[("first", "64.0.0.0/30")]);
        for _ in 0..12 {
            bench.settings.route_table_quota = Some(random.u16(3..9));
            let before = entries.clone();
            for _ in 0..random.u8(1..4) {
                let key = format!("k{}", random.u8(0..9));
                if random.u8(0..4) == 0 {
                    entries.remove(&key);
                } else {
                    let net = format!("64.0.0.{}/{}", random.u8(..), random.u8(26..=32));
                    entries.insert(key, net);
                }
            }
            let routed = |plan: &Plan, net: &str| {
                let net: ipnet::Ipv4Net = net.parse().unwrap();
                let mut all = plan.desired.routes.iter();
                all.any(|(_, cidr)| cidr.contains(&net))
            };
            let live = bench.network.worker_tables["rtb-a"].routes.clone();
            let was_routed = |net: &str| {
                let net: ipnet::Ipv4Net = net.parse().unwrap();
                let mut ours = live.iter().filter(|(_, route)| route.target == "nat-1");
                ours.any(|(cidr, _)| cidr.contains(&net))
            };
            let pairs: Vec<(String, String)> = entries.clone().into_iter().collect();
            ask(&mut bench, &pairs);
            let now = done(&mut bench);
            for (key, net) in entries
                .iter()
                .filter(|(key, net)| before.get(*key) == Some(net))
            {
                assert!(
                    !was_routed(net) || routed(&now, net),
                    "seed {seed}: {key} {net} lost its route: {now}"
                );
            }
            let waits = waiting(&now);
            for (key, net) in &entries {
                assert!(
                    routed(&now, net) || waits.contains(key),
                    "seed {seed}: {key} is not told: {now}"
                );
            }
        }
    }
}

/// The attack: one namespace requests all the room and more, and comes first by name and by age.
#[test]
fn a_new_entry_does_not_wait_for_what_is_new_of_a_greedy_namespace() {
    let mut bench = bench(&many(0..5));
    done(&mut bench);
    let greedy = bench.snapshot.objects.keys().next().unwrap().clone();
    ask(&mut bench, &many(0..400));
    let victim = ObjectId {
        namespace: "zzz".to_owned(),
        ..greedy
    };
    let one = crate::model::input::request::Object {
        data: texts(&[("dns", "8.8.8.8")]),
        ..Default::default()
    };
    bench.snapshot.objects.insert(victim, one);
    let plan = bench.plan();
    assert!(!waiting(&plan).contains(&"dns".to_owned()), "{plan}");
    assert_eq!(waiting(&plan).len(), 401 - 244);
    let served = many(0..5)
        .into_iter()
        .all(|(key, _)| !waiting(&plan).contains(&key));
    assert!(served, "nobody loses a route");
}
