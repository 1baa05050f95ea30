//! The static IPs of an account with CloudFormation's tags of a stack. AWS sets these tags, and the logical id names the zone.

use std::collections::BTreeMap;

use crate::model::base::ids::Zone;
use crate::model::cloud::logical_id::renewal;
use crate::model::cloud::part_names::{MAX_EIPS, Part, alphanumeric, part_name};
use crate::model::cloud::static_ip::Account;

/// The tags that CloudFormation sets on a stack's resources.
pub const STACK_NAME: &str = "aws:cloudformation:stack-name";
pub const LOGICAL_ID: &str = "aws:cloudformation:logical-id";

/// The maximum number of static IPs that are shown by their tags. One EC2 call asks for these and those of the ledger, and takes 200.
const MAX_TAGGED: usize = 50;

/// A static IP with the tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tagged {
    /// The allocation id, `eipalloc-…`.
    pub allocation: String,
    /// The logical id that the EIP had in the stack.
    id: String,
}

impl Tagged {
    /// Returns the zone in the logical id: one of these, or else the id, as of a stack of the Go controller.
    pub fn zone<'a>(&self, mut zones: impl Iterator<Item = &'a Zone>) -> Zone {
        let (id, _) = renewal(&self.id);
        let is_of = |zone: &&Zone| {
            let more = (2..=MAX_EIPS).map(Part::MoreEip);
            let mut parts = [Part::Eip].into_iter().chain(more);
            parts.any(|part| part_name(zone, part) == id)
        };
        let known = zones.find(is_of).cloned();
        known.unwrap_or_else(|| alphanumeric(id))
    }
}

/// Returns the static IPs with the tags of the stack, by public IP.
pub fn tagged(account: &Account, stack: &str) -> BTreeMap<String, Tagged> {
    let Account::Listed { addresses, .. } = account else {
        return BTreeMap::new();
    };
    let tagged = addresses.iter().filter_map(|(allocation, address)| {
        let id = address.tags.get(LOGICAL_ID)?;
        let is_ours = address.tags.get(STACK_NAME).is_some_and(|it| it == stack);
        let found = Tagged {
            allocation: allocation.clone(),
            id: id.clone(),
        };
        is_ours.then(|| (address.ip.clone(), found))
    });
    tagged.take(MAX_TAGGED).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::cloud::static_ip::AccountAddress;

    #[test]
    fn tags_name_the_stack_and_the_zone() {
        let address = |ip: &str, stack: &str, id: &str| AccountAddress {
            ip: ip.to_owned(),
            tags: [(STACK_NAME, stack), (LOGICAL_ID, id)]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            ..AccountAddress::default()
        };
        let addresses = [
            (
                "eipalloc-1",
                address("198.51.100.1", "egress", "EIPeuwest1aAnew2"),
            ),
            (
                "eipalloc-2",
                address("198.51.100.2", "egress", "EIPeuwest1bNo3"),
            ),
            ("eipalloc-3", address("198.51.100.3", "egress", "EIP1")),
            (
                "eipalloc-4",
                address("198.51.100.4", "other", "EIPeuwest1a"),
            ),
            ("eipalloc-5", AccountAddress::default()),
        ];
        let addresses = addresses.map(|(id, it)| (id.to_owned(), it));
        let account = Account::Listed {
            addresses: addresses.into(),
            gone: [].into(),
        };
        let zones = ["eu-west-1a", "eu-west-1b"].map(str::to_owned);
        let found = tagged(&account, "egress").into_iter();
        let found: Vec<_> = found
            .map(|(ip, it)| (ip, it.allocation.clone(), it.zone(zones.iter())))
            .collect();
        let expected = [
            ("198.51.100.1", "eipalloc-1", "eu-west-1a"),
            ("198.51.100.2", "eipalloc-2", "eu-west-1b"),
            ("198.51.100.3", "eipalloc-3", "EIP1"),
        ];
        let expected = expected.map(|(ip, id, zone)| (ip.into(), id.into(), zone.into()));
        assert_eq!(found, expected);
    }
}
