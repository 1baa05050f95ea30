//! Replaces `aws` in a program that is built without the feature `aws`.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Ready;

use super::account::AwsConfig;
use super::{Provider, ProviderError};
use crate::lease::term::Term;
use crate::model::cloud::live::{Live, Stack};
use crate::model::cloud::network::Network;
use crate::model::cloud::observed::{Address, Observed};
use crate::model::plan::types::Action;

/// The provider for one account and region. The type has no value, so that none of its methods ever runs.
pub enum AwsProvider {}

impl AwsProvider {
    /// # Errors
    /// Always. The check of the flags refuses `--provider=aws` earlier.
    pub async fn new(_config: AwsConfig) -> Result<Self, ProviderError> {
        let text = "this program is built without AWS".to_owned();
        Err(ProviderError::after_fix("BuiltWithoutAws", text))
    }

    pub fn keep_warm(&self) -> Ready<()> {
        match *self {}
    }
}

impl Provider for AwsProvider {
    async fn network(&self) -> Result<Network, ProviderError> {
        match *self {}
    }

    async fn absent(&self, _ids: &BTreeSet<String>) -> BTreeSet<String> {
        match *self {}
    }

    async fn live(&self, _epoch: Option<u64>, _known: Option<&str>) -> Result<Live, ProviderError> {
        match *self {}
    }

    async fn observe(
        &self,
        _stack: &Stack,
        _ips: &BTreeSet<String>,
    ) -> Result<Observed, ProviderError> {
        match *self {}
    }

    async fn addresses(
        &self,
        _ips: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, Address>, ProviderError> {
        match *self {}
    }

    async fn apply(
        &self,
        _term: &Term,
        _owner: Option<&str>,
        _stack: &str,
        _action: &Action,
    ) -> Result<(), ProviderError> {
        match *self {}
    }
}
