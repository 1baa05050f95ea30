//! The current and former static IPs of zones in the ledger.

use crate::model::base::ids::Zone;
use crate::model::cloud::static_ip::{FormerIp, StaticIp};
use crate::model::persisted::ledger::Ledger;

/// The maximum number of zones whose static IPs the ledger stores. A region has about ten.
const MAX_KNOWN: usize = 100;
/// The maximum number of former static IPs. One EC2 call asks for these and the current ones, and takes 200.
const MAX_FORMER: usize = 50;

impl Ledger {
    /// Records the zone's static IP. A different previous one becomes a former static IP, with the time of the change.
    pub(in crate::model) fn note_ip(&mut self, zone: Zone, has: StaticIp, now: u64) {
        if self.static_ips.len() >= MAX_KNOWN && !self.static_ips.contains_key(&zone) {
            return;
        }
        self.former_ips.remove(&has.ip);
        let ip = has.ip.clone();
        let had = self.static_ips.insert(zone.clone(), has);
        let Some(had) = had.filter(|had| had.ip != ip) else {
            return;
        };
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

    /// Notes an additional static IP of a zone. None that the zone gave up is forgotten for it.
    pub(in crate::model) fn note_more(&mut self, zone: Zone, has: StaticIp) {
        let is_known = self.former_ips.contains_key(&has.ip);
        if !is_known && self.former_ips.len() < MAX_FORMER {
            let former = FormerIp {
                zone,
                allocation: has.allocation,
                until: 0,
            };
            self.former_ips.insert(has.ip, former);
        }
    }

    /// Returns each static IP that a zone has or had, with the zone.
    pub fn had_ips(&self) -> impl Iterator<Item = (&str, &Zone)> {
        let last = self.static_ips.iter();
        let last = last.map(|(zone, it)| (it.ip.as_str(), zone));
        let former = self.former_ips.iter();
        last.chain(former.map(|(ip, it)| (ip.as_str(), &it.zone)))
    }

    /// Whether some zone has or had the static IP with this allocation id.
    pub fn knows(&self, allocation: &str) -> bool {
        let last = self.static_ips.values().map(|it| &it.allocation);
        let former = self.former_ips.values().map(|it| &it.allocation);
        last.chain(former).any(|it| it == allocation)
    }
}

#[cfg(test)]
#[path = "had_ips_tests.rs"]
mod tests;
