//! Zones that the operator removes from the flags in a rolling update, with or without `--remove-zone`, and puts back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fastrand::Rng;

use super::bugs::Bug;
use super::invariants::Invariant;
use super::provider_wrapper::Basis;
use super::replica::{self, settings};
use super::script::{Event, REPLICAS};
use super::world::{Shared, World};
use crate::lease::tests::secs;
use crate::model::base::ids::{TableId, Zone};
use crate::model::base::settings::Settings;
use crate::model::cloud::part_names::{Part, alphanumeric, part_name, zone_of_eip};
use crate::provider::memory::account_view::AccountView;

/// A zone that `--aws-az` does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unconfigured {
    pub zone: usize,
    /// Whether `--remove-zone` names it.
    pub named: bool,
}

impl Unconfigured {
    fn zone(self) -> Zone {
        replica::zone(self.zone)
    }
}

/// The flags about zones.
#[derive(Default)]
pub struct ZoneFlags {
    /// The zone in the flags of the Deployment. A process that starts gets it.
    set: Option<Unconfigured>,
    /// The zone in the flags of each replica's process.
    of: [Option<Unconfigured>; REPLICAS],
    started: [bool; REPLICAS],
    /// Zones that were removed from the flags, until they are configured and in the stack again.
    doubtful: BTreeSet<Zone>,
    /// Worker tables in which no route was required at the last check.
    out: BTreeSet<TableId>,
    /// The zones of worker tables that currently have no tags.
    pub untagged: BTreeMap<TableId, Zone>,
}

impl ZoneFlags {
    fn all(&self) -> impl Iterator<Item = Unconfigured> {
        self.of.into_iter().chain([self.set]).flatten()
    }

    /// Returns the zones that the flags of a replica name for removal.
    fn named(&self) -> BTreeSet<Zone> {
        let named = self.all().filter(|it| it.named);
        named.map(Unconfigured::zone).collect()
    }

    /// Returns the zones that the flags of a replica lack.
    pub(super) fn unconfigured(&self) -> BTreeSet<Zone> {
        self.all().map(Unconfigured::zone).collect()
    }

    /// Returns the zones in whose tables no route is required.
    fn zones_out(&self, in_stack: &BTreeSet<Zone>) -> BTreeSet<Zone> {
        let named = self.named();
        let doubtful = self.doubtful.iter();
        let out = doubtful.filter(|zone| named.contains(*zone) || !in_stack.contains(*zone));
        out.cloned().collect()
    }

    /// Whether all replicas have the flags that were set last.
    fn are_rolled_out(&self) -> bool {
        let mut replicas = self.of.iter().zip(self.started);
        replicas.all(|(of, started)| !started || *of == self.set)
    }
}

impl Shared {
    /// Records that the stack was deleted and its static IPs stay in the account.
    pub fn keep_ips(&mut self) {
        self.kept.append(&mut self.ips);
    }
}

impl World {
    /// Edits the flags of the Deployment.
    pub fn set_zone_flags(&self, set: Option<Unconfigured>) {
        let mut shared = self.shared();
        let flags = &mut shared.zone_flags;
        flags.set = set;
        flags.doubtful.extend(set.map(Unconfigured::zone));
        (shared.stamp, shared.excuses.count) = (None, shared.excuses.count + 1);
    }

    /// Gives a process that starts the flags of the Deployment.
    pub fn starts_with_zones(&self, who: usize, settings: &mut Settings) {
        let mut shared = self.shared();
        let flags = &mut shared.zone_flags;
        let set = flags.set;
        (flags.of[who], flags.started[who]) = (set, true);
        (shared.stamp, shared.excuses.count) = (None, shared.excuses.count + 1);
        drop(shared);
        let Some(unconfigured) = set else { return };
        let zone = unconfigured.zone();
        settings.zones.remove(&zone);
        if unconfigured.named || self.bug == Bug::RemovedZoneUnnamed {
            settings.remove_zones.insert(zone);
        }
    }

    /// Returns the zones that the flags of this replica's process name for removal.
    pub fn named_to(&self, who: usize) -> BTreeSet<Zone> {
        let of = self.shared().zone_flags.of[who];
        of.filter(|it| it.named)
            .map(Unconfigured::zone)
            .into_iter()
            .collect()
    }

    /// Fails if an operation removes a zone, or gives it another static IP, that its sender's flags do not name. `before` were the zones
    /// with their static IPs; empty for other operations.
    pub fn judge_zones(&self, before: &BTreeMap<Zone, String>, basis: &Basis) {
        if before.is_empty() {
            return;
        }
        let named = &basis.removes;
        self.judge_use();
        self.judge_replaced(before, basis.own.as_ref());
        let after = self.account.zone_ips();
        for (zone, ip) in before.iter().filter(|(zone, _)| !after.contains_key(*zone)) {
            if named.contains(zone) {
                let mut shared = self.shared();
                shared.zone_flags.doubtful.insert(zone.clone());
                shared.ips.retain(|_, it| it != ip);
                shared.keep_more_ips(zone);
                (shared.kept).insert(part_name(zone, Part::Eip), ip.clone());
            } else {
                let text = format!("{zone} was removed with {ip} although no flag names it");
                self.fail(Invariant::StaticIpsStay, text);
            }
        }
    }

