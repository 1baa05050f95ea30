//! Distributes the document's space over the namespaces, and records the networks of the lines that do not fit.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;

use super::{Ledger, MAX_BYTES};
use crate::model::base::cidr::{self, WIDEST_PREFIX};
use crate::model::base::ids::{EntryId, ObjectId};
use crate::model::input::admission::Tenant;
use crate::model::input::object::Object;
use crate::model::input::request::Snapshot;

/// The maximum number of networks that are stored for entries without a line.
const MAX_UNNAMED: usize = 2_000;

/// Returns the maximum size of the entries in the document.
#[cfg(not(test))]
const fn most_bytes() -> usize {
    MAX_BYTES
}

#[cfg(test)]
thread_local! {
    /// The maximum size of the entries in the histories that this thread simulates.
    pub(crate) static ROOM: std::cell::Cell<usize> = const { std::cell::Cell::new(MAX_BYTES) };
}

#[cfg(test)]
fn most_bytes() -> usize {
    ROOM.get()
}

impl Ledger {
    /// Whether entries of this namespace may have been accepted without having a line.
    pub fn is_short(&self, object: &ObjectId) -> bool {
        self.short.contains(&tenant(object))
    }

    /// Returns the entries, each with its network, of the ConfigMaps of the same namespace that come later in name order.
    pub fn after_object<'a>(
        &'a self,
        object: &'a ObjectId,
    ) -> impl Iterator<Item = (&'a EntryId, Ipv4Net)> {
        let first = EntryId {
            object: object.clone(),
            key: String::new(),
        };
        let from = self.entries.range(first..);
        from.take_while(|(entry, _)| entry.object.is_beside(object))
            .filter(|(entry, _)| entry.object != *object)
            .map(|(entry, line)| (entry, line.net))
    }

    /// Removes lines until the document fits. Returns their number, and their namespaces. Their networks are stored without them, so a full
    /// ledger still explains all live routes and makes no wrong statement about other entries.
    pub(super) fn shorten(&mut self) -> (usize, BTreeSet<(String, String)>) {
        let left_out = self.beyond_room();
        if left_out.is_empty() {
            return (0, BTreeSet::new());
        }
        let tenants: BTreeSet<(String, String)> =
            left_out.iter().map(|entry| tenant(&entry.object)).collect();
        let nets = left_out.iter().filter_map(|entry| self.asked(entry));
        let unnamed = cidr::minimal(nets.chain(self.unnamed.iter().copied()), &BTreeSet::new());
        self.unnamed = few(unnamed).into_iter().collect();
        self.entries.retain(|entry, _| !left_out.contains(entry));
        // The removed entries get the same numbers in the next pass, so that the document does not change with each pass.
        let last = self.entries.values().map(|line| line.number).max();
        self.next = last.map_or(0, |last| last.saturating_add(1));
        self.short.extend(tenants.iter().cloned());
        (left_out.len(), tenants)
    }

    /// Removes networks of entries without a line that no route serves or will serve, and that `stored` does not have: there is no route to
    /// lose. So a tenant who edits entries that wait for room causes no writes. `routes`: the live and desired routes.
    pub(in crate::model) fn forget_unserved(
        &mut self,
        stored: &Self,
        routes: impl Iterator<Item = Ipv4Net>,
    ) {
        if self.unnamed.is_empty() {
            return;
        }
        let known = stored.unnamed.iter().copied();
        let served = cidr::minimal(routes.chain(known), &BTreeSet::new());
        self.unnamed
            .retain(|net| served.iter().any(|route| cidr::overlap(net, route)));
    }

    /// Ends a namespace's shortness once none of its entries lacks a line. A refused entry without a line counts as lacking: it may be the
    /// entry that did not fit. While a source is in doubt, an absent entry may come back, so no shortness ends.
    /// `left_out`: the namespaces whose entries do not fit now.
    pub(super) fn end_shortness(
        &mut self,
        snapshot: &Snapshot,
        left_out: &BTreeSet<(String, String)>,
    ) {
        if self.short.is_empty() || !snapshot.is_certain() {
            return;
        }
        let has_line = |object: &ObjectId, key: &String| {
            let (object, key) = (object.clone(), key.clone());
            self.entries.contains_key(&EntryId { object, key })
        };
        let lacks_line = |(id, object): &(&ObjectId, &Object)| {
            self.is_short(id)
                && (object.hides_entries()
                    || object.is_last_read
                    || object.data.keys().any(|key| !has_line(id, key)))
        };
        let lacking = snapshot.objects.iter().filter(lacks_line);
        let lacking = lacking.map(|(id, _)| tenant(id));
        self.short = lacking.chain(left_out.iter().cloned()).collect();
        if self.short.is_empty() {
            self.unnamed.clear();
        }
    }

    /// Returns the entries that do not fit. Space is shared equally between namespaces that need more than their share, and within a
    /// namespace the older entries come first.
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
        let most = most_bytes();
        if sizes.iter().map(|(_, _, size, _)| size).sum::<usize>() <= most {
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
            used <= most
        };
        let kept = queue.iter().copied().take_while(fits).count();
        let beyond = queue.into_iter().skip(kept);
        beyond.map(|(.., entry)| entry.clone()).collect()
    }

    /// Whether the ledger explains every live route: a line covers it, or a network that is stored without a line.
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
        let others = self.former.iter().chain(&self.unnamed);
        let all = lines.chain(others.copied());
        cidr::minimal(all, &BTreeSet::new())
    }
}

fn tenant(object: &ObjectId) -> (String, String) {
    (object.cluster.clone(), object.namespace.clone())
}

/// Returns at most [`MAX_UNNAMED`] networks that cover these, wider ones if necessary. `nets` are sorted and disjoint.
fn few(mut nets: Vec<Ipv4Net>) -> Vec<Ipv4Net> {
    for prefix in (WIDEST_PREFIX..32).rev() {
        if nets.len() <= MAX_UNNAMED {
            break;
        }
        let widened = nets.into_iter().map(|net| match net.prefix_len() > prefix {
            true => Ipv4Net::new(net.addr(), prefix).map_or(net, |wide| wide.trunc()),
            false => net,
        });
        nets = cidr::minimal(widened, &BTreeSet::new());
    }
    nets
}
