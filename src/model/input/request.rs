//! What the ConfigMaps ask for: [`Snapshot`] in, [`Request`] and [`Problem`]s out. A bad entry never harms a good one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use ipnet::Ipv4Net;

use crate::model::base::cidr::{Caution, Refusal, Rules};
use crate::model::base::plain::plain;
use crate::model::base::problem::{Problem, Subject};
use crate::model::input::reading;
use crate::model::input::reading::{Reading, Unread};
use crate::model::persisted::ledger::{Ledger, Recall};

pub use crate::model::input::object::{MAX_ENTRIES_PER_OBJECT, Object};

/// Entries read altogether, shared out by namespace.
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
            write!(f, "{}/", plain(&self.cluster))?;
        }
        write!(f, "{}/{}", plain(&self.namespace), plain(&self.name))
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
    /// Sources that may have news which have not arrived: their watch has ended, or says nothing, and nobody needs to be told yet.
    pub unsure: BTreeSet<String>,
    /// Sources that have gone back to an older state a short time ago, and how that showed.
    pub went_back: BTreeMap<String, String>,
}

impl Snapshot {
    /// Whether it is certain that nobody asks for anything.
    pub fn is_truly_empty(&self) -> bool {
        self.missing.is_empty() && self.objects.values().all(Object::is_empty)
    }

    /// Whether what the sources ask for is known as it is now: none is missing or stale, none may have news, and none has just
    /// lost what it had since its backup.
    pub fn is_certain(&self) -> bool {
        let in_doubt = [&self.missing, &self.stale, &self.went_back];
        in_doubt.into_iter().all(BTreeMap::is_empty) && self.unsure.is_empty()
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

/// What the entries ask for. `settled` is false while the absence of an entry proves nothing: a source is in doubt, or an entry is
/// refused and nobody knows what it stood for. Nothing that is routed may be removed then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Every accepted entry, and every refused one that keeps what it asked for last.
    pub entries: BTreeMap<EntryId, Ipv4Net>,
    /// What refused entries asked for last and would not get any more: routes that are there stay, and none is made.
    pub held: BTreeSet<Ipv4Net>,
    /// What is accepted only because it is live: nothing would bring it back.
    pub only_live: BTreeSet<Ipv4Net>,
    /// How many entries are refused.
    pub refused: usize,
    pub settled: bool,
}

/// Reports what is not known as it is now.
fn doubts(snapshot: &Snapshot, problems: &mut Vec<Problem>) {
    for (source, why) in &snapshot.missing {
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
            format!("{why}; what it had asked for stays, changes are not seen, and no route is removed until it can be read again"),
        ));
    }
    for (source, why) in &snapshot.went_back {
        problems.push(Problem::warning(
            Subject::Source(source.clone()),
            "SourceWentBack",
            format!("{why}; apply again what was changed after that state was saved"),
        ));
    }
}

/// Reads every entry of the snapshot under the rules of the network. `recall` tells what was accepted before. `ledger` is one that explains what is live: what it does not
/// know of a refused entry has no route.
pub fn parse(
    snapshot: &Snapshot,
    rules: &Rules,
    recall: Recall<'_>,
    ledger: Option<&Ledger>,
) -> (Request, Vec<Problem>) {
    let mut request = Request {
        // Whatever a source in doubt does not show may have been requested again, or still: nothing that is routed is removed then, not
        // even one route, since nobody can tell which.
        settled: snapshot.is_certain(),
        ..Request::default()
    };
    let mut problems = Vec::new();
    doubts(snapshot, &mut problems);
    for (id, object) in &snapshot.objects {
        request.hidden(id, object, rules, ledger, &mut problems);
    }
    let readings = reading::read(snapshot, rules, recall);
    for (entry, read) in readings.entries {
        match read {
            Ok(reading) => request.accept(entry, reading, &mut problems),
            Err(refusal) => problems.push(request.refuse(entry, &refusal, rules, ledger)),
        }
    }
    for unread in readings.unread {
        let problem = request.leave_out(unread, &readings.largest, rules, ledger);
        problems.push(problem);
    }
    (request, problems)
}

impl Request {
    fn accept(&mut self, entry: EntryId, reading: Reading<'_>, problems: &mut Vec<Problem>) {
        let Reading {
            text,
            net,
            masked,
            caution,
            known,
        } = reading;
        if masked {
            let text = format!("{:?} has host bits set and is read as {net}", text.trim());
            let subject = Subject::Entry(entry.clone());
            problems.push(Problem::note(subject, "HostBitsMasked", text));
        }
        if let Some(caution) = caution {
            if !known && matches!(caution, Caution::Kept(_)) {
                self.only_live.insert(net);
            }
            let subject = Subject::Entry(entry.clone());
            let text = caution.to_string();
            problems.push(Problem::warning(subject, caution.reason(), text));
        }
        self.entries.insert(entry, net);
    }

