//! Detects drift in one zone's NAT: the static IP, the gateway, the NAT subnet, and its route table.

use std::collections::BTreeMap;

use ipnet::Ipv4Net;

use super::{Cure, Drift, Place, of_route};
use crate::model::base::ids::Zone;
use crate::model::cloud::layout::{Layout, Names};
use crate::model::cloud::network::{Network, Target};
use crate::model::cloud::observed::{Gateway, Health, Observed};
use crate::model::cloud::part_names::Part;
use crate::model::drift::kind::DriftKind::{
    self, AnswersContradict, NatGatewayChanged, NatGatewayFailed, NatGatewayGone,
    NatRouteTableGone, NatSubnetChanged, NatSubnetGone, NatSubnetUnassociated, StaticIpDetached,
    StaticIpLost, TagsChanged,
};

/// The observed state of a resource that EC2's answer lacks and whose absence EC2 does not confirm.
const NOT_DENIED: &str = "is not in EC2's answer, and EC2 does not say that it does not exist";

/// The input of drift detection in one zone. Resources without a known physical id are skipped.
pub(super) struct Look<'a> {
    pub(super) network: &'a Network,
    pub(super) layout: &'a Layout,
    pub(super) names: &'a Names,
    pub(super) observed: &'a Observed,
    pub(super) zone: &'a Zone,
    pub(super) cidr: Ipv4Net,
}

impl<'a> Look<'a> {
    pub(super) fn around(&self, found: &mut Vec<Drift>) {
        let begin = found.len();
        self.at_address(found);
        self.at_gateway(found);
        self.at_subnet(found);
        // A gateway depends on its subnet and its static IP. While one of them is in doubt, none of them is rebuilt.
        let of_zone = &mut found[begin..];
        if of_zone.iter().any(|drift| drift.kind == AnswersContradict) {
            for drift in of_zone {
                if matches!(drift.cure, Cure::Renew(_) | Cure::NewIp(_)) {
                    drift.cure = Cure::Passes;
                }
            }
        }
        self.at_more_addresses(found);
        self.at_table(found);
    }

