//! Addresses that a person associated with a zone's NAT gateway. CloudFormation does not know them, so a NAT gateway that replaces the first
//! one does not have them. The ledger keeps them, and a problem names each one with the command that associates it again.

use crate::model::base::ids::Zone;
use crate::model::base::problem::{Problem, Subject};
use crate::model::base::reason::Reason;
use crate::model::cloud::layout::Names;
use crate::model::cloud::live::{Live, gateways};
use crate::model::cloud::observed::{Address, Gateway, Health, Observed};
use crate::model::cloud::static_ip::{FormerIp, StaticIp};
use crate::model::persisted::ledger::Ledger;
use crate::model::plan::types::World;

/// The zone's NAT gateway, as EC2 shows it now.
struct Place<'a> {
    zone: Zone,
    id: String,
    gateway: &'a Gateway,
}

/// Returns the present observation, and the NAT gateways in it that work.
fn places<'a>(world: &World<'a>, names: &Names) -> Option<(&'a Observed, Vec<Place<'a>>)> {
    let Live::Ours(stack) = world.live else {
        return None;
    };
    let seen = world.watch.observed(&stack.version)?;
    let place = |(zone, id): (Zone, String)| {
        let gateway = seen.gateways.get(&id)?;
        (gateway.health == Health::Well).then_some(Place { zone, id, gateway })
    };
    let places = gateways(Some(seen), names).into_iter().filter_map(place);
    Some((seen, places.collect()))
}

/// Notes the addresses that NAT gateways have beside those of the stack, and forgets those that a person took away.
pub(in crate::model) fn note(ledger: &mut Ledger, world: &World<'_>, names: &Names) {
    let Some((seen, places)) = places(world, names) else {
        return;
    };
    for Place { zone, id, gateway } in places {
        let of_stack = |ip: &String| seen.ids.values().any(|it| it == ip);
        for ip in gateway.secondary_ips.iter().filter(|ip| !of_stack(ip)) {
            let address = seen.addresses.get(ip);
            let has = StaticIp {
                ip: ip.clone(),
                allocation: address.map(|it| it.allocation.clone()).unwrap_or_default(),
            };
            ledger.note_by_hand(&zone, has, id.clone());
        }
        let known = ledger.former_ips.iter();
        let known = known.filter(|(ip, it)| it.zone == zone && !gateway.secondary_ips.contains(ip));
        let is_over = |(ip, it): &(&String, &FormerIp)| {
            let holder = seen.addresses.get(*ip).map(|address| &address.held_by);
            match (&it.gateway, holder) {
                // An answer without the address proves nothing.
                (None, _) | (_, None) => false,
                (Some(was), Some(None)) => *was == id || of_stack(ip),
                (Some(_), Some(holder)) => *holder != gateway.interface,
            }
        };
        let over: Vec<String> = known.filter(is_over).map(|(ip, _)| ip.clone()).collect();
        over.iter().for_each(|ip| ledger.forget_by_hand(ip));
    }
}

/// Returns a warning for each address that a former NAT gateway of the zone had, and that nothing has now.
pub(in crate::model) fn lost(ledger: &Ledger, world: &World<'_>, names: &Names) -> Vec<Problem> {
    let Some((seen, places)) = places(world, names) else {
        return Vec::new();
    };
    let mut problems = Vec::new();
    for Place { zone, id, .. } in places {
        let of_zone = ledger.former_ips.iter().filter(|(_, it)| it.zone == zone);
        for (ip, former) in of_zone {
            let was = former.gateway.as_ref().filter(|was| **was != id);
            let is_free =
                |address: &&Address| address.held_by.is_none() && !address.allocation.is_empty();
            let address = seen.addresses.get(ip).filter(is_free);
            let (Some(was), Some(address)) = (was, address) else {
                continue;
            };
            let allocation = &address.allocation;
            let text = format!(
                "a person had associated {ip} ({allocation}) with {was}, and the NAT gateway that replaced it does not have this address; run \
                 `aws ec2 associate-nat-gateway-address --nat-gateway-id {id} --allocation-ids {allocation}`, or release the address"
            );
            let subject = Subject::Zone(zone.clone());
            let reason = Reason::StaticIpDetached;
            problems.push(Problem::warning(subject, reason, text));
        }
    }
    problems
}

#[cfg(test)]
#[path = "by_hand_ips_tests.rs"]
mod tests;
