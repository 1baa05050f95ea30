//! The annotations of ours that a ConfigMap carries.

use std::collections::BTreeMap;

/// The static IPs from which the traffic of its entries leaves, or will: separated by commas, in the order of their bytes.
pub(in crate::model) const STATIC_IPS: &str = "kube-static-egress-controller/static-ips";

/// The state of the entry that is furthest from being routed, by its name.
pub(in crate::model) const STATE: &str = "kube-static-egress-controller/state";

/// For people.
pub(in crate::model) const MESSAGE: &str = "kube-static-egress-controller/message";

pub const KEYS: [&str; 3] = [STATIC_IPS, STATE, MESSAGE];

/// Bytes that are kept of an annotation, which others may have written: ours are always shorter.
const MAX_KEPT: usize = 1_100;

/// By key, only ours.
pub type Annotations = BTreeMap<&'static str, String>;

/// Ours among all that an object carries.
pub fn ours(all: &BTreeMap<String, String>) -> Annotations {
    let mut found = Annotations::new();
    for (key, value) in all {
        keep(&mut found, key, value);
    }
    found
}

/// Keeps an annotation of an object, if it is one of ours.
pub fn keep(kept: &mut Annotations, key: &str, value: &str) {
    if let Some(key) = KEYS.into_iter().find(|ours| *ours == key) {
        kept.insert(key, cut(value, MAX_KEPT).to_owned());
    }
}

pub(in crate::model) fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}
