//! The current and former static IPs of zones in the ledger.

use crate::model::base::ids::Zone;
use crate::model::cloud::static_ip::{FormerIp, StaticIp};
use crate::model::persisted::ledger::Ledger;

/// The maximum number of zones whose static IPs the ledger stores. A region has about ten.
const MAX_KNOWN: usize = 100;
/// The maximum number of former static IPs. One EC2 call asks for these and the current ones, and takes 200.
const MAX_FORMER: usize = 50;

/// `until` of an IP that no stack had. An earlier version takes such an IP for one that the zone had long ago.
const BY_HAND: u64 = 1;

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
            number: None,
            gateway: None,
        };
        self.former_ips.insert(had.ip, former);
    }

    /// Notes the zone's additional static IP with this number. None that the zone gave up is forgotten for it, but an earlier one with the
    /// same number is no longer to come back.
    pub(in crate::model) fn note_more(&mut self, zone: Zone, number: u8, has: StaticIp) {
        let known = self.former_ips.get(&has.ip);
        let until = known.map_or(0, |it| it.until);
        if known.is_none() && self.former_ips.len() >= MAX_FORMER {
            return;
        }
        let former = self.former_ips.values_mut();
        let earlier = former.filter(|it| it.zone == zone && it.number == Some(number));
        earlier.for_each(|it| it.number = Some(0));
        let former = FormerIp {
            zone,
            allocation: has.allocation,
            until,
            number: Some(number),
            gateway: None,
        };
        self.former_ips.insert(has.ip, former);
    }

    /// Returns the additional static IPs that the zone has, or had when it was last live, by number. An earlier version noted no number.
    pub(in crate::model) fn more_of(&self, zone: &Zone) -> Vec<(Option<u8>, StaticIp)> {
        let former = self.former_ips.iter().filter(|(_, it)| it.zone == *zone);
        let more = former.filter(|(_, it)| match it.number {
            Some(number) => number > 0,
            None => it.until == 0,
        });
        let more = more.map(|(ip, it)| {
            let (ip, allocation) = (ip.clone(), it.allocation.clone());
            (it.number, StaticIp { ip, allocation })
        });
        let mut more: Vec<_> = more.collect();
        more.sort_by_key(|(number, _)| number.unwrap_or(u8::MAX));
        more
    }

    /// Notes an IP that a person associated with the zone's NAT gateway.
    pub(in crate::model) fn note_by_hand(&mut self, zone: &Zone, has: StaticIp, gateway: String) {
        let is_known = self.former_ips.contains_key(&has.ip);
        if !is_known && self.former_ips.len() >= MAX_FORMER {
            return;
        }
        let new = FormerIp {
            zone: zone.clone(),
            until: BY_HAND,
            ..FormerIp::default()
        };
        let former = self.former_ips.entry(has.ip).or_insert(new);
        if !has.allocation.is_empty() {
            former.allocation = has.allocation;
        }
        former.gateway = Some(gateway);
    }

    /// Forgets that a person associated the IP with a NAT gateway.
    pub(in crate::model) fn forget_by_hand(&mut self, ip: &str) {
        let Some(former) = self.former_ips.get_mut(ip) else {
            return;
        };
        former.gateway = None;
        if former.until == BY_HAND {
            self.former_ips.remove(ip);
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
