//! Compares what a leader publishes with what the ledger holds. A tenant relies on an entry that is published as routed, so the next leader
//! must know what it requests.

use std::collections::BTreeSet;

use ipnet::Ipv4Net;
use tokio::time::Instant;

use super::bugs::Bug;
use super::config_maps::covered;
use super::excuses::Lost;
use super::invariants::Invariant;
use super::replica::ledger_location;
use super::world::World;
use crate::ledger_store::KEY;
use crate::model::base::cidr;
use crate::model::base::ids::{EntryId, ObjectId, TableId, Zone};
use crate::model::base::reason::Reason;
use crate::model::persisted::ledger::Ledger;
use crate::model::status::{Entry, State, Status};
use crate::report::status_publisher::StatusSnapshot;

impl World {
    /// Returns the content of the ledger. None if it has none.
    pub fn stored_ledger(&self) -> Option<Ledger> {
        let place = ledger_location();
        let object = self.ledger.object();
        let text = object["data"][KEY].as_str()?;
        Ledger::read(text, &place.stack_name, &place.clusters).ok()
    }

    /// Whether the routes that stay for these typos are unknown.
    pub fn is_unknown_what_stays(&self, typos: &BTreeSet<EntryId>) -> bool {
        self.ledger_lost && !typos.is_empty()
    }

    /// Whether routes that stay leave no room for others: routes that may be for these typos, or a list that is left alone and takes no new
    /// networks.
    pub fn has_no_room(&self, typos: &BTreeSet<EntryId>, lost: &Lost) -> bool {
        let mut tables = self.account.zones().into_keys();
        let is_short =
            !lost.routes.is_empty() || tables.any(|table| self.account.refuses_list_of(&table));
        let is_full = is_short && self.account.is_full_of_lists();
        is_full || self.is_unknown_what_stays(typos) && self.account.is_packed(&BTreeSet::new())
    }

    /// Records what a change set adds. If a change with lists fails, the networks that AWS accepts wait as well: the events do not name the
    /// network that AWS refuses.
    pub fn tries_lists(&self, change_set: Option<&String>) {
        if let Some(change_set) = change_set.filter(|_| self.may_have_lists()) {
            let added = self.account.added_by(change_set);
            self.shared().adds = added.into_iter().map(|(_, net)| net).collect();
        }
    }

    /// Whether an operation failed because this table was full, or AWS refuses its route to a list.
    pub fn was_full(&self, table: &TableId) -> bool {
        let until = self.shared().full.get(table).copied();
        until.is_some_and(|until| until > Instant::now()) || self.account.refuses_list_of(table)
    }

    /// Whether an operation failed because a table was full, and the next attempt may be still to come.
    pub fn was_any_full(&self) -> bool {
        let shared = self.shared();
        shared.full.values().any(|until| *until > Instant::now())
    }

    /// Whether a table gets no new routes: its zone is lost, or AWS refuses the table's route to a list.
    pub fn takes_nothing(&self, table: &TableId, zone: &Zone, lost: &Lost) -> bool {
        lost.zones.contains(zone) || self.account.refuses_list_of(table)
    }

    /// From now on no call may be sent, unless a route for a typo may still be removed because the ledger was lost.
    pub fn be_quiet(&self) {
        let typos = self.unread();
        if self.is_unknown_what_stays(&typos) {
            return self.note(
                "all routes are as requested, but routes for a typo may be removed when the ledger is back",
            );
        }
        self.note("all routes are as requested: from now on no call may be sent");
        self.shared().quiet = true;
    }

    /// Fails if a leader has just published an entry as routed that the ledger does not hold. A ledger without content is no violation,
    /// because then no route is removed while an entry is refused. A pass that failed publishes an older status again.
    pub fn judge_recorded(&self, who: usize, published: &StatusSnapshot) {
        let status = &published.status;
        let is_away = |reason: &str| reason == Reason::LedgerUnavailable.to_string();
        let is_old = status.failure.is_some() || !self.is_leader(who);
        // With so many problems, the problem of the ledger may be omitted.
        let is_cut = status.omitted.problems > 0;
        if is_old || is_cut || status.problems.iter().any(|it| is_away(&it.reason)) {
            return;
        }
        let Some(ledger) = self.stored_ledger() else {
            return;
        };
        let read = std::str::from_utf8(&published.json).ok();
        // Only the JSON contains the entries.
        let Some(shown) = read.and_then(Status::read) else {
            return;
        };
        let tables = self.sight().tables;
        let is_live = |net: Ipv4Net| tables.values().all(|routes| covered(net, routes));
        let is_routed = |entry: &&Entry| match entry.state {
            State::Routed => true,
            State::Pending => self.bug == Bug::LedgerLate && net(entry).is_some_and(is_live),
            _ => false,
        };
        for entry in shown.entries.iter().filter(is_routed) {
            let (net, asked) = (net(entry), ledger.asked(&id(entry)));
            let is_known = asked == net || net.is_some_and(|net| is_unnamed(&ledger, entry, net));
            if net.is_some() && !is_known {
                let text = format!(
                    "{} is published as {:?}, but the ledger has {asked:?}",
                    id(entry),
                    entry.state
                );
                return self.fail(Invariant::Recorded, text);
            }
        }
    }
}

/// Whether the ledger has the network of an entry for which it has no room.
fn is_unnamed(ledger: &Ledger, entry: &Entry, net: Ipv4Net) -> bool {
    ledger.is_short(&id(entry).object) && covered(net, ledger.unnamed())
}

pub fn id(entry: &Entry) -> EntryId {
    EntryId {
        object: ObjectId {
            cluster: entry.cluster.clone(),
            namespace: entry.namespace.clone(),
            name: entry.name.clone(),
        },
        key: entry.key.clone(),
    }
}

/// Returns the network of the entry.
fn net(entry: &Entry) -> Option<Ipv4Net> {
    let text = entry.cidr.as_ref().unwrap_or(&entry.asked);
    Some(cidr::parse(text).ok()?.0)
}
