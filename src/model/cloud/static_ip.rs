//! Static IPs outside of the stack: former ones of the stack, and those that a NAT gateway uses by a literal allocation id.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::model::base::ids::Zone;
use crate::model::base::reason::Reason;

/// A static IP with both of EC2's names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StaticIp {
    /// The public IP.
    pub ip: String,
    /// The allocation id, `eipalloc-…`.
    pub allocation: String,
}

/// A former first static IP of a zone, or an additional one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormerIp {
    pub zone: Zone,
    /// The allocation id, `eipalloc-…`.
    pub allocation: String,
    /// When the zone got another first IP, in seconds since 1970; 0 for an IP that was never the first.
    pub until: u64,
    /// The number of an additional IP, from 2 on; 0 once another IP of the zone has this number. None for an IP that was never additional,
    /// and in a document of an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u8>,
    /// The NAT gateway with which a person associated the IP, `nat-…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
}

/// A static IP that the account keeps and that no NAT gateway of the stack uses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KeptIp {
    /// The zone that had the IP.
    pub zone: Zone,
    pub ip: String,
    pub allocation_id: String,
    /// The network interface or instance that uses the IP now; None if it is free.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_by: Option<String>,
}

impl KeptIp {
    /// Returns the command that releases the IP permanently. None if the IP is in use.
    pub fn release(&self) -> Option<String> {
        let id = &self.allocation_id;
        let command = format!("aws ec2 release-address --allocation-id {id}");
        self.held_by.is_none().then_some(command)
    }
}

/// The change of a zone's static IP, to be announced to partners.
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
    /// The network interface or instance that uses the IP; None if it is free.
    pub held_by: Option<String>,
    /// The network border group; None if that is the region.
    pub group: Option<String>,
    /// The AWS service that manages the IP, if the account cannot use it freely.
    pub managed_by: Option<String>,
    pub tags: BTreeMap<String, String>,
}

/// The static IPs of the account in the region.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Account {
    /// EC2 was not asked: no zone needs another static IP, or there is no account.
    #[default]
    NotAsked,
    /// EC2 gave no answer, for this reason.
    Unanswered(String),
    Listed {
        /// The static IPs by allocation id.
        addresses: BTreeMap<String, AccountAddress>,
        /// The allocation ids that do not exist according to EC2, which was asked for each alone.
        gone: BTreeSet<String>,
    },
}

impl Account {
    /// Returns the given allocation ids that the list lacks.
    pub fn lacks(&self, allocations: BTreeSet<String>) -> BTreeSet<String> {
        let Self::Listed { addresses, .. } = self else {
            return BTreeSet::new();
        };
        let lacks = |id: &String| !addresses.contains_key(id);
        allocations.into_iter().filter(lacks).collect()
    }
}

/// The static IP that a new zone gets, or that replaces the present one of a live zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// A static IP of the account.
    Use(StaticIp),
    /// The former static IP, which was released. AWS is asked for it.
    Recover(String),
    /// The zone waits for a static IP, for this reason.
    Wait(Reason, String),
}

/// The choices by zone. A new zone without a choice gets a new static IP.
pub type Choices = BTreeMap<Zone, Choice>;
