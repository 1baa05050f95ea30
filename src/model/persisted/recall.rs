//! [`Recall`]: the known part of the [`Ledger`], and its next content.

use std::collections::BTreeSet;

use ipnet::Ipv4Net;

use crate::model::base::ids::{EntryId, Zone};
use crate::model::base::plain::plain;
use crate::model::base::problem::{Problem, Subject};
use crate::model::base::reason::Reason;
use crate::model::cloud::live::{Live, uses};
use crate::model::cloud::static_ip::StaticIp;
use crate::model::cloud::status::Phase;
use crate::model::input::request::{Request, Snapshot};
use crate::model::persisted::ledger::Ledger;

/// The number of namespaces that a message names.
const NAMED: usize = 3;

/// The known part of the ledger.
#[derive(Clone, Copy, Debug, Default)]
pub enum Recall<'a> {
    /// There is no cluster to store a ledger in.
    #[default]
    Nowhere,
    /// Why the ledger cannot be read or written, with the remedy, and its last known content.
    Unavailable(&'a str, Option<&'a Ledger>),
    Known(&'a Ledger),
}

/// The networks of the live routes, as far as they are known.
pub enum LiveNets<I> {
    All(I),
    /// The stack cannot be read or is not ours for now. No entry gets or loses a route, and when the stack is back, the lines must explain its
    /// routes: they do not change.
    Unknown,
    /// The stack that the ledger knows is in another account. Entries get routes here, and may have others there: no line is removed.
    InOtherAccount,
}

impl<'a> Recall<'a> {
    /// Returns the last known content of the ledger.
    pub(in crate::model) fn ledger(self) -> Option<&'a Ledger> {
        match self {
            Self::Known(ledger) | Self::Unavailable(_, Some(ledger)) => Some(ledger),
            Self::Nowhere | Self::Unavailable(_, None) => None,
        }
    }

    /// Returns an entry's position in the order of first acceptance, if it is known.
    pub fn number(self, entry: &EntryId) -> Option<u64> {
        self.ledger()?.number(entry)
    }

    /// Returns the network that an entry requested when it was last accepted, if it is known.
    pub fn asked(self, entry: &EntryId) -> Option<Ipv4Net> {
        self.ledger()?.asked(entry)
    }

    /// Returns the last observed static IP of a zone, if it is known.
    pub fn static_ip(self, zone: &Zone) -> Option<&'a StaticIp> {
        self.ledger()?.static_ips.get(zone)
    }

    /// Returns the additional static IPs that a zone has or had, by number, if they are known.
    pub(in crate::model) fn more_of(self, zone: &Zone) -> Vec<(Option<u8>, StaticIp)> {
        self.ledger().map(|it| it.more_of(zone)).unwrap_or_default()
    }

    /// Returns the allocation ids of these zones' last observed static IPs.
    pub fn allocations(self, zones: &BTreeSet<Zone>) -> BTreeSet<String> {
        let known = zones.iter().filter_map(|zone| self.static_ip(zone));
        let more = zones.iter().flat_map(|zone| self.more_of(zone));
        known
            .map(|it| it.allocation.clone())
            .chain(more.map(|(_, it)| it.allocation))
            .collect()
    }

    /// Whether some zone has or had the static IP with this allocation id.
    pub fn knows_allocation(self, allocation: &str) -> bool {
        self.ledger().is_some_and(|it| it.knows(allocation))
    }

    /// Returns the current and former static IPs of zones, without those that the stack uses now.
    pub fn unused_ips(self, live: &Live) -> BTreeSet<String> {
        let had = self.ledger().into_iter().flat_map(Ledger::had_ips);
        let unused = had.map(|(ip, _)| ip).filter(|ip| !uses(live, ip));
        unused.map(str::to_owned).collect()
    }

    /// Whether the ledger records that this stack was seen at rest.
    pub fn has_settled(self, stack: &str) -> bool {
        self.ledger()
            .is_some_and(|it| it.settled.as_deref() == Some(stack))
    }

    /// Returns the ledger if it explains all live routes.
    pub fn trusted<'b>(self, live: impl Iterator<Item = &'b Ipv4Net>) -> Option<&'a Ledger> {
        match self {
            Self::Known(ledger) => ledger.explains(live).then_some(ledger),
            Self::Nowhere | Self::Unavailable(..) => None,
        }
    }

    /// Returns the next content of the ledger, and the problem to publish about it.
    pub fn next<'b, I: Iterator<Item = &'b Ipv4Net>>(
        self,
        live_stack: &Live,
        snapshot: &Snapshot,
        stack_name: &str,
        request: &Request,
        live: LiveNets<I>,
    ) -> (Option<Ledger>, Option<Problem>) {
        let Some(ledger) = self.ledger() else {
            return (None, self.problem(stack_name, 0, &BTreeSet::new()));
        };
        let under_way = matches!(live_stack, Live::Ours(stack)
            if stack.status.phase() == Phase::Busy || !stack.change_sets.is_empty());
        let (mut next, left_out, tenants) = match live {
            LiveNets::All(live) => ledger.after(snapshot, request, Some(live), under_way),
            LiveNets::InOtherAccount => ledger.after(snapshot, request, None::<I>, under_way),
            LiveNets::Unknown => (ledger.clone(), 0, BTreeSet::new()),
        };
        next.stack = match live_stack {
            Live::Ours(stack) if stack.status.phase() != Phase::Gone => Some(stack.id.clone()),
            Live::Ours(_) | Live::Absent => None,
            // Our stack may be one of them.
            Live::Foreign { .. } | Live::Several(_) => next.stack,
        };
        if let Live::Ours(stack) = live_stack
            && stack.status.phase() == Phase::Settled
        {
            next.settled = Some(stack.id.clone());
        }
        (Some(next), self.problem(stack_name, left_out, &tenants))
    }

    fn problem(
        self,
        stack: &str,
        left_out: usize,
        tenants: &BTreeSet<(String, String)>,
    ) -> Option<Problem> {
        let subject = Subject::Stack(stack.to_owned());
        match self {
            Self::Unavailable(why, _) => {
                let text = format!(
                    "{why}; until then routes are added, and removed only while no entry is refused"
                );
                Some(Problem::warning(subject, Reason::LedgerUnavailable, text))
            }
            Self::Known(_) if left_out > 0 => {
                let named = tenants
                    .iter()
                    .take(NAMED)
                    .map(|(_, namespace)| plain(namespace).to_string());
                let named = named.collect::<Vec<_>>().join(", ");
                let text = format!(
                    "{left_out} entries do not fit into the ledger, of {} namespaces ({named}); while an entry of these is refused, \
                     routes that may be for it stay: remove entries there",
                    tenants.len()
                );
                Some(Problem::warning(subject, Reason::LedgerFull, text))
            }
            Self::Nowhere | Self::Known(_) => None,
        }
    }
}
