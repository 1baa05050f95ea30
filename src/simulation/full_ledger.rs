//! A ledger that has no room for all entries. Entries of the namespaces that need most have no lines, and their networks are stored without.

use std::collections::BTreeSet;

use ipnet::Ipv4Net;

use super::rare::Rare;
use super::script::Script;
use super::world::World;
use crate::ledger_store::KEY;
use crate::model::base::ids::EntryId;
use crate::model::input::request::Snapshot;
use crate::model::persisted::ledger::MAX_BYTES;

impl Script {
    /// Returns how many bytes of entries the ledger holds.
    pub fn ledger_room(&self) -> usize {
        let room = self.rare().find_map(|rare| match rare {
            Rare::SmallLedger(bytes) => Some(bytes),
            _ => None,
        });
        room.unwrap_or(MAX_BYTES)
    }
}

impl World {
    /// Returns the networks that may stay for these typos, because the ledger has no room for all entries of a namespace. The removals of
    /// all other networks continue.
    pub fn without_line(&self, typos: &BTreeSet<EntryId>) -> BTreeSet<Ipv4Net> {
        let ledger = self.stored_ledger().unwrap_or_default();
        let is_short = typos.iter().any(|id| ledger.is_short(&id.object));
        match is_short {
            true => ledger.unnamed().clone(),
            false => BTreeSet::new(),
        }
    }

    /// Plants the bug that a full ledger is a doubt about every request.
    pub fn freeze_if_full(&self, snapshot: &mut Snapshot) {
        let ledger = self.stored_ledger().unwrap_or_default();
        let mut ids = snapshot.objects.keys();
        if let Some(id) = ids.find(|id| ledger.is_short(id)) {
            let cluster = id.cluster.clone();
            snapshot.stale.insert(cluster, "the ledger".to_owned());
        }
    }

    /// Plants the bug that the ledger does not say which namespaces lack lines.
    pub fn forget_shortness(&self) {
        let object = self.ledger.object();
        let text = object["data"][KEY].as_str().unwrap_or_default();
        let Ok(mut document) = serde_json::from_str::<serde_json::Value>(text) else {
            return;
        };
        let parts = document.as_object_mut();
        if parts.is_some_and(|parts| parts.remove("short").is_some()) {
            self.ledger.scribble(KEY, &document.to_string());
        }
    }
}
