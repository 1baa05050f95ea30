//! The static IPs of a zone besides its first, in a template: those that exist, so that partners can allow them. No reference leads to one that
//! the NAT gateway does not use, so they are found by the names that the controller gives them.

use std::collections::BTreeMap;

use ipnet::Ipv4Net;

use crate::model::base::ids::Zone;
use crate::model::cloud::part_names::{Part, alphanumeric, number_of_eip};

/// The property of a NAT gateway that names its other static IPs.
pub const SECONDARY: &str = "SecondaryAllocationIds";

/// Returns which of these logical ids, or outputs, stand for static IPs of these zones.
pub(super) fn find<'a>(
    ids: impl Iterator<Item = &'a String>,
    zones: &BTreeMap<Zone, Ipv4Net>,
) -> Vec<(&'a String, (Zone, Part))> {
    let part = |id: &'a String| {
        let (number, spelt) = number_of_eip(id)?;
        let zone = zones.keys().find(|zone| alphanumeric(zone) == spelt)?;
        Some((id, (zone.clone(), Part::MoreEip(number))))
    };
    ids.filter_map(part).collect()
}
