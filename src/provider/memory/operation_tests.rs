//! Drift of routes is found, stays through operations on other resources, and is reverted by a change set.

use std::collections::BTreeMap;
use std::time::Duration;

use ipnet::Ipv4Net;

use crate::cluster::Cluster;
use crate::lease::{Election as _, NoElection, Term};
use crate::ledger_store::LedgerStore;
use crate::model::base::ids::{ObjectId, Zone};
use crate::model::base::reason::Reason;
use crate::model::base::settings::{OnDrift, OnEmpty, Settings};
use crate::model::cloud::network::{Network, Route};
use crate::model::desired::example_zones;
use crate::model::drift::tracker::{MAX_REPAIRS, Watch};
use crate::model::input::request::{Object, Snapshot};
use crate::model::persisted::grace::Grace;
use crate::model::plan::types::Action;
use crate::model::schedule::{Outcome, Schedule};
use crate::provider::Provider as _;
use crate::provider::memory::MemoryProvider;
use crate::reconcile::{self, LeaderState, Pass, PassInput};
use crate::simulation::script::StackEdit;
use crate::source::Source;

impl MemoryProvider {
    /// Creates, changes or deletes a route outside of CloudFormation.
    pub(crate) fn tamper(&self, table: &str, cidr: Ipv4Net, route: Option<Route>) {
        let mut account = self.account();
        let table = account.ec2.network.worker_tables.get_mut(table);
        let routes = &mut table.expect("a worker's table").routes;
        match route {
            Some(route) => routes.insert(cidr, route),
            None => routes.remove(&cidr),
        };
    }

    /// Sets whether change sets can revert drift.
    pub(crate) fn set_reverts(&self, reverts: bool) {
        self.account().reverts = reverts;
    }
}

/// Runs the controller's passes one after the other, on virtual time.
struct Bench {
    provider: MemoryProvider,
    settings: Settings,
    snapshot: Snapshot,
    /// The result of a consistent list, if it differs from the snapshot.
    truth: Option<Snapshot>,
    memory: LeaderState,
    term: Term,
    now: Duration,
    sent: Vec<&'static str>,
}

fn net(text: &str) -> Ipv4Net {
    text.parse().expect("a network")
}

impl Bench {
    /// Returns a bench with a stack at rest that routes 8.8.8.8.
    async fn new(drift: OnDrift) -> Self {
        Self::of_zones(drift, example_zones()).await
    }

    async fn of_zones(drift: OnDrift, zones: BTreeMap<Zone, Ipv4Net>) -> Self {
        let settings = Settings {
            stack_name: "egress".to_owned(),
            zones,
            drift,
            max_removal: 50,
            ..Settings::default()
        };
        let provider = MemoryProvider::new(MemoryProvider::network_for(&settings.zones));
        let mut bench = Self {
            provider,
            settings,
            snapshot: Snapshot::default(),
            truth: None,
            memory: LeaderState {
                schedule: Schedule::new(
                    Duration::from_secs(300),
                    Watch::new(Some(Duration::from_secs(300))),
                ),
                grace: Grace::new(Duration::from_secs(600)),
                ledger: LedgerStore::disabled(),
                cluster: Cluster::none(),
                rules: None,
            },
            term: NoElection::new().campaign().await,
            now: Duration::ZERO,
            sent: Vec::new(),
        };
        bench.ask("8.8.8.8");
        bench.settle().await;
        bench.sent.clear();
        bench
    }

    fn ask(&mut self, value: &str) {
        let data = [("dns".to_owned(), value.to_owned())].into();
        let uid = String::new();
        let object = Object {
            uid,
            data,
            ..Object::default()
        };
        self.snapshot.objects = [(ObjectId::default(), object)].into();
    }

