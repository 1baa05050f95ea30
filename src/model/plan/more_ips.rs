//! Adds static IPs to live zones: up to `--aws-eips-per-zone`, of which `--aws-eips-in-use-per-zone` carry traffic.
//!
//! Each step is a change of its own, made when nothing else is to change: its failure affects no route, and no tenant's edit outdates it.
//! After a failure only this step waits. One change adds a static IP and a later one uses it, so partners can allow the IP first. The
//! number of IPs only grows: a flag that is lowered by mistake must not cost an IP that partners allow. Fewer IPs carry traffic only if
//! `--replace-static-ip` names the zone, too.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use crate::model::base::ids::Zone;
use crate::model::base::problem::{Problem, Subject};
use crate::model::base::reason::Reason;
use crate::model::base::settings::{OnDrift, OnEmpty};
use crate::model::cloud::layout::{Layout, Names};
use crate::model::cloud::live::Stack;
use crate::model::cloud::more_ips::{self, IpStep, MAX, of};
use crate::model::cloud::part_names::Part;
use crate::model::cloud::released_ips::Lost;
use crate::model::cloud::static_ip::StaticIp;
use crate::model::desired::template::Template;
use crate::model::drift::Place;
use crate::model::plan::change_set::{Proposal, set_for};
use crate::model::plan::decision::{Decision, Notes};
use crate::model::plan::diff;
use crate::model::plan::former_more_ips::{self, Source};
use crate::model::plan::more_ip_templates::{
    with_given_ip, with_more_eip, with_used_eip, with_used_given_ip, without_use,
};
use crate::model::plan::released_ips;
use crate::model::plan::types::{Plan, World};

/// Returns the additional static IPs from which no traffic leaves. `secondary`: the IPs from which it does, as [`in_use`] returns them.
pub(in crate::model) fn announced(
    world: &World<'_>,
    layout: &Layout,
    names: &Names,
    secondary: &BTreeMap<Zone, Vec<String>>,
) -> BTreeMap<Zone, Vec<String>> {
    let mut announced = more_ips::ips(world.live, layout, names, false);
    for (zone, ips) in &mut announced {
        ips.retain(|ip| secondary.get(zone).is_none_or(|used| !used.contains(ip)));
    }
    announced.retain(|_, ips| !ips.is_empty());
    announced
}

/// Returns the number of the zone's static IPs.
pub(super) fn count(names: &Names, zone: &Zone) -> u8 {
    u8::try_from(of(names, zone).len()).map_or(MAX, |more| more.saturating_add(1))
}

/// Returns the public IPs from which the traffic of each zone leaves, besides its first one: `seen`, which EC2 last showed, and the IPs
/// that the live template gives the NAT gateway.
pub(in crate::model) fn in_use(
    world: &World<'_>,
    layout: &Layout,
    names: &Names,
    mut seen: BTreeMap<Zone, Vec<String>>,
) -> BTreeMap<Zone, Vec<String>> {
    for (zone, ips) in more_ips::ips(world.live, layout, names, true) {
        let known = seen.entry(zone).or_default();
        let new = ips.into_iter().filter(|ip| !known.contains(ip));
        let new: Vec<String> = new.collect();
        known.extend(new);
    }
    seen
}

/// Returns the number of static IPs from which the zone's traffic leaves, by the live template.
pub(super) fn used_count(layout: &Layout, names: &Names, zone: &Zone) -> u8 {
    let more = more_ips::used(layout, names, zone).len();
    u8::try_from(more).map_or(MAX, |more| more.saturating_add(1))
}

/// Returns the zone's next step: the addition of a static IP, or if none is lacking the use of one, or the end of its use.
fn step_of(world: &World<'_>, layout: &Layout, names: &Names, zone: &Zone) -> Option<IpStep> {
    let settings = world.settings;
    let (exist, used) = (count(names, zone), used_count(layout, names, zone));
    let may_use_fewer = settings.replaced.contains(zone);
    let (exist, used) = if exist < settings.eips_per_zone.min(MAX) {
        (exist.saturating_add(1), used)
    } else if used < settings.eips_in_use.min(exist) {
        (exist, used.saturating_add(1))
    } else if may_use_fewer && used > settings.eips_in_use.max(1) {
        (exist, used.saturating_sub(1))
    } else {
        return None;
    };
    let zone = zone.clone();
    Some(IpStep { zone, exist, used })
}

