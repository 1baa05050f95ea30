//! Metrics in the OpenMetrics format. deploy/docs/metrics.md has the table.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use super::lease_metrics::{LeaseGauges, Outcome};
use super::plan_metrics::{Ip, List, by_state, count, prefix_lists, static_ips};
use super::write_metrics::WriteMetrics;
use crate::lease::LeaseView;
use crate::model::plan::types::Action;
use crate::reconcile::Pass;

/// The prefix of every metric's name.
pub const PREFIX: &str = "kube_static_egress_controller";

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Step {
    action: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Status {
    status: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct State {
    state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Limit {
    limit: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Call {
    service: &'static str,
    action: &'static str,
    result: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Operation {
    service: &'static str,
    action: &'static str,
}

/// All metrics of the process. All clones share them.
#[derive(Clone)]
pub struct Metrics {
    inner: Arc<Inner>,
}

struct Inner {
    registry: Registry,
    lease_view: Mutex<Option<watch::Receiver<LeaseView>>>,
    lease: LeaseGauges,
    gauges: Gauges,
    writes: WriteMetrics,
    pass_duration: Histogram,
    call_duration: Family<Operation, Histogram, fn() -> Histogram>,
}

/// The metrics that start at zero.
#[derive(Clone, Default)]
struct Gauges {
    last_sync: Gauge<f64, AtomicU64>,
    passes: Family<Outcome, Counter>,
    plan: Family<Step, Gauge>,
    stack_status: Family<Status, Gauge>,
    routes: Gauge,
    step_tries: Gauge,
    step_wait: Gauge<f64, AtomicU64>,
    entries: Family<State, Gauge>,
    problems: Family<Reason, Gauge>,
    limits: Family<Limit, Gauge<f64, AtomicU64>>,
    static_ips: Family<Ip, Gauge>,
    prefix_lists: Family<List, Gauge>,
    calls: Family<Call, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        let gauges = Gauges::default();
        gauges.register(&mut registry);
        let lease = LeaseGauges::new(&mut registry);
        let writes = WriteMetrics::new(&mut registry);
        let pass_duration = Histogram::new(exponential_buckets(0.005, 2.0, 14));
        registry.register(
            "pass_duration_seconds",
            "Duration of passes",
            pass_duration.clone(),
        );
        let buckets: fn() -> Histogram = || Histogram::new(exponential_buckets(0.01, 2.0, 12));
        let call_duration = Family::new_with_constructor(buckets);
        let help = "Duration of calls to AWS, including retries of the SDK";
        registry.register("aws_call_duration_seconds", help, call_duration.clone());
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "This program", version);
        let lease_view = Mutex::default();
        Self {
            inner: Arc::new(Inner {
                registry,
                lease_view,
                lease,
                gauges,
                writes,
                pass_duration,
                call_duration,
            }),
        }
    }

    /// Reads the Lease's metrics from `view` at each scrape.
    pub fn follow_lease(&self, view: watch::Receiver<LeaseView>) {
        *self
            .inner
            .lease_view
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(view);
    }

    /// Returns the counters of writes that inform users.
    pub fn writes(&self) -> WriteMetrics {
        self.inner.writes.clone()
    }

    /// Records a pass that made a plan. It counts as a sync only if the stack is as planned and every accepted entry has a route.
    pub fn passed(&self, pass: &Pass, took: Duration) {
        let gauges = &self.inner.gauges;
        let plan = &pass.plan;
        let (tries, wait) = pass.tried;
        gauges.step_tries.set(i64::from(tries));
        gauges.step_wait.set(wait.as_secs_f64());
        self.count(pass.outcome_name(), took);
        if matches!(plan.action, Action::Keep) && plan.serves_all() {
            let now = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default();
            gauges.last_sync.set(now.as_secs_f64());
        }
        gauges.plan.clear();
        gauges
            .plan
            .get_or_create(&Step {
                action: plan.action.name().to_owned(),
            })
            .set(1);
        gauges.stack_status.clear();
        if let Some(status) = plan.shown_status().map(ToString::to_string) {
            gauges.stack_status.get_or_create(&Status { status }).set(1);
        }
        gauges.routes.set(count(plan.desired.routes.len()));
        for (state, entries) in by_state(plan) {
            let gauge = gauges.entries.get_or_create(&State { state });
            gauge.set(count(entries));
        }
        gauges.limits.clear();
        for (limit, share) in plan.size.iter().flat_map(|size| size.shares()) {
            gauges.limits.get_or_create(&Limit { limit }).set(share);
        }
        gauges.static_ips.clear();
        for ip in static_ips(plan) {
            gauges.static_ips.get_or_create(&ip).set(1);
        }
        gauges.prefix_lists.clear();
        for (list, networks) in prefix_lists(plan) {
            gauges.prefix_lists.get_or_create(&list).set(networks);
        }
        gauges.problems.clear();
        for problem in &plan.problems {
            gauges
                .problems
                .get_or_create(&Reason {
                    reason: problem.reason.name(),
                })
                .inc();
        }
    }

    /// Records a pass that failed.
    pub fn failed(&self, reason: &'static str, took: Duration) {
        self.count(reason, took);
    }

    fn count(&self, outcome: &str, took: Duration) {
        self.inner
            .gauges
            .passes
            .get_or_create(&Outcome {
                outcome: outcome.to_owned(),
            })
            .inc();
        self.inner.pass_duration.observe(took.as_secs_f64());
    }

    /// Clears the metrics of the plan, because this replica no longer leads.
    pub fn forget_plan(&self) {
        let gauges = &self.inner.gauges;
        gauges.plan.clear();
        gauges.stack_status.clear();
        gauges.entries.clear();
        gauges.problems.clear();
        gauges.limits.clear();
        gauges.static_ips.clear();
        gauges.prefix_lists.clear();
        gauges.routes.set(0);
        gauges.step_tries.set(0);
        gauges.step_wait.set(0.0);
    }

    /// Records one call to AWS. `result` is `ok` or an error code.
    pub fn called(
        &self,
        service: &'static str,
        action: &'static str,
        result: &str,
        took: Duration,
    ) {
        let call = Call {
            service,
            action,
            result: result.to_owned(),
        };
        self.inner.gauges.calls.get_or_create(&call).inc();
        self.inner
            .call_duration
            .get_or_create(&Operation { service, action })
            .observe(took.as_secs_f64());
    }

    /// Records this replica's first decision as the leader. Returns the time since it could have taken the Lease, if there is one.
    pub fn took_over(&self) -> Option<Duration> {
        let took = self.lease_view()?.borrow().free_since?.elapsed();
        self.inner.lease.takeover.observe(took.as_secs_f64());
        Some(took)
    }

    fn lease_view(&self) -> Option<watch::Receiver<LeaseView>> {
        let view = self.inner.lease_view.lock();
        view.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns all metrics in the OpenMetrics text format.
    pub fn text(&self) -> String {
        if let Some(view) = self.lease_view() {
            self.inner.lease.show(&view.borrow());
        }
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _written = prometheus_client::encoding::text::encode(&mut text, &self.inner.registry);
        text
    }
}

impl Gauges {
    fn register(&self, registry: &mut Registry) {
        let all = self.clone();
        let help = "When the stack last matched the ConfigMaps, in seconds since 1970";
        registry.register("last_sync_timestamp_seconds", help, all.last_sync);
        registry.register(
            "passes",
            "Passes by outcome: settled, applied, waiting, refused or an error",
            all.passes,
        );
        registry.register(
            "plan_action",
            "1 for the action of the latest plan",
            all.plan,
        );
        registry.register(
            "stack_status",
            "1 for the status of the stack, as last observed",
            all.stack_status,
        );
        registry.register("routes", "Routes that the stack should contain", all.routes);
        let help = "Failed attempts of the latest plan's step";
        registry.register("step_tries", help, all.step_tries);
        let help = "Time until the next attempt of the latest plan's step, as of the latest pass";
        registry.register("step_wait_seconds", help, all.step_wait);
        let help = "Entries of ConfigMaps by state: accepted, refused, or waiting for room in the route tables";
        registry.register("entries", help, all.entries);
        let help = "Problems of the latest plan, by reason";
        registry.register("problems", help, all.problems);
        let help = "Share of CloudFormation's quotas that the template uses, by quota; 1 is the whole quota";
        registry.register("limit_used_ratio", help, all.limits);
        let help = "1 for each static IP: in use, or kept in the account and costing money";
        registry.register("static_ip_info", help, all.static_ips);
        let help = "Networks in each prefix list of the stack";
        registry.register("prefix_list_networks", help, all.prefix_lists);
        let help = "Calls to AWS by service, action and result";
        registry.register("aws_calls", help, all.calls);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::base::ids::{EntryId, ObjectId};
    use crate::model::plan::types::Plan;
    use crate::model::schedule;

    /// An alert compares this time with the clock, so it must not advance while a requested entry has no route.
    #[test]
    fn the_time_of_the_last_sync_stays_while_an_entry_is_missing() {
        let mut plan = Plan::default();
        plan.action = Action::Keep;
        let net = "8.8.8.8/32".parse().expect("a network");
        let entry = EntryId {
            object: ObjectId::default(),
            key: "dns".to_owned(),
        };
        plan.request.entries.insert(entry, net);
        let mut pass = Pass {
            plan,
            applied: false,
            outcome: schedule::Outcome::Settled(None),
            tried: (0, Duration::ZERO),
        };
        let metrics = Metrics::new();
        metrics.passed(&pass, Duration::ZERO);
        let never = "last_sync_timestamp_seconds 0.0\n";
        assert!(metrics.text().contains(never), "no table routes the entry");
        pass.plan.request.entries.clear();
        metrics.passed(&pass, Duration::ZERO);
        assert!(!metrics.text().contains(never), "nothing is missing");
    }

    #[test]
    fn the_text_has_the_reference_metric_and_the_lease() {
        let metrics = Metrics::new();
        let view = LeaseView {
            leading: true,
            epoch: 7,
            renewals_ok: 3,
            ..LeaseView::default()
        };
        let (_sender, receiver) = watch::channel(view);
        metrics.follow_lease(receiver);
        metrics.called(
            "cloudformation",
            "DescribeStacks",
            "ok",
            Duration::from_millis(20),
        );
        let text = metrics.text();
        for line in [
            "kube_static_egress_controller_last_sync_timestamp_seconds 0.0",
            "kube_static_egress_controller_leader 1",
            "kube_static_egress_controller_lease_epoch 7",
            "kube_static_egress_controller_lease_renewals{outcome=\"ok\"} 3",
            "kube_static_egress_controller_aws_calls_total{service=\"cloudformation\",action=\"DescribeStacks\",result=\"ok\"} 1",
            "# EOF",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
