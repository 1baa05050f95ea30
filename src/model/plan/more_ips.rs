//! More static IPs for live zones, in two steps: first they exist, so that partners can allow them, then the NAT gateway uses them.
//!
//! Each step is a change of its own for one zone, as for a static IP that is replaced: what AWS refuses of it keeps nothing else from being
//! done. The number in use only grows, unless `--replace-static-ip` names the zone: with it goes what was in use. A NAT gateway that is made again begins with its first static IP, and gets the others back.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::model::base::ids::Zone;
use crate::model::base::problem::{Problem, Subject};
use crate::model::base::reason::Reason;
use crate::model::cloud::layout::{Layout, Names};
use crate::model::cloud::live::{Live, Stack, static_ips};
use crate::model::cloud::more_eips::{MoreIp, SECONDARY, more_ips};
use crate::model::cloud::observed::{Gateway, Health};
use crate::model::cloud::part_names::{MAX_EIPS, Part, alphanumeric, number_of_eip, part_name};
use crate::model::cloud::static_ip::{Account, Choice, StaticIp};
use crate::model::cloud::status::Phase;
use crate::model::desired::{more_eips, template};
use crate::model::drift::Place;
use crate::model::drift::kind::DriftKind;
use crate::model::persisted::ledger::Ledger;
use crate::model::plan::diff;
use crate::model::plan::former_ips::{LOGICAL_ID, STACK_NAME, if_free, named, tag, wait};
use crate::model::plan::lost_eips::by_hand;
use crate::model::plan::patched_template::with_more;
use crate::model::plan::replaced_ips::later;
use crate::model::plan::types::{Plan, World};

/// How many static IPs a zone is to have, and to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wanted {
    all: u8,
    in_use: u8,
}

/// Returns the live zones that are configured, with what they are to have. One that is in use stays so.
fn wanted(world: &World<'_>, names: &Names) -> Vec<(Zone, Wanted)> {
    let eips = world.settings.eips;
    let live = names.nat_cidrs.keys();
    let live = live.filter(|zone| world.settings.zones.contains_key(*zone));
    let wanted = |zone: &Zone| {
        let known = match world.settings.replaced.contains(zone) {
            true => 1,
            false => world.ledger.ips_used(zone),
        };
        let used = names.eips_in_use(zone).max(known);
        let used = u8::try_from(used).unwrap_or(MAX_EIPS);
        let in_use = eips.in_use.max(used).min(MAX_EIPS);
        let all = eips.per_zone.clamp(in_use, MAX_EIPS);
        (zone.clone(), Wanted { all, in_use })
    };
    live.map(wanted).collect()
}

/// Returns the numbers of the static IPs that a zone is to have and does not have.
fn missing(names: &Names, zone: &Zone, wanted: Wanted) -> Vec<u8> {
    let has: BTreeSet<u8> = names.more_eips(zone).map(|(number, _)| number).collect();
    let numbers = 2..=wanted.all;
    // A stack that somebody else gave static IPs has them without numbers.
    let unnamed = names.eips_in_use(zone) > 1 + has.len();
    numbers
        .filter(|number| !unnamed && !has.contains(number))
        .collect()
}

/// Returns how many static IPs each live zone lacks, and the zones whose NAT gateway is to use more.
pub(in crate::model) fn lacking(
    world: &World<'_>,
    names: &Names,
) -> (BTreeMap<Zone, usize>, BTreeSet<Zone>) {
    let (mut lacking, mut using) = (BTreeMap::new(), BTreeSet::new());
    for (zone, wanted) in wanted(world, names) {
        let missing = missing(names, &zone, wanted).len();
        if usize::from(wanted.in_use) > names.eips_in_use(&zone) {
            using.insert(zone.clone());
        }
        if missing > 0 {
            lacking.insert(zone, missing);
        }
    }
    (lacking, using)
}

