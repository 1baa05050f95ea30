//! The messages to the owners of each ConfigMap, and the record of sent messages: one message about progress, and one about refusals, each
//! sent only with new content.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::model::base::digest::digest;
use crate::model::base::ids::ObjectId;
use crate::model::cloud::static_ip::IpChange;
use crate::model::input::annotations::Annotations;
use crate::model::input::request::Snapshot;
use crate::model::status::{Entry, State, Status, joined};

/// The maximum number of faults in one note, and of entries per fault. The rest is counted.
const NAMED: usize = 3;
/// The maximum number of ConfigMaps whose last messages are recorded: 200 kB.
const MAX_REMEMBERED: usize = 3_000;

/// Messages by ConfigMap. A ConfigMap without a UID gets none.
pub type Notices = BTreeMap<ObjectId, OfObject>;

/// The current messages about one ConfigMap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OfObject {
    /// The cluster; empty if only one cluster is watched.
    pub cluster: String,
    pub uid: String,
    pub refused: Option<Notice>,
    pub progress: Option<Notice>,
    /// A static IP of its entries changed.
    pub changed: Option<Notice>,
    pub standing: Standing,
    /// The annotations that the ConfigMap has now.
    pub bears: Annotations,
    /// A mark of the accepted entries.
    pub asked: String,
}

impl OfObject {
    /// Returns a key that is unique among all clusters. Clusters that were restored from one backup share UIDs.
    pub fn key(&self) -> String {
        match self.cluster.as_str() {
            "" => self.uid.clone(),
            cluster => digest(format!("{cluster}\0{}", self.uid).as_bytes())[..32].to_owned(),
        }
    }
}

/// The state of all entries of a ConfigMap together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// No pass has seen the ConfigMap yet.
    #[default]
    Unknown,
    /// The ConfigMap has no entries.
    Nothing,
    /// The worst state of all entries, and the static IPs of any.
    Is(State, Vec<String>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub kind: Kind,
    pub note: String,
    mark: String,
}

impl Notice {
    /// Returns a mark that is equal for equal content.
    pub fn mark(&self) -> &str {
        &self.mark
    }
}

/// The reasons of Events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Accepted, and under way.
    Accepted,
    Routed,
    Waiting,
    EntriesRefused,
    StaticIpChanged,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::Routed => "Routed",
            Self::Waiting => "Waiting",
            Self::EntriesRefused => "EntriesRefused",
            Self::StaticIpChanged => "StaticIpChanged",
        }
    }

    /// Whether the message needs attention.
    pub fn is_warning(self) -> bool {
        matches!(
            self,
            Self::Waiting | Self::EntriesRefused | Self::StaticIpChanged
        )
    }
}

/// The last messages about each ConfigMap, by its key. A leader restores them from its predecessor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Memory {
    told: BTreeMap<String, Told>,
}

/// Marks of the refusals, of the accepted entries, of the last message about progress, and of changed static IPs. Versions without the last
/// mark can read a record without it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Told(
    String,
    String,
    String,
    #[serde(default, skip_serializing_if = "String::is_empty")] String,
);

/// Returns all messages about a status. The state of a ConfigMap with omitted entries is unknown.
pub fn notices(status: &Status, snapshot: &Snapshot) -> Notices {
    let same = |a: &Entry, b: &Entry| {
        (&a.cluster, &a.namespace, &a.name) == (&b.cluster, &b.namespace, &b.name)
    };
    let chunks = status.entries.chunk_by(same);
    let chunks: BTreeMap<[&str; 3], &[Entry]> = chunks
        .map(|of| {
            let Entry {
                cluster,
                namespace,
                name,
                ..
            } = &of[0];
            ([cluster.as_str(), namespace, name], of)
        })
        .collect();
    let mut notices = Notices::new();
    let objects = snapshot.objects.iter();
    for (id, object) in objects.filter(|(_, object)| !object.uid.is_empty()) {
        let key = [id.cluster.as_str(), &id.namespace, &id.name];
        let mut told = match chunks.get(&key) {
            Some(entries) => of_object(entries, &status.ip_changes),
            None if object.is_empty() => OfObject {
                standing: Standing::Nothing,
                ..OfObject::default()
            },
            None => OfObject::default(),
        };
        told.cluster.clone_from(&id.cluster);
        told.uid.clone_from(&object.uid);
        told.bears.clone_from(&object.annotations);
        notices.insert(id.clone(), told);
    }
    notices
}

