//! Static IPs that were released. AWS gives one back as long as nobody else has it, to an EIP whose `Address` names it. Each try is
//! a change of one zone alone: if AWS has given the IP away, it fails at its first step and is rolled back.

use crate::model::base::ids::Zone;
use crate::model::cloud::layout::{Layout, Names};
use crate::model::cloud::live::Stack;
use crate::model::cloud::observed::Observed;
use crate::model::cloud::part_names::Part;
use crate::model::cloud::static_ip::StaticIp;
use crate::model::drift::tracker::Recovery;
use crate::model::drift::{Cure, Drift, Place};
use crate::model::plan::types::{Action, Plan, World};

/// Decides for each zone whose static IP is gone whether the controller tries to get it back now. `is_allowed` says for which zones the
/// operator permits a new one: that counts after one try.
pub(in crate::model) fn recover_lost_zones(
    drifts: &mut [Drift],
    world: &World<'_>,
    ip: impl Fn(&Zone) -> Option<String>,
    is_allowed: impl Fn(&Zone) -> bool,
) {
    let lost = drifts.iter_mut().filter_map(|drift| match &drift.place {
        Place::Zone(zone) if matches!(drift.cure, Cure::NewIp(_)) => Some((zone.clone(), drift)),
        _ => None,
    });
    for (zone, drift) in lost {
        let Some(ip) = ip(&zone) else {
            continue;
        };
        let state = world.watch.recovery(drift);
        let Cure::NewIp(ids) = &drift.cure else {
            continue;
        };
        match state {
            _ if is_allowed(&zone) && state.tries() > 0 => {}
            Recovery::Due(_) => drift.cure = Cure::Recover(ids.clone(), ip),
            Recovery::Waits(..) => {
                let text = format!(
                    "AWS did not give it back, and the controller tries again; {}",
                    by_hand(&zone, &ip)
                );
                drift.cure = Cure::ByHand(text.into());
            }
            Recovery::Spent => drift.cure = Cure::ByHand(by_hand(&zone, &ip).into()),
        }
    }
}

/// Returns what a person can do about a static IP that is gone.
pub(in crate::model) fn by_hand(zone: &Zone, ip: &str) -> String {
    format!(
        "be quick, before AWS gives it to another account: run `aws ec2 allocate-address --domain vpc --address {ip}`, and the controller \
         uses what that returns; only if that fails set --allow-new-eips={zone}={ip} to give the zone a new one, and tell everybody who \
         has allow-listed the old one"
    )
}

/// Returns what becomes of a static IP that the controller tries to get back.
pub(in crate::model) fn outlook(drift: &Drift, ip: &str, repairs: bool) -> String {
    let zone = match &drift.place {
        Place::Zone(zone) => zone,
        Place::Route(..) | Place::List(..) => return String::new(),
    };
    match repairs {
        true => "the controller tries to get it back from AWS".to_owned(),
        false => format!(
            "set --drift-detection=repair, so that the controller tries to get it back, or {}",
            by_hand(zone, ip)
        ),
    }
}

/// Lets a NAT gateway that is made again use the zone's static IP by its allocation id, where that is another one than the stack knows:
/// the IP was released, and is in the account again.
pub(in crate::model) fn adopt_allocations(
    drifts: &mut [Drift],
    names: &Names,
    world: &World<'_>,
    observed: Option<&Observed>,
) {
    for drift in drifts {
        let (Place::Zone(zone), Cure::Renew(ids)) = (&drift.place, &drift.cure) else {
            continue;
        };
        let is_gateway = names.part(zone, Part::NatGateway) == Some(&drift.id);
        if let (true, Some(eip), Some(back)) = (
            is_gateway,
            names.part(zone, Part::Eip),
            reallocated(zone, names, world, observed),
        ) {
            let ids = ids.iter().chain([eip]).cloned().collect();
            drift.cure = Cure::Adopt(ids, back);
        }
    }
}

/// Returns the zone's static IP, if it is free and under another allocation id than before.
fn reallocated(
    zone: &Zone,
    names: &Names,
    world: &World<'_>,
    observed: Option<&Observed>,
) -> Option<StaticIp> {
    let observed = observed?;
    let ip = observed.ids.get(names.part(zone, Part::Eip)?)?;
    let address = observed.addresses.get(ip)?;
    let given = names.given.get(zone);
    let known = given.or_else(|| world.ledger.static_ip(zone))?;
    let is_other = known.ip == *ip && known.allocation != address.allocation;
    let is_free = address.held_by.is_none() && !address.allocation.is_empty();
    (is_other && is_free).then(|| StaticIp {
        ip: ip.clone(),
        allocation: address.allocation.clone(),
    })
}

pub(in crate::model) fn is_recovery(drift: &Drift) -> bool {
    matches!(drift.cure, Cure::Recover(..))
}

/// Whether the repair of these is a try to get a static IP back.
pub(in crate::model) fn is_try(drifts: &[Drift]) -> bool {
    drifts.iter().any(is_recovery)
}

impl Plan {
    /// Sets the next step of getting a static IP back. False when there is none to be made now.
    pub(in crate::model) fn recover(
        &mut self,
        world: &World<'_>,
        stack: &Stack,
        layout: &Layout,
        names: &Names,
    ) -> bool {
        let wanted = |drift: &&Drift| {
            is_recovery(drift) && drift.is_wanted(&self.desired) && world.watch.is_firm(drift)
        };
        let tries = |drift: &&Drift| world.watch.recovery(drift).tries();
        let wanted = self.drifts.iter().filter(wanted);
        let Some(lost) = wanted.min_by_key(tries).cloned() else {
            return false;
        };
        // What else the new NAT gateway needs in the zone.
        let hangs_on_it =
            |drift: &&Drift| drift.place == lost.place && matches!(drift.cure, Cure::Renew(_));
        let others = self.drifts.iter().filter(hangs_on_it);
        let drifts = [&lost].into_iter().chain(others).cloned().collect();
        self.remake_all(stack, layout, names, drifts)
    }

    /// Plans that the EIPs which a repair takes out of the stack are retained first. False when they are, or it cannot be made so.
    pub(in crate::model) fn retains_first(
        &mut self,
        stack: &Stack,
        layout: &Layout,
        names: &Names,
        drifts: &[Drift],
    ) -> bool {
        let ids = drifts.iter().flat_map(|drift| match &drift.cure {
            Cure::Recover(ids, _) | Cure::Adopt(ids, _) => ids.clone(),
            _ => Vec::new(),
        });
        let ids = ids.collect();
        self.retain_first(stack, layout, names, ids)
            && !matches!(self.action, Action::Keep | Action::Refuse)
    }
}

/// Returns the key by which a repair of the drift is counted. Tries to get a static IP back do not count against a new one.
pub(in crate::model) fn repair_key(drift: &Drift) -> String {
    match drift.recovery_key() {
        Some(key) if is_recovery(drift) => key,
        _ => drift.key(),
    }
}

#[cfg(test)]
#[path = "lost_eips_tests.rs"]
mod tests;
