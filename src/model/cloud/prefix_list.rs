//! Managed prefix lists of the stack, as EC2 shows them.

use std::collections::BTreeSet;

use ipnet::Ipv4Net;

/// The id of a prefix list, `pl-…`.
pub type ListId = String;

/// The maximum number of entries that one call adds to or removes from a list ("The number of entries per request").
pub const MOST_CHANGES: usize = 100;
/// The default quota of an account's prefix lists in a region ("Amazon VPC quotas"); only AWS Support raises it.
pub const MOST_LISTS: usize = 100;

/// A prefix list of the stack. A route to the list leads to one target for all entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrefixList {
    pub name: String,
    pub state: ListState,
    /// EC2 increments the version with each change of the entries.
    pub version: i64,
    /// The number of routes that the list counts for in each route table with a route to it, even if it has fewer entries.
    pub max_entries: usize,
    /// The IPv4 entries, which EC2 shows in any order.
    pub entries: BTreeSet<Ipv4Net>,
}

/// The progress of the last change of a list. Until it is complete, the entries may be the former ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ListState {
    /// `create-complete`, `modify-complete` or `restore-complete`.
    #[default]
    Complete,
    /// `create-in-progress`, `modify-in-progress` or `restore-in-progress`.
    InProgress,
    /// `delete-in-progress`.
    Leaving,
    /// `create-failed`, `modify-failed`, `restore-failed` or `delete-failed`, with EC2's reason.
    Failed(String),
}

impl ListState {
    /// Reads EC2's name of a state. None for a deleted list.
    pub fn of(name: &str, reason: Option<&str>) -> Option<Self> {
        match name {
            "delete-complete" => None,
            "delete-in-progress" => Some(Self::Leaving),
            name if name.ends_with("-complete") => Some(Self::Complete),
            name if name.ends_with("-failed") => {
                let reason = reason.filter(|reason| !reason.is_empty());
                Some(Self::Failed(reason.unwrap_or(name).to_owned()))
            }
            // An unknown state is no proof that the list serves.
            _ => Some(Self::InProgress),
        }
    }

    /// Whether EC2 has carried out the last change of the list.
    pub fn is_settled(&self) -> bool {
        *self == Self::Complete
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_as_ec2_names_them() {
        let settled = |name: &str| ListState::of(name, None).map(|state| state.is_settled());
        for before in ["create", "modify", "restore"] {
            assert_eq!(settled(&format!("{before}-complete")), Some(true));
            assert_eq!(settled(&format!("{before}-in-progress")), Some(false));
            assert_eq!(settled(&format!("{before}-failed")), Some(false));
        }
        assert_eq!(settled("delete-complete"), None);
        let leaving = ListState::of("delete-in-progress", None);
        assert_eq!(leaving, Some(ListState::Leaving));
        assert_eq!(settled("sync-pending"), Some(false));
        let failed = |reason| ListState::of("modify-failed", reason);
        let with = |text: &str| Some(ListState::Failed(text.to_owned()));
        assert_eq!(failed(Some("no room in rtb-1")), with("no room in rtb-1"));
        assert_eq!(failed(Some("")), with("modify-failed"));
        assert_eq!(failed(None), with("modify-failed"));
    }
}
