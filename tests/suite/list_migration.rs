//! The migration of a full stack between direct routes and prefix lists, while one leader after the other is killed.

use std::time::Duration;

use serde_json::Value;

use crate::audit::accepted;
use crate::golang::GoStack;
use crate::linked::Linked;
use crate::list_room::{ask, gaps, lists, networks, replica, stage};
use crate::proxy::Moment;
use crate::stage::{EXAMPLE, EXAMPLE_CIDRS, Stage};
use crate::wait;

/// The calls that prepare a change and carry it out.
const STEPS: [&str; 2] = ["CreateChangeSet", "ExecuteChangeSet"];

fn linked(stage: &Stage, name: &str, mode: &str) -> Linked {
    let (kube, aws) = stage.links();
    stage.behind(kube, aws, replica(stage, name, mode).lease(3))
}

/// Returns the number of routes to single networks by NAT gateways in the workers' tables.
fn direct(state: &Value) -> usize {
    let tables = state["route_tables"].as_array().into_iter().flatten();
    let tables = tables.filter(|table| table["tags"]["AvailabilityZone"].is_string());
    let routes = tables.flat_map(|table| table["routes"].as_array().into_iter().flatten());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let is_direct = |route: &&Value| {
        text(&route["target"]).starts_with("nat-") && !text(&route["cidr"]).starts_with("pl-")
    };
    routes.filter(is_direct).count()
}

/// Kills the leader after each of these calls of a migration with this number of changes, and lets another replica end the migration.
async fn survives(stage: &Stage, mode: &str, changes: usize) {
    let mark = stage.aws.mark();
    for number in 0..changes {
        for action in STEPS {
            let name = format!("{mode}-{number}-{action}").to_lowercase();
            let mut leader = linked(stage, &name, mode);
            let trap = leader.aws.trap(action, Moment::After);
            let sprung = tokio::time::timeout(Duration::from_secs(120), trap).await;
            sprung
                .unwrap_or_else(|_| panic!("{name} made no {action}"))
                .unwrap();
            leader.replica.kill();
            leader.aws.reset();
            let state = stage.aws.state();
            let (lists, direct) = (lists(&state), direct(&state));
            wait::measured(&format!(
                "{name}: lists of {lists:?}, {direct} direct routes"
            ));
        }
    }
    let executed = accepted(&stage.aws.writes_since(mark), "ExecuteChangeSet");
    assert_eq!(executed, changes);
}

/// With three tables, 160 networks leave no room for a list with its routes: one of them moves at once, the others after a look. On the way back it
/// is the same.
#[tokio::test]
async fn a_full_stack_moves_into_lists_and_back_and_no_leader_survives_a_step() {
    let stage = stage("migration", 1).await;
    let all = networks(0..160);
    let cidrs: Vec<&str> = all.iter().map(|(_, cidr)| cidr.as_str()).collect();
    let mut first = replica(&stage, "first", "never").start();
    ask(&stage, &all).await;
    let exits = stage.routed(&cidrs).await;
    first.terminate().await;
    survives(&stage, "always", 4).await;
    let mut last = replica(&stage, "last", "always").start();
    assert_eq!(stage.routed(&cidrs).await, exits);
    stage.two_more_looks().await;
    let state = stage.aws.state();
    assert_eq!((lists(&state), direct(&state)), (vec![60, 100], 0));
    last.terminate().await;
    survives(&stage, "never", 4).await;
    let _last = replica(&stage, "back", "never").start();
    assert_eq!(stage.routed(&cidrs).await, exits);
    stage.two_more_looks().await;
    let state = stage.aws.state();
    assert_eq!((lists(&state), direct(&state)), (vec![], 480));
    assert_eq!(gaps(&stage, &all), 0);
}

#[tokio::test]
async fn a_stack_of_the_go_controller_moves_into_a_list() {
    let stage = stage("migration-go", 1).await;
    GoStack::default().make(&stage).await;
    let exits = stage.aws.exits();
    stage.config_map("egress-t1", &EXAMPLE).await;
    let launch = stage.replica("r1").flag("prefix-lists", "always");
    let _replica = launch.start();
    wait::until("the networks are in a list", || {
        let state = stage.aws.state();
        let form = (lists(&state), direct(&state));
        wait::check(form == (vec![EXAMPLE_CIDRS.len()], 0), || {
            format!("{form:?}")
        })
    })
    .await;
    assert_eq!(stage.routed(&EXAMPLE_CIDRS).await, exits);
    let all = EXAMPLE_CIDRS.map(|cidr| (String::new(), cidr.to_owned()));
    assert_eq!(gaps(&stage, &all), 0);
}
