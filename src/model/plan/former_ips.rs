//! Chooses static IPs for zones. A new zone gets the IP that it had before, if the account still has it. A live zone gets another IP if the
//! operator has named both zone and IP.
//!
//! The ledger identifies a former IP; without it, the tags that CloudFormation leaves on an EIP that its stack gave up. If several IPs are
//! possible, the zone waits: a guess could give a partner's allow list the wrong IP.

use std::collections::BTreeMap;

use crate::model::base::ids::{Zone, border_group};
use crate::model::base::reason::Reason;
use crate::model::cloud::layout::Names;
use crate::model::cloud::live::static_ips;
use crate::model::cloud::more_ips;
use crate::model::cloud::network::Network;
use crate::model::cloud::part_names::{alphanumeric, zone_of_eip};
use crate::model::cloud::static_ip::{Account, AccountAddress, Choice, Choices, StaticIp};
use crate::model::cloud::tagged_ips::{LOGICAL_ID, STACK_NAME};
use crate::model::persisted::grace::whole_seconds;
use crate::model::persisted::ledger::Ledger;
use crate::model::plan::released_ips;
use crate::model::plan::replaced_ips::{self, Replaced};
use crate::model::plan::types::World;

/// Returns the network with the choices for all zones that are configured and not live, or are to get another static IP. None if there
/// is nothing to choose.
pub(in crate::model) fn chosen(world: &World<'_>, names: &Names) -> Option<Network> {
    let account = &world.network.headroom.account;
    if *account == Account::NotAsked {
        return None;
    }
    let live = static_ips(world.live, names);
    let finder = Finder {
        world,
        live: live.values().collect(),
    };
    let zones = world.settings.zones.keys();
    let new = zones.filter(|zone| !names.nat_cidrs.contains_key(*zone));
    let choice = |zone: &Zone| Some((zone.clone(), finder.choice(zone)?));
    let mut choices: Choices = new.filter_map(choice).collect();
    let replaced = replaced_ips::wanted(world, names).into_iter();
    choices.extend(replaced.filter_map(|replaced| {
        let choice = finder.instead(&replaced)?;
        Some((replaced.zone, choice))
    }));
    (!choices.is_empty()).then(|| {
        let mut network = world.network.clone();
        network.headroom.choices = choices;
        network
    })
}

/// Records the live zones' static IPs in the ledger, as EC2 last showed them. The records of other zones stay as they are.
pub(in crate::model) fn note(ledger: &mut Ledger, world: &World<'_>, names: &Names) {
    let now = whole_seconds(world.grace.now);
    let seen = world.watch.last_seen();
    for (zone, number, ip) in more_ips::outputs(world.live, names) {
        let address = seen.and_then(|seen| seen.addresses.get(ip));
        let allocation = address.map(|address| address.allocation.clone());
        if let Some(allocation) = allocation.filter(|id| !id.is_empty()) {
            let ip = ip.clone();
            ledger.note_more(zone.clone(), number, StaticIp { ip, allocation });
        }
    }
    for (zone, ip) in static_ips(world.live, names) {
        let address = seen.and_then(|seen| seen.addresses.get(&ip));
        let seen = address.map(|address| StaticIp {
            allocation: address.allocation.clone(),
            ip,
        });
        // After a replacement CloudFormation may still show the former outputs.
        let given = names.given.get(&zone).filter(|it| !it.ip.is_empty());
        // An IP that was released and allocated again counts once the zone uses it.
        let is_held = address.is_some_and(|address| address.held_by.is_some());
        let seen = seen.filter(|seen| {
            let was = ledger.static_ips.get(&zone).filter(|was| was.ip == seen.ip);
            is_held || was.is_none_or(|was| was == seen)
        });
        let has = given.cloned().or(seen);
        if let Some(has) = has.filter(|it| !it.allocation.is_empty()) {
            ledger.note_ip(zone, has, now);
            ledger.account.clone_from(&world.network.account);
        }
    }
}

struct Finder<'a> {
    world: &'a World<'a>,
    /// The public IPs of the live zones.
    live: Vec<&'a String>,
}

