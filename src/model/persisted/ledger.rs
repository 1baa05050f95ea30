//! The state that outlives a leader: the network that each entry requested when it was last accepted, the ARN of our stack, failed attempts
//! and repairs, and the start of grace periods. One JSON document, stored by [`crate::ledger_store`].
//!
//! The ledger is trusted only if it explains all live routes. A live route outside of its networks means that the ledger is new, was
//! deleted, could not be written for a time, or belongs to another controller. Then it proves nothing about refused entries, and removals
//! are frozen. Of entries that do not fit, the ledger stores only the networks, so that only refused entries of their own namespaces hold
//! routes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::model::base::cidr::{self, overlap};
use crate::model::base::ids::{EntryId, ObjectId, Zone};
use crate::model::cloud::static_ip::{FormerIp, StaticIp};
use crate::model::input::request::{Request, Snapshot};
use crate::model::persisted::grace::{Grace, LargeRemoval, whole_seconds};
use crate::model::persisted::refusal_record::Kepts;

pub(crate) mod room;

const VERSION: u32 = 2;
/// The version of a document without short namespaces, which older programs read correctly. From a document with short namespaces they
/// would conclude that a refused entry without a line has no route.
const VERSION_WHOLE: u32 = 1;
/// The maximum size of the entries in the document, in bytes. A ConfigMap holds 1 MiB.
pub const MAX_BYTES: usize = 700 << 10;

/// The maximum number of networks that entries requested before they were changed. Above it, removals are frozen while an entry is refused.
const MAX_FORMER: usize = 2_000;

/// The record of one accepted entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// The network that the entry requested when it was last accepted.
    pub net: Ipv4Net,
    /// The entry's position in the order in which entries were first accepted.
    pub number: u64,
}

/// The number of failed attempts, and the earliest time of the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tries {
    pub times: u32,
    /// Seconds since 1970.
    pub not_before: u64,
}

/// The number of repairs of one drift, and the time until which they count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repairs {
    pub times: u32,
    /// Seconds since 1970.
    pub until: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// The name of the stack that the ledger belongs to.
    pub stack_name: String,
    /// The ARN of our stack, so that a new leader need not search for it.
    pub stack: Option<String>,
    /// The short form of the Lease whose holder has changed our stack, if this ledger belongs to that holder.
    pub lease: Option<String>,
    /// The ARN of our stack once it was seen at rest. From then on it counts as serving, whatever its status.
    pub settled: Option<String>,
    entries: BTreeMap<EntryId, Line>,
    /// Networks that entries requested before they were changed, as long as a live route for them may exist.
    former: BTreeSet<Ipv4Net>,
    /// Networks that entries without a line may have requested.
    unnamed: BTreeSet<Ipv4Net>,
    /// Namespaces, by cluster and name, with entries that did not fit and have no line. Their networks are in `unnamed`.
    short: BTreeSet<(String, String)>,
    /// The next number of a [`Line`].
    next: u64,
    /// Failed attempts by subject, as in [`crate::model::schedule`].
    pub tries: BTreeMap<String, Tries>,
    /// Repairs by drift, as in [`crate::model::drift::tracker`].
    pub repairs: BTreeMap<String, Repairs>,
    /// Routes that AWS refused, as in [`crate::model::plan::refusals`].
    pub refused: Kepts,
    /// The account of the static IPs; None if it is unknown.
    pub account: Option<String>,
    /// The last observed static IP of each zone.
    pub static_ips: BTreeMap<Zone, StaticIp>,
    /// Former static IPs of zones, by IP.
    pub former_ips: BTreeMap<String, FormerIp>,
    /// The stored part of the grace periods, without the period itself.
    pub grace: Grace,
}

/// Why the document cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    #[error(
        "its version is {0}, and this program supports versions up to {VERSION}: delete it, or run the program that wrote it"
    )]
    Newer(u32),
    #[error("it is not a ledger of this program")]
    NotOurs,
}

/// The JSON document. Entries are nested by cluster, namespace, ConfigMap and key; a value is a network and a number.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    version: u32,
    stack_name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stack: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lease: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    settled: Option<String>,
    #[serde(default)]
    next: u64,
    #[serde(default)]
    entries: Tree,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    former: Vec<String>,
    /// None in a document of an earlier version, which did not separate these networks. Then all networks in `former` count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unnamed: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    short: BTreeSet<(String, String)>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    tries: BTreeMap<String, Tries>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    repairs: BTreeMap<String, Repairs>,
    #[serde(default, skip_serializing_if = "Kepts::is_empty")]
    refused: Kepts,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    static_ips: BTreeMap<Zone, StaticIp>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    former_ips: BTreeMap<String, FormerIp>,
    /// When the following periods were last checked, on the clock on which they began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    as_of: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    empty_since: Option<u64>,
    /// The start of the wait, the number of networks to remove, and the number of routed networks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    large_removal: Option<(u64, usize, usize)>,
}

