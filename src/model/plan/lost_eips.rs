//! Recovers static IPs that were released. AWS returns an IP to an EIP whose `Address` names it, unless another account has the IP. Each
//! attempt is a change of one zone alone: if another account has the IP, the change fails at its first step and is rolled back.

use crate::model::base::ids::Zone;
use crate::model::base::settings::OnDrift;
use crate::model::cloud::layout::{Layout, Names};
use crate::model::cloud::live::Stack;
use crate::model::cloud::observed::Observed;
use crate::model::cloud::part_names::Part;
use crate::model::cloud::static_ip::StaticIp;
use crate::model::drift::kind::DriftKind;
use crate::model::drift::recovery::Recovery;
use crate::model::drift::{Cure, Drift, Place};
use crate::model::plan::decision::{Decision, Notes};
use crate::model::plan::types::{Action, Plan, World};

/// Decides for each zone with a lost static IP whether the controller tries to recover it now. `is_allowed` says whether the operator
/// permits a new IP for a zone: the permission counts after one attempt.
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
                    "AWS did not return the IP, and the controller tries again; {}",
                    by_hand(&zone, &ip)
                );
                drift.cure = Cure::ByHand(text.into());
            }
            Recovery::Spent => drift.cure = Cure::ByHand(by_hand(&zone, &ip).into()),
        }
    }
}

/// Decides for each lost additional static IP whether the controller tries to recover it now. The stack gives it up only after an attempt,
/// if the operator has named it.
pub(in crate::model) fn recover_more(
    drifts: &mut [Drift],
    world: &World<'_>,
    observed: Option<&Observed>,
) {
    for drift in drifts {
        let (Place::Zone(zone), Cure::GiveUp(ids)) = (&drift.place, &drift.cure) else {
            continue;
        };
        let Some(ip) = observed.and_then(|seen| seen.ids.get(&drift.id)) else {
            continue;
        };
        let state = world.watch.recovery(drift);
        let is_allowed = world
            .settings
            .new_eips
            .contains(&(zone.clone(), ip.clone()));
        let remedy = more_by_hand(zone, ip);
        drift.cure = match state {
            _ if is_allowed && state.tries() > 0 => continue,
            Recovery::Due(_) => Cure::Recover(ids.clone(), ip.clone()),
            Recovery::Waits(..) => {
                let text =
                    format!("AWS did not return the IP, and the controller tries again; {remedy}");
                Cure::ByHand(text.into())
            }
            Recovery::Spent => Cure::ByHand(remedy.into()),
        };
    }
}

/// Returns the remedy for a lost additional static IP that the controller does not recover.
fn more_by_hand(zone: &Zone, ip: &str) -> String {
    format!(
        "set --allow-new-eips={zone}={ip} to give the zone another one, and tell everybody who has allow-listed the old one"
    )
}

/// Returns the remedy for a lost static IP that the controller does not recover.
pub(in crate::model) fn by_hand(zone: &Zone, ip: &str) -> String {
    format!(
        "act quickly, before AWS gives the IP to another account: run `aws ec2 allocate-address --domain vpc --address {ip}`, and the \
         controller uses the address; only if that fails, set --allow-new-eips={zone}={ip} to give the zone a new IP, and inform every \
         partner who allows the old one"
    )
}

/// Returns the outlook of a lost static IP that the controller can try to recover.
pub(in crate::model) fn outlook(drift: &Drift, ip: &str, repairs: bool) -> String {
    let zone = match &drift.place {
        Place::Zone(zone) => zone,
        Place::Route(..) | Place::List(..) => return String::new(),
    };
    match repairs {
        true => "the controller asks AWS for the same IP".to_owned(),
        false => {
            let remedy = match drift.kind {
                DriftKind::AdditionalIpLost => more_by_hand(zone, ip),
                _ => by_hand(zone, ip),
            };
            format!(
                "set --drift-detection=repair, so that the controller asks AWS for the same IP, or {remedy}"
            )
        }
    }
}