    async fn pass(&mut self) -> Pass {
        let truth = self.truth.clone().unwrap_or_else(|| self.snapshot.clone());
        let source = Source::confirming(truth);
        let frame = PassInput {
            snapshot: &self.snapshot,
            source: &source,
            settings: &self.settings,
            began: Duration::ZERO,
            dry_run: false,
            now: self.now,
            jitter: 0.5,
        };
        loop {
            match reconcile::pass(&self.provider, &self.term, &mut self.memory, &frame).await {
                Ok(pass) => return pass,
                Err(error) => assert_eq!(error.reason, "Rejected"),
            }
        }
    }

    /// Runs passes until one has nothing to do and no early check of EC2 is due.
    async fn settle(&mut self) -> Pass {
        for _ in 0..200 {
            let pass = self.pass().await;
            if pass.applied {
                self.sent.push(pass.plan.action.name());
            }
            let wait = self.memory.schedule.next(pass.outcome, self.now);
            let wait = wait.expect("nothing fails here");
            if pass.plan.action == Action::Keep && wait == Duration::from_secs(300) {
                return pass;
            }
            tokio::time::advance(wait).await;
            self.now += wait;
        }
        panic!("it does not settle: {:?}", self.sent);
    }

    async fn network(&self) -> Network {
        self.provider.network().await.expect("a network")
    }

    async fn target(&self) -> Option<String> {
        let network = self.network().await;
        let route = network.worker_tables["rtb-1"]
            .routes
            .get(&net("8.8.8.8/32"));
        route.map(|route| route.target.clone())
    }
}

/// Returns the two kinds of damage: no route, and a route to another target.
fn harms() -> [Option<Route>; 2] {
    let elsewhere = Route {
        target: "pcx-1".to_owned(),
        blackhole: false,
    };
    [None, Some(elsewhere)]
}

const REVERTED: [&str; 2] = ["RevertDrift", "ExecuteChangeSet"];
const CHANGED: [&str; 2] = ["CreateChangeSet", "ExecuteChangeSet"];

