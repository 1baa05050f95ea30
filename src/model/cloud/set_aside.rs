//! Routes that AWS refused: plans leave them out for some time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ipnet::Ipv4Net;

use crate::model::base::ids::TableId;
use crate::model::cloud::layout::Names;

/// A route that AWS refused. Without a network, the key stands for every new route of a full table.
pub type Key = (TableId, Option<Ipv4Net>);

/// The routes that a plan leaves out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetAside {
    pub routes: BTreeMap<Key, Waits>,
    /// The number of new networks that a change may add after a failed one; None for no limit.
    pub additions: Option<usize>,
    /// Whether the plan tries the routes again whose wait is over.
    pub retries: bool,
}

/// A refusal of AWS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// The reason, in AWS's words.
    pub why: String,
    pub left: Duration,
    /// The NAT gateway of the stack that AWS names as the reason. The refusal holds only as long as the stack has this gateway.
    pub gateway: Option<String>,
    /// The number of new routes that a full table gets when it is tried again.
    pub room: usize,
}

impl SetAside {
    pub(in crate::model) fn waits(&self, key: &Key) -> Option<&Waits> {
        let waits = self.routes.get(key)?;
        (!self.retries || !waits.left.is_zero()).then_some(waits)
    }

    /// Whether routes wait only until nothing else is left to do. Then no step that can wait comes before the next attempt.
    pub(in crate::model) fn goes_first(&self) -> bool {
        !self.retries && self.may_retry()
    }

    /// Whether a refused route is due, or no change adds any route since an unexplained failure.
    pub(in crate::model) fn may_retry(&self) -> bool {
        self.additions == Some(0) || self.routes.values().any(|waits| waits.left.is_zero())
    }

    /// Returns the number of new routes that a full table gets, and why it gets no more. None if the table is not full.
    pub(in crate::model) fn room(&self, table: &TableId) -> Option<(usize, &str)> {
        let waits = self.routes.get(&(table.clone(), None))?;
        let is_due = self.retries && waits.left.is_zero();
        Some((if is_due { waits.room } else { 0 }, &waits.why))
    }

    /// Returns the refused networks that this table does not get. `wanted` are the routes that the table would have otherwise, sorted and
    /// disjoint. A network inside a live one of these is served, and not returned.
    pub(in crate::model) fn refused_in(
        &self,
        table: &TableId,
        names: &Names,
        wanted: &[Ipv4Net],
    ) -> BTreeSet<Ipv4Net> {
        let is_served = |net: &Ipv4Net| {
            let after = wanted.partition_point(|wide| wide.network() <= net.network());
            let wide = after.checked_sub(1).and_then(|at| wanted.get(at));
            wide.is_some_and(|wide| {
                wide.contains(net) && names.routes.contains_key(&(table.clone(), *wide))
            })
        };
        let nets = self.routes.keys().filter(|(of, _)| of == table);
        let nets = nets.filter_map(|(of, net)| Some((of.clone(), (*net)?)));
        nets.filter(|(_, net)| !is_served(net))
            .filter(|route| !names.routes.contains_key(route))
            .filter(|(of, net)| self.waits(&(of.clone(), Some(*net))).is_some())
            .map(|(_, net)| net)
            .collect()
    }

    /// Returns why this table gets no route to this network.
    pub(in crate::model) fn why(&self, table: &TableId, net: &Ipv4Net) -> Option<&str> {
        let overlaps = |other: &Ipv4Net| other.contains(net) || net.contains(other);
        let mut of_table = self.routes.keys().filter(|(of, _)| of == table);
        let one = of_table.find(|(_, other)| other.is_some_and(|it| overlaps(&it)));
        let waits = one.and_then(|key| self.waits(key));
        let full = || self.room(table).map(|(_, why)| why);
        waits.map(|waits| waits.why.as_str()).or_else(full)
    }
}
