//! Chooses the next additional static IP of a live zone: one that the flags name, one that the zone had before, if the account still has
//! it, or a new one.
//!
//! The ledger identifies the former IPs; without it, the tags that CloudFormation leaves on an EIP that its stack gave up. An IP is used
//! only if it is in the account and free. If one is in doubt, the zone waits for it before it gets a new one.

use std::collections::BTreeMap;

use crate::model::base::ids::Zone;
use crate::model::base::reason::Reason;
use crate::model::cloud::layout::Names;
use crate::model::cloud::live::Live;
use crate::model::cloud::logical_id::renewal;
use crate::model::cloud::more_ips::{MAX, of};
use crate::model::cloud::part_names::{Part, part_name};
use crate::model::cloud::static_ip::{Account, AccountAddress, Choice, StaticIp};
use crate::model::cloud::tagged_ips::{LOGICAL_ID, STACK_NAME};
use crate::model::plan::former_ips::{given_choice, if_free, tag, wait};
use crate::model::plan::released_ips;
use crate::model::plan::types::World;

/// The source of a zone's next additional static IP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::model) enum Source {
    /// EC2 was not asked yet which static IPs the account has.
    Unasked,
    /// A new EIP with this number.
    New(u8),
    /// A static IP of the account, and its number.
    Account(u8, StaticIp),
    /// A released static IP that AWS is asked for, and its number.
    Recover(u8, String),
    /// The zone waits for a static IP, for this reason.
    Wait(Reason, String),
}

/// Returns the source of the zone's next additional static IP.
pub(in crate::model) fn next(world: &World<'_>, names: &Names, zone: &Zone) -> Option<Source> {
    let has = of(names, zone);
    let free = (2..=MAX).find(|number| !has.contains_key(number))?;
    let (addresses, gone) = match &world.network.headroom.account {
        Account::NotAsked => return Some(Source::Unasked),
        Account::Unanswered(why) => {
            let text = format!("EC2 does not say which static IPs the account has: {why}");
            return Some(Source::Wait(Reason::StaticIpUndecided, text));
        }
        Account::Listed { addresses, gone } => (addresses, gone),
    };
    let number = |number: Option<u8>| match number {
        Some(number) if !has.contains_key(&number) => number,
        Some(_) | None => free,
    };
    let former = Former {
        world,
        zone,
        addresses,
    };
    let source = |old: Option<u8>, choice| match choice {
        Choice::Use(ip) => Source::Account(number(old), ip),
        Choice::Recover(ip) => Source::Recover(number(old), ip),
        Choice::Wait(reason, text) => Source::Wait(reason, text),
    };
    if let Some((index, choice)) = former.named() {
        return Some(source(u8::try_from(index + 2).ok(), choice));
    }
    let known = former.known().into_iter();
    let known = known.filter_map(|(old, ip)| {
        let is_gone = gone.contains(&ip.allocation);
        Some(source(old, former.judged(&ip, is_gone)?))
    });
    let tagged = former.tagged().into_iter();
    let tagged = tagged.map(|(old, choice)| source(Some(old), choice));
    let all: Vec<Source> = known.chain(tagged).collect();
    let is_there = |source: &&Source| matches!(source, Source::Account(..));
    let is_asked_for = |source: &&Source| matches!(source, Source::Recover(..));
    let usable = all.iter().find(is_there).or(all.iter().find(is_asked_for));
    let first = usable.or(all.first());
    Some(first.cloned().unwrap_or(Source::New(free)))
}

/// The former additional static IPs of a zone.
struct Former<'a> {
    world: &'a World<'a>,
    zone: &'a Zone,
    addresses: &'a BTreeMap<String, AccountAddress>,
}