#[tokio::test(start_paused = true)]
async fn drift_is_reverted_or_goes_out_and_in() {
    for (reverts, expected) in [
        (true, REVERTED.to_vec()),
        (false, [CHANGED, CHANGED].concat()),
    ] {
        for harm in harms() {
            let mut bench = Bench::new(OnDrift::Repair).await;
            bench.provider.set_reverts(reverts);
            bench.provider.tamper("rtb-1", net("8.8.8.8/32"), harm);
            let pass = bench.settle().await;
            assert_eq!(bench.target().await.as_deref(), Some("nat-eu-west-1a"));
            assert_eq!(bench.sent, expected);
            assert_eq!(pass.plan.problems, []);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_only_told_stays_through_other_changes() {
    let mut bench = Bench::new(OnDrift::Report).await;
    bench.provider.tamper("rtb-1", net("8.8.8.8/32"), None);
    let pass = bench.settle().await;
    assert_eq!(pass.plan.problems[0].reason, Reason::RouteMissing);
    bench.provider.tamper("rtb-2", net("9.9.9.9/32"), None);
    bench.ask("8.8.8.8/31");
    bench.settle().await;
    assert_eq!(bench.sent, CHANGED);
    assert_eq!(bench.target().await, None);
}

/// The new stack starts with the status of the former one, and neither was ever updated.
#[tokio::test(start_paused = true)]
async fn a_stack_that_is_created_again_is_not_judged_by_the_one_before() {
    let mut bench = Bench::new(OnDrift::Repair).await;
    bench.provider.edit_by_hand(StackEdit::Deletes);
    let pass = bench.settle().await;
    assert_eq!(bench.sent, ["CreateStack"]);
    assert_eq!((pass.plan.problems, pass.plan.drifts), (vec![], vec![]));
}

/// Another principal deletes the route after each repair.
#[tokio::test(start_paused = true)]
async fn the_same_drift_is_repaired_three_times_and_again_after_an_hour() {
    let mut bench = Bench::new(OnDrift::Repair).await;
    let cidr = net("8.8.8.8/32");
    for _ in 0..2 * MAX_REPAIRS {
        bench.provider.tamper("rtb-1", cidr, None);
        bench.settle().await;
    }
    let repairs = [&REVERTED[..], &CHANGED, &CHANGED, &CHANGED, &CHANGED].concat();
    assert_eq!(bench.sent, repairs);
    let reasons: Vec<Reason> = bench
        .pass()
        .await
        .plan
        .problems
        .iter()
        .map(|p| p.reason)
        .collect();
    assert_eq!(reasons, [Reason::DriftRepairFailed, Reason::RouteMissing]);
    // After an hour without drift, new drift is repaired like the first.
    let target = "nat-eu-west-1a".to_owned();
    let well = Route {
        target,
        blackhole: false,
    };
    bench.provider.tamper("rtb-1", cidr, Some(well));
    bench.settle().await;
    bench.now += Duration::from_secs(3_700);
    bench.settle().await;
    bench.sent.clear();
    bench.provider.tamper("rtb-1", cidr, None);
    bench.settle().await;
    assert_eq!(bench.sent, REVERTED);
}

/// The watch has failed unnoticed: a list still finds the ConfigMaps that the snapshot lacks.
#[tokio::test(start_paused = true)]
async fn nothing_goes_that_a_list_still_finds() {
    for on_empty in [OnEmpty::Keep, OnEmpty::Delete] {
        let mut bench = Bench::new(OnDrift::Off).await;
        bench.settings.on_empty = on_empty;
        bench.memory.grace = Grace::new(Duration::ZERO);
        bench.truth = Some(std::mem::take(&mut bench.snapshot));
        for _ in 0..5 {
            let pass = bench.pass().await;
            let told = pass.plan.problems.iter();
            let told = told.filter(|problem| problem.reason == Reason::NotConfirmed);
            match pass.plan.action {
                Action::Delete { .. } | Action::Execute { .. } => {
                    assert_eq!((pass.applied, told.count()), (false, 1), "{}", pass.plan);
                    assert_eq!(pass.outcome, Outcome::Failed);
                    assert_eq!(pass.outcome_name(), "waiting");
                }
                _ => assert_eq!(told.count(), 0),
            }
            tokio::time::advance(Duration::from_secs(5)).await;
            bench.now += Duration::from_secs(5);
        }
        assert!(bench.target().await.is_some(), "{on_empty:?}");
        // A route is removed once the list does not find its ConfigMap either.
        bench.truth = None;
        bench.settle().await;
        assert_eq!(bench.target().await, None);
    }
}

/// No readable entry requests the route, so no change would restore it.
#[tokio::test(start_paused = true)]
async fn a_route_that_is_kept_only_because_it_is_there_is_not_taken_out() {
    let mut bench = Bench::new(OnDrift::Repair).await;
    bench.provider.set_reverts(false);
    bench.ask("nonsense");
    let elsewhere = harms()[1].clone();
    bench.provider.tamper("rtb-1", net("8.8.8.8/32"), elsewhere);
    let pass = bench.settle().await;
    assert_eq!(bench.sent, [""; 0]);
    assert_eq!(pass.plan.desired.routes.len(), 3);
}

/// EC2 refuses a NAT gateway in a Local Zone if its static IP is of the region.
#[tokio::test(start_paused = true)]
async fn a_local_zone_gets_its_nat_gateway() {
    let zones = ["eu-central-1-ham-1a", "eu-central-1a"].map(str::to_owned);
    let cidrs = [net("10.0.200.0/28"), net("10.0.200.16/28")];
    let mut bench = Bench::of_zones(OnDrift::Repair, zones.into_iter().zip(cidrs).collect()).await;
    let plan = bench.pass().await.plan;
    assert_eq!((plan.action, plan.problems.len()), (Action::Keep, 0));
    assert_eq!(bench.provider.account().ec2.gateways.len(), 2);
}
