//! A leader that crashes, or freezes for longer than its Lease lasts, at every stage of a change.

use std::time::Duration;

use futures::future::{join_all, select_all};
use http::Method;
use serde_json::json;

use crate::audit::{self, Terms, accepted};
use crate::ledger::LEDGER;
use crate::linked::Linked;
use crate::proxy::Moment;
use crate::stage::{STACK, Stage};
use crate::wait;

/// Every AWS call of a creation, and of an update.
const CREATION: [&str; 5] = [
    "DescribeVpcs",
    "DescribeInternetGateways",
    "DescribeStacks",
    "DescribeRouteTables",
    "CreateStack",
];
const UPDATE: [&str; 6] = [
    "DescribeStacks",
    "DescribeRouteTables",
    "CreateChangeSet",
    "ListChangeSets",
    "DescribeChangeSet",
    "ExecuteChangeSet",
];
const MOMENTS: [Moment; 3] = [Moment::Before, Moment::During, Moment::After];
/// The duration of a call during which the leader is hit.
const UNDER_WAY_MS: u32 = 300;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    Crash,
    Freeze,
}

struct Lane {
    stage: Stage,
    blow: Blow,
    replicas: Vec<Linked>,
    started: usize,
}

impl Lane {
    fn new(stage: Stage, blow: Blow) -> Self {
        Self {
            stage,
            blow,
            replicas: Vec::new(),
            started: 0,
        }
    }

    fn start(&mut self) {
        self.started += 1;
        let linked = self.stage.linked(&format!("r{}", self.started));
        self.replicas.push(linked);
    }

    /// Returns the first replica that reaches this moment of this call after `change`.
    async fn spring(
        &self,
        action: &str,
        moment: Moment,
        change: impl Future<Output = ()>,
    ) -> usize {
        if moment == Moment::During {
            let slow = json!({ "kind": "delay", "action": action, "ms": UNDER_WAY_MS, "times": 1 });
            self.stage.aws.fault(slow);
        }
        let traps: Vec<_> = self
            .replicas
            .iter()
            .map(|linked| linked.aws.trap(action, moment))
            .collect();
        change.await;
        let sprung = tokio::time::timeout(Duration::from_secs(60), select_all(traps)).await;
        let (result, hit, _) = sprung.unwrap_or_else(|_| panic!("no {action} was {moment:?}"));
        result.unwrap();
        hit
    }

    /// Crashes or freezes the replica, and waits until another one leads and has everything routed.
    async fn blow(&mut self, hit: usize, cidr: &str) -> Linked {
        let mut hit = self.replicas.swap_remove(hit);
        match self.blow {
            Blow::Crash => hit.replica.kill(),
            Blow::Freeze => hit.replica.signal("-STOP"),
        }
        // Requests that have not left the link by now never leave it.
        hit.aws.reset();
        let name = hit.replica.name.clone();
        wait::until_async("another leads", async || {
            match self.stage.leader().await? {
                leader if leader == name => Err(format!("{name} has the Lease")),
                _ => Ok(()),
            }
        })
        .await;
        self.stage.routed(&[cidr]).await;
        hit
    }

    /// Continues the replica, or starts another one. A replica that was frozen notices that it no longer leads.
    async fn recover(&mut self, mut hit: Linked) -> Terms {
        if self.blow == Blow::Freeze {
            let ends = |hit: &Linked| hit.replica.when(&["no longer leads"]).len();
            let before = ends(&hit);
            hit.replica.signal("-CONT");
            wait::until("it knows", || {
                wait::check(ends(&hit) > before, || hit.replica.name.clone())
            })
            .await;
            hit.replica.assert_well();
        }
        let mut terms = Terms::default();
        terms.add(&hit.replica);
        for linked in &self.replicas {
            terms.add(&linked.replica);
        }
        if self.blow == Blow::Freeze {
            self.replicas.push(hit);
        } else {
            self.start();
        }
        self.stage.two_more_looks().await;
        terms
    }

    async fn update(&mut self, number: usize, action: &str, moment: Moment) {
        let (mark, cidr) = (self.stage.aws.mark(), format!("198.51.100.{number}/32"));
        let change = async {
            let data = [("net", cidr.as_str())];
            self.stage.config_map("egress", &data).await;
        };
        let hit = self.spring(action, moment, change).await;
        let hit = self.blow(hit, &cidr).await;
        let terms = self.recover(hit).await;
        let writes = self.stage.aws.writes_since(mark);
        terms.audit(&writes);
        let executed = accepted(&writes, "ExecuteChangeSet");
        assert_eq!(executed, 1, "{action} {moment:?} {:?}", self.blow);
        audit::nothing_failed(&self.stage.aws, STACK);
    }