impl Former<'_> {
    /// Whether the stack has the static IP.
    fn is_live(&self, ip: &str) -> bool {
        match self.world.live {
            Live::Ours(stack) => stack.outputs.values().any(|it| it == ip),
            Live::Absent | Live::Foreign { .. } | Live::Several(_) => false,
        }
    }

    /// Returns the first static IP that the flags name for the zone and that the stack does not have, with its place in their order.
    fn named(&self) -> Option<(usize, Choice)> {
        let named = self.world.settings.more_allocations.get(self.zone)?;
        let address = |id: &String| self.addresses.get(id);
        let has = |id: &String| address(id).is_some_and(|it| self.is_live(&it.ip));
        let (index, id) = named.iter().enumerate().find(|(_, id)| !has(id))?;
        Some((index, given_choice(self.zone, id, self.addresses)))
    }

    /// Whether the flags name the static IP for some zone.
    fn is_named(&self, allocation: &str) -> bool {
        let settings = self.world.settings;
        let more = settings.more_allocations.values().flatten();
        let mut all = settings.allocations.values().chain(more);
        all.any(|it| it == allocation)
    }

    /// Returns the former static IPs that the ledger knows.
    fn known(&self) -> Vec<(Option<u8>, StaticIp)> {
        let mut known = self.world.ledger.more_of(self.zone);
        known.retain(|(_, it)| !self.is_live(&it.ip) && !self.is_named(&it.allocation));
        known
    }

    /// Returns the static IP that the zone gets back, or why the zone waits for it. None if the IP is lost, and the zone gets a new one.
    fn judged(&self, former: &StaticIp, is_gone: bool) -> Option<Choice> {
        let StaticIp { ip, allocation } = former;
        let mut addresses = self.addresses.iter();
        let found = match is_gone {
            true => addresses.find(|(_, address)| address.ip == *ip),
            false => self.addresses.get_key_value(allocation),
        };
        if let Some((allocation, address)) = found {
            return Some(had(allocation, address));
        }
        if !is_gone {
            return Some(wait(format!(
                "it had the additional static IP {ip} ({allocation}), which is not in EC2's answer, and EC2 does not say that it does \
                 not exist; the controller looks again soon"
            )));
        }
        let lost = (self.zone.clone(), ip.clone());
        let (reason, text) = released_ips::wait(self.world, &lost, "additional static IP")?;
        let asked = self.world.network.headroom.ip_waits.asked(&lost);
        Some(match asked.is_due() {
            true => Choice::Recover(lost.1),
            false => Choice::Wait(reason, text),
        })
    }

    /// Returns the former static IPs that only CloudFormation's tags show, by number, or why the zone waits for one.
    fn tagged(&self) -> BTreeMap<u8, Choice> {
        let stack = self.world.settings.stack_name.as_str();
        let ours = self.addresses.iter().filter(|(allocation, address)| {
            tag(address, STACK_NAME) == Some(stack)
                && !self.is_live(&address.ip)
                && !self.is_named(allocation)
                && !self.world.ledger.knows_allocation(allocation)
        });
        let mut found: BTreeMap<u8, Choice> = BTreeMap::new();
        for (allocation, address) in ours {
            let (id, _) = renewal(tag(address, LOGICAL_ID).unwrap_or_default());
            let is_it = |number: &u8| part_name(self.zone, Part::MoreEip(*number)) == id;
            let Some(number) = (2..=MAX).find(is_it) else {
                continue;
            };
            let judged = match found.remove(&number) {
                None => had(allocation, address),
                Some(_) => wait(format!(
                    "the account has several static IPs of former stacks of this name that may be its static IP {number}, such as {} \
                     ({allocation}); release those that nobody needs",
                    address.ip
                )),
            };
            found.insert(number, judged);
        }
        found
    }
}

/// Returns the choice for an additional static IP that the account has.
fn had(allocation: &str, address: &AccountAddress) -> Choice {
    let ip = &address.ip;
    if_free(allocation, address, |holder| {
        format!(
            "it had the additional static IP {ip} ({allocation}), which {holder} has now; disassociate it there, or release it"
        )
    })
}

#[cfg(test)]
#[path = "former_more_ips_tests.rs"]
mod tests;
