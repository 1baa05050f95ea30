//! The requests of the ConfigMaps: [`Snapshot`] is the input of parsing, [`Request`] and [`Problem`](crate::model::base::problem::Problem)s
//! are the output. A bad entry never harms a good one.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;

use crate::model::base::ids::{EntryId, ObjectId};
use crate::model::base::problem::Subject;

pub use crate::model::input::object::{MAX_ENTRIES_PER_OBJECT, Object};

/// The maximum number of entries that are read, distributed over the namespaces.
pub const MAX_ENTRIES: usize = 20_000;

/// All known labelled ConfigMaps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    pub objects: BTreeMap<ObjectId, Object>,
    /// Sources (a cluster's address, a path) that have not been listed completely, and why. While there are any, a missing ConfigMap is
    /// unknown, not removed.
    pub missing: BTreeMap<String, String>,
    /// Sources that were listed before and cannot be read any more, and why. Their last known ConfigMaps still count.
    pub stale: BTreeMap<String, String>,
    /// Sources whose latest changes may not have arrived: their watch has ended or is silent, but not for long enough to report it.
    pub unsure: BTreeSet<String>,
    /// Sources that recently returned to an older state, and the text of the problem.
    pub went_back: BTreeMap<String, String>,
    /// Objects that were probably meant to be labelled ConfigMaps, and why they are not.
    pub near_misses: BTreeSet<(Subject, String)>,
}

impl Snapshot {
    /// Returns whether the object may exist although the snapshot does not have it: its namespace has more ConfigMaps than are read.
    pub fn may_hide(&self, id: &ObjectId) -> bool {
        let before = self.objects.range(..id).next_back();
        before.is_some_and(|(last, object)| object.is_last_read && last.is_beside(id))
            && !self.objects.contains_key(id)
    }

    /// Whether certainly no ConfigMap requests a route.
    pub fn is_truly_empty(&self) -> bool {
        self.missing.is_empty() && self.objects.values().all(Object::is_empty)
    }

    /// Whether the snapshot certainly shows the current requests: no source is missing, stale or unsure, and none has recently returned to
    /// an older state.
    pub fn is_certain(&self) -> bool {
        let in_doubt = [&self.missing, &self.stale, &self.went_back];
        in_doubt.into_iter().all(BTreeMap::is_empty) && self.unsure.is_empty()
    }
}

/// The requests of the entries. `settled` is false while the absence of an entry proves nothing: a source is in doubt, or an entry is
/// refused and its last network is unknown. Then no route may be removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Every accepted entry, and every refused entry that keeps the network it requested last.
    pub entries: BTreeMap<EntryId, Ipv4Net>,
    /// Networks that refused entries requested last and that the rules no longer accept: existing routes stay, and no new route is created.
    pub held: BTreeSet<Ipv4Net>,
    /// Networks that are accepted only because a live route has them: a removed route would not come back.
    pub only_live: BTreeSet<Ipv4Net>,
    /// The number of refused entries.
    pub refused: usize,
    pub settled: bool,
}
