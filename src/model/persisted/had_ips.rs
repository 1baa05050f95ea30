//! The static IPs that zones have or had, as the ledger remembers them.

use std::collections::BTreeMap;

use crate::model::base::ids::Zone;
use crate::model::cloud::static_ip::{FormerIp, FurtherIp, StaticIp};
use crate::model::persisted::ledger::Ledger;

/// Zones whose static IPs the ledger keeps. A region has about ten.
const MAX_KNOWN: usize = 100;
/// Static IPs that zones gave up. EC2 is asked for these and the former in one call, which takes 200.
const MAX_FORMER: usize = 50;

impl Ledger {
    /// Notes the static IP that a zone has. One that it had before stays known, with the time of the change.
    pub(in crate::model) fn note_ip(&mut self, zone: Zone, has: StaticIp, now: u64) {
        if self.static_ips.len() >= MAX_KNOWN && !self.static_ips.contains_key(&zone) {
            return;
        }
        self.former_ips.remove(&has.ip);
        let ip = has.ip.clone();
        let had = self.static_ips.insert(zone.clone(), has);
        if let Some(had) = had.filter(|had| had.ip != ip) {
            self.note_former(zone, had, now);
        }
    }

    /// Notes another static IP of a zone, and since when traffic leaves from it. One that had the number before stays known.
    pub(in crate::model) fn note_further(
        &mut self,
        zone: &Zone,
        number: u8,
        (has, in_use): (StaticIp, bool),
        now: u64,
    ) {
        if self.further_ips.len() >= MAX_KNOWN && !self.further_ips.contains_key(zone) {
            return;
        }
        self.former_ips.remove(&has.ip);
        let known = self.further_ips.entry(zone.clone()).or_default();
        let had = known.remove(&number);
        let same = had.as_ref().filter(|had| had.ip == has.ip);
        let used_since = same.and_then(|had| had.used_since);
        let further = FurtherIp {
            ip: has.ip.clone(),
            allocation: has.allocation,
            since: same.map_or(now, |had| had.since),
            used_since: used_since.or(in_use.then_some(now)),
        };
        known.insert(number, further);
        if let Some(had) = had.filter(|had| had.ip != has.ip) {
            let FurtherIp { ip, allocation, .. } = had;
            self.note_former(zone.clone(), StaticIp { ip, allocation }, now);
        }
    }

    /// Notes that no traffic leaves from a static IP of a zone that is not its first, and need not again.
    pub(in crate::model) fn forget_use(&mut self, zone: &Zone, number: u8) {
        let further = self.further_ips.get_mut(zone);
        if let Some(further) = further.and_then(|ips| ips.get_mut(&number)) {
            further.used_since = None;
        }
    }

    /// Notes that no traffic leaves from the other static IPs of zones that the stack does not have.
    pub(in crate::model) fn note_zones(&mut self, is_live: impl Fn(&Zone) -> bool) {
        let gone = self.further_ips.iter_mut();
        let gone = gone.filter(|(zone, _)| !is_live(zone));
        for further in gone.flat_map(|(_, ips)| ips.values_mut()) {
            further.used_since = None;
        }
    }

    fn note_former(&mut self, zone: Zone, had: StaticIp, now: u64) {
        let oldest = self.former_ips.iter().min_by_key(|(_, it)| it.until);
        let oldest = oldest.map(|(ip, _)| ip.clone());
        if let Some(oldest) = oldest.filter(|_| self.former_ips.len() >= MAX_FORMER) {
            self.former_ips.remove(&oldest);
        }
        let former = FormerIp {
            zone,
            allocation: had.allocation,
            until: now,
        };
        self.former_ips.insert(had.ip, former);
    }

    /// Returns each static IP that a zone has or had, with the zone.
    pub fn had_ips(&self) -> impl Iterator<Item = (&str, &Zone)> {
        let last = self.static_ips.iter();
        let last = last.map(|(zone, it)| (it.ip.as_str(), zone));
        let further = self.further_ips.iter();
        let further =
            further.flat_map(|(zone, ips)| ips.values().map(move |it| (it.ip.as_str(), zone)));
        let former = self.former_ips.iter();
        let former = former.map(|(ip, it)| (ip.as_str(), &it.zone));
        last.chain(further).chain(former)
    }

    /// Whether some zone has or had the static IP with this allocation id.
    pub fn knows(&self, allocation: &str) -> bool {
        let last = self.static_ips.values().map(|it| &it.allocation);
        let further = self.further_ips.values().flat_map(BTreeMap::values);
        let further = further.map(|it| &it.allocation);
        let former = self.former_ips.values().map(|it| &it.allocation);
        last.chain(further).chain(former).any(|it| it == allocation)
    }
}

#[cfg(test)]
#[path = "had_ips_tests.rs"]
mod tests;
