//! Allocating static IPs: new ones, and those that were released.

use std::net::Ipv4Addr;

use super::ec2::Ec2;
use super::wish::Wish;
use crate::model::cloud::observed::Address;

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
