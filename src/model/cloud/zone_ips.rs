//! The static IPs of live zones besides their first, and which of them the stack gives to the NAT gateways.

use std::collections::BTreeMap;

use crate::model::base::ids::Zone;
use crate::model::cloud::layout::Names;
use crate::model::cloud::live::Live;
use crate::model::cloud::part_names::Part;

/// A static IP of a zone that is not its first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MoreIp {
    /// 2 and up.
    pub number: u8,
    pub ip: String,
    /// Whether the stack gives it to the NAT gateway.
    pub in_use: bool,
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