/// Notes the static IPs of the live zones besides their first, as EC2 was last seen to have them.
/// `now`: the time, as far as it counts for a zone.
pub(in crate::model) fn note(
    ledger: &mut Ledger,
    world: &World<'_>,
    names: &Names,
    now: impl Fn(&Zone) -> u64,
) {
    let seen = world.watch.last_seen();
    for (zone, ips) in more_ips(world.live, names) {
        for MoreIp { number, ip, in_use } in ips {
            let known = ledger.further_ips.get(&zone).and_then(|it| it.get(&number));
            let known = known.filter(|it| it.ip == ip).map(|it| &it.allocation);
            let shown = seen.and_then(|seen| seen.addresses.get(&ip));
            let shown = shown.map(|it| &it.allocation).filter(|it| !it.is_empty());
            if let Some(allocation) = shown.or(known).cloned() {
                let has = StaticIp { ip, allocation };
                if world.settings.replaced.contains(&zone) && !in_use {
                    ledger.forget_use(&zone, number);
                }
                ledger.note_further(&zone, number, (has, in_use), now(&zone));
            }
        }
    }
    let is_certain = match world.live {
        Live::Absent => true,
        Live::Ours(stack) => stack.status.phase() == Phase::Settled && !names.nat_cidrs.is_empty(),
        Live::Foreign { .. } | Live::Several(_) => false,
    };
    if is_certain {
        ledger.note_zones(|zone| names.nat_cidrs.contains_key(zone));
    }
}

/// Returns the allocation id that the flags name for this number.
fn named_for<'a>(world: &World<'a>, zone: &Zone, number: u8) -> Option<&'a String> {
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
type Chosen = (BTreeMap<u8, Option<StaticIp>>, Vec<(u8, Reason, String)>);

