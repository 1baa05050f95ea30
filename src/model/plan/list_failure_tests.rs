//! What a plan learns from a change with network lists that failed.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::base::settings::PrefixLists;
use crate::model::cloud::live::Failed;
use crate::model::cloud::status::Status;
use crate::model::plan::list_tests::{ask, bench, change, many};
use crate::model::plan::tests::{Bench, computed};
use crate::model::plan::types::Action;

/// Returns a stack with one network in a list.
fn listed() -> Bench {
    let mut bench = bench(PrefixLists::Always);
    ask(&mut bench, &many(0..1));
    change(&mut bench);
    bench
}

/// A zone without a NAT gateway, or an earlier plan, leaves out networks that the plan wants.
#[test]
fn a_change_tries_the_networks_that_its_lists_add_and_no_others() {
    let mut bench = listed();
    ask(&mut bench, &many(0..2));
    let plan = bench.plan();
    let Action::Prepare(template) = &plan.action else {
        panic!("{plan}");
    };
    bench.stack().change_sets = vec![computed(&plan, template)];
    ask(&mut bench, &many(0..3));
    let plan = bench.plan();
    assert!(matches!(plan.action, Action::Execute { .. }), "{plan}");
    let tried: BTreeSet<_> = plan.attempt.iter().map(|(_, net)| *net).collect();
    assert_eq!((tried, plan.attempt.len()), (many(1..2), 2));
}

#[test]
fn a_table_that_is_refused_a_route_to_a_list_holds_up_no_other_table() {
    let mut bench = listed();
    let late = "RouteToNATrtbczNetworkList01";
    let table = bench.network.worker_tables["rtb-a"].clone();
    bench
        .network
        .worker_tables
        .insert("rtb-c".to_owned(), table);
    let failed = |bench: &mut Bench, id: &str| {
        let reason = "the range is reserved".to_owned();
        let failed = Failed {
            reason,
            table_is_full: false,
        };
        bench.stack().status = Status::read("UPDATE_ROLLBACK_COMPLETE");
        bench.stack().failed = BTreeMap::from([(id.to_owned(), failed)]);
        bench.plan().failure
    };
    let failure = failed(&mut bench, late);
    let tables: Vec<_> = failure.routes.keys().cloned().collect();
    assert_eq!(tables, [("rtb-c".to_owned(), None)]);
    assert!(!failure.unexplained);
    // Which entry of a list is refused is unknown.
    assert!(failed(&mut bench, "NetworkList01").unexplained);
    assert!(failed(&mut bench, "RouteToNATrtbazNetworkList01").unexplained);
}
