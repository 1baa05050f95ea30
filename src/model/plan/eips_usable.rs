//! What hinders a NAT gateway from using more static IPs, and what is to be said about those that a zone has.

use crate::model::base::ids::Zone;
use crate::model::base::problem::{Problem, Subject};
use crate::model::base::reason::Reason;
use crate::model::cloud::layout::Names;
use crate::model::cloud::live::{Live, Stack};
use crate::model::cloud::observed::{Gateway, Health};
use crate::model::cloud::part_names::Part;
use crate::model::cloud::zone_ips::{MoreIp, more_ips};
use crate::model::plan::eip_choice::{chosen, named_for};
use crate::model::plan::eips_wanted::{Wanted, missing, wanted};
use crate::model::plan::replaced_ips::later;
use crate::model::plan::types::World;

/// Why a NAT gateway is not given more static IPs now. `None` instead of words: it is not known yet.
pub(in crate::model) type Hindrance = Option<(Reason, String)>;

/// Returns the allocation ids of the static IPs that the zone's NAT gateway is to use, or why it does not get more of them.
pub(in crate::model) fn usable(
    world: &World<'_>,
    stack: &Stack,
    names: &Names,
    (zone, wanted): (&Zone, Wanted),
) -> Result<Vec<String>, Hindrance> {
    let observed = world.watch.observed(&stack.version).ok_or(None)?;
    let gateway = names.part(zone, Part::NatGateway);
    let gateway = gateway.and_then(|id| observed.gateways.get(observed.ids.get(id)?));
    let gateway = gateway.filter(|it| it.health == Health::Well).ok_or(None)?;
    let ips = more_ips(world.live, names);
    let ips = ips.get(zone).map(Vec::as_slice).unwrap_or_default();
    if let Some(other) = by_others(gateway, ips) {
        let text = format!(
            "its NAT gateway has {other}, which was added by hand, and CloudFormation might take that away with the change; \
             disassociate it from the NAT gateway"
        );
        return Err(Some((Reason::StaticIpUndecided, text)));
    }
    let mut allocations = Vec::new();
    for number in names.eips_in_use(zone) + 1..=usize::from(wanted.in_use) {
        let ip = ips.iter().find(|it| usize::from(it.number) == number);
        let ip = &ip.ok_or(None)?.ip;
        let Some(address) = observed.addresses.get(ip) else {
            return match observed.unproven.contains(ip) {
                true => Err(None),
                false => Err(Some((
                    Reason::StaticIpLost,
                    format!("{ip} is released; {}", back(ip)),
                ))),
            };
        };
        if let Some(holder) = &address.held_by {
            let text = format!("{holder} has {ip}; disassociate it there");
            return Err(Some((Reason::StaticIpUndecided, text)));
        }
        allocations.push(address.allocation.clone());
    }
    let is_named = allocations.iter().all(|it| !it.is_empty());
    is_named.then_some(allocations).ok_or(None)
}

/// Returns a static IP of the NAT gateway that the stack does not give it.
fn by_others<'a>(gateway: &'a Gateway, ips: &[MoreIp]) -> Option<&'a String> {
    let is_ours = |has: &String| ips.iter().any(|it| it.in_use && it.ip == *has);
    gateway.secondary_ips.iter().find(|has| !is_ours(has))
}

/// Returns what a person does about a static IP that is not the first of its zone, and that is gone.
fn back(ip: &str) -> String {
    format!(
        "be quick, before AWS gives it to another account: run `aws ec2 allocate-address --domain vpc --address {ip}`, and the controller \
         uses what that returns"
    )
}

/// Returns what is to be said about the static IPs of live zones besides their first.
pub(in crate::model) fn problems(world: &World<'_>, names: &Names) -> Vec<Problem> {
    let Live::Ours(stack) = world.live else {
        return Vec::new();
    };
    let mut problems = Vec::new();
    for (zone, wanted) in wanted(world, names) {
        let mut say = |reason, text: String| {
            let subject = Subject::Zone(zone.clone());
            problems.push(Problem::warning(subject, reason, text));
        };
        let (_, waits) = chosen(world, names, &zone, wanted);
        for (number, reason, why) in waits {
            say(
                reason,
                format!("it does not get its static IP {number} yet: {why}"),
            );
        }
        let used = names.eips_in_use(&zone);
        if used < usize::from(wanted.in_use)
            && let Err(Some((reason, why))) = usable(world, stack, names, (&zone, wanted))
        {
            say(
                reason,
                format!("its NAT gateway does not use more static IPs yet: {why}"),
            );
        }
        if later(world, names, &zone).is_some()
            && (used < usize::from(wanted.in_use) || !missing(names, &zone, wanted).is_empty())
        {
            let text = "the change that was to give it more static IPs failed; it is tried again by itself, ever more seldom: see the \
                        stack's events for the cause, and note that a NAT gateway takes 2 static IPs unless the quota \"Elastic IP \
                        addresses per public NAT gateway\" is raised";
            say(Reason::ZoneWaits, text.to_owned());
        }
        if usize::from(world.settings.eips.in_use) < used {
            let text = format!(
                "its NAT gateway uses {used} static IPs, and goes on with that although --aws-eips-in-use-per-zone is less; partners \
                 may see traffic from each: set the flag to {used}"
            );
            say(Reason::StaticIpKept, text);
        }
        for ip in more_ips(world.live, names)
            .remove(&zone)
            .unwrap_or_default()
        {
            let has = world.ledger.further_ip(&zone, ip.number);
            let has = has.filter(|has| has.ip == ip.ip).map(|has| &has.allocation);
            let other =
                named_for(world, &zone, ip.number).filter(|it| has.is_some_and(|has| has != *it));
            if let Some(other) = other {
                let MoreIp { number, ip, .. } = ip;
                let text = format!(
                    "its static IP {number} stays {ip}: --aws-eip-allocation-id names {other}, and another one would change an IP that \
                     partners may allow; correct the flag"
                );
                say(Reason::StaticIpKept, text);
            }
        }
        for (reason, text) in astray(world, stack, names, &zone) {
            say(reason, text);
        }
    }
    problems
}

/// Returns where EC2 differs from what the stack has of these static IPs.
fn astray(world: &World<'_>, stack: &Stack, names: &Names, zone: &Zone) -> Vec<(Reason, String)> {
    let Some(observed) = world.watch.observed(&stack.version) else {
        return Vec::new();
    };
    let gateway = names.part(zone, Part::NatGateway);
    let gateway = gateway.and_then(|id| observed.ids.get(id));
    let well = gateway.and_then(|id| Some((id, observed.gateways.get(id)?)));
    let well = well.filter(|(_, it)| it.health == Health::Well);
    let mut found = Vec::new();
    for MoreIp { number, ip, in_use } in
        more_ips(world.live, names).remove(zone).unwrap_or_default()
    {
        let address = observed.addresses.get(&ip);
        let said = match (address, well) {
            (None, _) if observed.unproven.contains(&ip) => continue,
            (None, _) => (
                Reason::StaticIpLost,
                format!("its static IP {number}, {ip}, is released; {}", back(&ip)),
            ),
            (Some(address), Some((id, gateway)))
                if in_use && !gateway.secondary_ips.contains(&ip) =>
            {
                let allocation = &address.allocation;
                let text = format!(
                    "its NAT gateway does not have its static IP {number}, {ip}, any more; run `aws ec2 \
                     associate-nat-gateway-address --nat-gateway-id {id} --allocation-ids {allocation}`"
                );
                (Reason::StaticIpDetached, text)
            }
            _ => continue,
        };
        found.push(said);
    }
    found
}
