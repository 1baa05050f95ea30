//! The prefix lists of a status.

use std::fmt;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::model::cloud::network_lists::LiveList;
use crate::model::plan::types::Plan;

/// One prefix list of the stack.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListStatus {
    /// The logical id in the stack's template.
    pub name: String,
    /// The prefix list's id, `pl-…`; None until the first read for drift.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix_list_id: Option<String>,
    /// The number of networks in the list.
    pub networks: usize,
    /// The number of networks that the list may have, which never changes.
    pub max_entries: usize,
}

impl fmt::Display for ListStatus {
    /// Writes `NetworkList01 (pl-0123456789abcdef0) has 87 of at most 100 networks`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)?;
        if let Some(id) = &self.prefix_list_id {
            write!(f, " ({id})")?;
        }
        write!(
            f,
            " has {} of at most {} networks",
            self.networks, self.max_entries
        )
    }
}

/// Returns every prefix list of the live stack.
pub fn lists(plan: &Plan) -> Vec<ListStatus> {
    let status = |(name, live): (&String, &LiveList)| ListStatus {
        name: name.clone(),
        prefix_list_id: live.id.clone(),
        networks: live.list.entries.len(),
        max_entries: live.list.size,
    };
    plan.lists.iter().map(status).collect()
}

/// Returns the prefix list that has the network as an entry.
pub(super) fn list_of(plan: &Plan, net: &Ipv4Net) -> Option<String> {
    let mut lists = plan.lists.iter();
    let found = lists.find(|(_, live)| live.list.entries.contains(net));
    found.map(|(name, _)| name.clone())
}
