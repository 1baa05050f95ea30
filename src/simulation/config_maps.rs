//! The ConfigMaps of two clusters, and their edits.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::LazyLock;

use fastrand::Rng;
use ipnet::Ipv4Net;

use super::oversized::Oversize;
use crate::model::base::cidr;
use crate::model::base::ids::{EntryId, ObjectId};
use crate::model::input::request::Object;

pub const CLUSTERS: [&str; 2] = ["blue", "green"];
/// Networks that merge into one route, networks inside others, and single networks.
const GOOD: [&str; 9] = [
    "8.8.8.8",
    "8.8.8.9",
    "9.9.9.0/25",
    "9.9.9.128/25",
    "20.0.0.0/16",
    "20.1.0.0/16",
    "20.0.7.0/24",
    "20.0.7.9",
    "9.9.9.0/24",
];
/// Contains some of the good networks, and all of [`many`].
const WIDE: &str = "20.0.0.0/8";
const MANY: &str = "20.8.";
/// The maximum age of a backup, in edits.
const PAST: usize = 4;
const CHURNED: &str = "66.0.";
/// The networks of the user who edits without a pause: so many that no change set is created twice.
pub static CHURN: LazyLock<Vec<String>> = LazyLock::new(|| {
    let value = |number: usize| format!("{CHURNED}{}.{}", number / 100, 2 * (number % 100) + 1);
    (0..2_000).map(value).collect()
});
/// The network of the other user, whose entry waits in the meantime.
pub const VICTIM: &str = "67.0.0.1";
/// Texts that are not CIDRs, and networks that must not be routed.
const BAD: [&str; 4] = ["nonsense", "300.1.1.1", "172.31.64.3", "0.0.0.0/0"];

/// The true state: the ConfigMaps on the API servers of the clusters.
#[derive(Clone, Debug, Default)]
pub struct ConfigMaps {
    /// The ConfigMaps as the controller reads them.
    pub objects: BTreeMap<ObjectId, Object>,
    /// The complete data of oversized ConfigMaps.
    pub whole: BTreeMap<ObjectId, BTreeMap<String, String>>,
    /// The ConfigMaps before the last edit.
    before: BTreeMap<ObjectId, Object>,
    /// The ConfigMaps before each of the last few edits, the oldest first.
    past: VecDeque<BTreeMap<ObjectId, Object>>,
}

/// One edit.
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    Set(ObjectId, String, &'static str),
    Remove(ObjectId, String),
    Delete(ObjectId),
    /// Reverts the last edit.
    Back,
    /// Removes every entry that cannot be parsed.
    Mend,
    /// Adds or removes a wide entry.
    Wide(bool),
    /// Sets the number of entries inside the wide one.
    Many(u8),
    /// Makes a ConfigMap too large to be read completely.
    Enlarge(ObjectId, Oversize),
    /// Makes every ConfigMap small enough to be read completely.
    Shrink,
    /// Deletes all entries.
    Clear,
    /// Restores the clusters from a backup.
    Restore,
}

impl Edit {
    pub fn draw(rng: &mut Rng) -> Self {
        let id = ObjectId {
            cluster: CLUSTERS[rng.usize(0..CLUSTERS.len())].to_owned(),
            namespace: "default".to_owned(),
            name: format!("map-{}", rng.u8(0..2)),
        };
        let key = format!("key-{}", rng.u8(0..3));
        match rng.u8(0..24) {
            0..2 => Self::Delete(id),
            2..6 => Self::Remove(id, key),
            6..8 => Self::Set(id, key, typo(rng)),
            _ => Self::Set(id, key, GOOD[rng.usize(0..GOOD.len())]),
        }
    }
}

/// Draws a value that cannot be parsed.
pub fn typo(rng: &mut Rng) -> &'static str {
    BAD[rng.usize(0..BAD.len())]
}

impl fmt::Display for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set(id, key, value) => write!(f, "{id} has {key}: {value}"),
            Self::Remove(id, key) => write!(f, "{id} loses {key}"),
            Self::Delete(id) => write!(f, "{id} is deleted"),
            Self::Back => f.write_str("the last edit is reverted"),
            Self::Mend => f.write_str("every typo is corrected"),
            Self::Wide(true) => write!(f, "{WIDE} is requested"),
            Self::Wide(false) => write!(f, "{WIDE} is no longer requested"),
            Self::Many(count) => write!(f, "{count} networks inside of {WIDE} are requested"),
            Self::Enlarge(id, size) => write!(f, "{id} gets too large: {size:?}"),
            Self::Shrink => f.write_str("no ConfigMap is too large"),
            Self::Clear => f.write_str("every ConfigMap is deleted"),
            Self::Restore => f.write_str("the ConfigMaps are restored from a backup"),
        }
    }
}

