//! The network lists of the stack that others have damaged in EC2.

use std::collections::BTreeSet;

use crate::model::base::ids::TableId;

/// The damage to live lists, which are named by logical id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListDamage {
    /// Lists that EC2 no longer has. CloudFormation cannot change them: who changes one creates the list again.
    pub gone: BTreeSet<String>,
    /// Lists whose repair was given up.
    pub given_up: BTreeSet<String>,
    /// Lists that are gone, and that do not fit into each route table that they served.
    pub without_room: BTreeSet<String>,
    /// Routes to lists that EC2 no longer has, and that a repair will create again. They need room in their tables.
    pub lost_routes: BTreeSet<(TableId, String)>,
}

impl ListDamage {
    /// Whether new networks do not go into the list, because they might not be served there.
    pub fn closes(&self, list: &str) -> bool {
        self.gone.contains(list) || self.given_up.contains(list)
    }
}
