//! ConfigMaps that are too large to be read completely.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fastrand::Rng;

use super::config_maps::{CLUSTERS, ConfigMaps, Edit, unreadable};
use super::draw::one;
use super::script::Event;
use super::world::World;
use crate::lease::tests::secs;
use crate::model::base::ids::{EntryId, ObjectId};
use crate::model::input::request::Object;

type Data = BTreeMap<String, String>;

/// The way in which a ConfigMap is too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oversize {
    /// Many keys come first, so at most one entry is read.
    Keys,
    /// The object has too many bytes, so no entry is read.
    Bytes,
}

impl Oversize {
    pub fn of(object: &Object) -> Option<Self> {
        match object {
            object if object.unreadable.is_some() => Some(Self::Bytes),
            object if object.more_keys > 0 => Some(Self::Keys),
            _ => None,
        }
    }

    /// Returns the object as the controller reads it.
    fn read(self, whole: &Data) -> Object {
        match self {
            Self::Bytes => Object::unreadable("it is too large to be read"),
            Self::Keys => Object {
                data: whole.clone().into_iter().take(1).collect(),
                more_keys: 1_000 + whole.len(),
                ..Object::default()
            },
        }
    }
}

impl ConfigMaps {
    /// Edits the data of an object, whether or not the controller reads it.
    pub fn alter(&mut self, id: &ObjectId, change: impl FnOnce(&mut Data)) {
        let object = self.objects.entry(id.clone()).or_default();
        let Some(size) = Oversize::of(object) else {
            return change(&mut object.data);
        };
        let whole = self.whole.entry(id.clone()).or_default();
        change(whole);
        *object = size.read(whole);
    }

    pub fn enlarge(&mut self, id: &ObjectId, size: Oversize) {
        let object = self.objects.get_mut(id);
        if let Some(object) = object.filter(|object| Oversize::of(object).is_none()) {
            let whole = std::mem::take(&mut object.data);
            *object = size.read(&whole);
            self.whole.insert(id.clone(), whole);
        }
    }

    /// Makes every object small enough.
    pub fn shrink(&mut self) {
        for (id, object) in &mut self.objects {
            if Oversize::of(object).is_some() {
                let data = self.whole.remove(id).unwrap_or_default();
                *object = Object {
                    data,
                    ..Object::default()
                };
            }
        }
    }
}

/// Whether the entry may be in an object without being read.
pub fn hides(objects: &BTreeMap<ObjectId, Object>, id: &EntryId) -> bool {
    let object = objects.get(&id.object);
    object
        .is_some_and(|object| Oversize::of(object).is_some() && !object.data.contains_key(&id.key))
}

/// Returns the objects that are not read completely.
pub fn oversized(objects: &BTreeMap<ObjectId, Object>) -> impl Iterator<Item = &ObjectId> {
    let objects = objects.iter();
    let oversized = objects.filter(|(_, object)| Oversize::of(object).is_some());
    oversized.map(|(id, _)| id)
}

impl World {
    /// Returns entries that stand for their last networks, because they are not read or cannot be parsed. Each oversized object counts as
    /// one more.
    pub fn unread(&self) -> BTreeSet<EntryId> {
        let objects = self.maps().objects.clone();
        let mut unread = unreadable(&objects);
        let entry = |object: &ObjectId| EntryId {
            object: object.clone(),
            key: String::new(),
        };
        unread.extend(oversized(&objects).map(entry));
        let shared = self.shared();
        let ever = shared.ever.keys().filter(|id| hides(&objects, id));
        unread.extend(ever.cloned());
        unread
    }
}

/// Draws, in one of three histories, a ConfigMap that becomes too large, and usually smaller again.
pub fn draw(rng: &mut Rng, length: f64, events: &mut Vec<(Duration, Event)>) {
    if rng.u8(0..3) > 0 {
        return;
    }
    let id = ObjectId {
        cluster: one(rng, &CLUSTERS).to_owned(),
        namespace: "default".to_owned(),
        name: format!("map-{}", rng.u8(0..2)),
    };
    let size = one(rng, &[Oversize::Keys, Oversize::Bytes]);
    let at = rng.f64() * length;
    let lasts = 5.0 + rng.f64() * one(rng, &[20.0, 150.0]);
    events.push((secs(at), Event::Edit(Edit::Enlarge(id, size))));
    if rng.u8(0..3) > 0 {
        events.push((secs(at + lasts), Event::Edit(Edit::Shrink)));
    }
}
