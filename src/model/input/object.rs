//! [`Object`]: the part of one ConfigMap that is kept in memory, limited while it is read.

use std::collections::BTreeMap;

use crate::model::base::ids::ObjectId;
use crate::model::input::annotations::{Annotations, keep};

/// The maximum number of entries that are read from one ConfigMap, the first in key order. The rest is counted.
pub const MAX_ENTRIES_PER_OBJECT: usize = 1_000;
/// The maximum number of ConfigMaps that are read from one namespace, the first in name order.
pub const MAX_OBJECTS_PER_NAMESPACE: usize = 5_000;
/// The maximum length of a key in bytes, as in Kubernetes.
const MAX_KEY: usize = 253;
/// The maximum length of a value in bytes, without the blanks around it. A CIDR is much shorter.
const MAX_VALUE: usize = 128;
/// The maximum length of the reason why an object cannot be read, in bytes.
const MAX_REASON: usize = 200;
/// The maximum length of a UID in bytes. UIDs of an API server have 36.
const MAX_UID: usize = 64;

/// The maximum size of all objects together, and the size of an entry apart from its text, in bytes. 20,000 ordinary entries take less than
/// half of the maximum.
const MAX_KEPT: usize = 8 << 20;
const ENTRY: usize = 120;

/// The part of one ConfigMap that is kept in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object {
    /// The UID, for Events; empty for manifests.
    pub uid: String,
    /// The first [`MAX_ENTRIES_PER_OBJECT`] entries in key order.
    pub data: BTreeMap<String, String>,
    /// The number of further entries, which are not read.
    pub more_keys: usize,
    /// The number of keys in `binaryData`, which is not read.
    pub binary_keys: usize,
    /// Why the object cannot be read; None if it was read. The data of an unreadable object is unknown.
    pub unreadable: Option<String>,
    /// Whether the namespace has further ConfigMaps, later in name order, which are not read.
    pub is_last_read: bool,
    /// The controller's own annotations. They are not part of the request.
    pub annotations: Annotations,
}

impl Object {
    /// Returns an object that is known by name only.
    pub fn unreadable(why: &str) -> Self {
        Self {
            unreadable: Some(cut(why, MAX_REASON)),
            ..Self::default()
        }
    }

    /// Adds one entry of `data`, within the limits.
    pub fn put(&mut self, key: &str, value: &str) {
        let is_full = self.data.len() >= MAX_ENTRIES_PER_OBJECT;
        let last = self.data.last_key_value().filter(|_| is_full);
        if last.is_some_and(|(last, _)| key > last.as_str()) {
            self.more_keys += 1;
            return;
        }
        let value = match key.len() <= MAX_KEY {
            true => cut(value.trim(), MAX_VALUE),
            // This text cannot be taken for a CIDR.
            false => format!("(its key has {} bytes)", key.len()),
        };
        self.data.insert(cut(key, MAX_KEY), value);
        if self.data.len() > MAX_ENTRIES_PER_OBJECT {
            self.data.pop_last();
            self.more_keys += 1;
        }
    }

    /// Adds an annotation if it is one of ours.
    pub fn annotate(&mut self, key: &str, value: &str) {
        keep(&mut self.annotations, key, value);
    }

    pub fn set_uid(&mut self, uid: &str) {
        self.uid = cut(uid, MAX_UID);
    }

    /// Returns the fields that routes and published messages depend on.
    pub fn asks(&self) -> impl PartialEq {
        (
            &self.uid,
            &self.data,
            self.more_keys,
            self.binary_keys,
            &self.unreadable,
            self.is_last_read,
        )
    }

    /// Whether the object certainly requests nothing. Networks in `binaryData` are probably meant as a request.
    pub fn is_empty(&self) -> bool {
        let is_whole = self.unreadable.is_none() && !self.is_last_read;
        self.data.is_empty() && self.more_keys + self.binary_keys == 0 && is_whole
    }

    /// Whether the object may have this key. A key is only known to be gone if the whole object was read.
    pub fn may_have(&self, key: &str) -> bool {
        self.data.contains_key(key) || self.hides_entries()
    }

    /// Drops the second half of the entries, and counts them.
    fn halve(&mut self) {
        let keep = self.data.len() / 2;
        while self.data.len() > keep {
            self.data.pop_last();
            self.more_keys += 1;
        }
    }

