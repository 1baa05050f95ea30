//! Incomplete answers of EC2.

use std::time::Duration;

use fastrand::Rng;
use tokio::time::Instant;

use super::draw::{moments, one};
use super::script::Event;
use super::world::World;
use crate::lease::tests::secs;
use crate::model::cloud::network::Network;
use crate::model::cloud::observed::Observed;

/// The resources that answers lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    Addresses,
    Gateways,
    /// Static IPs, NAT gateways and NAT subnets of all zones.
    Zones,
    /// The first worker table, and the tables of NAT subnets.
    Tables,
}

impl World {
    pub fn leave_gap(&self, gap: Gap, lasts: Duration) {
        self.shared().gaps.push((gap, Instant::now() + lasts));
        // A table that is not observed gets no new routes, and a zone in doubt is not changed.
        self.is_tight_for(lasts);
    }

    fn has_gap(&self, gap: Gap) -> bool {
        let now = Instant::now();
        let mut shared = self.shared();
        shared.gaps.retain(|(_, until)| *until > now);
        shared.gaps.iter().any(|(it, _)| *it == gap)
    }
}

/// Removes tables from the network that a replica reads.
pub fn in_network(world: &World, network: &mut Network) {
    if world.has_gap(Gap::Tables) {
        // An answer without any worker table would be an error.
        if network.worker_tables.len() > 1 {
            network.worker_tables.pop_first();
        }
        network.other_tables.clear();
    }
}

/// Removes parts of zones from the observation that a replica reads.
pub fn in_observed(world: &World, seen: &mut Observed) {
    let zones = world.has_gap(Gap::Zones);
    if zones || world.has_gap(Gap::Gateways) {
        seen.gateways.clear();
    }
    if zones || world.has_gap(Gap::Addresses) {
        seen.addresses.clear();
    }
    if zones {
        seen.subnets.clear();
    }
}

/// Draws gaps. In every other history all answers are complete.
pub fn draw(rng: &mut Rng, length: f64, events: &mut Vec<(Duration, Event)>) {
    let gap = one(rng, &[40.0, 100.0, 1e3, 1e3]);
    for at in moments(rng, gap, length) {
        let lasts = secs(5.0 + rng.f64() * 40.0);
        let all = [Gap::Addresses, Gap::Gateways, Gap::Zones, Gap::Tables];
        let gap = one(rng, &all);
        events.push((at, Event::Gap { gap, lasts }));
    }
}
