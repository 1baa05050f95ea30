//! The wall clock of a machine: the times that it writes into the Lease, and the effect of trusting it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::time::Instant;

/// 2026-01-01T00:00:00Z, the start of simulated time.
const BEGIN: i64 = 1_767_225_600;

#[derive(Clone)]
pub struct Wall {
    start: Instant,
    /// How many seconds the clock is ahead of the true time.
    ahead: i64,
    /// A planted bug: the process takes a Lease that has expired by this clock.
    pub trusted: bool,
}

impl Wall {
    pub fn new(ahead: i64) -> Self {
        Self {
            start: Instant::now(),
            ahead,
            trusted: false,
        }
    }

    fn now(&self) -> Timestamp {
        let passed = SignedDuration::try_from(self.start.elapsed()).unwrap();
        Timestamp::from_second(BEGIN + self.ahead).unwrap() + passed
    }

    /// Sets the time of a renewal to this clock's time, because the crate reads the real clock, which hardly advances in a simulated hour.
    /// Claims and releases keep their times, by which they are recognised.
    pub fn date(&self, patch: &mut Value) {
        if let Some(spec) = patch.get_mut("spec")
            && spec.get("renewTime").is_some()
            && spec["holderIdentity"] != ""
        {
            spec["renewTime"] = format!("{:.6}", self.now()).into();
        }
    }

    /// Shows a Lease that has expired by this clock as released.
    pub fn mislead(&self, lease: &mut Value) {
        let Some(spec) = lease.get_mut("spec") else {
            return;
        };
        let time = |of: &Value| of.as_str().and_then(|text| text.parse::<Timestamp>().ok());
        let seconds = spec["leaseDurationSeconds"].as_u64().unwrap_or(0);
        let expired = time(&spec["renewTime"])
            .is_some_and(|renewed| renewed + Duration::from_secs(seconds) < self.now());
        if expired && spec["holderIdentity"] != "" {
            spec["holderIdentity"] = "".into();
            spec["leaseDurationSeconds"] = 1.into();
            spec["acquireTime"] = json!(spec["renewTime"]);
        }
    }
}