    /// Returns the account without the worker tables in which no route is required, because their zone is named for removal or does not
    /// exist yet.
    pub fn sight(&self) -> AccountView {
        let mut sight = self.account.sight();
        let out = self.tables_out();
        sight.tables.retain(|table, _| !out.contains(table));
        sight
    }

    /// Returns the zones that are not in the stack and wait for a user, because their former static IP, or the one that a flag names, was
    /// released or is at another interface.
    pub fn zones_without_ip(&self) -> BTreeSet<Zone> {
        let shared = self.shared();
        let kept = shared.kept.iter().map(|(id, ip)| (id.clone(), ip.as_str()));
        let known = kept.chain(shared.own_ips.in_flags());
        let released: BTreeSet<String> = known
            .filter(|(_, ip)| !self.account.is_usable(ip))
            .filter_map(|(id, _)| zone_of_eip(&id).map(str::to_owned))
            .collect();
        if released.is_empty() {
            return BTreeSet::new();
        }
        let in_stack = self.account.zone_ips();
        let zones = settings().zones.into_keys();
        let zones = zones.filter(|zone| !in_stack.contains_key(zone));
        zones
            .filter(|zone| released.contains(alphanumeric(zone).as_str()))
            .collect()
    }

    /// Whether a configured zone waits for a user. None while replicas have different flags.
    pub fn is_zone_without_ip(&self) -> Option<bool> {
        let without = self.zones_without_ip();
        let shared = self.shared();
        let unconfigured = shared.zone_flags.set.map(Unconfigured::zone);
        let waits = without
            .iter()
            .any(|zone| unconfigured.as_ref() != Some(zone));
        (without.is_empty() || shared.zone_flags.are_rolled_out()).then_some(waits)
    }

    /// Returns the worker tables in which no route is required.
    pub fn tables_out(&self) -> BTreeSet<TableId> {
        let mut out = self.zones_without_ip();
        let shared = self.shared();
        if !shared.zone_flags.doubtful.is_empty() {
            let in_stack = self.account.zone_ips().into_keys().collect();
            out.extend(shared.zone_flags.zones_out(&in_stack));
        }
        drop(shared);
        let mut tables = self.zones_of_tables();
        tables.retain(|_, zone| out.contains(zone));
        tables.into_keys().collect()
    }

    /// Returns the zones of all worker tables, including those without tags, in which the stack still has routes.
    pub fn zones_of_tables(&self) -> BTreeMap<TableId, Zone> {
        let mut zones = self.account.zones();
        zones.extend(self.shared().zone_flags.untagged.clone());
        zones
    }

    /// Finds the zones that count again. The routes that their tables lack are not owed.
    pub fn note_zones(&self) {
        let flags_are_certain = {
            let flags = &self.shared().zone_flags;
            flags.doubtful.is_empty() && flags.out.is_empty()
        };
        if flags_are_certain && self.zones_without_ip().is_empty() {
            return;
        }
        let in_stack = self.account.zone_ips();
        let at_rest = self.account.sight().at_rest;
        let mut shared = self.shared();
        let flags = &mut shared.zone_flags;
        let unconfigured = flags.unconfigured();
        let is_back = |zone: &Zone| at_rest && in_stack.contains_key(zone);
        flags
            .doubtful
            .retain(|zone| unconfigured.contains(zone) || !is_back(zone));
        drop(shared);
        let out = self.tables_out();
        let before = std::mem::replace(&mut self.shared().zone_flags.out, out.clone());
        for table in before.difference(&out) {
            self.owes_nothing_in(table);
        }
    }

    /// Returns the zones that the stack must have at the end. Fails if it has a zone that was named for removal.
    pub fn zones_due(&self) -> Result<BTreeSet<Zone>, String> {
        let in_stack = self.account.zone_ips();
        let shared = self.shared();
        let flags = &shared.zone_flags;
        let named = flags.named();
        if let Some(zone) = named.iter().find(|zone| in_stack.contains_key(*zone))
            && flags.are_rolled_out()
            && in_stack.keys().any(|zone| !named.contains(zone))
        {
            return Err(format!("{zone} is named for removal and still exists"));
        }
        let unconfigured = flags.unconfigured();
        let zones = settings().zones.into_keys();
        Ok(zones.filter(|zone| !unconfigured.contains(zone)).collect())
    }
}

/// Draws, in one of three histories, a zone that is removed from the flags, usually with its name in `--remove-zone`, and usually put back.
pub fn draw(rng: &mut Rng, length: f64, events: &mut Vec<(Duration, Event)>) {
    if rng.u8(0..3) > 0 {
        return;
    }
    let out = Unconfigured {
        zone: rng.usize(0..2),
        named: rng.u8(0..3) > 0,
    };
    let mut at = rng.f64() * length;
    let mut roll = |at: &mut f64, flags: Option<Unconfigured>| {
        events.push((secs(*at), Event::Zones(flags)));
        for who in 0..REPLICAS {
            *at += rng.f64() * 15.0;
            events.push((secs(*at), Event::Stop(who)));
        }
        *at += rng.f64() * 120.0;
        rng.u8(0..3) > 0
    };
    if roll(&mut at, Some(out)) {
        roll(&mut at, None);
    }
}