impl ConfigMaps {
    pub fn edit(&mut self, edit: &Edit) {
        let before = self.objects.clone();
        if let Edit::Wide(_) | Edit::Many(_) = edit {
            // [`Edit::Back`] does not revert these edits.
            for objects in [&mut self.objects, &mut self.before] {
                put(objects, edit);
            }
            return;
        }
        self.past.push_back(before.clone());
        if self.past.len() > PAST {
            self.past.pop_front();
        }
        match edit {
            Edit::Set(id, key, value) => {
                self.alter(id, |data| _ = data.insert(key.clone(), (*value).to_owned()));
            }
            Edit::Remove(id, key) => {
                if self.objects.contains_key(id) {
                    self.alter(id, |data| _ = data.remove(key));
                }
            }
            Edit::Delete(id) => {
                self.objects.remove(id);
            }
            Edit::Enlarge(id, size) => self.enlarge(id, *size),
            Edit::Shrink => self.shrink(),
            Edit::Back => self.objects.clone_from(&self.before),
            Edit::Clear => self.objects.clear(),
            Edit::Restore => {
                let mut old = self.past.front().cloned().unwrap_or_default();
                for name in ["wide", "many"] {
                    old.retain(|id, _| id.name != name);
                }
                let kept = self.objects.iter();
                let kept = kept.filter(|(id, _)| ["wide", "many"].contains(&id.name.as_str()));
                old.extend(kept.map(|(id, object)| (id.clone(), object.clone())));
                self.objects = old;
            }
            Edit::Wide(_) | Edit::Many(_) => {}
            Edit::Mend => {
                for id in self.objects.keys().cloned().collect::<Vec<_>>() {
                    self.alter(&id, |data| data.retain(|_, value| readable(value)));
                }
            }
        }
        self.before = before;
    }

    /// Returns the first entry whose network contains another good network, with that network.
    pub fn wide(&self) -> Option<(ObjectId, String, &'static str, &'static str)> {
        let net = |text: &str| cidr::parse(text).expect("one of the good values").0;
        let mut entries = entries(&self.objects).into_iter();
        entries.find_map(|(id, wide)| {
            let whole = GOOD.iter().find(|text| net(text) == wide)?;
            let inside = |text: &&&str| net(text) != wide && wide.contains(&net(text));
            let part = GOOD.iter().find(inside)?;
            Some((id.object, id.key, *whole, *part))
        })
    }
}

fn put(objects: &mut BTreeMap<ObjectId, Object>, edit: &Edit) {
    let id = |name: &str| ObjectId {
        cluster: CLUSTERS[1].to_owned(),
        namespace: "default".to_owned(),
        name: name.to_owned(),
    };
    let mut object = Object::default();
    let id = match edit {
        Edit::Many(count) => {
            for n in 0..*count {
                object.put(&format!("k{n:02}"), &format!("{MANY}{}.0/24", 2 * n));
            }
            id("many")
        }
        _ => {
            object.put("key", WIDE);
            id("wide")
        }
    };
    match edit {
        Edit::Wide(false) | Edit::Many(0) => _ = objects.remove(&id),
        _ => _ = objects.insert(id, object),
    }
}

/// Returns the networks of all entries that can be parsed.
pub fn entries(objects: &BTreeMap<ObjectId, Object>) -> BTreeMap<EntryId, Ipv4Net> {
    let mut found = BTreeMap::new();
    for (object, content) in objects {
        for (key, value) in content.data.iter().filter(|(_, value)| readable(value)) {
            let id = EntryId {
                object: object.clone(),
                key: key.clone(),
            };
            let (net, _) = cidr::parse(value).expect("one of the good values");
            found.insert(id, net);
        }
    }
    found
}

/// Whether a value can be parsed, as decided by the lists above and not by the code under test.
pub fn readable(value: &str) -> bool {
    GOOD.contains(&value)
        || [WIDE, VICTIM].contains(&value)
        || [MANY, CHURNED].iter().any(|it| value.starts_with(it))
}

/// Returns the entries that cannot be parsed.
pub fn unreadable(objects: &BTreeMap<ObjectId, Object>) -> BTreeSet<EntryId> {
    let of_object = |(object, content): (&ObjectId, &Object)| {
        let bad = content.data.iter().filter(|(_, value)| !readable(value));
        bad.map(|(key, _)| (object.clone(), key.clone()))
            .collect::<Vec<_>>()
    };
    let found = objects.iter().flat_map(of_object);
    found.map(|(object, key)| EntryId { object, key }).collect()
}

/// Whether every address of the network has a route.
pub fn covered(net: Ipv4Net, routes: &BTreeSet<Ipv4Net>) -> bool {
    if routes.iter().any(|route| route.contains(&net)) {
        return true;
    }
    let inside = routes.iter().any(|route| net.contains(route));
    let halves = net.subnets(net.prefix_len() + 1);
    inside && halves.is_ok_and(|mut halves| halves.all(|half| covered(half, routes)))
}

#[test]
fn coverage_is_judged_by_addresses() {
    let net = |text: &str| text.parse::<Ipv4Net>().expect("a network");
    let routes = BTreeSet::from([net("9.9.9.0/25"), net("9.9.9.128/26"), net("9.9.9.192/26")]);
    assert!(covered(net("9.9.9.0/24"), &routes) && covered(net("9.9.9.7/32"), &routes));
    assert!(!covered(net("9.9.8.0/23"), &routes) && !covered(net("8.8.8.8/32"), &routes));
}
