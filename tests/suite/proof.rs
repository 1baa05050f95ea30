//! Before a step that cannot be undone, every source is read again, because a silent watch gives no sign.
//!
//! Each test holds back the events of the watch, and creates a ConfigMap that the leader does not know.

use serde_json::json;

use crate::memory;
use crate::proxy::{Link, Moment};
use crate::relay::Relay;
use crate::replica::{Launch, Replica};
use crate::stage::{EXAMPLE, EXAMPLE_CIDRS, Stage};
use crate::wait;

const LATE: [(&str, &str); 1] = [("late", "9.9.9.9")];
const LATE_CIDRS: [&str; 1] = ["9.9.9.9/32"];
/// The grace period, long enough to hold the watch within it.
const GRACE: &str = "6s";

/// A replica that lists rarely, so that it relies on the watch and the final check.
fn behind(stage: &Stage, relay: &Relay) -> Launch {
    let launch = stage.replica("r1").flag("master", &relay.url);
    let launch = launch.flag("resync-interval", "30m");
    launch.flag("empty-grace-period", GRACE)
}

async fn knows(replica: &Replica, entries: u64) {
    wait::until(&format!("it knows {entries} entries"), || {
        let counts = &memory::status(replica)?["counts"];
        let done = counts["entries"] == entries;
        wait::check(done, || counts.to_string())
    })
    .await;
}

/// Waits until the plan is dropped for this reason. The call was not made since the given request.
async fn not_confirmed(stage: &Stage, replica: &Replica, why: &str, call: &str, mark: usize) {
    wait::until("the plan is dropped", || {
        assert_eq!(stage.aws.count_since(mark, call), 0, "{call}");
        replica.said(&["NotConfirmed", why])
    })
    .await;
    assert_eq!(stage.aws.count_since(mark, call), 0, "{call}");
}

const CHANGED: &str = "has changed since the decision was made";

#[tokio::test]
async fn a_stack_stays_where_a_config_map_is_made_between_the_decision_and_the_call() {
    let stage = Stage::open("proof-delete").await;
    let relay = Relay::to(&stage).await;
    let launch = behind(&stage, &relay).flag("on-empty", "delete");
    let mut replica = launch.arg("--stack-termination-protection").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    let exits = stage.routed(&EXAMPLE_CIDRS).await;
    stage.delete_config_map("egress-t1").await;
    knows(&replica, 0).await;
    relay.hold_watches(true);
    relay.refuse_lists(true);
    let mark = stage.aws.mark();
    stage.config_map("egress-t2", &LATE).await;
    // A failed list proves nothing either.
    let first = "UpdateTerminationProtection";
    not_confirmed(&stage, &replica, "503", first, mark).await;
    relay.refuse_lists(false);
    not_confirmed(&stage, &replica, CHANGED, first, mark).await;
    relay.hold_watches(false);
    assert_eq!(stage.routed(&LATE_CIDRS).await, exits);
    assert_eq!(stage.aws.count_since(mark, "DeleteStack"), 0);
    replica.assert_well();
}

/// The ConfigMap is created while the first of the two calls is under way. The second call is not made.
#[tokio::test]
async fn a_stack_that_is_not_protected_any_more_stays_all_the_same() {
    let stage = Stage::open("proof-protect").await;
    let relay = Relay::to(&stage).await;
    let aws = Link::to(stage.aws.port());
    let launch = behind(&stage, &relay).flag("on-empty", "delete");
    let launch = launch.aws_port(aws.port());
    let mut replica = launch.arg("--stack-termination-protection").start();
    stage.config_map("egress-t1", &EXAMPLE).await;
    let exits = stage.routed(&EXAMPLE_CIDRS).await;
    let sent = aws.trap("UpdateTerminationProtection", Moment::Before);
    stage.delete_config_map("egress-t1").await;
    sent.await.unwrap();
    relay.hold_watches(true);
    stage.config_map("egress-t2", &LATE).await;
    aws.let_go();
    not_confirmed(&stage, &replica, CHANGED, "DeleteStack", 0).await;
    assert_eq!(stage.aws.state()["stacks"][0]["protected"], json!(false));
    relay.hold_watches(false);
    assert_eq!(stage.routed(&LATE_CIDRS).await, exits);
    wait::until("it is protected again", || {
        let is = stage.aws.state()["stacks"][0]["protected"].clone();
        wait::check(is == json!(true), || is.to_string())
    })
    .await;
    assert_eq!(stage.aws.count_since(0, "DeleteStack"), 0);
    replica.assert_well();
}

#[tokio::test]
async fn routes_of_many_stay_where_they_are_requested_again_between_the_decision_and_the_call() {
    let stage = Stage::open("proof-removal").await;
    let relay = Relay::to(&stage).await;
    let mut replica = behind(&stage, &relay).flag("max-removal", "50").start();
    let many: Vec<(String, String)> = (0..10)
        .map(|n| (format!("k{n}"), format!("20.0.{n}.1")))
        .collect();
    let data: Vec<(&str, &str)> = many.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let cidrs: Vec<String> = many.iter().map(|(_, v)| format!("{v}/32")).collect();
    let all: Vec<&str> = cidrs.iter().map(String::as_str).chain(LATE_CIDRS).collect();
    stage.config_map("egress-t1", &data).await;
    stage.config_map("egress-t2", &LATE).await;
    let exits = stage.routed(&all).await;
    stage.delete_config_map("egress-t1").await;
    knows(&replica, 1).await;
    relay.hold_watches(true);
    let mark = stage.aws.mark();
    stage.config_map("egress-t3", &data).await;
    not_confirmed(&stage, &replica, CHANGED, "ExecuteChangeSet", mark).await;
    relay.hold_watches(false);
    assert_eq!(stage.routed(&all).await, exits);
    stage.two_more_looks().await;
    assert_eq!(stage.aws.count_since(mark, "ExecuteChangeSet"), 0);
    replica.assert_well();
}
