//! Static IPs outside of the stack: those that it gave up, and those that a zone's NAT gateway uses by their allocation id.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::model::base::ids::Zone;
use crate::model::base::reason::Reason;

/// A static IP as EC2 names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StaticIp {
    /// The public IP.
    pub ip: String,
    /// Its allocation id, `eipalloc-…`.
    pub allocation: String,
}

/// A static IP that a zone had until it got another one, or has besides its first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormerIp {
    pub zone: Zone,
    /// Its allocation id, `eipalloc-…`.
    pub allocation: String,
    /// Seconds since 1970; 0 for one that was never the first.
    pub until: u64,
}

/// A static IP that the account keeps, and that no NAT gateway of the stack uses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KeptIp {
    /// The zone that had it.
    pub zone: Zone,
    pub ip: String,
    pub allocation_id: String,
    /// The network interface or instance that has it now; None if it is free.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_by: Option<String>,
}

impl KeptIp {
    /// Returns the command that gives it up for good. None while something has it.
    pub fn release(&self) -> Option<String> {
        let id = &self.allocation_id;
        let command = format!("aws ec2 release-address --allocation-id {id}");
        self.held_by.is_none().then_some(command)
    }
}

/// The change of a zone's static IP, of which partners have to know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IpChange {
    pub zone: Zone,
    pub from: String,
    pub to: String,
}

/// A static IP of the account, as DescribeAddresses shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountAddress {
    /// The public IP.
    pub ip: String,
    /// The network interface or instance that has it; None if it is free.
    pub held_by: Option<String>,
    /// Its network border group; None if that is the region.
    pub group: Option<String>,
    /// The service of AWS that manages it, if it is not the account's to use.
    pub managed_by: Option<String>,
    pub tags: BTreeMap<String, String>,
}

/// The static IPs of the account in the region.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Account {
    /// Nobody has asked: no zone is to be added, or there is no account.
    #[default]
    NotAsked,
    /// EC2 does not say which there are, for this reason.
    Unanswered(String),
    Listed {
        /// By allocation id.
        addresses: BTreeMap<String, AccountAddress>,
        /// Allocation ids that EC2, asked for each alone, says do not exist.
        gone: BTreeSet<String>,
    },
}

impl Account {
    /// Returns those of these allocation ids that the list lacks.
    pub fn lacks(&self, allocations: BTreeSet<String>) -> BTreeSet<String> {
        let Self::Listed { addresses, .. } = self else {
            return BTreeSet::new();
        };
        let lacks = |id: &String| !addresses.contains_key(id);
        allocations.into_iter().filter(lacks).collect()
    }
}

/// The static IP that a zone gets when it is added, or instead of the one that it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// One that the account has.
    Use(StaticIp),
    /// None yet, for this reason.
    Wait(Reason, String),
}

/// The choices by zone. A zone without one gets a new static IP.
pub type Choices = BTreeMap<Zone, Choice>;
