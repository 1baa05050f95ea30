//! What stands on a ConfigMap itself about its entries. The same content gives the same bytes, and no times are in it, so that
//! whoever compares what is there with what should be finds nothing to do when nothing has happened.

use std::collections::BTreeMap;

use crate::model::base::plain::plain;
use crate::model::status::notifications::{OfObject, Standing};

/// The static IPs from which the traffic of its entries leaves, or will: separated by commas, in the order of their bytes.
const STATIC_IPS: &str = "kube-static-egress-controller/static-ips";
/// The state of the entry that is furthest from being routed, by its name.
const STATE: &str = "kube-static-egress-controller/state";
/// For people.
const MESSAGE: &str = "kube-static-egress-controller/message";
pub const KEYS: [&str; 3] = [STATIC_IPS, STATE, MESSAGE];

/// Bytes of a message.
const MAX_MESSAGE: usize = 1_000;
/// Bytes that are kept of what somebody else may have written: more than ours ever are.
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

/// What a ConfigMap should bear; None where that is not known yet.
pub fn wanted(object: &OfObject) -> Option<Annotations> {
    let (state, static_ips) = match &object.standing {
        Standing::Unknown => return None,
        Standing::Nothing => return Some(Annotations::new()),
        Standing::Is(state, static_ips) => (state.name(), static_ips.join(",")),
    };
    let notes = object.refused.iter().chain(&object.progress);
    let notes: Vec<&str> = notes.map(|notice| notice.note.as_str()).collect();
    let message = plain(&notes.join(" | ")).into_owned();
    let short = cut(&message, MAX_MESSAGE);
    let more = if short.len() < message.len() {
        "…"
    } else {
        ""
    };
    let all = [
        (STATIC_IPS, static_ips),
        (STATE, state.to_owned()),
        (MESSAGE, format!("{short}{more}")),
    ];
    let given = all.into_iter().filter(|(_, value)| !value.is_empty());
    Some(given.collect())
}

fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[cfg(test)]
#[path = "annotations_tests.rs"]
mod tests;