/// Returns the messages about one ConfigMap. `entries` must not be empty.
fn of_object(entries: &[Entry], changes: &[IpChange]) -> OfObject {
    let refused = |entry: &&Entry| matches!(entry.state, State::Refused | State::Kept);
    let (bad, good): (Vec<&Entry>, Vec<&Entry>) = entries.iter().partition(refused);
    let asked = mark(good.iter().flat_map(|entry| [&entry.key, &entry.asked]));
    let worst = entries.iter().map(|entry| entry.state).min();
    let ips = static_ips(entries);
    OfObject {
        changed: changed(changes, &ips),
        standing: Standing::Is(
            worst.unwrap_or_default(),
            ips.into_iter().map(str::to_owned).collect(),
        ),
        refused: (!bad.is_empty()).then(|| {
            let parts = bad.iter().flat_map(|entry| [&entry.key, &entry.asked]);
            let reasons = bad.iter().filter_map(|entry| entry.reason.as_ref());
            Notice {
                kind: Kind::EntriesRefused,
                note: note(&bad, entries.len(), "refused"),
                mark: mark(parts.chain(reasons)),
            }
        }),
        progress: (!good.is_empty()).then(|| progress(&good, &asked)),
        asked,
        ..OfObject::default()
    }
}

fn static_ips<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> BTreeSet<&'a str> {
    let ips = entries.into_iter().flat_map(|entry| &entry.static_ips);
    ips.map(String::as_str).collect()
}

/// Returns the message about changes of these static IPs.
fn changed(changes: &[IpChange], ips: &BTreeSet<&str>) -> Option<Notice> {
    let of_these = changes.iter().filter(|it| ips.contains(it.to.as_str()));
    let told: Vec<&IpChange> = of_these.collect();
    let text = |it: &&IpChange| {
        format!(
            "the static IP of zone {} was {} and is {} now",
            it.zone, it.from, it.to
        )
    };
    let texts: Vec<String> = told.iter().map(text).collect();
    (!told.is_empty()).then(|| Notice {
        kind: Kind::StaticIpChanged,
        note: format!(
            "{}: tell every partner who allows the old one to allow the new one",
            texts.join(", ")
        ),
        mark: mark(told.iter().flat_map(|it| [&it.zone, &it.from, &it.to])),
    })
}

fn progress(good: &[&Entry], asked: &str) -> Notice {
    let of = |states: &[State]| -> Vec<&Entry> {
        let of_these = good.iter().filter(|entry| states.contains(&entry.state));
        of_these.copied().collect()
    };
    let (stuck, pending) = (of(&[State::Waiting, State::Drifted]), of(&[State::Pending]));
    let ips: Vec<&str> = static_ips(good.iter().copied()).into_iter().collect();
    let from = ips.join(", ");
    let (kind, note, more) = if let Some(first) = stuck.first() {
        let text = note(&stuck, good.len(), "waiting");
        (
            Kind::Waiting,
            text,
            first.reason.clone().unwrap_or_default(),
        )
    } else if !pending.is_empty() {
        let leave = match ips.is_empty() {
            true => "the static IPs are being allocated".to_owned(),
            false => format!("traffic will leave from {from}"),
        };
        let text = format!(
            "{} of {} being routed: {leave}",
            pending.len(),
            counted(good.len())
        );
        (Kind::Accepted, text, String::new())
    } else {
        let text = format!("{} routed: traffic leaves from {from}", counted(good.len()));
        (Kind::Routed, text, from)
    };
    Notice {
        kind,
        note,
        mark: mark([kind.name(), asked, &more]),
    }
}

