//! Live zones whose static IP the operator replaces: `--replace-static-ip` names the zone, and `--aws-eip-allocation-id` the address.
//!
//! Each replacement is a change of its own, one zone after the other. It contains nothing that tenants edit, so no edit outdates its change
//! set, and its failure fails no other change. CloudFormation creates the new NAT gateway, then turns the zone's routes to it in place, and
//! finally deletes the old NAT gateway.

use std::collections::BTreeSet;
use std::time::Duration;

use ipnet::Ipv4Net;

use crate::model::base::ids::Zone;
use crate::model::base::problem::{Problem, Subject};
use crate::model::base::reason::Reason;
use crate::model::cloud::layout::{Layout, Names};
use crate::model::cloud::live::{Stack, static_ips};
use crate::model::cloud::part_names::Part;
use crate::model::cloud::static_ip::{Choice, StaticIp};
use crate::model::drift::kind::DriftKind;
use crate::model::drift::{Cure, Drift, Place};
use crate::model::plan::change_set::{Proposal, set_for};
use crate::model::plan::decision::Decision;
use crate::model::plan::diff;
use crate::model::plan::patched_template;
use crate::model::plan::types::{Plan, World};
use crate::model::plan::unroutable_zones::of_deleted_tables;

/// A live zone that is to get another static IP.
pub(in crate::model) struct Replaced<'a> {
    pub zone: Zone,
    /// The IP that the zone has.
    pub ip: String,
    /// The allocation id of the new IP.
    pub named: &'a str,
}

/// Returns the live zones that have another static IP than the flags name. `named_alone`: also the zones that `--replace-static-ip` does
/// not name, if their address is known.
fn differing<'a>(world: &World<'a>, names: &Names, named_alone: bool) -> Vec<Replaced<'a>> {
    let live = static_ips(world.live, names);
    let settings = world.settings;
    let differs = |(zone, named): (&Zone, &'a String)| {
        let ip = live.get(zone)?;
        let given = names.given.get(zone).map(|it| &it.allocation);
        let seen = world.watch.last_seen();
        let seen = seen.and_then(|seen| Some(&seen.addresses.get(ip)?.allocation));
        let known = world.ledger.static_ip(zone).filter(|it| it.ip == *ip);
        let has = given.or(seen).or(known.map(|it| &it.allocation));
        let counts = match settings.replaced.contains(zone) {
            true => settings.zones.contains_key(zone),
            false => named_alone && has.is_some(),
        };
        (counts && has != Some(named)).then(|| Replaced {
            zone: zone.clone(),
            ip: ip.clone(),
            named,
        })
    };
    let allocations = settings.allocations.iter();
    allocations.filter_map(differs).collect()
}

/// Returns the zones that are to get another static IP. If a zone's address is unknown, EC2's list shows it.
pub(in crate::model) fn wanted<'a>(world: &World<'a>, names: &Names) -> Vec<Replaced<'a>> {
    differing(world, names, false)
}

/// Returns the remaining wait of the zone's replacement after a failed attempt, with the attempt's key. None if it need not wait.
fn later(world: &World<'_>, names: &Names, zone: &Zone) -> Option<((Zone, Ipv4Net), Duration)> {
    let key = (zone.clone(), *names.nat_cidrs.get(zone)?);
    let wait = *world.network.headroom.later.get(&key)?;
    Some((key, wait))
}

/// Returns a warning for each live zone that keeps its static IP although the flags name another one.
pub(in crate::model) fn kept(world: &World<'_>, names: &Names) -> Vec<Problem> {
    let differing = differing(world, names, true).into_iter();
    let warning = |Replaced { zone, ip, named }: Replaced<'_>| {
        let why = match world.network.headroom.choices.get(&zone) {
            Some(Choice::Wait(_, why)) => why.clone(),
            _ if !world.settings.replaced.contains(&zone) => format!(
                "--aws-eip-allocation-id names {named}, and another one would change the IP that partners allow; correct the flag, \
                 or set --replace-static-ip={zone} to replace the IP"
            ),
            _ if later(world, names, &zone).is_some() => format!(
                "the change that replaces it by {named} failed; the controller tries again after longer and longer waits: see the stack's \
                 events for the cause"
            ),
            _ => return None,
        };
        let text = format!("its static IP stays {ip}: {why}");
        Some(Problem::warning(
            Subject::Zone(zone),
            Reason::StaticIpKept,
            text,
        ))
    };
    differing.filter_map(warning).collect()
}

