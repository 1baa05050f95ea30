//! What a later leader has to know of the routes that AWS refused.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A refusal as the ledger keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Kept {
    pub times: u32,
    /// Seconds since 1970.
    pub not_before: u64,
    #[serde(default)]
    pub why: String,
}

/// What a later leader has to know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Kepts {
    /// By table, or by table and network with a blank between.
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