/// A static IP of the stack that its zone's NAT gateway does not use yet.
struct Unused<'a> {
    /// The logical ids of the NAT gateway and of the EIP or its output.
    gateway: &'a str,
    id: &'a str,
    ip: &'a str,
    /// The allocation id, if the IP is no resource of the stack.
    given: Option<String>,
}

/// What a step brings to its zone.
enum Target<'a> {
    /// A new EIP with this number.
    New(u8),
    /// A static IP of the account, and its number.
    Account(u8, StaticIp),
    /// A new EIP with this number, which asks AWS for this released static IP.
    Recover(u8, String),
    /// A static IP of the stack, for use.
    Use(Unused<'a>),
    /// An IP that is to carry no more traffic. It stays announced.
    Rest(Used<'a>),
}

/// An additional static IP that a zone's NAT gateway uses: the logical ids of the gateway and of the EIP or its output.
struct Used<'a> {
    gateway: &'a str,
    id: &'a str,
    ip: &'a str,
}

impl Target<'_> {
    /// Returns the released static IP that the step asks AWS for.
    fn recovers(&self, zone: &Zone) -> Option<Lost> {
        match self {
            Self::Recover(_, ip) => Some((zone.clone(), ip.clone())),
            Self::New(_) | Self::Account(..) | Self::Use(_) | Self::Rest(_) => None,
        }
    }

    /// Returns the template after the step.
    fn template(&self, stack: &Stack, names: &Names, zone: &Zone) -> Option<Template> {
        let table = || names.part(zone, Part::NatSubnetRouteTable);
        match self {
            Self::New(number) => with_more_eip(stack, zone, *number, None),
            Self::Recover(number, ip) => with_more_eip(stack, zone, *number, Some(ip)),
            Self::Rest(Used { gateway, id, .. }) => without_use(stack, gateway, id),
            Self::Account(number, ip) => with_given_ip(stack, table()?, (zone, *number, ip)),
            Self::Use(Unused {
                gateway, id, given, ..
            }) => match given {
                None => with_used_eip(stack, gateway, id),
                Some(allocation) => {
                    with_used_given_ip(stack, (gateway, table()?), (id, allocation))
                }
            },
        }
    }
}

impl Plan {
    /// Whether a failure of the plan's change leads to a long wait, so that a later leader must know of the attempt.
    pub fn is_patient(&self) -> bool {
        !self.new_zones.is_empty() || self.ip_step.is_some()
    }

    /// Whether some zone could be given one more static IP, or use one more.
    pub(in crate::model) fn has_due_ip(
        &self,
        world: &World<'_>,
        layout: &Layout,
        names: &Names,
    ) -> bool {
        let waits = &world.network.headroom.ip_waits.steps;
        let mut steps = names.nat_cidrs.keys();
        steps.any(|zone| {
            let step = self.due_step(world, layout, names, zone);
            step.is_some_and(|step| !waits.contains_key(&step))
        })
    }

    /// Returns the next step of a configured zone without drift.
    fn due_step(
        &self,
        world: &World<'_>,
        layout: &Layout,
        names: &Names,
        zone: &Zone,
    ) -> Option<IpStep> {
        let place = Place::Zone(zone.clone());
        let is_sick = self.drifts.iter().any(|drift| drift.place == place);
        let is_named = world.settings.zones.contains_key(zone);
        step_of(world, layout, names, zone).filter(|_| is_named && !is_sick)
    }