impl Plan {
    /// Returns the zones for which EC2 is asked about the account's addresses and quotas.
    pub fn surveyed(&self) -> BTreeSet<Zone> {
        &self.new_zones | &self.undecided
    }

    /// Notes which zones are to get another static IP, so that EC2 is asked for the address, and which of them wait.
    pub(in crate::model) fn mark_replaced(&mut self, world: &World<'_>, names: &Names) {
        if let Some(zone) = &self.replaced {
            self.new_zones = [zone.clone()].into();
            return;
        }
        for Replaced { zone, .. } in wanted(world, names) {
            match later(world, names, &zone) {
                Some((key, wait)) => {
                    self.later.insert(key, wait);
                    self.look_within([wait]);
                }
                None => _ = self.undecided.insert(zone),
            }
        }
    }

    /// Returns the next step of the replacement in the first named zone that can get its new static IP.
    pub(in crate::model) fn replace_ip(
        &self,
        world: &World<'_>,
        stack: &Stack,
        layout: &Layout,
        names: &Names,
    ) -> Option<Decision> {
        let choices = &world.network.headroom.choices;
        let mut wanted = wanted(world, names).into_iter();
        let next = wanted.find_map(|Replaced { zone, named, .. }| match choices.get(&zone)? {
            Choice::Use(ip) if ip.allocation == named => {
                let may_be_now = later(world, names, &zone).is_none() && self.has_way(&zone);
                may_be_now.then(|| (zone, ip.clone()))
            }
            Choice::Use(_) | Choice::Recover(_) | Choice::Wait(..) => None,
        });
        let (zone, ip) = next?;
        self.replace_at(world, stack, (layout, names), (&zone, &ip))
    }

    fn replace_at(
        &self,
        world: &World<'_>,
        stack: &Stack,
        (layout, names): (&Layout, &Names),
        (zone, ip): (&Zone, &StaticIp),
    ) -> Option<Decision> {
        let gateway = names.part(zone, Part::NatGateway)?;
        let eip = names.part(zone, Part::Eip)?;
        let given_up: Vec<String> = (layout.resources.contains_key(eip))
            .then(|| eip.clone())
            .into_iter()
            .collect();
        if let Some(retention) = self.retain_first(stack, layout, names, given_up.clone()) {
            return Some(retention);
        }
        let mut missing = self.missing_routes(zone, names);
        missing.extend(of_deleted_tables(world.network, names, &missing));
        let template = patched_template::with_ip(stack, &missing, (gateway, eip), (zone, ip))?;
        let mut differences = diff::between(layout, &template, &self.request);
        let renewed: BTreeSet<String> = given_up.into_iter().chain([gateway.clone()]).collect();
        if diff::refusal(&differences, &names.strangers, |id| renewed.contains(id)).is_some() {
            return None;
        }
        for difference in &mut differences {
            difference.tell_replacement(gateway, &ip.ip);
        }
        let set = set_for(stack, &template);
        let step = Proposal::step(template, differences);
        let decision = self.change(stack, names, Proposal { renewed, ..step });
        // If the change cannot be made, the zone waits from now on.
        let text = |why: &str| format!("the static IP of {zone} stays: {why}");
        Some(Decision {
            replaced: Some(zone.clone()),
            ..decision.or_discard(set, text)
        })
    }

    /// Whether a new NAT gateway can be created beside the zone's own, or in its place: no other resource that it needs has drifted.
    fn has_way(&self, zone: &Zone) -> bool {
        let hinders = |drift: &&Drift| {
            drift.place == Place::Zone(zone.clone())
                && !matches!(
                    drift.kind,
                    DriftKind::StaticIpLost
                        | DriftKind::StaticIpDetached
                        | DriftKind::NatGatewayGone
                        | DriftKind::NatGatewayFailed
                        | DriftKind::NatGatewayChanged
                        | DriftKind::TagsChanged
                )
        };
        !self.drifts.iter().any(|drift| hinders(&drift))
    }

    /// Returns the zone's routes that EC2 lacks: the change would fail to turn them to the new NAT gateway. The next change adds those that
    /// are requested again.
    fn missing_routes(&self, zone: &Zone, names: &Names) -> Vec<Drift> {
        let is_missing = |drift: &&Drift| {
            drift.kind == DriftKind::RouteMissing && drift.place.zone(names).as_ref() == Some(zone)
        };
        let missing = self.drifts.iter().filter(is_missing).cloned();
        let taken_out = |drift| Drift {
            cure: Cure::Retake,
            ..drift
        };
        missing.map(taken_out).collect()
    }
}

#[cfg(test)]
#[path = "replaced_ips_tests.rs"]
mod tests;
