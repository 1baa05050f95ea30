//! The static IPs that zones get that are to be added: those that they had before, if the account still has them.
//!
//! An IP is found by the ledger; without it, by the tags that CloudFormation leaves on an EIP that its stack gave up. Where that
//! leaves a choice, the zone waits: a guess could give a partner's allow list the wrong IP.

use std::collections::BTreeMap;

use crate::model::base::ids::Zone;
use crate::model::base::problem::{Problem, Subject};
use crate::model::base::reason::Reason;
use crate::model::cloud::layout::Names;
use crate::model::cloud::live::static_ips;
use crate::model::cloud::network::Network;
use crate::model::cloud::part_names::{alphanumeric, zone_of_eip};
use crate::model::cloud::static_ip::{Account, AccountAddress, Choice, Choices, StaticIp};
use crate::model::plan::types::World;

/// The tags of AWS CloudFormation.
const STACK_NAME: &str = "aws:cloudformation:stack-name";
const LOGICAL_ID: &str = "aws:cloudformation:logical-id";

/// Returns the network with the choices for all zones that are configured and not live. None if there is nothing to choose.
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
    let choices: Choices = new.filter_map(choice).collect();
    (!choices.is_empty()).then(|| {
        let mut network = world.network.clone();
        network.headroom.choices = choices;
        network
    })
}

/// Notes the static IPs of the live zones, as EC2 was last seen to have them. Those of other zones stay as they are.
pub(in crate::model) fn note(
    known: &mut BTreeMap<Zone, StaticIp>,
    world: &World<'_>,
    names: &Names,
) {
    let seen = world.watch.last_seen();
    for (zone, ip) in static_ips(world.live, names) {
        let address = seen.and_then(|seen| seen.addresses.get(&ip));
        let seen = address.map(|address| address.allocation.clone());
        let given = names.given.get(&zone).map(|it| it.allocation.clone());
        let allocation = given.or(seen).filter(|it| !it.is_empty());
        if let Some(allocation) = allocation
            && (known.len() < MAX_KNOWN || known.contains_key(&zone))
        {
            known.insert(zone, StaticIp { ip, allocation });
        }
    }
}

/// Returns a warning for each live zone of which the flags name another static IP than it has.
pub(in crate::model) fn kept(world: &World<'_>, names: &Names) -> Vec<Problem> {
    let live = static_ips(world.live, names);
    let warning = |(zone, named): (&Zone, &String)| {
        let ip = live.get(zone)?;
        let given = names.given.get(zone).map(|it| &it.allocation);
        let known = world.ledger.static_ip(zone).filter(|it| it.ip == *ip);
        let has = given.or(known.map(|it| &it.allocation))?;
        let text = format!(
            "its static IP stays {ip} ({has}), not {named} of --aws-eip-allocation-id: another one would change the IP that partners \
             allow; correct the flag, or remove the zone with --remove-zone={zone} and add it again"
        );
        (has != named)
            .then(|| Problem::warning(Subject::Zone(zone.clone()), Reason::StaticIpKept, text))
    };
    world
        .settings
        .allocations
        .iter()
        .filter_map(warning)
        .collect()
}

/// Zones whose static IPs the ledger keeps. A region has about ten.
const MAX_KNOWN: usize = 100;

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
                Some(self.given(given?, addresses))
            }
            Account::Listed { addresses, gone } => match former {
                Some(former) if gone.contains(&former.allocation) => self.lost(zone, former),
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

    /// Returns what becomes of a zone whose static IP the flags name.
    fn given(&self, allocation: &str, addresses: &BTreeMap<String, AccountAddress>) -> Choice {
        let Some(address) = addresses.get(allocation) else {
            return wait(format!(
                "EC2 does not show {allocation} of --aws-eip-allocation-id among the Elastic IP addresses of this account and region; \
                 correct the flag, the region or the credentials"
            ));
        };
        if_free(allocation, address, |holder| {
            format!(
                "{holder} has {allocation} of --aws-eip-allocation-id; disassociate it there, or name another one"
            )
        })
    }

    /// Returns what becomes of a zone whose former static IP does not exist any more.
    fn lost(&self, zone: &Zone, former: &StaticIp) -> Option<Choice> {
        let ip = &former.ip;
        let permission = (zone.clone(), ip.clone());
        if self.world.settings.new_eips.contains(&permission) {
            return None;
        }
        let why = format!(
            "it had the static IP {ip}, which is released; allocate it again soon, as long as AWS has given it to nobody else, \
             and name it with --aws-eip-allocation-id={zone}=ID; only if that fails, or nobody needs the IP, set \
             --allow-new-eips={zone}={ip} to give the zone a new one"
        );
        Some(Choice::Wait(Reason::StaticIpLost, why))
    }

    /// Looks for the zone's former static IP by its tags.
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

/// Returns what becomes of a zone whose former static IP the account has.
fn had(allocation: &str, address: &AccountAddress) -> Choice {
    if_free(allocation, address, |holder| {
        format!(
            "it had the static IP {} ({allocation}), which {holder} has now; disassociate it there, or choose another one",
            address.ip
        )
    })
}

/// Returns the choice of this address, or a wait with what is said of its holder.
fn if_free(
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

fn tag<'a>(address: &'a AccountAddress, key: &str) -> Option<&'a str> {
    address.tags.get(key).map(String::as_str)
}

/// How many static IPs a message names.
const NAMED: usize = 4;

fn wait(why: String) -> Choice {
    Choice::Wait(Reason::StaticIpUndecided, why)
}

#[cfg(test)]
#[path = "former_ips_tests.rs"]
mod tests;
