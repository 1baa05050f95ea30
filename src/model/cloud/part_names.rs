//! The parts of a zone, and the logical ids that the controller gives them.

use crate::model::cloud::logical_id::renewal;

/// The maximum number of static IPs of a zone: EC2 allows no more for a NAT gateway.
pub const MAX_EIPS: u8 = 8;

/// A part of a zone's NAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Eip,
    /// The zone's additional static IP with this number, from 2 on.
    MoreEip(u8),
    NatGateway,
    NatSubnet,
    NatSubnetRouteTable,
    NatSubnetRoute,
    NatSubnetRouteTableAssociation,
}

/// The prefixes of the logical ids of a zone's parts.
pub const PARTS: [(Part, &str); 6] = [
    (Part::Eip, "EIP"),
    (Part::NatGateway, "NATGateway"),
    (Part::NatSubnet, "NATSubnet"),
    (Part::NatSubnetRouteTable, "NATSubnetRouteTable"),
    (Part::NatSubnetRoute, "NATSubnetRoute"),
    (
        Part::NatSubnetRouteTableAssociation,
        "NATSubnetRouteTableAssociation",
    ),
];

/// Returns the logical id of a new zone's part.
pub fn part_name(zone: &str, part: Part) -> String {
    if let Part::MoreEip(number) = part {
        return format!("{}No{number}", part_name(zone, Part::Eip));
    }
    format!("{}{}", base(part), alphanumeric(zone))
}

fn base(part: Part) -> &'static str {
    let base = PARTS.iter().find(|(of, _)| *of == part);
    base.map_or("", |(_, base)| base)
}

/// Whether `id` is the logical id that [`part_name`] gives a part of the zone, other than an additional static IP.
pub fn is_part(id: &str, zone: &str) -> bool {
    let rest = id.strip_suffix(&alphanumeric(zone));
    rest.is_some_and(|base| PARTS.iter().any(|(_, name)| *name == base))
}

/// Returns the zone in the logical id of a static IP, as [`alphanumeric`] spells it. None if the id is not one of this controller: the Go
/// controller counted, as in `EIP1`.
pub fn zone_of_eip(id: &str) -> Option<&str> {
    let (first, _) = renewal(id);
    let zone = first.strip_prefix(base(Part::Eip))?;
    zone.starts_with(|it: char| it.is_ascii_alphabetic())
        .then_some(zone)
}

/// Returns the text without the characters that a logical id must not have.
pub fn alphanumeric(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_additional_static_ip_is_never_taken_for_the_first() {
        let zone = "eu-west-1a";
        let id = part_name(zone, Part::MoreEip(2));
        assert_eq!(id, "EIPeuwest1aNo2");
        assert!(!is_part(&id, zone));
        assert_ne!(zone_of_eip(&id), Some("euwest1a"));
    }

    #[test]
    fn a_renewed_static_ip_is_still_the_zones() {
        let zone = "eu-west-1a";
        let id = part_name(zone, Part::Eip);
        assert_eq!(id, "EIPeuwest1a");
        assert!(is_part(&id, zone) && !is_part("EIP1", zone));
        let renewed = crate::model::cloud::logical_id::next_name(&id);
        assert_eq!(zone_of_eip(&renewed), Some("euwest1a"));
        assert_eq!(zone_of_eip(&id), Some("euwest1a"));
        assert_eq!(zone_of_eip("EIP1"), None);
    }
}
