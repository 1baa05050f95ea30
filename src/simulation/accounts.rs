//! Accounts with names of their own. Extends the account in memory.

use super::MemoryProvider;
use super::changes::layout;
use crate::model::cloud::network::Network;
use crate::simulation::replica::settings;

/// The number of static IPs and stacks that the other account had before, so that equal names mean equal things.
const USED: u32 = 100;

impl MemoryProvider {
    pub(crate) fn set_account(&self, name: &str) {
        self.account().ec2.network.account = Some(name.to_owned());
    }

    /// Returns another account with another VPC, in which the zones have worker tables.
    pub(crate) fn other(name: &str) -> Self {
        let network = Self::network_for(&settings().zones);
        let tables = network.worker_tables.into_iter();
        let tables = tables.map(|(id, table)| (format!("{id}-other"), table));
        let other = Self::new(Network {
            account: Some(name.to_owned()),
            vpc_id: "vpc-other".to_owned(),
            worker_tables: tables.collect(),
            ..network
        });
        let mut account = other.account();
        (account.ec2.count, account.created) = (USED, USED);
        drop(account);
        other
    }

    /// Whether the creation of the stack failed because the stack is for another VPC.
    pub(crate) fn has_stray_stack(&self) -> bool {
        let account = self.account();
        let Some(stack) = &account.stack else {
            return false;
        };
        let layout = layout(stack);
        let mut vpcs = layout.vpcs().into_iter();
        stack.status.word() == "ROLLBACK_COMPLETE"
            && vpcs.any(|vpc| vpc != account.ec2.network.vpc_id)
    }
}