    pub(super) fn id(&self, part: Part) -> Option<&'a String> {
        self.names.part(self.zone, part)
    }

    /// Returns the logical and the physical id.
    fn ids(&self, part: Part) -> Option<(&'a String, &'a str)> {
        let id = self.id(part)?;
        Some((id, self.observed.ids.get(id)?.as_str()))
    }

    pub(super) fn gateway(&self) -> Option<&'a Gateway> {
        let (_, physical) = self.ids(Part::NatGateway)?;
        self.observed.gateways.get(physical)
    }

    pub(super) fn drift(
        &self,
        id: &str,
        kind: DriftKind,
        expected: String,
        seen: String,
        cure: Cure,
    ) -> Drift {
        Drift {
            id: id.to_owned(),
            place: Place::Zone(self.zone.clone()),
            kind,
            expected,
            seen,
            cure,
        }
    }

    fn with(&self, parts: &[Part]) -> Vec<String> {
        parts
            .iter()
            .filter_map(|part| self.id(*part))
            .cloned()
            .collect()
    }

    /// Whether other answers prove that a gateway exists which EC2's answer lacks: its IP is associated or missing as well, and a route to
    /// the gateway is active.
    pub(super) fn is_missed(&self) -> bool {
        let (Some((_, gateway)), Some((_, ip))) = (self.ids(Part::NatGateway), self.ids(Part::Eip))
        else {
            return false;
        };
        let address = self.observed.addresses.get(ip);
        let mut tables = self.network.worker_tables.values();
        self.gateway().is_none()
            && address.is_none_or(|address| address.held_by.is_some())
            && tables.any(|table| {
                let mut routes = table.routes.values();
                routes.any(|route| route.target == gateway && !route.blackhole)
            })
    }

    /// Returns the drift of a resource that EC2's answer lacks. It is `gone` only if EC2 confirms the absence of this very id.
    pub(super) fn if_proven(
        &self,
        id: &str,
        gone: (DriftKind, &'static str, Cure),
    ) -> (DriftKind, String, Cure) {
        let unproven = [&self.observed.unproven, &self.network.unproven];
        let (kind, seen, cure) = match unproven.iter().any(|ids| ids.contains(id)) {
            true => (AnswersContradict, NOT_DENIED, Cure::Passes),
            false => gone,
        };
        (kind, seen.to_owned(), cure)
    }

    /// Whether the gateway's network interface still has the static IP. EC2 disassociates the IP only after the gateway was deleted.
    fn holds_on(&self) -> bool {
        let address = self.ids(Part::Eip);
        let address = address.and_then(|(_, ip)| self.observed.addresses.get(ip));
        let holder = address.and_then(|address| address.held_by.as_ref());
        let gateway = self.gateway();
        holder.is_some() && holder == gateway.and_then(|gateway| gateway.interface.as_ref())
    }

    fn at_address(&self, found: &mut Vec<Drift>) {
        let Some((id, ip)) = self.ids(Part::Eip) else {
            return;
        };
        let expected = format!("the static IP {ip}");
        let Some(address) = self.observed.addresses.get(ip) else {
            // EC2 does not release an IP while a gateway uses it.
            let shown = self.gateway().is_some_and(|gateway| {
                let ended = matches!(gateway.health, Health::Gone | Health::Failed(_));
                !ended && gateway.public_ip.as_deref() == Some(ip)
            });
            if shown || self.is_missed() {
                let seen = "is not in EC2's answer, and the zone's NAT gateway has it".to_owned();
                found.push(self.drift(id, AnswersContradict, expected, seen, Cure::Passes));
                return;
            }
            let cure = Cure::NewIp(self.with(&[Part::Eip, Part::NatGateway]));
            let (kind, seen, cure) = self.if_proven(ip, (StaticIpLost, "is released", cure));
            found.push(self.drift(id, kind, expected, seen, cure));
            return;
        };
        if self.holds_on() || self.is_missed() {
            return;
        }
        let moves = self
            .gateway()
            .is_some_and(|gateway| matches!(gateway.health, Health::Coming | Health::Leaving));
        let uses_it = self.gateway().is_some_and(|gateway| {
            let shown = gateway.public_ip.as_deref();
            gateway.health == Health::Well && shown.is_none_or(|shown| shown == ip)
        });
        if let (Some(holder), false, false) = (&address.held_by, uses_it, moves) {
            let seen = format!("is associated with {holder} instead of the zone's NAT gateway");
            let cure =
                Cure::ByHand("disassociate it there, then the NAT gateway gets it back".into());
            found.push(self.drift(id, StaticIpDetached, expected, seen, cure));
        }
    }

    fn at_gateway(&self, found: &mut Vec<Drift>) {
        let (Some((id, physical)), Some((_, ip))) =
            (self.ids(Part::NatGateway), self.ids(Part::Eip))
        else {
            return;
        };
        let expected = format!("the NAT gateway {physical}");
        let subnet = self.ids(Part::NatSubnet).map(|(_, subnet)| subnet);
        let lost = found.iter().any(|drift| {
            drift.place == Place::Zone(self.zone.clone())
                && matches!(drift.kind, StaticIpLost | StaticIpDetached)
        });
        let subnet_gone = subnet.is_some_and(|subnet| !self.observed.subnets.contains_key(subnet));
        let renew = if self.holds_on() {
            Cure::Passes
        } else if lost || subnet_gone {
            Cure::Follows
        } else {
            Cure::Renew(self.with(&[Part::NatGateway]))
        };
        let (kind, seen, cure) = match self.gateway() {
            None if self.is_missed() => {
                let seen = "is not in EC2's answer, and routes to it are active".to_owned();
                (AnswersContradict, seen, Cure::Passes)
            }
            None => self.if_proven(physical, (NatGatewayGone, "is gone", renew)),
            Some(gateway) => match &gateway.health {
                Health::Gone => (NatGatewayGone, "is gone".to_owned(), renew),
                Health::Leaving => (NatGatewayGone, "is being deleted".to_owned(), Cure::Passes),
                Health::Failed(why) => (NatGatewayFailed, format!("has failed: {why}"), renew),
                Health::Well if subnet.is_some_and(|subnet| subnet != gateway.subnet) => (
                    NatGatewayChanged,
                    format!("is in {}", gateway.subnet),
                    renew,
                ),
                Health::Well if lost => return,
                Health::Well => match gateway.public_ip.as_deref() {
                    Some(has) if has == ip => return,
                    Some(has) => (
                        NatGatewayChanged,
                        format!("has {has} instead of {ip}"),
                        renew,
                    ),
                    // A NAT gateway keeps its first address for life, so an answer without an address proves nothing.
                    None => (
                        AnswersContradict,
                        "is available, and EC2's answer shows no address of it".to_owned(),
                        Cure::Passes,
                    ),
                },
                Health::Coming => return,
            },
        };
        found.push(self.drift(id, kind, expected, seen, cure));
    }

    fn at_subnet(&self, found: &mut Vec<Drift>) {
        let Some((id, physical)) = self.ids(Part::NatSubnet) else {
            return;
        };
        let expected = format!("the NAT subnet {physical}");
        let Some(subnet) = self.observed.subnets.get(physical) else {
            // EC2 does not delete a subnet while a gateway is in it.
            let used = self.gateway().is_some_and(|gateway| {
                let ended = matches!(gateway.health, Health::Gone | Health::Failed(_));
                !ended && gateway.subnet == physical
            });
            if used || self.is_missed() {
                let seen = "is not in EC2's answer, and the zone's NAT gateway is in it".to_owned();
                found.push(self.drift(id, AnswersContradict, expected, seen, Cure::Passes));
                return;
            }
            let cure = Cure::Renew(self.with(&[Part::NatSubnet, Part::NatGateway]));
            let (kind, seen, cure) = self.if_proven(physical, (NatSubnetGone, "is gone", cure));
            found.push(self.drift(id, kind, expected, seen, cure));
            return;
        };
        if subnet.cidr.is_some_and(|cidr| cidr != self.cidr) || subnet.zone != *self.zone {
            let cidr = subnet.cidr.map(|cidr| cidr.to_string()).unwrap_or_default();
            let seen = format!("has {cidr} in {} instead of {}", subnet.zone, self.cidr);
            let cure = Cure::ByHand("remove the zone with --remove-zone, and add it again".into());
            found.push(self.drift(id, NatSubnetChanged, expected, seen, cure));
        } else {
            self.at_tags(id, expected, &subnet.tags, found);
        }
    }

    /// Compares the route table of the NAT subnet, its route, and its association.
    fn at_table(&self, found: &mut Vec<Drift>) {
        let Some((id, physical)) = self.ids(Part::NatSubnetRouteTable) else {
            return;
        };
        let expected = format!("the NAT subnet's route table {physical}");
        let Some(routes) = self.network.routes(physical) else {
            let gone = (NatRouteTableGone, "is gone", Cure::Renew(Vec::new()));
            let (kind, seen, cure) = self.if_proven(physical, gone);
            found.push(self.drift(id, kind, expected, seen, cure));
            return;
        };
        if let Some(table) = self.network.other_tables.get(physical) {
            self.at_tags(id, expected, &table.tags, found);
        }
        if let Some(id) = self.id(Part::NatSubnetRoute) {
            let igw = self.network.internet_gateway_id.as_str();
            if let Some((kind, seen)) = of_route(
                routes.get(&Ipv4Net::default()),
                Some(igw),
                Target::InternetGateway,
            ) {
                let expected = format!("the route to 0.0.0.0/0 in {physical}");
                found.push(self.drift(id, kind, expected, seen, Cure::Retake));
            }
        }
        let Some((subnet_id, subnet)) = self.ids(Part::NatSubnet) else {
            return;
        };
        let gone = found
            .iter()
            .any(|drift| drift.id == *subnet_id && drift.kind == NatSubnetGone);
        let (Some(id), false) = (self.id(Part::NatSubnetRouteTableAssociation), gone) else {
            return;
        };
        let (seen, cure) = match self.network.associations.get(subnet) {
            Some(table) if table == physical => return,
            None => ("is gone".to_owned(), Cure::Renew(Vec::new())),
            Some(table) => (
                format!("is with {table} instead"),
                Cure::ByHand(
                    "disassociate the subnet there, then it gets its own table back".into(),
                ),
            ),
        };
        let expected = format!("the association of {subnet} with {physical}");
        found.push(self.drift(id, NatSubnetUnassociated, expected, seen, cure));
    }

    /// Compares the tags that the template sets. Other tags do not matter.
    fn at_tags(
        &self,
        id: &str,
        expected: String,
        tags: &BTreeMap<String, String>,
        found: &mut Vec<Drift>,
    ) {
        let lost = self
            .layout
            .tags(id)
            .into_iter()
            .find(|(key, value)| tags.get(*key).map(String::as_str) != Some(*value));
        if let Some((key, value)) = lost {
            let has = tags.get(key).map_or("no such tag", String::as_str);
            let seen = format!("should have the tag {key}={value} and has {has}");
            found.push(self.drift(id, TagsChanged, expected, seen, Cure::Retag));
        }
    }
}
