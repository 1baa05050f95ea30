//! Additional static IPs of zones: the EIPs of the stack besides the first one of each NAT gateway. Each has an output, so that partners
//! can allow the IP before traffic leaves from it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use crate::model::base::ids::Zone;
use crate::model::cloud::layout::{Layout, Names, Resource, referenced};
use crate::model::cloud::live::Live;
pub use crate::model::cloud::part_names::MAX_EIPS as MAX;
use crate::model::cloud::part_names::Part;
use crate::model::cloud::released_ips::{Asked, AskedIps, Lost};
use crate::model::cloud::resource_type::ResourceType;

/// The property of a NAT gateway that lists its static IPs besides the first.
pub const SECONDARY: &str = "SecondaryAllocationIds";

/// A change of a zone's static IPs, described by its result.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IpStep {
    pub zone: Zone,
    /// The number of static IPs that the zone has.
    pub exist: u8,
    /// The number of static IPs that traffic leaves from.
    pub used: u8,
}

/// The changes of static IPs that failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IpWaits {
    /// The failed steps, and the time until each is tried again.
    pub steps: BTreeMap<IpStep, Duration>,
    pub asked: AskedIps,
    /// Whether a change of static IPs has waited for edits for so long that it goes first.
    pub is_overdue: bool,
}

impl IpWaits {
    /// Returns the attempts to get a released static IP back.
    pub fn asked(&self, lost: &Lost) -> Asked {
        self.asked.get(lost).copied().unwrap_or_default()
    }
}

/// Returns the numbers of a zone's additional static IPs, with their logical ids.
pub fn of<'a>(names: &'a Names, zone: &Zone) -> BTreeMap<u8, &'a String> {
    let parts = names.parts.iter().filter(|((of, _), _)| of == zone);
    let number = |((_, part), id): (&(Zone, Part), &'a String)| match part {
        Part::MoreEip(number) => Some((*number, id)),
        _ => None,
    };
    parts.filter_map(number).collect()
}

/// Returns the additional static IPs that the zone's NAT gateway uses in the live template: the logical ids of EIPs, and the names of
/// outputs.
pub fn used<'a>(layout: &'a Layout, names: &'a Names, zone: &Zone) -> BTreeSet<&'a str> {
    let gateway = names.part(zone, Part::NatGateway);
    let gateway = gateway.and_then(|id| layout.resources.get(id));
    let secondary = gateway.and_then(|it| it.properties.get(SECONDARY)?.as_array());
    let given = |allocation: &Value| {
        let mut given = names.given_more.iter();
        let found = given.find(|(_, it)| allocation.as_str() == Some(&it.allocation));
        found.map(|(id, _)| id.as_str())
    };
    let secondary = secondary.into_iter().flatten();
    secondary
        .filter_map(|id| referenced(id).or_else(|| given(id)))
        .collect()
}

/// Whether a NAT gateway keeps each additional static IP that it uses. CloudFormation can remove them in place, and partners would see
/// traffic leave from fewer IPs, so a removal counts as a replacement.
pub fn used_ips_grow(has: &Resource, wants: &Resource) -> bool {
    let list = |resource: &Resource| {
        let list = resource.properties.get(SECONDARY).and_then(Value::as_array);
        list.cloned().unwrap_or_default()
    };
    let wanted = list(wants);
    let is_gateway = ResourceType::of(&wants.kind) == ResourceType::NatGateway;
    is_gateway && list(has).iter().all(|id| wanted.contains(id))
}

/// Returns the additional static IPs that the stack's outputs show, with their zones and numbers.
pub fn outputs<'a>(
    live: &'a Live,
    names: &'a Names,
) -> impl Iterator<Item = (&'a Zone, u8, &'a String)> {
    let stack = match live {
        Live::Ours(stack) => Some(stack),
        Live::Absent | Live::Foreign { .. } | Live::Several(_) => None,
    };
    let shown = move |((zone, part), id): (&'a (Zone, Part), &String)| match part {
        Part::MoreEip(number) => Some((zone, *number, stack?.outputs.get(id)?)),
        _ => None,
    };
    names.parts.iter().filter_map(shown)
}

/// Returns the additional static IPs of the zones, as the stack's outputs show them: those that traffic leaves from by the template if
/// `used`, else the unused ones.
pub fn ips(live: &Live, layout: &Layout, names: &Names, used: bool) -> BTreeMap<Zone, Vec<String>> {
    let Live::Ours(stack) = live else {
        return BTreeMap::new();
    };
    let of_zone = |zone: &Zone| {
        let in_use = self::used(layout, names, zone);
        let ids = of(names, zone).into_values();
        let ids = ids.filter(|id| in_use.contains(id.as_str()) == used);
        let ips: Vec<String> = ids
            .filter_map(|id| stack.outputs.get(id).cloned())
            .collect();
        (!ips.is_empty()).then(|| (zone.clone(), ips))
    };
    names.nat_cidrs.keys().filter_map(of_zone).collect()
}