/// Lets a NAT gateway that is created again use the zone's static IP under another allocation id than the stack knows: the IP was released,
/// and is in the account again.
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

/// Returns the zone's static IP, if it is free and has another allocation id than before.
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

/// Whether drift may be repaired: the flags say so, and the stack has only resources that the controller made.
pub(in crate::model) fn may_repair(world: &World<'_>, names: &Names) -> bool {
    world.settings.drift == OnDrift::Repair && names.strangers.is_empty()
}

pub(in crate::model) fn is_recovery(drift: &Drift) -> bool {
    matches!(drift.cure, Cure::Recover(..))
}

/// Whether the drift is a lost static IP that the controller recovers together with the zone's NAT gateway.
pub(in crate::model) fn is_recovery_of_zone(drift: &Drift) -> bool {
    is_recovery(drift) && drift.kind == DriftKind::StaticIpLost
}

/// Whether the repair of these drifts is an attempt to recover a static IP.
pub(in crate::model) fn is_try(drifts: &[Drift]) -> bool {
    drifts.iter().any(is_recovery)
}

impl Plan {
    /// Returns the next step of recovering a static IP. None if no step can be made now.
    pub(in crate::model) fn recover(
        &self,
        notes: &mut Notes,
        world: &World<'_>,
        stack: &Stack,
        layout: &Layout,
        names: &Names,
    ) -> Option<Decision> {
        if !may_repair(world, names) {
            return None;
        }
        let wanted = |drift: &&Drift| {
            is_recovery(drift)
                && drift.is_wanted(&self.desired)
                && world.watch.is_firm(drift)
                && (is_recovery_of_zone(drift) || self.has_gateway(&drift.place))
        };
        let tries = |drift: &&Drift| world.watch.recovery(drift).tries();
        let wanted = self.drifts.iter().filter(wanted);
        let lost = wanted.min_by_key(tries).cloned()?;
        // Whether the new NAT gateway needs this resource of its zone, too.
        let hangs_on_it = |drift: &&Drift| {
            let is_needed = is_recovery_of_zone(&lost) && drift.place == lost.place;
            is_needed && matches!(drift.cure, Cure::Renew(_))
        };
        let others = self.drifts.iter().filter(hangs_on_it);
        let drifts = [&lost].into_iter().chain(others).cloned().collect();
        self.remake_all(notes, world, stack, (layout, names), drifts)
    }

    /// Whether the zone's NAT gateway can have another additional static IP.
    fn has_gateway(&self, place: &Place) -> bool {
        let is_sick = |drift: &Drift| drift.place == *place && drift.kind.takes_the_gateway();
        !self.drifts.iter().any(is_sick)
    }

    /// Returns the step that retains the EIPs which a repair removes from the stack. None if they are retained, or cannot be.
    pub(in crate::model) fn retains_first(
        &self,
        notes: &mut Notes,
        stack: &Stack,
        layout: &Layout,
        names: &Names,
        drifts: &[Drift],
    ) -> Option<Decision> {
        let ids = drifts.iter().flat_map(|drift| match &drift.cure {
            Cure::Recover(ids, _) | Cure::Adopt(ids, _) => ids.clone(),
            _ => Vec::new(),
        });
        let ids = ids.collect();
        let decision = self.retain_first(stack, layout, names, ids)?;
        if matches!(decision.action, Action::Keep | Action::Refuse) {
            notes.report(decision.problems);
            return None;
        }
        Some(decision)
    }
}

/// Returns the key that counts repairs of the drift. Attempts to recover a static IP do not count as attempts to get a new one.
pub(in crate::model) fn repair_key(drift: &Drift) -> String {
    match drift.recovery_key() {
        Some(key) if is_recovery(drift) => key,
        _ => drift.key(),
    }
}

#[cfg(test)]
#[path = "lost_eips_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "lost_more_ips_tests.rs"]
mod more_tests;
