//! [`Object`]: what is kept of one ConfigMap, bounded while it is read, wherever it comes from.

use std::collections::BTreeMap;

use crate::model::base::ids::ObjectId;
use crate::model::input::annotations::{Annotations, keep};

/// Entries read from one ConfigMap: the first in key order. The others are counted.
pub const MAX_ENTRIES_PER_OBJECT: usize = 1_000;
/// Bytes of a key. Kubernetes takes no longer one.
const MAX_KEY: usize = 253;
/// Bytes of a value, without the blanks around it. A CIDR is much shorter.
const MAX_VALUE: usize = 128;
/// Bytes of the reason why an object cannot be read.
const MAX_REASON: usize = 200;
/// Bytes of a uid: what an API server gives has 36.
const MAX_UID: usize = 64;

/// Bytes kept of all objects, and of one entry besides its text. 20,000 honest entries take less than half.
const MAX_KEPT: usize = 8 << 20;
const ENTRY: usize = 120;

/// What is kept in memory of one ConfigMap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object {
    /// For Events; empty when the source has none (a manifest).
    pub uid: String,
    /// The first [`MAX_ENTRIES_PER_OBJECT`] entries in key order.
    pub data: BTreeMap<String, String>,
    /// How many entries come after them, and are not read.
    pub more_keys: usize,
    /// How many keys `binaryData` has, which is not read.
    pub binary_keys: usize,
    /// Why nothing of it can be read, if so; its data is unknown then.
    pub unreadable: Option<String>,
    /// Those of ours that it carries: no part of what it asks for.
    pub annotations: Annotations,
}

impl Object {
    /// Returns an object of which nothing but the name is known.
    pub fn unreadable(why: &str) -> Self {
        Self {
            unreadable: Some(cut(why, MAX_REASON)),
            ..Self::default()
        }
    }

    /// Adds one entry of `data`, within the bounds.
    pub fn put(&mut self, key: &str, value: &str) {
        let is_full = self.data.len() >= MAX_ENTRIES_PER_OBJECT;
        let last = self.data.last_key_value().filter(|_| is_full);
        if last.is_some_and(|(last, _)| key > last.as_str()) {
            self.more_keys += 1;
            return;
        }
        let value = match key.len() <= MAX_KEY {
            true => cut(value.trim(), MAX_VALUE),
            // No value that this text could be taken for is a CIDR.
            false => format!("(its key has {} bytes)", key.len()),
        };
        self.data.insert(cut(key, MAX_KEY), value);
        if self.data.len() > MAX_ENTRIES_PER_OBJECT {
            self.data.pop_last();
            self.more_keys += 1;
        }
    }

    /// Adds an annotation, if it is one of ours.
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
        )
    }

    /// Whether it certainly asks for nothing. An owner who put networks into `binaryData` means to ask.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty() && self.more_keys + self.binary_keys == 0 && self.unreadable.is_none()
    }

    /// Whether it may have this key. Where not all of it was read, nobody knows that a key is gone.
    pub fn may_have(&self, key: &str) -> bool {
        self.data.contains_key(key) || self.hides_entries()
    }

    /// Drops the second half of its entries, which are counted.
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

    /// Whether it may have entries that are not in `data`.
    pub fn hides_entries(&self) -> bool {
        self.more_keys > 0 || self.unreadable.is_some()
    }
}

/// Bounds what is kept of all objects together. Where there is too much, the namespace that has most gives way, with its largest
/// object first: what is dropped is counted, and keeps what it asked for last.
pub fn bound(objects: &mut BTreeMap<ObjectId, Object>) {
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

/// Returns the text if it is short enough, else its beginning with a mark: the beginning of something long may look like a CIDR.
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
