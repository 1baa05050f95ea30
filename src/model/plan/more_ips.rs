//! More static IPs for live zones, in two steps: first they exist, so that partners can allow them, then the NAT gateway uses them.
//!
//! Each step is a change of its own for one zone, as for a static IP that is replaced: what AWS refuses of it keeps nothing else from being
//! done. The number in use only grows, unless `--replace-static-ip` names the zone: with it goes what was in use. A NAT gateway that is
//! made again begins with its first static IP, and gets the others back.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::model::base::ids::Zone;
use crate::model::cloud::layout::{Layout, Names};
use crate::model::cloud::live::{Stack, static_ips};
use crate::model::cloud::more_eips::SECONDARY;
use crate::model::cloud::part_names::{Part, part_name};
use crate::model::cloud::zone_ips::{MoreIp, more_ips};
use crate::model::desired::{more_eips, template};
use crate::model::drift::Place;
use crate::model::drift::kind::DriftKind;
use crate::model::plan::diff;
use crate::model::plan::eip_choice::chosen;
use crate::model::plan::eips_usable::usable;
use crate::model::plan::eips_wanted::{Wanted, wanted};
use crate::model::plan::patched_template::with_more;
use crate::model::plan::replaced_ips::later;
use crate::model::plan::types::{Plan, World};

impl Plan {
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

#[cfg(test)]
#[path = "more_ips_doubt_tests.rs"]
mod doubt_tests;