/// Lines by namespace, ConfigMap and key.
type Cluster = BTreeMap<String, BTreeMap<String, BTreeMap<String, (String, u64)>>>;
type Tree = BTreeMap<String, Cluster>;

impl Ledger {
    pub fn new(stack_name: &str) -> Self {
        Self {
            stack_name: stack_name.to_owned(),
            ..Self::default()
        }
    }

    /// Parses the document. Drops the records of another stack, or of clusters that are no longer watched.
    ///
    /// # Errors
    /// If the document is not a ledger, or has a later version.
    pub fn read(
        text: &str,
        stack_name: &str,
        clusters: &BTreeSet<String>,
    ) -> Result<Self, LedgerError> {
        let value: serde_json::Value =
            serde_json::from_str(text).map_err(|_| LedgerError::NotOurs)?;
        let version = value["version"].as_u64().ok_or(LedgerError::NotOurs)?;
        let version = u32::try_from(version).unwrap_or(u32::MAX);
        if version > VERSION {
            return Err(LedgerError::Newer(version));
        }
        let document: Document = serde_json::from_value(value).map_err(|_| LedgerError::NotOurs)?;
        if document.stack_name != stack_name {
            return Ok(Self::new(stack_name));
        }
        let watched = document
            .entries
            .into_iter()
            .filter(|(cluster, _)| clusters.contains(cluster));
        // A network that cannot be parsed counts as missing.
        let nets = |nets: &[String]| nets.iter().filter_map(|net| net.parse().ok()).collect();
        let former: BTreeSet<Ipv4Net> = nets(&document.former);
        let unnamed = match &document.unnamed {
            Some(unnamed) => nets(unnamed),
            None if document.short.is_empty() => BTreeSet::new(),
            None => former.clone(),
        };
        Ok(Self {
            stack_name: document.stack_name,
            stack: document.stack,
            lease: document.lease,
            settled: document.settled,
            entries: watched.flat_map(lines).collect(),
            former,
            unnamed,
            short: document.short,
            next: document.next,
            tries: document.tries,
            repairs: document.repairs,
            refused: document.refused,
            account: document.account,
            static_ips: document.static_ips,
            former_ips: document.former_ips,
            grace: Grace {
                now: Duration::from_secs(document.as_of.unwrap_or_default()),
                empty_since: document.empty_since.map(Duration::from_secs),
                large_removal: document
                    .large_removal
                    .map(|(since, removed, of)| LargeRemoval {
                        since: Duration::from_secs(since),
                        removed,
                        of,
                    }),
                ..Grace::default()
            },
        })
    }

    /// Returns the document. Equal ledgers give equal bytes.
    pub fn text(&self) -> String {
        let mut entries = Tree::new();
        for (id, line) in &self.entries {
            let objects = entries.entry(id.object.cluster.clone()).or_default();
            let names = objects.entry(id.object.namespace.clone()).or_default();
            let keys = names.entry(id.object.name.clone()).or_default();
            keys.insert(id.key.clone(), (line.net.to_string(), line.number));
        }
        let grace = self.grace;
        let texts = |nets: &BTreeSet<Ipv4Net>| nets.iter().map(Ipv4Net::to_string).collect();
        let large = |large: LargeRemoval| (whole_seconds(large.since), large.removed, large.of);
        let document = Document {
            version: match self.short.is_empty() {
                true => VERSION_WHOLE,
                false => VERSION,
            },
            stack_name: self.stack_name.clone(),
            stack: self.stack.clone(),
            lease: self.lease.clone(),
            settled: self.settled.clone(),
            next: self.next,
            entries,
            former: texts(&self.former),
            unnamed: (!self.short.is_empty()).then(|| texts(&self.unnamed)),
            short: self.short.clone(),
            tries: self.tries.clone(),
            repairs: self.repairs.clone(),
            refused: self.refused.clone(),
            account: self.account.clone(),
            static_ips: self.static_ips.clone(),
            former_ips: self.former_ips.clone(),
            as_of: Some(whole_seconds(grace.now)).filter(|now| *now > 0),
            empty_since: grace.empty_since.map(whole_seconds),
            large_removal: grace.large_removal.map(large),
        };
        // Serialization cannot fail, because all keys are text or numbers.
        serde_json::to_string(&document).unwrap_or_default()
    }

    /// Returns the network that a refused entry requested when it was last accepted.
    pub fn asked(&self, entry: &EntryId) -> Option<Ipv4Net> {
        self.entries.get(entry).map(|line| line.net)
    }

