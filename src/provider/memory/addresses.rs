//! Allocating static IPs: new ones, and those that were released.

use std::net::Ipv4Addr;

use super::ec2::Ec2;
use super::wish::Wish;
use crate::model::cloud::observed::{Address, Health};

/// The address before the first static IP.
const ADDRESSES: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 0);

/// Static IPs that a NAT gateway takes, unless the account has another quota.
const DEFAULT_GATEWAY_IPS: usize = 2;

impl Ec2 {
    /// Allocates a static IP. Returns it with its allocation id.
    pub(super) fn allocate(&mut self) -> (String, String) {
        let next = Ipv4Addr::from_bits(ADDRESSES.to_bits() + self.count + 1);
        self.have(next.to_string())
    }

    fn have(&mut self, ip: String) -> (String, String) {
        self.count += 1;
        let allocation = format!("eipalloc-{}", self.count);
        let address = Address {
            held_by: None,
            allocation: allocation.clone(),
        };
        self.addresses.insert(ip.clone(), address);
        (ip, allocation)
    }

    /// Gives a NAT gateway these static IPs besides its first, by their allocation ids, instead of those that its stack gave it before.
    pub(super) fn give(
        &mut self,
        gateway: &str,
        before: &[String],
        wanted: &[String],
    ) -> Result<(), String> {
        let holder = format!("eni-{gateway}");
        let missing = || format!("{gateway} was not found");
        for id in before.iter().filter(|id| !wanted.contains(id)) {
            let gone = (self.addresses.iter_mut()).find(|(_, it)| it.allocation == **id);
            let Some((ip, address)) = gone else { continue };
            address.held_by.take_if(|held_by| *held_by == holder);
            let it = self.gateways.get_mut(gateway).ok_or_else(missing)?;
            it.secondary_ips.retain(|has| has != ip);
        }
        for id in wanted.iter().filter(|id| !before.contains(id)) {
            let found = (self.addresses.iter_mut()).find(|(_, it)| it.allocation == *id);
            let (ip, address) = found.ok_or_else(|| format!("{id} does not exist"))?;
            if address.held_by.is_some() {
                return Err(format!("{id} is associated already"));
            }
            let it = self.gateways.get_mut(gateway).ok_or_else(missing)?;
            if it.health != Health::Well {
                return Err(missing());
            }
            if it.secondary_ips.len() + 2 > self.gateway_ips.unwrap_or(DEFAULT_GATEWAY_IPS) {
                return Err(format!("{gateway} takes no more static IPs"));
            }
            it.secondary_ips.push(ip.clone());
            address.held_by = Some(holder.clone());
        }
        Ok(())
    }

    /// Allocates the address that is wished for, or a new one. Returns it, or why EC2 refuses that.
    pub(super) fn make_address(&mut self, wish: &Wish) -> Result<String, String> {
        if self.free_addresses() == Some(0) {
            return Err("the maximum number of addresses has been reached".to_owned());
        }
        let wanted = wish.field("Address");
        self.is_to_be_had(wanted)?;
        let (ip, _) = match wanted {
            "" => self.allocate(),
            wanted => self.have(wanted.to_owned()),
        };
        let group = wish.field("NetworkBorderGroup");
        if !group.is_empty() {
            self.groups.insert(ip.clone(), group.to_owned());
        }
        Ok(ip)
    }

    /// Whether nobody has the address, in this account or in another one. Without one, any is to be had.
    fn is_to_be_had(&self, wanted: &str) -> Result<(), String> {
        if wanted.is_empty() {
            return Ok(());
        }
        if self.given_away.contains(wanted) {
            return Err(format!("the address {wanted} does not belong to you"));
        }
        let was_ours = wanted.parse::<Ipv4Addr>().is_ok_and(|ip| {
            let number = ip.to_bits().checked_sub(ADDRESSES.to_bits());
            number.is_some_and(|number| (1..=self.count).contains(&number))
        });
        if !was_ours || self.addresses.contains_key(wanted) {
            return Err(format!("the address {wanted} was not found"));
        }
        Ok(())
    }
}
