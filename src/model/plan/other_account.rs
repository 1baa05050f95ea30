//! Handles ledgers whose static IPs are in another account: the cluster moved to this account, or the provider `in-memory` has started with
//! a new one. Such IPs cannot be used here, and are not lost.

use crate::model::base::problem::{Problem, Subject};
use crate::model::base::reason::Reason;
use crate::model::persisted::ledger::Ledger;
use crate::model::persisted::recall::Recall;
use crate::model::plan::types::Plan;

/// The prefix of the names of accounts in memory. The name of an AWS account is a number.
pub const IN_MEMORY: &str = "in-memory-";

/// The maximum number of static IPs that a message names.
const NAMED: usize = 3;

fn is_in_memory(account: &str) -> bool {
    account.starts_with(IN_MEMORY)
}

impl Recall<'_> {
    /// Whether the ledger is of another account than this one.
    pub(in crate::model) fn is_of_other(self, account: Option<&str>) -> bool {
        let of = self.ledger().and_then(|ledger| ledger.account.as_deref());
        of.is_some_and(|of| account.is_some_and(|account| of != account))
    }

    /// Returns the ledger without its static IPs if they are in another account than this one. The name of that account stays.
    pub fn in_other_account(self, account: Option<&str>) -> Option<Ledger> {
        let (ledger, account) = (self.ledger()?, account?);
        let is_other = match &ledger.account {
            Some(of) => of != account,
            // An earlier process recorded these IPs.
            None => is_in_memory(account),
        };
        let has_ips = ledger.had_ips().next().is_some();
        (is_other && has_ips).then(|| {
            let mut ledger = ledger.clone();
            ledger.static_ips.clear();
            ledger.former_ips.clear();
            ledger
        })
    }

    /// Returns the recall with another ledger.
    pub fn with<'b>(self, ledger: &'b Ledger) -> Recall<'b>
    where
        Self: 'b,
    {
        match self {
            Self::Known(_) => Recall::Known(ledger),
            Self::Unavailable(why, Some(_)) => Recall::Unavailable(why, Some(ledger)),
            Self::Unavailable(..) | Self::Nowhere => self,
        }
    }
}

impl Plan {
    /// Completes a plan that was made without the static IPs of another account. They stay in the ledger until a zone has an IP in this
    /// account, since the credentials may be wrong. IPs in memory never replace IPs of AWS.
    pub fn beside_other_account(mut self, before: Recall<'_>, account: Option<&str>) -> Self {
        let (Some(next), Some(before), Some(account)) =
            (&mut self.ledger, before.ledger(), account)
        else {
            return self;
        };
        let is_trial = is_in_memory(account);
        let of = before.account.as_deref().filter(|it| !is_in_memory(it));
        if next.static_ips.is_empty() || is_trial && of.is_some() {
            next.account.clone_from(&before.account);
            next.static_ips.clone_from(&before.static_ips);
            next.former_ips.clone_from(&before.former_ips);
        }
        let Some(of) = of.filter(|_| !is_trial) else {
            return self;
        };
        let ips = before.static_ips.iter().take(NAMED);
        let ips: Vec<String> = ips
            .map(|(zone, it)| format!("{} of {zone}", it.ip))
            .collect();
        let text = format!(
            "the ledger has the static IPs of account {of} ({}), and this is account {account}: zones get others here, which partners \
             have to allow; if this is the wrong account, correct the credentials",
            ips.join(", ")
        );
        let subject = Subject::Stack(self.stack.clone());
        self.with_problem(Problem::warning(
            subject,
            Reason::LedgerOfAnotherAccount,
            text,
        ))
    }
}

#[cfg(test)]
#[path = "other_account_tests.rs"]
mod tests;