    /// Returns the networks that the entries of an object requested when they were last accepted, by key.
    pub fn of<'a>(&'a self, object: &'a ObjectId) -> impl Iterator<Item = (&'a str, Ipv4Net)> {
        let first = EntryId {
            object: object.clone(),
            key: String::new(),
        };
        let from = self.entries.range(first..);
        from.take_while(|(entry, _)| entry.object == *object)
            .map(|(entry, line)| (entry.key.as_str(), line.net))
    }

    /// Records the routes that a change set will create. The requests behind it may change before it is executed.
    pub(in crate::model) fn note_planned(&mut self, routes: impl Iterator<Item = Ipv4Net>) {
        let routes: Vec<Ipv4Net> = routes.collect();
        if !self.short.is_empty() {
            let named = self.named();
            let unnamed = routes.iter().filter(|net| !cidr::covers(&named, net));
            self.unnamed.extend(unnamed);
        }
        self.former.extend(routes);
    }

    /// Returns the networks that entries without a line may have requested, if routes for them may exist or be under way.
    pub fn unnamed(&self) -> &BTreeSet<Ipv4Net> {
        &self.unnamed
    }

    /// Returns the networks that entries requested earlier, if routes for them may exist or be under way.
    pub(in crate::model) fn former(&self) -> &BTreeSet<Ipv4Net> {
        &self.former
    }

    /// Returns the entries of which `stored` has no line, or one with another network.
    pub fn newer<'a>(&'a self, stored: &'a Self) -> impl Iterator<Item = &'a EntryId> {
        let lines = self.entries.iter();
        let newer = lines.filter(|(entry, line)| stored.asked(entry) != Some(line.net));
        newer.map(|(entry, _)| entry)
    }

    /// Whether a leader that reads only `stored` could lose a route, a static IP, or the rest of a grace period, not only waiting times.
    pub fn must_outlive(&self, stored: &Self) -> bool {
        let stays = |ledger: &Self| {
            let (empty, large) = (ledger.grace.empty_since, ledger.grace.large_removal);
            (ledger.short.clone(), ledger.settled.clone(), empty, large)
        };
        self.newer(stored).next().is_some()
            || self.static_ips != stored.static_ips
            || !self.unnamed.is_subset(&stored.unnamed)
            || stays(self) != stays(stored)
    }

    /// Returns the entry's position in the order in which entries were first accepted.
    pub fn number(&self, entry: &EntryId) -> Option<u64> {
        self.entries.get(entry).map(|line| line.number)
    }

    /// Returns the ledger after a read of the sources, the number of entries that do not fit, and their namespaces. An entry is gone when
    /// its key is gone and all sources were listed. Its line, and the earlier networks of a changed entry, are removed when no route of
    /// `live` is left for them, but not while a change is `under_way`, which may create such a route. Without `live`, none is removed.
    pub fn after<'a>(
        &self,
        snapshot: &Snapshot,
        request: &Request,
        live: Option<impl Iterator<Item = &'a Ipv4Net>>,
        under_way: bool,
    ) -> (Self, usize, BTreeSet<(String, String)>) {
        let mut ledger = self.clone();
        for (entry, net) in &request.entries {
            match ledger.entries.get_mut(entry) {
                Some(line) => {
                    let former = std::mem::replace(&mut line.net, *net);
                    if former != *net && ledger.former.len() < MAX_FORMER {
                        ledger.former.insert(former);
                    }
                }
                None => {
                    let number = ledger.next;
                    ledger.next = ledger.next.saturating_add(1);
                    let line = Line { net: *net, number };
                    ledger.entries.insert(entry.clone(), line);
                }
            }
        }
        if let Some(live) = live.filter(|_| snapshot.missing.is_empty()) {
            let live: Vec<&Ipv4Net> = live.collect();
            let stands = |entry: &EntryId| {
                let object = snapshot.objects.get(&entry.object);
                let is_read = object.is_some_and(|object| object.may_have(&entry.key));
                is_read || snapshot.may_hide(&entry.object)
            };
            let standing = ledger.entries.iter().filter(|(entry, _)| stands(entry));
            let standing = cidr::minimal(standing.map(|(_, line)| line.net), &BTreeSet::new());
            let mut left = live.clone();
            left.retain(|it| !cidr::covers(&standing, it));
            let is_left = |net: &Ipv4Net| left.iter().any(|route| overlap(net, route));
            let entries = &mut ledger.entries;
            entries.retain(|entry, line| stands(entry) || is_left(&line.net));
            ledger.former.retain(|net| under_way || is_left(net));
            let is_live = |net: &Ipv4Net| live.iter().any(|route| overlap(net, route));
            ledger.unnamed.retain(|net| under_way || is_live(net));
        }
        let (left_out, tenants) = ledger.shorten();
        ledger.end_shortness(snapshot, &tenants);
        (ledger, left_out, tenants)
    }
}

fn lines((cluster, namespaces): (String, Cluster)) -> Vec<(EntryId, Line)> {
    let mut lines = Vec::new();
    for (namespace, names) in namespaces {
        for (name, keys) in names {
            let object = ObjectId {
                cluster: cluster.clone(),
                namespace: namespace.clone(),
                name,
            };
            for (key, (net, number)) in keys {
                // A line that cannot be parsed counts as missing.
                if let Ok(net) = net.parse() {
                    let object = object.clone();
                    lines.push((EntryId { object, key }, Line { net, number }));
                }
            }
        }
    }
    lines
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
