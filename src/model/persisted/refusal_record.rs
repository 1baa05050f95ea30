//! The routes that AWS refused, as the ledger stores them for the next leader.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One refusal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Kept {
    pub times: u32,
    /// Seconds since 1970.
    pub not_before: u64,
    #[serde(default)]
    pub why: String,
    /// The NAT gateway of the stack that AWS names as the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
}

/// Refusals that the next leader needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Kepts {
    /// Refusals by table, or by table and network with a blank between.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub routes: BTreeMap<String, Kept>,
    /// The failed operation that was counted last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
}

impl Kepts {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