impl Finder<'_> {
    fn choice(&self, zone: &Zone) -> Option<Choice> {
        let former = self.world.ledger.static_ip(zone);
        let given = self.world.settings.allocations.get(zone);
        match &self.world.network.headroom.account {
            Account::NotAsked => None,
            Account::Unanswered(why) => Some(wait(format!(
                "it gets no NAT gateway yet, since EC2 does not say which static IPs the account has: {why}"
            ))),
            Account::Listed { addresses, .. } if given.is_some() => {
                Some(given_choice(zone, given?, addresses))
            }
            Account::Listed { addresses, gone } => match former {
                Some(former) if gone.contains(&former.allocation) => {
                    let mut addresses = addresses.iter();
                    match addresses.find(|(_, address)| address.ip == former.ip) {
                        Some((allocation, address)) => Some(had(allocation, address)),
                        None => self.lost(zone, former),
                    }
                }
                Some(former) => Some(match addresses.get(&former.allocation) {
                    Some(address) => had(&former.allocation, address),
                    None => wait(format!(
                        "it had the static IP {} ({}), which is not in EC2's answer, and EC2 does not say that it does not \
                         exist; the controller looks again soon",
                        former.ip, former.allocation
                    )),
                }),
                None => self.tagged(zone, addresses),
            },
        }
    }

    /// Returns the static IP that replaces a live zone's own, or why the zone keeps its own. None if the zone has the named IP already, or
    /// EC2 was not asked yet.
    fn instead(&self, Replaced { zone, ip, named }: &Replaced<'_>) -> Option<Choice> {
        let headroom = &self.world.network.headroom;
        let choice = match &headroom.account {
            Account::NotAsked => return None,
            Account::Unanswered(why) => wait(format!(
                "EC2 does not say which static IPs the account has: {why}"
            )),
            Account::Listed { addresses, .. } => match addresses.get(*named) {
                Some(address) if address.ip == *ip => return None,
                _ if headroom.nat_gateways.get(zone) == Some(&0) => wait(
                    "the account may have no more NAT gateways in this zone, and the new one stands before the old one goes; \
                     delete one that is not needed, or have the quota \"NAT gateways per Availability Zone\" raised"
                        .to_owned(),
                ),
                _ => given_choice(zone, named, addresses),
            },
        };
        Some(choice)
    }

    /// Returns the choice for a zone whose former static IP was released. None if it gets a new one.
    fn lost(&self, zone: &Zone, former: &StaticIp) -> Option<Choice> {
        let lost = (zone.clone(), former.ip.clone());
        if self.world.network.headroom.recovers.as_ref() == Some(&lost) {
            return Some(Choice::Recover(lost.1));
        }
        let (reason, why) = released_ips::wait(self.world, &lost, "static IP")?;
        Some(Choice::Wait(reason, why))
    }

    /// Finds the zone's former static IP by its tags.
    fn tagged(&self, zone: &Zone, addresses: &BTreeMap<String, AccountAddress>) -> Option<Choice> {
        let stack = self.world.settings.stack_name.as_str();
        let ours = addresses.iter().filter(|(allocation, address)| {
            tag(address, STACK_NAME) == Some(stack)
                && !self.live.contains(&&address.ip)
                && !self.world.ledger.knows_allocation(allocation)
        });
        let ours: Vec<_> = ours
            .filter_map(|found| Some((found, tag(found.1, LOGICAL_ID)?)))
            .filter(|(_, id)| zone_of_eip(id).is_none_or(|of| of == alphanumeric(zone)))
            .collect();
        match ours.as_slice() {
            [] => None,
            [((allocation, address), id)] if zone_of_eip(id).is_some() => {
                Some(had(allocation, address))
            }
            several => {
                let named = several
                    .iter()
                    .take(NAMED)
                    .map(|((allocation, address), _)| format!("{} ({allocation})", address.ip));
                let named: Vec<String> = named.collect();
                Some(wait(format!(
                    "the account has {} static IPs of former stacks of this name that may be the zone's, such as {}; choose one, \
                     or release those that nobody needs",
                    several.len(),
                    named.join(" and ")
                )))
            }
        }
    }
}

/// Returns the choice for a zone whose static IP the flags name.
pub(super) fn given_choice(
    zone: &Zone,
    allocation: &str,
    addresses: &BTreeMap<String, AccountAddress>,
) -> Choice {
    let Some(address) = addresses.get(allocation) else {
        return wait(format!(
            "EC2 does not show {allocation} of --aws-eip-allocation-id among the Elastic IP addresses of this account and region; \
             correct the flag, the region or the credentials"
        ));
    };
    if let Some(why) = unfit(zone, address) {
        let ip = &address.ip;
        return wait(format!(
            "{allocation} ({ip}) of --aws-eip-allocation-id {why}"
        ));
    }
    if_free(allocation, address, |holder| {
        format!(
            "{holder} has {allocation} of --aws-eip-allocation-id; disassociate it there, or name another one"
        )
    })
}

/// Returns the choice for a zone whose former static IP the account has.
fn had(allocation: &str, address: &AccountAddress) -> Choice {
    if_free(allocation, address, |holder| {
        format!(
            "it had the static IP {} ({allocation}), which {holder} has now; disassociate it there, or choose another one",
            address.ip
        )
    })
}

/// Returns the choice of an address that is free, or a wait. `taken` returns the reason of the wait from the holder.
pub(super) fn if_free(
    allocation: &str,
    address: &AccountAddress,
    taken: impl FnOnce(&str) -> String,
) -> Choice {
    match &address.held_by {
        None => Choice::Use(StaticIp {
            ip: address.ip.clone(),
            allocation: allocation.to_owned(),
        }),
        Some(holder) => wait(taken(holder)),
    }
}

/// Returns why a NAT gateway of the zone cannot have the address, with the remedy.
fn unfit(zone: &Zone, address: &AccountAddress) -> Option<String> {
    if let Some(service) = &address.managed_by {
        return Some(format!(
            "is managed by the service {service}; name an address that is not"
        ));
    }
    let wanted = border_group(zone);
    if address.group.as_deref() == wanted {
        return None;
    }
    let region = "the region";
    Some(format!(
        "is in the network border group {}, and the zone needs one of {}; allocate an address there, and name that",
        address.group.as_deref().unwrap_or(region),
        wanted.unwrap_or(region)
    ))
}

pub(super) fn tag<'a>(address: &'a AccountAddress, key: &str) -> Option<&'a str> {
    address.tags.get(key).map(String::as_str)
}

/// The maximum number of static IPs that a message names.
const NAMED: usize = 4;

pub(super) fn wait(why: String) -> Choice {
    Choice::Wait(Reason::StaticIpUndecided, why)
}

#[cfg(test)]
#[path = "former_ips_tests.rs"]
mod tests;
