//! What the ConfigMaps ask for: [`Snapshot`] in, [`Request`] and [`Problem`]s out. A bad entry never harms a good one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use ipnet::Ipv4Net;

use super::annotation::Annotations;
use super::cidr::{self, Refusal, Rules};
use super::ledger::Ledger;
use super::problem::{Problem, Subject};

/// Entries read from one ConfigMap; those after it, in key order, are refused.
pub const MAX_ENTRIES_PER_OBJECT: usize = 1_000;
/// Entries read altogether; those after it, in object and key order, are refused.
pub const MAX_ENTRIES: usize = 20_000;

/// Names one ConfigMap among all watched clusters. `cluster` is empty when only one cluster is watched.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct ObjectId {
    pub cluster: String,
    pub namespace: String,
    pub name: String,
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.cluster.is_empty() {
            write!(f, "{}/", self.cluster)?;
        }
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What is kept in memory of one ConfigMap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object {
    /// For Events; empty when the source has none (a manifest).
    pub uid: String,
    pub data: BTreeMap<String, String>,
    /// Those of ours that it bears: no part of what it asks for.
    pub annotations: Annotations,
}

impl Object {
    /// What a change of makes a difference to routes.
    pub fn asks(&self) -> (&str, &BTreeMap<String, String>) {
        (&self.uid, &self.data)
    }
}

/// All labelled ConfigMaps, as far as they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    pub objects: BTreeMap<ObjectId, Object>,
    /// Sources (a cluster's address, a path) that have not been listed whole, and why. While there are any, what is
    /// absent here is unknown, not removed.
    pub missing: BTreeMap<String, String>,
    /// Sources that were listed whole and cannot be read any more, and why. What they had still counts.
    pub stale: BTreeMap<String, String>,
}

impl Snapshot {
    /// Whether it is certain that nobody asks for anything.
    pub fn is_truly_empty(&self) -> bool {
        self.missing.is_empty() && self.objects.values().all(|object| object.data.is_empty())
    }
}

/// One `data` entry of one ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct EntryId {
    #[serde(flatten)]
    pub object: ObjectId,
    pub key: String,
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} key {:?}", self.object, self.key)
    }
}

/// What the entries ask for. `settled` is false while the absence of an entry proves nothing: a source is missing, or an entry is
/// refused and nobody knows what it stood for. Nothing that is routed may be removed then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Every accepted entry, and every refused one that keeps what it asked for last.
    pub entries: BTreeMap<EntryId, Ipv4Net>,
    /// What refused entries asked for last and would not get any more: routes that are there stay, and none is made.
    pub held: BTreeSet<Ipv4Net>,
    /// How many entries are refused.
    pub refused: usize,
    pub settled: bool,
}

/// Reads every entry of the snapshot under the rules of the network. `ledger` is one that explains what is live: what it does not
/// know of a refused entry has no route.
pub fn parse(
    snapshot: &Snapshot,
    rules: &Rules,
    ledger: Option<&Ledger>,
) -> (Request, Vec<Problem>) {
    let mut request = Request {
        settled: true,
        ..Request::default()
    };
    let mut problems = Vec::new();
    for (source, why) in &snapshot.missing {
        request.settled = false;
        problems.push(Problem::warning(
            Subject::Source(source.clone()),
            "SourceNotLoaded",
            format!("{why}; until it has been listed whole, routes are only added, never removed"),
        ));
    }
    for (source, why) in &snapshot.stale {
        problems.push(Problem::warning(
            Subject::Source(source.clone()),
            "SourceStale",
            format!("{why}; what it had asked for stays, and changes are not seen"),
        ));
    }
    let mut total = 0;
    for (id, object) in &snapshot.objects {
        for (index, (key, value)) in object.data.iter().enumerate() {
            total += 1;
            let entry = EntryId {
                object: id.clone(),
                key: key.clone(),
            };
            let read = if index >= MAX_ENTRIES_PER_OBJECT || total > MAX_ENTRIES {
                Err(Refusal::TooMany)
            } else {
                cidr::parse(value).and_then(|(net, masked)| {
                    rules.check(net).map(|caution| (net, masked, caution))
                })
            };
            match read {
                Ok((net, masked, caution)) => {
                    if masked {
                        let text =
                            format!("{:?} has host bits set and is read as {net}", value.trim());
                        problems.push(Problem::note(
                            Subject::Entry(entry.clone()),
                            "HostBitsMasked",
                            text,
                        ));
                    }
                    if let Some(caution) = caution {
                        let text = caution.to_string();
                        problems.push(Problem::warning(
                            Subject::Entry(entry.clone()),
                            caution.reason(),
                            text,
                        ));
                    }
                    request.entries.insert(entry, net);
                }
                Err(refusal) => problems.push(request.refuse(entry, &refusal, rules, ledger)),
            }
        }
    }
    (request, problems)
}

impl Request {
    fn refuse(
        &mut self,
        entry: EntryId,
        refusal: &Refusal,
        rules: &Rules,
        ledger: Option<&Ledger>,
    ) -> Problem {
        self.refused += 1;
        self.settled &= ledger.is_some();
        let kept = ledger.and_then(|ledger| ledger.asked(&entry));
        let mut text = refusal.to_string();
        if let Some(net) = kept {
            text += &format!("; kept: {net} until it is mended or removed");
            if rules.check(net).is_ok() {
                self.entries.insert(entry.clone(), net);
            } else {
                self.held.insert(net);
            }
        }
        Problem::refused(Subject::Entry(entry), refusal.reason(), text)
    }
}
