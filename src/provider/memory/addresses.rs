//! Allocates static IPs: new ones, and those that were released.

use std::net::Ipv4Addr;

use super::ec2::Ec2;
use super::wish::Wish;
use crate::model::cloud::more_ips::MAX;
use crate::model::cloud::observed::{Address, Gateway, Health};

/// The address before the first static IP.
const ADDRESSES: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 0);

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

    /// Sets the static IPs of a NAT gateway besides its first: adds these, and removes all others.
    pub(super) fn use_addresses(&mut self, gateway: &str, wanted: &[&str]) -> Result<(), String> {
        let holder = Some(format!("eni-{gateway}"));
        let mut ips = Vec::new();
        for id in wanted {
            let found = self.allocated(id);
            let (ip, address) = found.ok_or_else(|| format!("{id} does not exist"))?;
            if address.held_by.is_some() && address.held_by != holder {
                return Err(format!("{id} is associated already"));
            }
            ips.push(ip.clone());
        }
        if ips.len() >= usize::from(MAX) {
            return Err(format!("{gateway} takes no more addresses"));
        }
        let missing = || format!("{gateway} was not found");
        let it = self.gateways.get_mut(gateway);
        let is_well = |it: &&mut Gateway| it.health == Health::Well;
        let it = it.filter(is_well).ok_or_else(missing)?;
        let left = std::mem::replace(&mut it.secondary_ips, ips.clone());
        let left = left.into_iter().filter(|ip| !ips.contains(ip));
        for (ip, holder) in left
            .map(|ip| (ip, None))
            .chain(ips.iter().map(|ip| (ip.clone(), holder.clone())))
        {
            if let Some(address) = self.addresses.get_mut(&ip) {
                address.held_by = holder;
            }
        }
        Ok(())
    }

    /// Allocates the requested address, or a new one. Returns the address, or why EC2 refuses the request.
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

    /// Deletes a NAT gateway: its static IP is free, and its routes become blackholes.
    pub(super) fn end(&mut self, gateway: &str, health: Health) {
        let Some(it) = self.gateways.get_mut(gateway) else {
            return;
        };
        it.health = health;
        let first = it.public_ip.take();
        let ips = first
            .into_iter()
            .chain(std::mem::take(&mut it.secondary_ips));
        let holder = format!("eni-{gateway}");
        for ip in ips {
            if let Some(address) = self.addresses.get_mut(&ip) {
                address.held_by.take_if(|held_by| *held_by == holder);
            }
        }
        self.blackhole(gateway);
    }

    /// Checks that no account has the address, and that this account had it before. An empty text stands for any address.
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