    fn refuse(
        &mut self,
        entry: EntryId,
        refusal: &Refusal,
        rules: &Rules,
        ledger: Option<&Ledger>,
    ) -> Problem {
        self.refused += 1;
        self.settled &= ledger.is_some();
        let kept = self.last(&entry, ledger);
        let mut text = refusal.to_string();
        if let Some(net) = kept {
            text += &format!("; kept: {net} until it is mended or removed");
            self.keep(entry.clone(), net, rules);
        } else if ledger.is_some_and(|ledger| ledger.is_short(&entry.object)) {
            text += "; kept: every route that may be for it, since the ledger had no room for what it asked for last";
        }
        Problem::refused(Subject::Entry(entry), refusal.reason(), text)
    }

    /// Reports the entries of one object that are not read since there are too many of all. They keep what they asked for last.
    fn leave_out(
        &mut self,
        unread: Unread<'_>,
        largest: &str,
        rules: &Rules,
        ledger: Option<&Ledger>,
    ) -> Problem {
        let Unread { object, keys } = unread;
        self.refused += keys.len();
        self.settled &= ledger.is_some();
        let mut kept = 0;
        for key in &keys {
            let (object, key) = (object.clone(), (*key).to_owned());
            let entry = EntryId { object, key };
            if let Some(net) = self.last(&entry, ledger) {
                self.keep(entry, net, rules);
                kept += 1;
            }
        }
        let text = format!(
            "{} of its entries are not read ({kept} of them keep the network that they asked for last): all ConfigMaps together have more \
             than the {MAX_ENTRIES} that are read, shared out by namespace, and {largest}; merge networks or remove entries there",
            keys.len()
        );
        let subject = Subject::Object(object.clone());
        Problem::refused(subject, Refusal::TooMany.reason(), text)
    }

    /// Returns what a refused entry asked for last. Where the ledger had no room for that, it may be any live route that no line
    /// explains: all of these stay.
    fn last(&mut self, entry: &EntryId, ledger: Option<&Ledger>) -> Option<Ipv4Net> {
        let known = ledger.and_then(|ledger| ledger.asked(entry));
        if known.is_none() {
            self.hold_unknown(&entry.object, ledger);
        }
        known
    }

    fn hold_unknown(&mut self, object: &ObjectId, ledger: Option<&Ledger>) {
        if let Some(ledger) = ledger.filter(|ledger| ledger.is_short(object)) {
            self.held.extend(ledger.former());
        }
    }

    /// Keeps what a refused entry asked for last.
    fn keep(&mut self, entry: EntryId, net: Ipv4Net, rules: &Rules) {
        if rules.check(net, true).is_ok() {
            self.entries.insert(entry, net);
        } else {
            self.held.insert(net);
        }
    }

    /// Reports what is not read of an object, once for all of it. Entries that are there unread keep what they asked for last.
    fn hidden(
        &mut self,
        id: &ObjectId,
        object: &Object,
        rules: &Rules,
        ledger: Option<&Ledger>,
        problems: &mut Vec<Problem>,
    ) {
        let mut tell = |reason, text| {
            problems.push(Problem::refused(Subject::Object(id.clone()), reason, text));
        };
        if object.binary_keys > 0 {
            let keys = object.binary_keys;
            tell(
                "BinaryData",
                format!(
                    "it has {keys} keys under binaryData, which is not read; write the networks as text under data"
                ),
            );
        }
        if !object.hides_entries() {
            return;
        }
        self.refused += object.more_keys.max(1);
        self.settled &= ledger.is_some();
        self.hold_unknown(id, ledger);
        let mut kept = 0;
        for (key, net) in ledger.into_iter().flat_map(|ledger| ledger.of(id)) {
            if !object.data.contains_key(key) {
                let (object, key) = (id.clone(), key.to_owned());
                self.keep(EntryId { object, key }, net, rules);
                kept += 1;
            }
        }
        let kept = match kept {
            0 => String::new(),
            kept => format!("; {kept} of them keep the network that they asked for last"),
        };
        if let Some(why) = &object.unreadable {
            let text = format!(
                "it cannot be read ({why}), so its entries are unknown{kept}; write it as kubectl would, or delete it"
            );
            tell("ObjectUnreadable", text);
        }
        if object.more_keys > 0 {
            let text = format!(
                "it has {} entries more than the {MAX_ENTRIES_PER_OBJECT} that are read, in the order of their keys{kept}; merge \
                 networks, remove entries, or use a second ConfigMap",
                object.more_keys
            );
            tell(Refusal::TooMany.reason(), text);
        }
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
