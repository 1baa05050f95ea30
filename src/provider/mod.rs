//! The interface to the infrastructure: only mutations need a [`Term`].

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;

use crate::lease::term::Term;
use crate::model::base::ids::Zone;
use crate::model::cloud::live::{Live, Stack};
use crate::model::cloud::network::{Headroom, Network};
use crate::model::cloud::observed::{Address, Observed};
use crate::model::cloud::static_ip::Account;
use crate::model::drift::cfn_detection::Detection;
use crate::model::plan::types::Action;

pub mod account;
#[cfg(feature = "aws")]
pub mod aws;
#[cfg(not(feature = "aws"))]
#[path = "without_aws.rs"]
pub mod aws;
pub mod memory;

/// The interface between the controller and an account.
pub trait Provider: Send + Sync {
    /// Returns the VPC and its route tables as they are now.
    fn network(&self) -> impl Future<Output = Result<Network, ProviderError>> + Send;

    /// Returns the ids (`nat-…`, `subnet-…`, `rtb-…`, `pl-…`, `eipalloc-…`, or a public IP) that do not exist according to EC2, which is
    /// asked for each id alone. An answer that only lacks a resource is no proof. Ids that could not be checked are left out.
    fn absent(&self, ids: &BTreeSet<String>) -> impl Future<Output = BTreeSet<String>> + Send;

    /// Returns the stack as it is now. `epoch` is the term's, None outside a term (`plan`); a new epoch discards what earlier calls stored
    /// of the stack. `known` is the ARN of our stack in the ledger: while that stack exists, the account is not searched.
    fn live(
        &self,
        epoch: Option<u64>,
        known: Option<&str>,
    ) -> impl Future<Output = Result<Live, ProviderError>> + Send;

    /// Returns the parts of a stack at rest and these other static IPs, as EC2 shows them. The route tables come from [`Self::network`].
    fn observe(
        &self,
        stack: &Stack,
        ips: &BTreeSet<String>,
    ) -> impl Future<Output = Result<Observed, ProviderError>> + Send;

    /// Returns the static IPs that EC2 shows, by public IP.
    fn addresses(
        &self,
        ips: &BTreeSet<String>,
    ) -> impl Future<Output = Result<BTreeMap<String, Address>, ProviderError>> + Send;

    /// Returns the static IPs of the account in the region.
    fn static_ips(&self) -> impl Future<Output = Account> + Send {
        std::future::ready(Account::NotAsked)
    }

    /// Starts CloudFormation's own drift detection of a stack at rest if `new`, and otherwise asks for the one that was started.
    fn detect(
        &self,
        _stack: &Stack,
        _new: bool,
    ) -> impl Future<Output = Result<Detection, ProviderError>> + Send {
        let text = "this provider has none".to_owned();
        std::future::ready(Err(ProviderError::after_fix("NoDriftDetection", text)))
    }

    /// Returns what the account may still have for these zones, which are to be added. Values that AWS does not report are unknown.
    fn headroom(&self, _zones: &BTreeSet<Zone>) -> impl Future<Output = Headroom> + Send {
        std::future::ready(Headroom::default())
    }

    /// Starts the action's mutating call, and returns when the call is accepted, not when its operation has ended. `owner` is the short
    /// form of the cluster that acts; `stack` is the stack's ARN, or its name if it is to be created. [`Action::Keep`], [`Action::Wait`]
    /// and [`Action::Refuse`] do nothing.
    fn apply(
        &self,
        term: &Term,
        owner: Option<&str>,
        stack: &str,
        action: &Action,
    ) -> impl Future<Output = Result<(), ProviderError>> + Send;
}

/// How soon a retry makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Retry {
    /// A temporary fault, or a state that changes by itself.
    Soon,
    /// The account asks for fewer calls.
    Slowly,
    /// Only the operator can remove the cause: rights, quota, a missing gateway.
    AfterFix,
}

/// The error of one call or one reading. Display includes the remedy, but not the source.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ProviderError {
    pub retry: Retry,
    /// The stable name in CamelCase: label of metrics and reason of Events. `TermOver` if the term ended before the call did.
    pub reason: &'static str,
    /// Names the call or the object, and the remedy.
    pub message: String,
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl ProviderError {
    /// Returns an error whose cause only the operator can remove. `message` names the remedy.
    pub fn after_fix(reason: &'static str, message: String) -> Self {
        Self {
            retry: Retry::AfterFix,
            reason,
            message,
            source: None,
        }
    }
}
