//! An account in memory that behaves like CloudFormation: operations take time, only one runs at a time, the account refuses the calls that
//! CloudFormation refuses, and a failed operation is rolled back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::Ipv4Net;

use self::account::{Account, Ending, refused, status};
use super::{Provider, ProviderError};
use crate::lease::term::Term;
use crate::model::base::ids::Zone;
use crate::model::cloud::live::{Live, Stack};
use crate::model::cloud::network::{Headroom, Network, Route, WorkerTable};
use crate::model::cloud::observed::{Address, Observed};
use crate::model::cloud::static_ip;
use crate::model::plan::other_account::IN_MEMORY;
use crate::model::plan::stack_policy;
use crate::model::plan::types::Action;

mod account;
mod addresses;
mod changes;
mod ec2;
mod lists;
mod operation;
mod quotas;
mod refusal;
mod wish;

/// The provider `in-memory`. Clones share one account.
#[derive(Clone)]
pub struct MemoryProvider {
    account: Arc<Mutex<Account>>,
}

impl MemoryProvider {
    pub fn new(network: Network) -> Self {
        Self {
            account: Arc::new(Mutex::new(Account::new(network))),
        }
    }

    /// Returns a provider with an account of this process alone. The account ends with the process, and values stored for it become
    /// useless.
    pub fn of_this_process(zones: &BTreeMap<String, Ipv4Net>) -> Self {
        Self::new(Network {
            account: Some(format!("{IN_MEMORY}{:08x}", fastrand::u32(..))),
            ..Self::network_for(zones)
        })
    }

    /// Returns a VPC that fits these zones: the /16s around their NAT subnets, and one worker route table for each zone.
    pub fn network_for(zones: &BTreeMap<String, Ipv4Net>) -> Network {
        let around = |cidr: &Ipv4Net| {
            Ipv4Net::new(cidr.addr(), cidr.prefix_len().min(16)).map(|net| net.trunc())
        };
        let mut vpc_cidrs: Vec<Ipv4Net> = zones
            .values()
            .filter_map(|cidr| around(cidr).ok())
            .collect();
        vpc_cidrs.sort();
        vpc_cidrs.dedup();
        let table = |(index, zone): (usize, &String)| {
            let routes = BTreeMap::from([(
                Ipv4Net::default(),
                Route {
                    target: "igw-1".to_owned(),
                    blackhole: false,
                },
            )]);
            (
                format!("rtb-{}", index + 1),
                WorkerTable {
                    zone: zone.clone(),
                    routes,
                    ..WorkerTable::default()
                },
            )
        };
        Network {
            vpc_id: "vpc-1".to_owned(),
            vpc_cidrs,
            internet_gateway_id: "igw-1".to_owned(),
            worker_tables: zones.keys().enumerate().map(table).collect(),
            ..Network::default()
        }
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        // A poisoned account is consistent, because every change is made in one step.
        let mut account = self.account.lock().unwrap_or_else(PoisonError::into_inner);
        account.advance();
        account
    }

    /// Performs a call that has reached the account. Like CloudFormation, the account knows no terms. `by`: the epoch and the cluster in
    /// the name of a change set.
    fn carry_out(
        &self,
        by: (u64, Option<&str>),
        stack: &str,
        action: &Action,
    ) -> Result<(), ProviderError> {
        let mut account = self.account();
        account.is_named(stack)?;
        match action {
            Action::Keep | Action::Wait | Action::Refuse => Ok(()),
            Action::Create(template) => account.create(template),
            Action::Prepare(template) | Action::Revert(template) => account.prepare(template, by),
            Action::Execute { change_set } => account.execute(change_set),
            Action::Discard { change_set } => {
                account.change_sets.remove(change_set);
                Ok(())
            }
            Action::Protect(on) => {
                account.idle_stack()?.termination_protection = *on;
                Ok(())
            }
            Action::SetPolicy { open } => {
                account.idle_stack()?.policy = Some(stack_policy::text(*open));
                Ok(())
            }
            Action::ContinueRollback { .. } => {
                account.idle_stack()?;
                account.start(
                    "UPDATE_ROLLBACK_IN_PROGRESS",
                    Ending::Become(status("UPDATE_ROLLBACK_COMPLETE")),
                );
                Ok(())
            }
            Action::Delete { .. } => account.delete(),
        }
    }
}

impl Provider for MemoryProvider {
    async fn network(&self) -> Result<Network, ProviderError> {
        Ok(self.account().ec2.network())
    }

    async fn absent(&self, ids: &BTreeSet<String>) -> BTreeSet<String> {
        let account = self.account();
        ids.iter()
            .filter(|id| !account.ec2.has(id))
            .cloned()
            .collect()
    }

    async fn live(&self, _epoch: Option<u64>, _known: Option<&str>) -> Result<Live, ProviderError> {
        let account = self.account();
        Ok(match &account.stack {
            Some(stack) => Live::Ours(Box::new(Stack {
                change_sets: account.change_sets(),
                version: account.version(stack),
                ..stack.clone()
            })),
            None => Live::Absent,
        })
    }

    async fn observe(
        &self,
        _stack: &Stack,
        _ips: &BTreeSet<String>,
    ) -> Result<Observed, ProviderError> {
        Ok(self.account().observed())
    }

    async fn addresses(
        &self,
        ips: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, Address>, ProviderError> {
        let mut addresses = self.account().ec2.addresses.clone();
        addresses.retain(|ip, _| ips.contains(ip));
        Ok(addresses)
    }

    async fn static_ips(&self) -> static_ip::Account {
        self.account().ec2.account()
    }

    async fn headroom(&self, zones: &BTreeSet<Zone>) -> Headroom {
        self.account().ec2.headroom(zones)
    }

    async fn apply(
        &self,
        term: &Term,
        owner: Option<&str>,
        stack: &str,
        action: &Action,
    ) -> Result<(), ProviderError> {
        if term.is_over() {
            return Err(refused(
                "TermOver",
                "this replica no longer leads; the next leader makes the call",
            ));
        }
        self.carry_out((term.epoch(), owner), stack, action)
    }
}

#[cfg(test)]
#[path = "../simulation/account_view.rs"]
pub(crate) mod account_view;

#[cfg(test)]
#[path = "../simulation/account_faults.rs"]
pub(crate) mod account_faults;

#[cfg(test)]
#[path = "../simulation/list_faults.rs"]
mod list_faults;

#[cfg(test)]
#[path = "../simulation/shift_view.rs"]
mod shift_view;

#[cfg(test)]
#[path = "../simulation/quota_faults.rs"]
pub(crate) mod quota_faults;

#[cfg(test)]
#[path = "../simulation/tables.rs"]
pub(crate) mod tables;

#[cfg(test)]
#[path = "../simulation/accounts.rs"]
pub(crate) mod accounts;

#[cfg(test)]
#[path = "../simulation/owners.rs"]
pub(crate) mod owners;
