//! The controller's own annotations on a ConfigMap.

use std::collections::BTreeMap;

/// The current or future static IPs of the entries' traffic, separated by commas and sorted as text.
pub(in crate::model) const STATIC_IPS: &str = "kube-static-egress-controller/static-ips";

/// The name of the state of the entry that is furthest from being routed.
pub(in crate::model) const STATE: &str = "kube-static-egress-controller/state";

/// A message for users.
pub(in crate::model) const MESSAGE: &str = "kube-static-egress-controller/message";

pub const KEYS: [&str; 3] = [STATIC_IPS, STATE, MESSAGE];

/// How many bytes of an annotation are kept. Other writers may set longer values; ours are always shorter.
const MAX_KEPT: usize = 1_100;

/// Our annotations, by key.
pub type Annotations = BTreeMap<&'static str, String>;

/// Returns our annotations among all annotations of an object.
pub fn ours(all: &BTreeMap<String, String>) -> Annotations {
    let mut found = Annotations::new();
    for (key, value) in all {
        keep(&mut found, key, value);
    }
    found
}

/// Keeps an annotation of an object if it is one of ours.
pub fn keep(kept: &mut Annotations, key: &str, value: &str) {
    if let Some(key) = KEYS.into_iter().find(|ours| *ours == key) {
        kept.insert(key, cut(value, MAX_KEPT).to_owned());
    }
}

pub(in crate::model) fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}
