//! What the ConfigMaps ask for: [`Snapshot`] in, [`Request`] and [`Problem`]s out. A bad entry never harms a good one.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;

use crate::model::base::ids::{EntryId, ObjectId};
use crate::model::base::problem::Subject;

pub use crate::model::input::object::{MAX_ENTRIES_PER_OBJECT, Object};

/// Entries read altogether, shared out by namespace.
pub const MAX_ENTRIES: usize = 20_000;

/// All labelled ConfigMaps, as far as they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    pub objects: BTreeMap<ObjectId, Object>,
    /// Sources (a cluster's address, a path) that have not been listed whole, and why. While there are any, what is
    /// absent here is unknown, not removed.
    pub missing: BTreeMap<String, String>,
    /// Sources that were listed whole and cannot be read any more, and why. What they had still counts.
    pub stale: BTreeMap<String, String>,
    /// Sources that may have changes which have not arrived: their watch has ended or is silent, but not for long enough to report it.
    pub unsure: BTreeSet<String>,
    /// Sources that have gone back to an older state a short time ago, and how that showed.
    pub went_back: BTreeMap<String, String>,
    /// What was probably meant to be a labelled ConfigMap, and why it is none.
    pub near_misses: BTreeSet<(Subject, String)>,
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
