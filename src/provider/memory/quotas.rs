//! The account's quotas, and the resources that it may add.

use std::collections::BTreeSet;

use super::ec2::Ec2;
use crate::model::base::ids::Zone;
use crate::model::cloud::network::{Headroom, Network};
use crate::model::cloud::observed::{Address, Gateway, Health};
use crate::model::cloud::prefix_list::MOST_LISTS;
use crate::model::cloud::static_ip::{Account, AccountAddress};

impl Ec2 {
    /// Returns the network as EC2 and Service Quotas show it.
    pub(super) fn network(&self) -> Network {
        let mut network = self.network.clone();
        network.limits.routes = self.route_quota.and_then(|quota| u16::try_from(quota).ok());
        let most = self.list_quota.unwrap_or(MOST_LISTS);
        network.limits.lists = Some(most.saturating_sub(self.lists.len()));
        for (id, table) in &mut network.worker_tables {
            table.listed += self.listed(id);
        }
        network
    }

    pub(super) fn headroom(&self, zones: &BTreeSet<Zone>) -> Headroom {
        let told = self.gateway_quotas.iter().filter(|_| !self.hides_quotas);
        let free = |(zone, quota): (&Zone, &usize)| {
            let taken = self.in_zone(zone);
            zones
                .contains(zone)
                .then(|| (zone.clone(), quota.saturating_sub(taken)))
        };
        Headroom {
            addresses: self.free_addresses(),
            nat_gateways: told.filter_map(free).collect(),
            account: self.account(),
            ..Headroom::default()
        }
    }

    pub(super) fn account(&self) -> Account {
        let shown = |(ip, address): (&String, &Address)| {
            let tags = self.address_tags.get(ip).cloned().unwrap_or_default();
            let held_by = address.held_by.clone();
            let shown = AccountAddress {
                group: self.groups.get(ip).cloned(),
                managed_by: None,
                ip: ip.clone(),
                held_by,
                tags,
            };
            (address.allocation.clone(), shown)
        };
        Account::Listed {
            addresses: self.addresses.iter().map(shown).collect(),
            gone: BTreeSet::new(),
        }
    }

    pub(super) fn free_addresses(&self) -> Option<usize> {
        let quota = self.address_quota?;
        Some(quota.saturating_sub(self.addresses.len()))
    }

    /// Returns the number of the zone's NAT gateways that count for the quota.
    pub(super) fn in_zone(&self, zone: &Zone) -> usize {
        let is_in = |gateway: &&Gateway| {
            let subnet = self.subnets.get(&gateway.subnet);
            let counts = !matches!(gateway.health, Health::Gone | Health::Failed(_));
            counts && subnet.is_some_and(|subnet| subnet.zone == *zone)
        };
        self.gateways.values().filter(is_in).count()
    }
}
