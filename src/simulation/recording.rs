//! Compares what a leader publishes with what the ledger holds. A tenant relies on an entry that is published as routed, so the next leader
//! must know what it requests.

use ipnet::Ipv4Net;

use super::bugs::Bug;
use super::config_maps::covered;
use super::invariants::Invariant;
use super::replica::ledger_location;
use super::world::World;
use crate::ledger_store::KEY;
use crate::model::base::cidr;
use crate::model::base::ids::{EntryId, ObjectId};
use crate::model::base::reason::Reason;
use crate::model::persisted::ledger::Ledger;
use crate::model::status::{Entry, State, Status};
use crate::report::status_publisher::StatusSnapshot;

impl World {
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
        let place = ledger_location();
        let object = self.ledger.object();
        let text = object["data"][KEY].as_str().unwrap_or_default();
        let Ok(ledger) = Ledger::read(text, &place.stack_name, &place.clusters) else {
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
            if net.is_some() && asked != net {
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