fn chosen(world: &World<'_>, names: &Names, zone: &Zone, wanted: Wanted) -> Chosen {
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

/// Why a NAT gateway is not given more static IPs now. `None` instead of words: it is not known yet.
type Hindrance = Option<(Reason, String)>;

/// Returns the allocation ids of the static IPs that the zone's NAT gateway is to use, or why it does not get more of them.
fn usable(
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
            "its NAT gateway has {other}, which somebody gave it by hand, and CloudFormation might take that away with the change; \
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
        if used < usize::from(wanted.in_use) {
            if let Err(Some((reason, why))) = usable(world, stack, names, (&zone, wanted)) {
                say(
                    reason,
                    format!("its NAT gateway does not use more static IPs yet: {why}"),
                );
            }
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

impl Plan {
    /// Returns how many static IPs live zones are to have besides those that they have.
    pub fn more_eips(&self) -> usize {
        self.more_eips
    }

    /// Plans the next step for the first live zone that has fewer static IPs than it is to have, or more, or uses fewer. Returns whether
    /// it did.
    pub(in crate::model) fn change_more_ips(
        &mut self,
        world: &World<'_>,
        stack: &Stack,
        layout: &Layout,
        names: &Names,
    ) -> bool {
        let mut zones = wanted(world, names).into_iter();
        zones.any(|(zone, wanted)| {
            let is_due =
                later(world, names, &zone).is_none() && self.desired.zones.contains_key(&zone);
            let of = (&zone, wanted);
            is_due
                && (self.add_eips(world, stack, layout, names, of).is_some()
                    || self.drop_eips(stack, layout, names, of).is_some()
                    || self.use_eips(world, stack, layout, names, of).is_some())
        })
    }

    fn add_eips(
        &mut self,
        world: &World<'_>,
        stack: &Stack,
        layout: &Layout,
        names: &Names,
        (zone, wanted): (&Zone, Wanted),
    ) -> Option<()> {
        let (mut chosen, _) = chosen(world, names, zone, wanted);
        let room = template::MAX_RESOURCES.saturating_sub(layout.resources.len());
        while chosen.values().filter(|it| it.is_none()).count() > room {
            chosen.pop_last();
        }
        if chosen.is_empty() {
            return None;
        }
        let eip = template::eip(zone, &Names::default(), &Layout::default());
        let template = with_more(stack, |resources, outputs| {
            for (number, ip) in &chosen {
                let id = part_name(zone, Part::MoreEip(*number));
                let value = match ip {
                    Some(ip) => json!(ip.ip),
                    None => {
                        let body = json!({ "Type": "AWS::EC2::EIP", "Properties": eip });
                        resources.insert(id.clone(), body);
                        json!({ "Ref": id })
                    }
                };
                outputs.insert(id, more_eips::output(zone, *number, value));
            }
            Some(())
        })?;
        self.change_alone(stack, layout, names, zone, (template, BTreeSet::new()))
    }

    /// Takes those out of the stack that are not in use and that nobody wants any more. They stay in the account.
    fn drop_eips(
        &mut self,
        stack: &Stack,
        layout: &Layout,
        names: &Names,
        (zone, wanted): (&Zone, Wanted),
    ) -> Option<()> {
        let surplus = names.more_eips(zone);
        let surplus = surplus.filter(|(number, _)| *number > wanted.all);
        let surplus: BTreeSet<String> = surplus.map(|(_, id)| id.clone()).collect();
        if surplus.is_empty() {
            return None;
        }
        if self.retain_first(stack, layout, names, surplus.iter().cloned().collect()) {
            return Some(());
        }
        let template = with_more(stack, |resources, outputs| {
            for id in &surplus {
                resources.remove(id);
                outputs.remove(id);
            }
            Some(())
        })?;
        self.change_alone(stack, layout, names, zone, (template, surplus))
    }

    fn use_eips(
        &mut self,
        world: &World<'_>,
        stack: &Stack,
        layout: &Layout,
        names: &Names,
        (zone, wanted): (&Zone, Wanted),
    ) -> Option<()> {
        let drifted = |kind: DriftKind| kind != DriftKind::TagsChanged;
        let mut drifts = self.drifts.iter();
        let is_drifted = drifts.any(|it| it.place == Place::Zone(zone.clone()) && drifted(it.kind));
        if usize::from(wanted.in_use) <= names.eips_in_use(zone) || is_drifted {
            return None;
        }
        let allocations = usable(world, stack, names, (zone, wanted)).ok()?;
        let gateway = names.part(zone, Part::NatGateway)?;
        let template = with_more(stack, |resources, _| {
            let properties = resources.get_mut(gateway)?.get_mut("Properties")?;
            let used = properties.as_object_mut()?.entry(SECONDARY);
            let used = used.or_insert_with(|| json!([])).as_array_mut()?;
            used.extend(allocations.iter().map(|it| json!(it)));
            Some(())
        })?;
        self.change_alone(stack, layout, names, zone, (template, BTreeSet::new()))
    }

    /// Plans a change of nothing but these static IPs of a zone; `dropped`: logical ids of EIPs that the stack gives up.
    fn change_alone(
        &mut self,
        stack: &Stack,
        layout: &Layout,
        names: &Names,
        zone: &Zone,
        (template, dropped): (template::Template, BTreeSet<String>),
    ) -> Option<()> {
        let mut differences = diff::between(layout, &template, &self.request);
        let refused =
            diff::refusal(&differences, &names.strangers, |id| dropped.contains(id)).is_some();
        if differences.is_empty() || refused {
            return None;
        }
        for difference in &mut differences {
            difference.tell_more(names.part(zone, Part::NatGateway));
        }
        (self.differences, self.renewed) = (differences, dropped);
        self.change_ips(stack, names, zone, template);
        Some(())
    }
}

/// Returns the static IPs of live zones that no traffic leaves from yet: partners can allow them before.
pub(in crate::model) fn announced(
    world: &World<'_>,
    names: &Names,
    in_use: &BTreeMap<Zone, Vec<String>>,
) -> BTreeMap<Zone, Vec<String>> {
    let first = static_ips(world.live, names);
    let of_zone = |(zone, ips): (Zone, Vec<MoreIp>)| {
        let used = in_use.get(&zone).into_iter().flatten();
        let used: Vec<&String> = used.chain(first.get(&zone)).collect();
        let waiting = ips.into_iter().map(|it| it.ip);
        let waiting: Vec<String> = waiting.filter(|ip| !used.contains(&ip)).collect();
        (!waiting.is_empty()).then_some((zone, waiting))
    };
    more_ips(world.live, names)
        .into_iter()
        .filter_map(of_zone)
        .collect()
}

/// Adds those to the IPs that traffic leaves from which the stack gives to NAT gateways, also where EC2 was not looked at yet.
pub(in crate::model) fn add_used(
    world: &World<'_>,
    names: &Names,
    in_use: &mut BTreeMap<Zone, Vec<String>>,
) {
    for (zone, ips) in more_ips(world.live, names) {
        for ip in ips.into_iter().filter(|it| it.in_use).map(|it| it.ip) {
            let known = in_use.entry(zone.clone()).or_default();
            if !known.contains(&ip) {
                known.push(ip);
            }
        }
    }
}

#[cfg(test)]
#[path = "more_ips_tests.rs"]
mod tests;