    /// Returns the next step of the change that adds a static IP to a zone, or uses one more.
    pub(in crate::model) fn add_ip(
        &self,
        notes: &mut Notes,
        world: &World<'_>,
        stack: &Stack,
        layout: &Layout,
        names: &Names,
    ) -> Option<Decision> {
        // The stack is about to be deleted.
        if self.nothing_asked() && world.settings.on_empty == OnEmpty::Delete {
            return None;
        }
        let (step, target) = self.next_ip(notes, world, stack, layout, names)?;
        let template = target.template(stack, names, &step.zone)?;
        let mut differences = diff::between(layout, &template, &self.request);
        for difference in &mut differences {
            match &target {
                Target::Use(unused) => difference.tell_use(unused.ip, true),
                Target::Rest(used) => difference.tell_use(used.ip, false),
                Target::New(_) | Target::Account(..) | Target::Recover(..) => {}
            }
        }
        let set = set_for(stack, &template);
        let decision = self.change(stack, names, Proposal::step(template, differences));
        // If the change cannot be made, the zone waits from now on.
        let text = |why: &str| format!("{} gets no more static IPs now: {why}", step.zone);
        let decision = decision.or_discard(set, text);
        Some(Decision {
            recovers: target.recovers(&step.zone),
            ip_step: Some(step),
            ..decision
        })
    }

    /// Returns the next step of a zone without drift, and notes the steps that wait.
    fn next_ip<'a>(
        &self,
        notes: &mut Notes,
        world: &World<'_>,
        stack: &'a Stack,
        layout: &Layout,
        names: &'a Names,
    ) -> Option<(IpStep, Target<'a>)> {
        let waits = &world.network.headroom.ip_waits.steps;
        let (mut adds, mut uses) = (None, None);
        for zone in names.nat_cidrs.keys() {
            let Some(step) = self.due_step(world, layout, names, zone) else {
                continue;
            };
            let of_use = match step.used.cmp(&used_count(layout, names, zone)) {
                Ordering::Equal => None,
                Ordering::Greater => {
                    let unused = unused_ip(world, stack, layout, names, zone);
                    Some(unused.map(Target::Use))
                }
                Ordering::Less => {
                    Some(used_ip(world, stack, layout, names, zone).map(Target::Rest))
                }
            };
            if let Some(None) = of_use {
                continue;
            }
            let Some(wait) = waits.get(&step) else {
                match of_use.flatten() {
                    Some(target) if uses.is_none() => uses = Some((step, target)),
                    None if adds.is_none() => {
                        adds = more(notes, world, names, zone).map(|target| (step, target));
                    }
                    Some(_) | None => {}
                }
                continue;
            };
            notes.look_within([*wait]);
            notes.waits(step);
            if let Some((reason, why)) = released_ips::more_asked(world, zone) {
                notes.report([no_more_yet(zone, reason, &why)]);
                continue;
            }
            let text = "the change of its additional static IPs failed; the controller tries again after longer \
                        and longer waits: see the stack's events for the cause";
            notes.report([limit_reached(zone, text)]);
        }
        // Partners learn of all IPs before traffic leaves from one of them.
        adds.or(uses)
    }

    /// Returns the logical ids of additional static IPs that a new NAT gateway cannot have.
    pub(in crate::model) fn spoiled_ips(&self) -> BTreeSet<String> {
        let spoiled = self.drifts.iter();
        let spoiled = spoiled.filter(|drift| drift.kind.spoils_an_additional_ip());
        spoiled.map(|drift| drift.id.clone()).collect()
    }
}

