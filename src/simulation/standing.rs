//! How long an entry has stood, from which follows whether its route is owed.

use std::time::Duration;

use ipnet::Ipv4Net;
use tokio::time::Instant;

/// An entry whose request has not changed for a while.
pub struct Standing {
    pub net: Ipv4Net,
    pub since: Instant,
    /// When the first pass began whose replica had read the entry. Only a pass records entries in the ledger, and until then no user may rely on
    /// the entry (decision 0003): if it becomes unreadable, nobody knows what it requested.
    pub read: Option<Instant>,
    /// Whether the entry had a route in every table at the last check.
    pub routed: bool,
    /// Whether the entry was routed while it was firm.
    pub owed: bool,
}

impl Standing {
    pub fn new(net: Ipv4Net) -> Self {
        Self {
            net,
            since: Instant::now(),
            read: None,
            routed: false,
            owed: false,
        }
    }

    /// Whether the entry has stood unchanged for this long, could be recorded for as long, and is routed.
    pub fn is_firm(&self, after: Duration) -> bool {
        let was_read = self.read.is_some_and(|at| at.elapsed() > after);
        self.routed && was_read && self.since.elapsed() > after
    }
}
