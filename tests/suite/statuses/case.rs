//! A status, from entering it until it is left.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinHandle;

use crate::http;
use crate::replica::Replica;
use crate::stage::{EXAMPLE, EXAMPLE_CIDRS, STACK, Stage};
use crate::tidy::docs::most_calls;
use crate::wait;

/// A stage whose AWS has a clock that can be stopped, with one replica.
pub struct Case {
    pub stage: Stage,
    replica: Replica,
    flows: Arc<AtomicBool>,
    clock: JoinHandle<()>,
    entered: Option<(usize, Instant)>,
}

/// Advances the clock of AWS five times as fast as the wall clock.
async fn keep_time(port: u16, flows: Arc<AtomicBool>) {
    loop {
        if flows.load(Ordering::Relaxed) {
            let step = r#"{"advance_ms": 100}"#;
            http::send(port, "POST", "/_standin/clock", &[], step).unwrap();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl Case {
    pub async fn open(name: &str, flags: &[(&'static str, &str)]) -> Self {
        let stage = Stage::open(name).await;
        let settings = json!({ "clock": "virtual", "operation_ms": 1_000 });
        stage.aws.settings(settings);
        let flows = Arc::new(AtomicBool::new(true));
        let clock = tokio::spawn(keep_time(stage.aws.port(), Arc::clone(&flows)));
        let mut launch = stage.replica("r1");
        for (flag, value) in flags {
            launch = launch.flag(flag, value);
        }
        let replica = launch.start();
        Self {
            stage,
            replica,
            flows,
            clock,
            entered: None,
        }
    }

    /// Opens a case with the example's stack.
    pub async fn routed(name: &str, flags: &[(&'static str, &str)]) -> Self {
        let case = Self::open(name, flags).await;
        case.stage.config_map("egress-t1", &EXAMPLE).await;
        case.stage.routed(&EXAMPLE_CIDRS).await;
        case
    }

    pub fn stop_time(&self) {
        self.flows.store(false, Ordering::Relaxed);
    }

    pub async fn more(&self) {
        self.stage
            .config_map("egress-t2", &[("dns", "9.9.9.9")])
            .await;
    }

    pub fn fails(&self, kind: &str, logical_id: &str) {
        let fault =
            json!({ "kind": kind, "logical_id": logical_id, "times": 1, "message": "no capacity" });
        self.stage.aws.fault(fault);
    }

    pub fn force(&self, status: &str) {
        self.stage
            .aws
            .post("stack-status", &json!({ "stack": STACK, "status": status }));
    }

    /// Advances the clock step by step until the stack has the status, and stops it there.
    pub async fn comes_to(&mut self, status: &str) {
        self.stop_time();
        let what = format!("the stack is {status}");
        wait::until(&what, || {
            let state = self.stage.aws.state();
            let is = |stack: &serde_json::Value| stack["status"] == status;
            let there = state["stacks"].as_array().unwrap().iter().any(is);
            if !there {
                self.stage.aws.post("clock", &json!({ "advance_ms": 10 }));
            }
            wait::check(there, || format!("{:?}", self.stage.aws.stacks()))
        })
        .await;
        self.entered = Some((self.stage.aws.mark(), Instant::now()));
    }

    /// Same as [`Self::comes_to`], and waits until the leader has observed the status.
    pub async fn enters(&mut self, status: &str) {
        self.comes_to(status).await;
        let sample = format!("kube_static_egress_controller_stack_status{{status=\"{status}\"}}");
        wait::until("the leader has seen it", || {
            let seen = self.replica.metric(&sample) == Some(1.0);
            wait::check(seen, || format!("{sample} is not 1"))
        })
        .await;
    }

    pub fn time_flows(&self) {
        self.flows.store(true, Ordering::Relaxed);
    }

    /// Same as [`Self::leaves`], after a creation that failed for one of the three zones: that zone waits, and the others serve.
    pub async fn leaves_without_a_zone(&self, status: &str, cidrs: &[&str]) {
        self.leaves_with(2, status, cidrs).await;
    }

    /// Waits until everything is routed, and compares the number of calls with deploy/docs/statuses.md.
    pub async fn leaves(&self, status: &str, cidrs: &[&str]) {
        self.leaves_with(3, status, cidrs).await;
    }

    async fn leaves_with(&self, zones: usize, status: &str, cidrs: &[&str]) {
        let (mark, start) = self.entered.expect("a status was entered");
        self.time_flows();
        // Without a NAT gateway no route is required, and a stack that was rolled back has none.
        wait::until("the zones have their NAT gateways", || {
            let exits = self.stage.aws.exits();
            wait::check(exits.len() == zones, || format!("{exits:?}"))
        })
        .await;
        self.stage.routed(cidrs).await;
        let calls = self.stage.aws.log_since(mark);
        let calls = calls.iter().filter(|entry| entry.of_replica()).count();
        let most = most_calls(status);
        wait::measured(&format!(
            "{status}: left after {:.1} s with {calls} calls of AWS",
            start.elapsed().as_secs_f64()
        ));
        assert!(calls <= most, "deploy/docs/statuses.md says {most}");
    }

    /// Checks that no call changes the stack in this status.
    pub async fn is_left_alone(&self, says: &[&str]) {
        let (mark, _) = self.entered.expect("a status was entered");
        wait::until("told", || self.replica.said(says)).await;
        let writes = self.stage.writes_at_rest(mark).await;
        assert!(writes.is_empty(), "{writes:?}");
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        self.clock.abort();
    }
}