/// Returns the zone's next static IP for use. The stack at rest shows this IP, and no other resource has it. None if no IP can be used now.
fn unused_ip<'a>(
    world: &World<'_>,
    stack: &'a Stack,
    layout: &Layout,
    names: &'a Names,
    zone: &Zone,
) -> Option<Unused<'a>> {
    let gateway = names.part(zone, Part::NatGateway)?;
    let in_use = more_ips::used(layout, names, zone);
    let seen = world.watch.observed(&stack.version);
    let address = |ip: &String| seen?.addresses.get(ip);
    let is_free = |ip: &String| {
        let is_seen_free = address(ip).is_some_and(|it| it.held_by.is_none());
        world.settings.drift == OnDrift::Off || is_seen_free
    };
    let mut eips = of(names, zone).into_values();
    eips.find_map(|eip| {
        let ip = stack.outputs.get(eip)?;
        let given = names.given_more.get(eip).map(|given| {
            // A person may have allocated a released IP again.
            let now = address(ip).map(|it| it.allocation.clone());
            let now = now.filter(|it| !it.is_empty());
            now.unwrap_or_else(|| given.allocation.clone())
        });
        let is_known = given.as_ref().is_none_or(|it| !it.is_empty());
        let unused = Unused {
            gateway,
            id: eip,
            ip,
            given,
        };
        (!in_use.contains(eip.as_str()) && is_known && is_free(ip)).then_some(unused)
    })
}

/// Returns the additional static IP of the zone whose use ends next: one that the flags do not name before others, and the highest number.
fn used_ip<'a>(
    world: &World<'_>,
    stack: &'a Stack,
    layout: &Layout,
    names: &'a Names,
    zone: &Zone,
) -> Option<Used<'a>> {
    let gateway = names.part(zone, Part::NatGateway)?;
    let in_use = more_ips::used(layout, names, zone);
    let used = of(names, zone).into_values();
    let used = used.filter(|id| in_use.contains(id.as_str()));
    let used = used.filter_map(|id| Some((id, stack.outputs.get(id)?)));
    let named = world.settings.more_allocations.get(zone);
    let known = world.ledger.more_of(zone);
    let is_named = |id: &str, ip: &str| {
        let known = known.iter().find(|(_, it)| it.ip == ip);
        let given = names.given_more.get(id).or(known.map(|(_, it)| it));
        given.is_some_and(|it| named.is_some_and(|named| named.contains(&it.allocation)))
    };
    let used: Vec<_> = used.collect();
    let last = used.iter().rev();
    let last = last
        .clone()
        .find(|(id, ip)| !is_named(id, ip))
        .or(last.clone().next());
    let (id, ip) = last?;
    Some(Used { gateway, id, ip })
}

/// Returns the zone's next static IP, which nothing uses yet. Marks the zone, so that EC2 is asked about the account. None if the zone can get
/// no more static IPs now, or EC2 was not asked.
fn more(
    notes: &mut Notes,
    world: &World<'_>,
    names: &Names,
    zone: &Zone,
) -> Option<Target<'static>> {
    notes.ask_about(zone.clone());
    match former_more_ips::next(world, names, zone)? {
        Source::Account(number, ip) => Some(Target::Account(number, ip)),
        Source::New(_) | Source::Recover(..) if world.network.headroom.addresses == Some(0) => {
            let text = "it gets no more static IPs yet, since the account may have no more in this region; release one that is not \
                        needed, or have the quota \"EC2-VPC Elastic IPs\" raised";
            notes.report([limit_reached(zone, text)]);
            None
        }
        Source::New(number) => Some(Target::New(number)),
        Source::Recover(number, ip) => {
            let lost = (zone.clone(), ip);
            let why = released_ips::wait(world, &lost, "additional static IP");
            notes.report(why.map(|(reason, why)| no_more_yet(zone, reason, &why)));
            Some(Target::Recover(number, lost.1))
        }
        Source::Wait(reason, why) => {
            notes.report([no_more_yet(zone, reason, &why)]);
            None
        }
        Source::Unasked => None,
    }
}

fn no_more_yet(zone: &Zone, reason: Reason, why: &str) -> Problem {
    let text = format!("it gets no more static IPs yet: {why}");
    Problem::warning(Subject::Zone(zone.clone()), reason, text)
}

fn limit_reached(zone: &Zone, text: &str) -> Problem {
    let subject = Subject::Zone(zone.clone());
    Problem::warning(subject, Reason::LimitReached, text.to_owned())
}

#[cfg(test)]
#[path = "more_ips_tests.rs"]
mod tests;