/// Returns `1 of 3 entries refused: "key": what is wrong; what to do`. Entries with the same fault share one text.
fn note(entries: &[&Entry], all: usize, what: &str) -> String {
    let mut faults: Vec<(String, Vec<&str>)> = Vec::new();
    for entry in entries {
        let message = entry.message.as_deref().unwrap_or("no reason is known");
        let text = joined(message, entry.remedy.as_deref());
        match faults.iter().position(|(fault, _)| *fault == text) {
            Some(at) => faults[at].1.push(&entry.key),
            None if faults.len() < NAMED => faults.push((text, vec![&entry.key])),
            None => {}
        }
    }
    let named = |(fault, keys): &(String, Vec<&str>)| {
        let first: Vec<String> = keys
            .iter()
            .take(NAMED)
            .map(|key| format!("{key:?}"))
            .collect();
        let more = match keys.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!("{}{more}: {fault}", first.join(", "))
    };
    let told: Vec<String> = faults.iter().map(named).collect();
    let rest = match entries.len() - faults.iter().map(|(_, keys)| keys.len()).sum::<usize>() {
        0 => String::new(),
        rest => format!(" | and {rest} more: see the status"),
    };
    let head = format!("{} of {} {what}", entries.len(), counted(all));
    format!("{head}: {}{rest}", told.join(" | "))
}

fn counted(entries: usize) -> String {
    match entries {
        1 => "1 entry".to_owned(),
        _ => format!("{entries} entries"),
    }
}

fn mark<T: AsRef<str>>(parts: impl IntoIterator<Item = T>) -> String {
    let mut text = String::new();
    for part in parts {
        text += part.as_ref();
        text.push('\0');
    }
    digest(text.as_bytes())[..8].to_owned()
}

impl Memory {
    /// Returns the new messages about a ConfigMap, the worse one first.
    pub fn news<'a>(&self, object: &'a OfObject) -> Vec<&'a Notice> {
        let unknown = Told::default();
        let Told(refused, asked, progress, changed) =
            self.told.get(&object.key()).unwrap_or(&unknown);
        let bad = object
            .refused
            .iter()
            .filter(|notice| notice.mark != *refused);
        let new = |notice: &&Notice| match notice.kind {
            // A retry of the same operation is not new.
            Kind::Accepted => object.asked != *asked,
            _ => notice.mark != *progress,
        };
        let other = object.changed.iter();
        let other = other.filter(|notice| notice.mark != *changed);
        let all = other.chain(bad);
        all.chain(object.progress.iter().filter(new)).collect()
    }

    /// Records that the message was sent.
    pub fn told(&mut self, object: &OfObject, notice: &Notice) {
        let told = self.told.entry(object.key()).or_default();
        match notice.kind {
            Kind::EntriesRefused => told.0.clone_from(&notice.mark),
            Kind::StaticIpChanged => told.3.clone_from(&notice.mark),
            Kind::Accepted | Kind::Routed | Kind::Waiting => {
                told.1.clone_from(&object.asked);
                told.2.clone_from(&notice.mark);
            }
        }
    }

    /// Removes records of ConfigMaps that are deleted or empty, and of refusals that have ended.
    pub fn tidy(&mut self, notices: &Notices) {
        let known: BTreeMap<String, &OfObject> = notices
            .values()
            .filter(|object| object.standing != Standing::Nothing)
            .map(|object| (object.key(), object))
            .collect();
        self.told.retain(|key, _| known.contains_key(key));
        for (key, told) in &mut self.told {
            let object = known[key];
            if object.refused.is_none() && object.standing != Standing::Unknown {
                told.0.clear();
            }
        }
    }

    /// Returns as many records as fit into the status ConfigMap. The next leader sends the other messages again.
    pub fn brief(&self) -> Self {
        let told = self.told.iter().take(MAX_REMEMBERED);
        Self {
            told: told
                .map(|(key, told)| (key.clone(), told.clone()))
                .collect(),
        }
    }
}

#[cfg(test)]
#[path = "notifications_tests.rs"]
mod tests;