    fn size(&self) -> usize {
        let texts = self.data.iter();
        texts
            .map(|(key, value)| ENTRY + key.len() + value.len())
            .sum()
    }

    /// Whether the object may have entries that are not in `data`.
    pub fn hides_entries(&self) -> bool {
        self.more_keys > 0 || self.unreadable.is_some()
    }
}

/// Limits the number of objects of each namespace, and the size of all objects together.
pub fn bound(objects: &mut BTreeMap<ObjectId, Object>) {
    bound_numbers(objects);
    bound_sizes(objects);
}

/// Drops the objects of a namespace beyond [`MAX_OBJECTS_PER_NAMESPACE`], and marks the last one that stays. Once there is a mark, no object
/// after it is read until the next list, so that every later object counts as hidden.
fn bound_numbers(objects: &mut BTreeMap<ObjectId, Object>) {
    let is_crowded = objects.len() > MAX_OBJECTS_PER_NAMESPACE;
    if !is_crowded && !objects.values().any(|object| object.is_last_read) {
        return;
    }
    let all: Vec<(&ObjectId, &Object)> = objects.iter().collect();
    let namespaces = all.chunk_by(|(one, _), (next, _)| one.is_beside(next));
    let crowded: Vec<(ObjectId, Vec<ObjectId>)> = namespaces
        .filter_map(|all| {
            let marked = all.iter().position(|(_, object)| object.is_last_read);
            let most = marked.map_or(MAX_OBJECTS_PER_NAMESPACE, |at| at + 1);
            let (read, beyond) = all.split_at_checked(most.min(MAX_OBJECTS_PER_NAMESPACE))?;
            let (last, _) = read.last().filter(|_| !beyond.is_empty())?;
            let beyond = beyond.iter().map(|(id, _)| (*id).clone());
            Some(((*last).clone(), beyond.collect()))
        })
        .collect();
    for (last, beyond) in crowded {
        for id in beyond {
            objects.remove(&id);
        }
        if let Some(object) = objects.get_mut(&last) {
            object.is_last_read = true;
        }
    }
}

/// Limits the size of all objects together. Above the limit, the largest namespace loses entries first, starting with its largest object.
/// Dropped entries are counted, and keep the network that they requested last.
fn bound_sizes(objects: &mut BTreeMap<ObjectId, Object>) {
    let mut sizes: BTreeMap<(String, String), BTreeMap<ObjectId, usize>> = BTreeMap::new();
    let mut all: usize = objects.values().map(Object::size).sum();
    if all <= MAX_KEPT {
        return;
    }
    for (id, object) in objects.iter() {
        let of = (id.cluster.clone(), id.namespace.clone());
        let sizes = sizes.entry(of).or_default();
        sizes.insert(id.clone(), object.size());
    }
    while all > MAX_KEPT {
        let largest = sizes
            .values_mut()
            .max_by_key(|of| of.values().sum::<usize>())
            .and_then(|of| of.iter_mut().max_by_key(|(_, size)| **size));
        let Some((id, size)) = largest.filter(|(_, size)| **size > 0) else {
            return;
        };
        let Some(object) = objects.get_mut(id) else {
            return;
        };
        object.halve();
        all = all - *size + object.size();
        *size = object.size();
    }
}

