//! The static IPs that cost money without a NAT gateway, and the changes of static IPs that partners have to know of.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::model::base::ids::Zone;
use crate::model::base::problem::{Problem, Subject};
use crate::model::base::reason::Reason;
use crate::model::cloud::layout::Names;
use crate::model::cloud::live::Live;
use crate::model::cloud::observed::Address;
use crate::model::cloud::static_ip::{FormerIp, IpChange, KeptIp};
use crate::model::cloud::status::Phase;
use crate::model::persisted::grace::whole_seconds;
use crate::model::persisted::ledger::Ledger;
use crate::model::plan::types::{Plan, World};

/// The time for which a change is shown, so that a user who was away overnight still sees it.
const SHOWN: Duration = Duration::from_hours(24);

/// Returns the static IPs that zones had, that EC2 still shows, and that no NAT gateway of the stack uses. The ledger knows them, or else
/// CloudFormation's tags. An IP in doubt is left out, since users release the IPs of this list.
pub(in crate::model) fn kept(
    ledger: &Ledger,
    plan: &Plan,
    world: &World<'_>,
    names: &Names,
) -> Vec<KeptIp> {
    let stack = match world.live {
        Live::Ours(stack) => Some(stack),
        Live::Absent => None,
        Live::Foreign { .. } | Live::Several(_) => return Vec::new(),
    };
    let outputs = stack.into_iter().flat_map(|stack| stack.outputs.values());
    let more = plan.secondary_ips.values().flatten();
    // After a replacement CloudFormation may still show the former outputs.
    let given = names.given.values().map(|it| &it.ip);
    let used = outputs.chain(more).chain(given).map(String::as_str);
    let used: BTreeSet<&str> = used.collect();
    // The running operation may give the IP to the zone's new NAT gateway.
    let is_busy = stack.is_some_and(|stack| stack.status.phase() == Phase::Busy);
    let comes_back = |ip: &str, zone: &Zone| {
        let last = ledger.static_ips.get(zone).is_some_and(|it| it.ip == ip);
        is_busy && last && world.settings.zones.contains_key(zone)
    };
    let had = ledger.had_ips();
    let unused = had.filter(|(ip, zone)| !used.contains(ip) && !comes_back(ip, zone));
    let kept = |(ip, zone): (&str, &Zone)| {
        let address = world.watch.address(ip)?;
        Some(KeptIp {
            zone: zone.clone(),
            ip: ip.to_owned(),
            allocation_id: address.allocation.clone(),
            held_by: address.held_by.clone(),
        })
    };
    let mut all: Vec<KeptIp> = unused.filter_map(kept).collect();
    let zones = || world.settings.zones.keys().chain(names.nat_cidrs.keys());
    for (ip, tagged) in world.watch.tagged() {
        let zone = tagged.zone(zones());
        let is_new = is_busy && !names.nat_cidrs.contains_key(&zone);
        let is_known = ledger.knows(&tagged.allocation) || all.iter().any(|it| it.ip == *ip);
        if used.contains(ip.as_str()) || is_known || is_new {
            continue;
        }
        let seen = world.watch.address(ip);
        let is_free = |it: &&Address| it.held_by.is_none() && it.allocation == tagged.allocation;
        let seen = seen.filter(is_free);
        all.extend(seen.map(|_| KeptIp {
            zone,
            ip: ip.clone(),
            allocation_id: tagged.allocation.clone(),
            held_by: None,
        }));
    }
    all
}

/// Returns the recent changes of the live zones' static IPs.
pub(in crate::model) fn changes(ledger: &Ledger, plan: &Plan, world: &World<'_>) -> Vec<IpChange> {
    let since = whole_seconds(world.grace.now.saturating_sub(SHOWN));
    let recent = ledger.former_ips.iter().filter(|(_, it)| it.until > since);
    let change = |(ip, former): (&String, &FormerIp)| {
        let noted = &ledger.static_ips.get(&former.zone)?.ip;
        let to = plan
            .static_ips
            .get(&former.zone)
            .filter(|to| *to == noted)?;
        Some(IpChange {
            zone: former.zone.clone(),
            from: ip.clone(),
            to: to.clone(),
        })
    };
    recent.filter_map(change).collect()
}

/// Returns the warning about a change.
pub(in crate::model) fn warning(change: &IpChange) -> Problem {
    let IpChange { zone, from, to } = change;
    let text = format!(
        "its static IP was {from} and is {to} now; tell every partner who allows {from} to allow {to}"
    );
    Problem::warning(Subject::Zone(zone.clone()), Reason::StaticIpChanged, text)
}

#[cfg(test)]
#[path = "kept_ips_tests.rs"]
mod tests;
