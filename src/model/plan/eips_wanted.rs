//! How many static IPs live zones are to have, and how many of them their NAT gateways are to use.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::base::ids::Zone;
use crate::model::cloud::layout::Names;
use crate::model::cloud::live::Live;
use crate::model::cloud::part_names::MAX_EIPS;
use crate::model::cloud::static_ip::StaticIp;
use crate::model::cloud::status::Phase;
use crate::model::cloud::zone_ips::{MoreIp, more_ips};
use crate::model::persisted::ledger::Ledger;
use crate::model::plan::replaced_ips::later;
use crate::model::plan::types::{Plan, World};

/// How many static IPs a zone is to have, and to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::model) struct Wanted {
    pub all: u8,
    pub in_use: u8,
}

/// Returns the live zones that are configured, with what they are to have. One that is in use stays so.
pub(in crate::model) fn wanted(world: &World<'_>, names: &Names) -> Vec<(Zone, Wanted)> {
    let eips = world.settings.eips;
    let live = names.nat_cidrs.keys();
    let live = live.filter(|zone| world.settings.zones.contains_key(*zone));
    let wanted = |zone: &Zone| {
        let known = match world.settings.replaced.contains(zone) {
            true => 1,
            false => world.ledger.ips_used(zone),
        };
        let used = names.eips_in_use(zone).max(known);
        let used = u8::try_from(used).unwrap_or(MAX_EIPS);
        let in_use = eips.in_use.max(used).min(MAX_EIPS);
        let all = eips.per_zone.clamp(in_use, MAX_EIPS);
        (zone.clone(), Wanted { all, in_use })
    };
    live.map(wanted).collect()
}

/// Returns the numbers of the static IPs that a zone is to have and does not have.
pub(in crate::model) fn missing(names: &Names, zone: &Zone, wanted: Wanted) -> Vec<u8> {
    let has: BTreeSet<u8> = names.more_eips(zone).map(|(number, _)| number).collect();
    let numbers = 2..=wanted.all;
    // An edit by hand gives static IPs without numbers.
    let unnamed = names.eips_in_use(zone) > 1 + has.len();
    numbers
        .filter(|number| !unnamed && !has.contains(number))
        .collect()
}

/// Returns how many static IPs each live zone lacks, and the zones whose NAT gateway is to use more.
fn lacking(world: &World<'_>, names: &Names) -> (BTreeMap<Zone, usize>, BTreeSet<Zone>) {
    let (mut lacking, mut using) = (BTreeMap::new(), BTreeSet::new());
    for (zone, wanted) in wanted(world, names) {
        let missing = missing(names, &zone, wanted).len();
        if usize::from(wanted.in_use) > names.eips_in_use(&zone) {
            using.insert(zone.clone());
        }
        if missing > 0 {
            lacking.insert(zone, missing);
        }
    }
    (lacking, using)
}

/// Notes the static IPs of the live zones besides their first, as EC2 was last seen to have them.
/// `now`: the time, as far as it counts for a zone.
pub(in crate::model) fn note(
    ledger: &mut Ledger,
    world: &World<'_>,
    names: &Names,
    now: impl Fn(&Zone) -> u64,
) {
    let seen = world.watch.last_seen();
    for (zone, ips) in more_ips(world.live, names) {
        for MoreIp { number, ip, in_use } in ips {
            let known = ledger.further_ips.get(&zone).and_then(|it| it.get(&number));
            let known = known.filter(|it| it.ip == ip).map(|it| &it.allocation);
            let shown = seen.and_then(|seen| seen.addresses.get(&ip));
            let shown = shown.map(|it| &it.allocation).filter(|it| !it.is_empty());
            if let Some(allocation) = shown.or(known).cloned() {
                let has = StaticIp { ip, allocation };
                if world.settings.replaced.contains(&zone) && !in_use {
                    ledger.forget_use(&zone, number);
                }
                ledger.note_further(&zone, number, (has, in_use), now(&zone));
            }
        }
    }
    let is_certain = match world.live {
        Live::Absent => true,
        Live::Ours(stack) => stack.status.phase() == Phase::Settled && !names.nat_cidrs.is_empty(),
        Live::Foreign { .. } | Live::Several(_) => false,
    };
    if is_certain {
        ledger.note_zones(|zone| names.nat_cidrs.contains_key(zone));
    }
}

impl Plan {
    /// Returns how many static IPs live zones are to have besides those that they have.
    pub fn more_eips(&self) -> usize {
        self.more_eips
    }

    /// Notes which live zones are to get more static IPs, so that EC2 is asked what the account has, and which of them wait.
    pub(in crate::model) fn mark_more_ips(&mut self, world: &World<'_>, names: &Names) {
        if self.replaced.is_some() {
            return;
        }
        let (more, using) = lacking(world, names);
        self.more_eips = more.values().sum();
        let zones: BTreeSet<&Zone> = more.keys().chain(&using).collect();
        for zone in zones {
            match later(world, names, zone) {
                Some((key, wait)) => {
                    self.later.insert(key, wait);
                    self.look_within([wait]);
                }
                None if more.contains_key(zone) => _ = self.undecided.insert(zone.clone()),
                None => {}
            }
        }
    }
}
