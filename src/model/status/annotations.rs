//! The annotations on a ConfigMap about its entries. Equal content gives equal bytes without times, so a comparison with the existing
//! annotations finds no difference if nothing has changed.

use crate::model::base::plain::plain;
use crate::model::input::annotations::{Annotations, MESSAGE, STATE, STATIC_IPS, cut};
use crate::model::status::notifications::{OfObject, Standing};

/// The maximum length of a message in bytes.
const MAX_MESSAGE: usize = 1_000;

/// Returns the annotations that a ConfigMap should have; None while they are unknown.
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

#[cfg(test)]
#[path = "annotations_tests.rs"]
mod tests;