    async fn creation(&mut self, action: &str, moment: Moment) {
        // No replica of the previous round is left.
        self.replicas.clear();
        self.stage.aws.post("reset", &json!({}));
        self.stage.aws.post("world", &json!({}));
        self.stage.delete_lease().await;
        self.stage.released_lease().await;
        // The ledger would name static IPs that the new account does not have.
        let ledger = format!("{}/{LEDGER}", self.stage.path("", "configmaps"));
        let (kind, empty) = ("application/merge-patch+json", json!({ "data": null }));
        let emptied = self
            .stage
            .request(Method::PATCH, &ledger, kind, &empty)
            .await;
        emptied.unwrap();
        self.start();
        self.start();
        let hit = self.spring(action, moment, async {}).await;
        let hit = self.blow(hit, "198.51.100.0/32").await;
        let terms = self.recover(hit).await;
        let writes = self.stage.aws.writes_since(0);
        terms.audit(&writes);
        let created = accepted(&writes, "CreateStack");
        assert_eq!(created, 1, "{action} {moment:?} {:?}", self.blow);
        audit::nothing_failed(&self.stage.aws, STACK);
    }
}

/// The call leaves before its leader freezes, and arrives after another leader has changed the stack.
async fn lands_late(stage: Stage, action: &str) {
    let mut lane = Lane::new(stage, Blow::Freeze);
    lane.start();
    lane.start();
    let cidr = "198.51.100.0/32";
    let creates = action == "CreateStack";
    if !creates {
        lane.stage.config_map("egress", &[("net", "8.8.8.8")]).await;
        lane.stage.routed(&["8.8.8.8/32"]).await;
    }
    let data = [("net", cidr)];
    let change = lane.stage.config_map("egress", &data);
    let hit = lane.spring(action, Moment::Before, change).await;
    let hit = lane.replicas.swap_remove(hit);
    hit.replica.signal("-STOP");
    let successor = &lane.replicas[0].replica;
    wait::until("the other leads", || {
        successor.said(&["this replica leads"])
    })
    .await;
    let exits = lane.stage.routed(&[cidr]).await;
    let mark = lane.stage.aws.mark();
    hit.aws.let_go();
    let result = wait::until("it lands", || {
        let landed = lane.stage.aws.writes_since(mark).into_iter();
        let mut late =
            landed.filter(|entry| entry.access_key.as_ref() == Some(&hit.replica.access_key));
        late.find_map(|entry| entry.result)
            .ok_or_else(|| "it has not".to_owned())
    })
    .await;
    wait::measured(&format!("a {action} that landed late: {result}"));
    // Preparing a change set changes nothing, whichever replica does it.
    assert_eq!(result == "ok", action == "CreateChangeSet", "{result}");
    hit.replica.signal("-CONT");
    wait::until("it knows", || hit.replica.said(&["no longer leads"])).await;
    lane.stage.two_more_looks().await;
    assert_eq!(lane.stage.routed(&[cidr]).await, exits);
    let writes = lane.stage.aws.writes_since(0);
    assert_eq!(accepted(&writes, "CreateStack"), 1);
    let executed = accepted(&writes, "ExecuteChangeSet");
    assert_eq!(executed, usize::from(!creates));
    audit::nothing_failed(&lane.stage.aws, STACK);
}

#[tokio::test]
async fn a_call_that_lands_late_changes_nothing() {
    let first = Stage::open("late").await;
    let (second, third) = (first.another("late").await, first.another("late").await);
    tokio::join!(
        lands_late(first, "CreateStack"),
        lands_late(second, "CreateChangeSet"),
        lands_late(third, "ExecuteChangeSet"),
    );
}

async fn updates(blow: Blow) {
    let first = Stage::open("update-stages").await;
    let mut lanes = Vec::new();
    for _ in 1..MOMENTS.len() {
        lanes.push(Lane::new(first.another("update-stages").await, blow));
    }
    lanes.push(Lane::new(first, blow));
    let rounds = lanes
        .into_iter()
        .zip(MOMENTS)
        .map(async |(mut lane, moment)| {
            lane.start();
            lane.start();
            lane.stage.config_map("egress", &[("net", "8.8.8.8")]).await;
            lane.stage.routed(&["8.8.8.8/32"]).await;
            for (number, action) in (0..).zip(UPDATE) {
                lane.update(number, action, moment).await;
            }
        });
    join_all(rounds).await;
}

async fn creations(blow: Blow) {
    let first = Stage::open("create-stages").await;
    let mut lanes = Vec::new();
    for _ in 1..MOMENTS.len() {
        lanes.push(Lane::new(first.another("create-stages").await, blow));
    }
    lanes.push(Lane::new(first, blow));
    let rounds = lanes
        .into_iter()
        .zip(MOMENTS)
        .map(async |(mut lane, moment)| {
            let data = [("net", "198.51.100.0/32")];
            lane.stage.config_map("egress", &data).await;
            for action in CREATION {
                lane.creation(action, moment).await;
            }
        });
    join_all(rounds).await;
}

#[tokio::test]
async fn a_crash_before_during_and_after_each_call_of_an_update() {
    updates(Blow::Crash).await;
}

#[tokio::test]
async fn a_freeze_before_during_and_after_each_call_of_an_update() {
    updates(Blow::Freeze).await;
}

#[tokio::test]
async fn a_crash_before_during_and_after_each_call_of_a_creation() {
    creations(Blow::Crash).await;
}

#[tokio::test]
async fn a_freeze_before_during_and_after_each_call_of_a_creation() {
    creations(Blow::Freeze).await;
}
