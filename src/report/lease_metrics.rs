//! Metrics of the Lease: leadership, renewals and the duration of takeovers.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::lease::LeaseView;

#[derive(Clone)]
pub(super) struct LeaseGauges {
    leader: Gauge,
    epoch: Gauge,
    transitions: Gauge,
    renewals: Family<Outcome, Gauge>,
    renewal_age: Gauge<f64, AtomicU64>,
    renewal_latency: Gauge<f64, AtomicU64>,
    pub(super) takeover: Histogram,
}

impl LeaseGauges {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let all = Self {
            leader: Gauge::default(),
            epoch: Gauge::default(),
            transitions: Gauge::default(),
            renewals: Family::default(),
            renewal_age: Gauge::default(),
            renewal_latency: Gauge::default(),
            takeover: Histogram::new(exponential_buckets(0.0125, 2.0, 12)),
        };
        let it = all.clone();
        registry.register("leader", "1 while this replica leads", it.leader);
        registry.register(
            "lease_epoch",
            "Transitions of the Lease, as last observed",
            it.epoch,
        );
        registry.register(
            "lease_transitions_seen",
            "Changes of the leader seen by this process",
            it.transitions,
        );
        registry.register(
            "lease_renewals",
            "Renewals by this process, by outcome: ok or failed",
            it.renewals,
        );
        registry.register(
            "lease_renewal_age_seconds",
            "Time since the last renewal by this process",
            it.renewal_age,
        );
        registry.register(
            "lease_renewal_latency_seconds",
            "Duration of the last renewal",
            it.renewal_latency,
        );
        registry.register(
            "takeover_duration_seconds",
            "Time from the moment this replica could take the Lease to its first decision as the leader",
            it.takeover,
        );
        all
    }

    pub(super) fn show(&self, view: &LeaseView) {
        self.leader.set(i64::from(view.leading));
        self.epoch
            .set(i64::try_from(view.epoch).unwrap_or(i64::MAX));
        self.transitions
            .set(i64::try_from(view.transitions_seen).unwrap_or(i64::MAX));
        for (outcome, renewals) in [("ok", view.renewals_ok), ("failed", view.renewals_failed)] {
            let gauge = self.renewals.get_or_create_owned(&Outcome {
                outcome: outcome.to_owned(),
            });
            gauge.set(i64::try_from(renewals).unwrap_or(i64::MAX));
        }
        self.renewal_age.set(
            view.last_renewal
                .map_or(0.0, |at| at.elapsed().as_secs_f64()),
        );
        self.renewal_latency.set(
            view.last_renewal_latency
                .map_or(0.0, |took| took.as_secs_f64()),
        );
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct Outcome {
    pub(super) outcome: String,
}
