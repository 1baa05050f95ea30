//! The infrastructure behind the model: reads are free, mutations need a [`Term`].

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;

use crate::lease::term::Term;
use crate::model::base::ids::Zone;
use crate::model::cloud::live::{Live, Stack};
use crate::model::cloud::network::{Headroom, Network};
use crate::model::cloud::observed::{Address, Observed};
use crate::model::drift::cfn_detection::Detection;
use crate::model::plan::types::Action;

pub mod account;
#[cfg(feature = "aws")]
pub mod aws;
#[cfg(not(feature = "aws"))]
#[path = "without_aws.rs"]
pub mod aws;
pub mod memory;

/// One of the project's two traits: the seam between the controller and an account.
pub trait Provider: Send + Sync {
    /// The VPC as it is now.
    fn network(&self) -> impl Future<Output = Result<Network, ProviderError>> + Send;

    /// Those of these ids (`nat-…`, `subnet-…`, `rtb-…`, `pl-…`, `eipalloc-…`, or a public IP) that EC2, asked for each alone, says do not exist. An
    /// answer that only lacks something is no proof. What cannot be asked is not among them.
    fn absent(&self, ids: &BTreeSet<String>) -> impl Future<Output = BTreeSet<String>> + Send;

    /// The stack as it is now. `epoch` is the term's, None outside a term (`plan`): what is remembered of the stack is looked up
    /// again when it changes. `known` is the ARN of the stack that was ours when the ledger was written: where it still is, the
    /// account is not searched.
    fn live(
        &self,
        epoch: Option<u64>,
        known: Option<&str>,
    ) -> impl Future<Output = Result<Live, ProviderError>> + Send;

    /// What EC2 shows of the parts of a stack at rest, besides its route tables, which [`Self::network`] has, and of these other static
    /// IPs.
    fn observe(
        &self,
        stack: &Stack,
        ips: &BTreeSet<String>,
    ) -> impl Future<Output = Result<Observed, ProviderError>> + Send;

    /// Returns those of these static IPs that EC2 shows, by public IP.
    fn addresses(
        &self,
        ips: &BTreeSet<String>,
    ) -> impl Future<Output = Result<BTreeMap<String, Address>, ProviderError>> + Send;

    /// What CloudFormation's own drift detection says of a stack at rest: `new` starts one, else the one that was started is
    /// asked for.
    fn detect(
        &self,
        _stack: &Stack,
        _new: bool,
    ) -> impl Future<Output = Result<Detection, ProviderError>> + Send {
        let text = "this provider has none".to_owned();
        std::future::ready(Err(ProviderError::after_fix("NoDriftDetection", text)))
    }

    /// What the account may still have, as far as these zones, which are to be added, need it. What it does not tell is not known.
    fn headroom(&self, _zones: &BTreeSet<Zone>) -> impl Future<Output = Headroom> + Send {
        std::future::ready(Headroom::default())
    }

    /// Starts the action's one mutating call and returns when it has been accepted, not when its operation has ended.
    /// `owner` is the cluster that acts, in its short form; `stack` is the stack's ARN, or its name when it is to be created. [`Action::Keep`], [`Action::Wait`] and
    /// [`Action::Refuse`] do nothing.
    fn apply(
        &self,
        term: &Term,
        owner: Option<&str>,
        stack: &str,
        action: &Action,
    ) -> impl Future<Output = Result<(), ProviderError>> + Send;
}

/// How soon it makes sense to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Retry {
    /// A passing fault, or a state that moves by itself.
    Soon,
    /// The account asks for fewer calls.
    Slowly,
    /// Only a person can change it: rights, quota, a missing gateway.
    AfterFix,
}

/// What went wrong in one call or one reading. Display says what to do; the source is not part of it.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ProviderError {
    pub retry: Retry,
    /// CamelCase, stable: label of metrics and reason of Events. `TermOver` when the term ended before the call did.
    pub reason: &'static str,
    /// Names the call or the object, and the remedy.
    pub message: String,
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl ProviderError {
    /// For what only a person can change: `message` says what.
    pub fn after_fix(reason: &'static str, message: String) -> Self {
        Self {
            retry: Retry::AfterFix,
            reason,
            message,
            source: None,
        }
    }
}
