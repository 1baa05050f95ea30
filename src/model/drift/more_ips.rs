//! The static IPs of a zone besides the first of its NAT gateway.

use super::Cure;
use super::zone::Look;
use crate::model::cloud::more_ips;
use crate::model::cloud::observed::{Address, Gateway, Health};
use crate::model::cloud::part_names::Part;
use crate::model::drift::Drift;
use crate::model::drift::kind::DriftKind::{
    self, AdditionalIpLost, AdditionalIpUnused, AnswersContradict,
};

impl Look<'_> {
    /// The static IPs besides the first.
    pub(super) fn at_more_addresses(&self, found: &mut Vec<Drift>) {
        let in_use = more_ips::used(self.layout, self.names, self.zone);
        for id in more_ips::of(self.names, self.zone).into_values() {
            let Some(ip) = self.observed.ids.get(id) else {
                continue;
            };
            let is_used = in_use.contains(id.as_str());
            let seen = match self.observed.addresses.get(ip) {
                None => self.without_address(id, ip, is_used),
                Some(address) if is_used => self.without_gateway(id, ip, address),
                Some(_) => None,
            };
            let expected = format!("the additional static IP {ip}");
            let drift = |(kind, seen, cure)| self.drift(id, kind, expected, seen, cure);
            found.extend(seen.map(drift));
        }
    }

    /// Whether a person has allocated the static IP again, so that it has another allocation id than the template names.
    fn has_another_id(&self, id: &str, address: &Address) -> bool {
        let given = self.names.given_more.get(id);
        given
            .is_some_and(|it| !address.allocation.is_empty() && it.allocation != address.allocation)
    }

    /// The logical ids of an additional static IP and of the zone's NAT gateway.
    fn pair(&self, id: &str) -> Vec<String> {
        let gateway = self.id(Part::NatGateway);
        [id.to_owned()]
            .into_iter()
            .chain(gateway.cloned())
            .collect()
    }

    /// Returns what is wrong with an additional static IP that EC2's answer lacks.
    fn without_address(
        &self,
        id: &str,
        ip: &String,
        is_used: bool,
    ) -> Option<(DriftKind, String, Cure)> {
        let has_it = |gateway: &Gateway| gateway.secondary_ips.contains(ip);
        if self.gateway().is_some_and(has_it) {
            let seen = "is not in EC2's answer, and the zone's NAT gateway has it".to_owned();
            return Some((AnswersContradict, seen, Cure::Passes));
        }
        let mut ids = self.pair(id);
        ids.truncate(if is_used { 2 } else { 1 });
        let gone = (AdditionalIpLost, "is released", Cure::GiveUp(ids));
        Some(self.if_proven(ip, gone))
    }

    /// Returns what is wrong with an additional static IP that the zone's NAT gateway is to have, if it does not have it.
    fn without_gateway(
        &self,
        id: &str,
        ip: &String,
        address: &Address,
    ) -> Option<(DriftKind, String, Cure)> {
        let gateway = self.gateway();
        let interface = gateway.and_then(|gateway| gateway.interface.as_ref());
        let holder = address.held_by.as_ref();
        let has_it = gateway.is_some_and(|gateway| {
            gateway.secondary_ips.contains(ip)
                || matches!(gateway.health, Health::Coming | Health::Leaving)
        });
        if has_it || self.is_missed() || holder.is_some() && holder == interface {
            return None;
        }
        match holder {
            Some(holder) => {
                let seen = format!("is associated with {holder} instead of the zone's NAT gateway");
                let text = "disassociate it there, then the NAT gateway gets it back";
                Some((AdditionalIpUnused, seen, Cure::ByHand(text.into())))
            }
            // A NAT gateway that is made again gets it by the allocation id that the template names.
            None if gateway.is_none_or(|gateway| gateway.health != Health::Well)
                && !self.has_another_id(id, address) =>
            {
                None
            }
            None => {
                let seen = "is not on the zone's NAT gateway".to_owned();
                Some((AdditionalIpUnused, seen, Cure::Reuse(self.pair(id))))
            }
        }
    }
}
