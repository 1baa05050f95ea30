//! The static IPs of a zone besides its first: those that exist, so that partners can allow them, and how many of them the NAT gateway
//! uses. No reference leads to one that is not in use, so they are found by the names that the controller gives them.

use std::collections::BTreeMap;

use ipnet::Ipv4Net;
use serde_json::Value;

use crate::model::base::ids::Zone;
use crate::model::cloud::layout::{Layout, Names};
use crate::model::cloud::live::Live;
use crate::model::cloud::part_names::{Part, alphanumeric, number_of_eip};
use crate::model::cloud::resource_type::ResourceType;

/// The property of a NAT gateway that names its other static IPs.
pub const SECONDARY: &str = "SecondaryAllocationIds";

/// A static IP of a zone that is not its first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MoreIp {
    /// 2 and up.
    pub number: u8,
    pub ip: String,
    /// Whether the stack gives it to the NAT gateway.
    pub in_use: bool,
}

/// Returns the zone of these whose static IP has this logical id, with its number.
fn part_of<'a>(id: &str, zones: impl IntoIterator<Item = &'a Zone>) -> Option<(Zone, Part)> {
    let (number, spelt) = number_of_eip(id)?;
    let zone = zones.into_iter().find(|zone| alphanumeric(zone) == spelt)?;
    Some((zone.clone(), Part::MoreEip(number)))
}

/// Finds the EIPs of these zones that are resources of the stack.
pub(super) fn find<'a>(
    layout: &'a Layout,
    zones: &BTreeMap<Zone, Ipv4Net>,
    known: &mut BTreeMap<&'a str, (Zone, Part)>,
) {
    let eips = layout.resources.iter();
    let eips = eips.filter(|(_, it)| ResourceType::of(&it.kind) == ResourceType::Eip);
    for (id, _) in eips {
        if let Some(part) = part_of(id, zones.keys())
            && !known.contains_key(id.as_str())
        {
            known.insert(id, part);
        }
    }
}

/// Names the static IPs that are no resources of the stack, and those that the NAT gateways use.
pub(super) fn name(layout: &Layout, names: &mut Names) {
    let given = layout.outputs.iter();
    let given =
        given.filter(|(id, value)| !layout.resources.contains_key(*id) && value.is_string());
    for (id, _) in given {
        if let Some(part) = part_of(id, names.nat_cidrs.keys()) {
            names.parts.entry(part).or_insert_with(|| id.clone());
        }
    }
    let gateway = |zone: &Zone| layout.resources.get(names.part(zone, Part::NatGateway)?);
    let used = |zone: &Zone| {
        let list = gateway(zone)?.properties[SECONDARY].as_array()?;
        (!list.is_empty()).then(|| (zone.clone(), list.clone()))
    };
    let used: BTreeMap<Zone, Vec<Value>> = names.nat_cidrs.keys().filter_map(used).collect();
    names.secondary = used;
}

impl Names {
    /// Returns the static IPs of a zone besides its first, by number, with their logical ids.
    pub fn more_eips(&self, zone: &Zone) -> impl Iterator<Item = (u8, &String)> {
        let from = (zone.clone(), Part::MoreEip(0));
        let to = (zone.clone(), Part::MoreEip(u8::MAX));
        let parts = self.parts.range(from..=to);
        parts.filter_map(|((_, part), id)| match part {
            Part::MoreEip(number) => Some((*number, id)),
            _ => None,
        })
    }

    /// Returns how many static IPs the zone's NAT gateway uses, as the stack has it.
    pub fn eips_in_use(&self, zone: &Zone) -> usize {
        1 + self.secondary.get(zone).map_or(0, Vec::len)
    }
}

/// Returns the static IPs of each live zone besides its first, in the order of their numbers.
pub(in crate::model) fn more_ips(live: &Live, names: &Names) -> BTreeMap<Zone, Vec<MoreIp>> {
    let Live::Ours(stack) = live else {
        return BTreeMap::new();
    };
    let of_zone = |zone: &Zone| {
        let in_use = names.eips_in_use(zone);
        let ip = |(number, id): (u8, &String)| {
            Some(MoreIp {
                number,
                ip: stack.outputs.get(id)?.clone(),
                in_use: usize::from(number) <= in_use,
            })
        };
        let ips: Vec<MoreIp> = names.more_eips(zone).filter_map(ip).collect();
        (!ips.is_empty()).then(|| (zone.clone(), ips))
    };
    names.nat_cidrs.keys().filter_map(of_zone).collect()
}