/// Returns the text if it is short enough, else its beginning with a mark, because the beginning of a long text could look like a CIDR.
fn cut(text: &str, bytes: usize) -> String {
    let short = &text[..text.floor_char_boundary(bytes)];
    let mark = if short.len() < text.len() { "…" } else { "" };
    format!("{short}{mark}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::base::cidr;

    #[test]
    fn the_first_keys_are_kept_in_whatever_order_they_come() {
        let keys: Vec<String> = (0..2_500).map(|key| format!("k{key:04}")).collect();
        let (mut up, mut down) = (Object::default(), Object::default());
        keys.iter().for_each(|key| up.put(key, "8.8.8.8"));
        keys.iter().rev().for_each(|key| down.put(key, "8.8.8.8"));
        assert!(up == down && up.more_keys == 1_500 && up.data.len() == MAX_ENTRIES_PER_OBJECT);
        assert!(up.data.keys().eq(&keys[..MAX_ENTRIES_PER_OBJECT]));
        assert!(up.may_have("gone") && !Object::default().may_have("gone"));
    }

    #[test]
    fn long_values_are_cut_and_stay_invalid() {
        let padded = format!("8.8.8.8/32{}and more", " ".repeat(100_000));
        for value in ["8".repeat(100_000), padded, "ü".repeat(100_000)] {
            let mut object = Object::default();
            object.put("key", &value);
            assert!(object.data["key"].len() <= MAX_VALUE + "…".len());
            assert!(cidr::parse(&object.data["key"]).is_err());
        }
        let mut object = Object::default();
        object.put(&"k".repeat(100_000), "8.8.8.8");
        object.put("blanks", &format!("8.8.8.8/32{}", " ".repeat(150)));
        let read: Vec<bool> = object
            .data
            .values()
            .map(|value| cidr::parse(value).is_ok())
            .collect();
        assert_eq!(read, [true, false], "{:?}", object.data);
        assert!(object.data.keys().all(|key| key.len() < 300));
    }

    #[test]
    fn one_namespace_cannot_take_the_memory_of_all() {
        let id = |namespace: &str, name: usize| ObjectId {
            namespace: namespace.to_owned(),
            name: name.to_string(),
            ..ObjectId::default()
        };
        let many = |width: usize, entries: usize| {
            let mut object = Object::default();
            let key = |number: usize| format!("{number:0>width$}");
            (0..entries).for_each(|number| object.put(&key(number), "8.8.8.8/32"));
            object
        };
        let honest = (0..20).map(|name| (id("honest", name), many(12, 1_000)));
        let mut objects: BTreeMap<_, _> = honest.collect();
        let before = objects.clone();
        bound(&mut objects);
        assert_eq!(objects, before, "20,000 entries fit");
        objects.extend((0..300).map(|name| (id("greedy", name), many(253, 1_000))));
        bound(&mut objects);
        let kept: usize = objects.values().map(Object::size).sum();
        assert!(kept <= MAX_KEPT && kept > MAX_KEPT / 2, "{kept}");
        for (id, object) in &objects {
            let all = object.data.len() + object.more_keys;
            assert_eq!(all, 1_000, "{id}: what is dropped is counted");
            assert!(id.namespace == "greedy" || object == &before[id]);
        }
    }

    #[test]
    fn one_namespace_has_a_limited_number_of_objects() {
        let id = |namespace: &str, name: usize| ObjectId {
            namespace: namespace.to_owned(),
            name: format!("{name:06}"),
            ..ObjectId::default()
        };
        let honest = |name| (id("honest", name), Object::default());
        let mut objects: BTreeMap<_, _> = (0..MAX_OBJECTS_PER_NAMESPACE).map(honest).collect();
        let before = objects.clone();
        bound(&mut objects);
        assert_eq!(objects, before, "the limit itself fits");
        let greedy = |name| (id("greedy", name), Object::default());
        objects.extend((1..300_000).map(greedy));
        bound(&mut objects);
        assert_eq!(objects.len(), 2 * MAX_OBJECTS_PER_NAMESPACE);
        let marked = |objects: &BTreeMap<ObjectId, Object>| {
            let marked = objects.iter().filter(|(_, object)| object.is_last_read);
            marked.map(|(id, _)| id.clone()).collect::<Vec<_>>()
        };
        assert_eq!(marked(&objects), [id("greedy", MAX_OBJECTS_PER_NAMESPACE)]);
        assert!(!objects[&marked(&objects)[0]].is_empty());
        objects.extend([greedy(0)]);
        bound(&mut objects);
        let last = id("greedy", MAX_OBJECTS_PER_NAMESPACE - 1);
        assert_eq!(marked(&objects), [last], "an earlier name moves the mark");
        // After a deletion there is room for one object, but those after the mark stay unread.
        objects.remove(&id("greedy", 7));
        objects.extend([greedy(200_000)]);
        bound(&mut objects);
        assert!(!objects.contains_key(&id("greedy", 200_000)));
    }

    #[test]
    fn only_what_was_read_whole_is_empty() {
        assert!(Object::default().is_empty());
        assert!(!Object::unreadable("no").is_empty());
        for (more_keys, binary_keys) in [(1, 0), (0, 1)] {
            let object = Object {
                more_keys,
                binary_keys,
                ..Object::default()
            };
            assert!(!object.is_empty());
        }
    }
}
