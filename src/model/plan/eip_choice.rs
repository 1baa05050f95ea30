//! Which static IP a live zone gets besides those that it has: the one that the flags name, the one that it had under that number, or a
//! new one.

use std::collections::BTreeMap;

use crate::model::base::ids::Zone;
use crate::model::base::reason::Reason;
use crate::model::cloud::layout::Names;
use crate::model::cloud::part_names::{alphanumeric, number_of_eip};
use crate::model::cloud::static_ip::{Account, Choice, StaticIp};
use crate::model::plan::eips_wanted::{Wanted, missing};
use crate::model::plan::former_ips::{LOGICAL_ID, STACK_NAME, if_free, named, tag, wait};
use crate::model::plan::lost_eips::by_hand;
use crate::model::plan::types::World;

/// Returns the allocation id that the flags name for this number.
pub(in crate::model) fn named_for<'a>(
    world: &World<'a>,
    zone: &Zone,
    number: u8,
) -> Option<&'a String> {
    let named = world.settings.more_allocations.get(zone)?;
    named.get(usize::from(number).checked_sub(2)?)
}

/// Returns the static IP that a zone gets under this number. None: a new one.
fn choice(world: &World<'_>, zone: &Zone, number: u8) -> Option<Choice> {
    let (addresses, gone) = match &world.network.headroom.account {
        Account::NotAsked => return Some(wait("EC2 was not asked yet".to_owned())),
        Account::Unanswered(why) => {
            let text = format!("EC2 does not say which static IPs the account has: {why}");
            return Some(wait(text));
        }
        Account::Listed { addresses, gone } => (addresses, gone),
    };
    let taken = |ip: &str, holder: &str| {
        format!("it was {ip}, which {holder} has now; disassociate it there")
    };
    if let Some(allocation) = named_for(world, zone, number) {
        return Some(named(zone, allocation, addresses));
    }
    if let Some(former) = world.ledger.further_ip(zone, number) {
        let known = addresses.get_key_value(&former.allocation);
        let again = || addresses.iter().find(|(_, it)| it.ip == former.ip);
        let is_gone = gone.contains(&former.allocation);
        return match known.or_else(|| again().filter(|_| is_gone)) {
            Some((allocation, address)) => {
                Some(if_free(allocation, address, |it| taken(&former.ip, it)))
            }
            None if !is_gone => Some(wait(format!(
                "it was {} ({}), which is not in EC2's answer, and EC2 does not say that it does not exist; the controller looks \
                 again soon",
                former.ip, former.allocation
            ))),
            None => {
                let permission = (zone.clone(), former.ip.clone());
                let ip = &former.ip;
                let text = format!("it was {ip}, which is released; {}", by_hand(zone, ip));
                let is_permitted = world.settings.new_eips.contains(&permission);
                (!is_permitted).then_some(Choice::Wait(Reason::StaticIpLost, text))
            }
        };
    }
    let stack = world.settings.stack_name.as_str();
    let spelt = alphanumeric(zone);
    let ours = addresses.iter().filter(|(allocation, address)| {
        let number_of = tag(address, LOGICAL_ID).and_then(number_of_eip);
        tag(address, STACK_NAME) == Some(stack)
            && number_of == Some((number, spelt.as_str()))
            && !world.ledger.knows_allocation(allocation)
    });
    match ours.collect::<Vec<_>>().as_slice() {
        [] => None,
        [(allocation, address)] => Some(if_free(allocation, address, |it| taken(&address.ip, it))),
        [(_, first), ..] => Some(wait(format!(
            "the account has several of former stacks of this name, such as {}; release those that nobody needs",
            first.ip
        ))),
    }
}

/// The static IPs that a zone can get now, by number, and why it does not get others. None: a new one.
pub(in crate::model) type Chosen = (BTreeMap<u8, Option<StaticIp>>, Vec<(u8, Reason, String)>);

/// Returns the static IPs that a live zone can get now. None before EC2 was asked.
pub(in crate::model) fn chosen(
    world: &World<'_>,
    names: &Names,
    zone: &Zone,
    wanted: Wanted,
) -> Chosen {
    let (mut chosen, mut waits) = (BTreeMap::new(), Vec::new());
    if world.network.headroom.account == Account::NotAsked {
        return (chosen, waits);
    }
    let mut free = world.network.headroom.addresses;
    for number in missing(names, zone, wanted) {
        match choice(world, zone, number) {
            Some(Choice::Use(ip)) => _ = chosen.insert(number, Some(ip)),
            Some(Choice::Wait(reason, why)) => waits.push((number, reason, why)),
            None if free == Some(0) => {
                let why = "the account may have no more static IPs in this region; release one that is not needed, or have the quota \
                           \"EC2-VPC Elastic IPs\" raised";
                waits.push((number, Reason::LimitReached, why.to_owned()));
            }
            None => {
                free = free.map(|free| free - 1);
                chosen.insert(number, None);
            }
        }
    }
    (chosen, waits)
}
