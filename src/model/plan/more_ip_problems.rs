//! Warnings about the additional static IPs of live zones that differ from the flags.

use std::collections::BTreeSet;

use crate::model::base::ids::Zone;
use crate::model::base::problem::{Problem, Subject};
use crate::model::base::reason::Reason;
use crate::model::cloud::layout::{Layout, Names};
use crate::model::cloud::more_ips;
use crate::model::plan::more_ips::{count, used_count};
use crate::model::plan::types::World;

/// Returns a warning for each zone that has all its static IPs without one that the flags name.
pub(in crate::model) fn unplaced(world: &World<'_>, names: &Names) -> Vec<Problem> {
    let exist = world.settings.eips_per_zone.max(1);
    let ledger = |zone: &Zone, ip: &str| {
        let mut more = world.ledger.more_of(zone).into_iter();
        more.find(|(_, it)| it.ip == ip)
            .map(|(_, it)| it.allocation)
    };
    let warning = |(zone, named): (&Zone, &Vec<String>)| {
        let has = count(names, zone);
        if has < exist || !names.nat_cidrs.contains_key(zone) {
            return None;
        }
        let of_zone = more_ips::outputs(world.live, names).filter(|(of, ..)| *of == zone);
        // An IP whose allocation id is not known yet may be the one.
        let known: Option<BTreeSet<String>> = of_zone.map(|(_, _, ip)| ledger(zone, ip)).collect();
        let known = known?;
        let id = named.iter().find(|id| !known.contains(*id))?;
        let text = format!(
            "--aws-eip-allocation-id names {id}, and the zone has its {has} static IPs without it: the controller gives up none of them; \
             take it out, or set --aws-eips-per-zone to a larger number"
        );
        let subject = Subject::Zone(zone.clone());
        Some(Problem::warning(subject, Reason::StaticIpKept, text))
    };
    let named = world.settings.more_allocations.iter();
    named.filter_map(warning).collect()
}

/// Returns a warning for each zone that has more static IPs than a flag says.
pub(in crate::model) fn kept(world: &World<'_>, names: &Names, live: &Layout) -> Vec<Problem> {
    let settings = world.settings;
    let (exist, used) = (settings.eips_per_zone.max(1), settings.eips_in_use.max(1));
    let zones = names.nat_cidrs.keys();
    let zones = zones.filter(|zone| world.settings.zones.contains_key(*zone));
    let warning = |zone: &Zone| {
        let (has, uses) = (count(names, zone), used_count(live, names, zone));
        let uses_more = uses > used && !settings.replaced.contains(zone);
        let (what, flag, number) = match (has > exist, uses_more) {
            (true, _) => ("it has", "aws-eips-per-zone", has),
            (false, true) => ("its traffic leaves from", "aws-eips-in-use-per-zone", uses),
            (false, false) => return None,
        };
        let remedy = match has > exist {
            true => format!(
                "remove the zone with --remove-zone={zone} and add it again, which keeps the first ones"
            ),
            false => format!("set --replace-static-ip={zone}, and fewer of them carry traffic"),
        };
        let text = format!(
            "{what} {number} static IPs, and --{flag} says less: the controller gives up none, since partners may allow it; set \
             --{flag}={number}, or {remedy}"
        );
        let subject = Subject::Zone(zone.clone());
        Some(Problem::warning(subject, Reason::StaticIpKept, text))
    };
    zones.filter_map(warning).collect()
}
