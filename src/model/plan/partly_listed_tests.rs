//! Networks that lists serve in some route tables only, because there is no room for another form.

use crate::model::base::settings::PrefixLists;
use crate::model::cloud::network::{Route, WorkerTable};
use crate::model::plan::list_tests::{ask, bench, change, many, names};
use crate::model::plan::tests::Bench;
use crate::model::plan::types::Action;

/// The table of the second zone.
const LATE: &str = "rtb-b";

/// Returns a stack with one network in a list of a hundred, while EC2 does not show the late table. Each table has room for one more route.
fn listed() -> (Bench, WorkerTable) {
    let mut bench = bench(PrefixLists::Always);
    bench.settings.route_table_quota = Some(102);
    ask(&mut bench, &many(0..1));
    let late = bench.network.worker_tables.remove(LATE);
    change(&mut bench);
    (bench, late.unwrap())
}

/// Returns a route of another principal, which the changes leave alone.
fn foreign() -> Route {
    Route {
        target: "igw-1".to_owned(),
        blackhole: false,
    }
}

/// Gives a table routes of other principals.
fn crowd(table: &mut WorkerTable, count: u8) {
    for number in 0..count {
        let net = format!("10.77.{number}.0/24").parse().unwrap();
        table.routes.insert(net, foreign());
    }
}

#[test]
fn a_network_with_a_route_in_one_table_enters_a_list_if_another_table_is_full() {
    let mut bench = bench(PrefixLists::Always);
    bench.settings.route_table_quota = Some(102);
    ask(&mut bench, &many(0..1));
    change(&mut bench);
    // For a while, another principal routes the second network in one table.
    let net = *many(1..2).first().unwrap();
    let table = |bench: &mut Bench| bench.network.worker_tables.remove(LATE).unwrap();
    let mut late = table(&mut bench);
    late.routes.insert(net, foreign());
    bench.network.worker_tables.insert(LATE.to_owned(), late);
    ask(&mut bench, &many(0..2));
    change(&mut bench);
    let added = ("rtb-a".to_owned(), net);
    assert!(names(&bench).is_direct(&added));
    let mut late = table(&mut bench);
    late.routes.remove(&net);
    crowd(&mut late, 1);
    bench.network.worker_tables.insert(LATE.to_owned(), late);
    for mode in [
        PrefixLists::Never,
        PrefixLists::WhenFull,
        PrefixLists::Always,
    ] {
        bench.settings.prefix_lists = mode;
        let plan = bench.plan();
        assert!(matches!(plan.action, Action::Prepare(_)), "{plan}");
    }
    change(&mut bench);
    let names = names(&bench);
    assert_eq!(names.lists["NetworkList01"].entries, many(0..2));
    assert!(names.is_direct(&added), "until EC2 shows the list");
    assert!(names.routes.contains_key(&(LATE.to_owned(), net)));
}

#[test]
fn a_table_without_room_for_a_list_gets_direct_routes_to_its_networks() {
    let (mut bench, mut late) = listed();
    crowd(&mut late, 90);
    bench.network.worker_tables.insert(LATE.to_owned(), late);
    let plan = change(&mut bench);
    assert!(matches!(plan.action, Action::Prepare(_)), "{plan}");
    let routed = names(&bench);
    let net = *many(0..1).first().unwrap();
    assert!(routed.is_direct(&(LATE.to_owned(), net)));
    assert!(!routed.is_direct(&("rtb-a".to_owned(), net)));
    let plan = bench.plan();
    assert_eq!(plan.action, Action::Keep, "{plan}");
    // A new network goes the same ways.
    ask(&mut bench, &many(0..2));
    change(&mut bench);
    let routed = names(&bench);
    assert_eq!(routed.lists["NetworkList01"].entries, many(0..2));
    assert!(routed.is_direct(&(LATE.to_owned(), *many(1..2).first().unwrap())));
    let plan = bench.plan();
    assert_eq!(plan.action, Action::Keep, "{plan}");
    // The table has room again.
    bench.settings.route_table_quota = Some(300);
    change(&mut bench);
    assert_eq!(names(&bench).list_routes.len(), 2);
}
