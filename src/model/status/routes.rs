//! The routes of a status.

use serde::{Deserialize, Serialize};

/// The state of a route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum RouteState {
    #[default]
    Pending,
    Live,
    /// Live and no longer requested, but not to be removed now.
    Kept,
    Leaving,
    Drifted,
}

/// All routes to one destination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Route {
    pub cidr: String,
    pub state: RouteState,
    pub route_tables: Vec<String>,
    /// The logical id of the prefix list that has the destination as an entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix_list: Option<String>,
}
