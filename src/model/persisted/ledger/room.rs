//! Shares out the room of the document by namespace, and notes what the lines that do not fit leave unknown.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;

use super::{Ledger, MAX_BYTES};
use crate::model::base::cidr;
use crate::model::base::ids::{EntryId, ObjectId};
use crate::model::input::admission::Tenant;

impl Ledger {
    /// Whether entries of this namespace may have been accepted without having a line.
    pub fn is_short(&self, object: &ObjectId) -> bool {
        let tenant = (object.cluster.clone(), object.namespace.clone());
        self.short.contains(&tenant)
    }

    /// Leaves out entries until the document fits, and returns how many, and of which namespaces. The live routes that they
    /// explain are noted without them, so that the ledger explains as much as before: a full ledger says nothing wrong of others.
    pub(super) fn shorten(&mut self, live: &[&Ipv4Net]) -> (usize, BTreeSet<(String, String)>) {
        let left_out = self.beyond_room();
        // A namespace stays short while a route is left of which only the network is known.
        if self.unnamed.is_empty() {
            self.short.clear();
        }
        if left_out.is_empty() {
            return (0, BTreeSet::new());
        }
        let before = self.named();
        let tenants: BTreeSet<(String, String)> = left_out
            .iter()
            .map(|EntryId { object, .. }| (object.cluster.clone(), object.namespace.clone()))
            .collect();
        self.entries.retain(|entry, _| !left_out.contains(entry));
        // These get the same numbers the next time, so that the document does not change with each pass.
        let last = self.entries.values().map(|line| line.number).max();
        self.next = last.map_or(0, |last| last.saturating_add(1));
        let after = self.named();
        let lost = |route: &&&Ipv4Net| cidr::covers(&before, route) && !cidr::covers(&after, route);
        let lost: Vec<Ipv4Net> = live.iter().filter(lost).map(|route| **route).collect();
        self.former.extend(&lost);
        self.unnamed.extend(lost);
        self.short.extend(tenants.iter().cloned());
        (left_out.len(), tenants)
    }

    /// Returns the entries that there is no room for: each namespace gets as many bytes as any other that needs more, and in it
    /// the older entries come first.
    fn beyond_room(&self) -> BTreeSet<EntryId> {
        let mut sizes = Vec::with_capacity(self.entries.len());
        let mut object: Option<&ObjectId> = None;
        for (entry, line) in &self.entries {
            let mut size = entry.key.len() + line.net.to_string().len() + 30;
            if object != Some(&entry.object) {
                object = Some(&entry.object);
                let id = &entry.object;
                size += id.cluster.len() + id.namespace.len() + id.name.len() + 20;
            }
            sizes.push((Tenant::of(&entry.object), line.number, size, entry));
        }
        if sizes.iter().map(|(_, _, size, _)| size).sum::<usize>() <= MAX_BYTES {
            return BTreeSet::new();
        }
        sizes.sort_unstable();
        let mut taken: BTreeMap<Tenant<'_>, usize> = BTreeMap::new();
        let mut queue = Vec::with_capacity(sizes.len());
        for (tenant, number, size, entry) in sizes {
            let bytes = taken.entry(tenant).or_default();
            *bytes += size;
            queue.push((*bytes, number, size, entry));
        }
        queue.sort_unstable();
        let mut used = 0;
        let fits = |(_, _, size, _): &(usize, u64, usize, &EntryId)| {
            used += size;
            used <= MAX_BYTES
        };
        let kept = queue.iter().copied().take_while(fits).count();
        let beyond = queue.into_iter().skip(kept);
        beyond.map(|(.., entry)| entry.clone()).collect()
    }

    /// Whether every live route is for an entry that the ledger names, or was when there was room for it.
    pub fn explains<'a>(&self, mut live: impl Iterator<Item = &'a Ipv4Net>) -> bool {
        let explained = self.explained();
        live.all(|route| cidr::covers(&explained, route))
    }

    /// Returns the networks of all lines.
    pub(super) fn named(&self) -> Vec<Ipv4Net> {
        cidr::minimal(self.entries.values().map(|line| line.net), &BTreeSet::new())
    }

    fn explained(&self) -> Vec<Ipv4Net> {
        let lines = self.entries.values().map(|line| line.net);
        let all = lines.chain(self.former.iter().copied());
        cidr::minimal(all, &BTreeSet::new())
    }
}
