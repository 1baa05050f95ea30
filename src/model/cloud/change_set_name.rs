//! Names of change sets: what a change set makes, and who made it.

use crate::model::base::owner::is_short;

const CHANGE_SET_PREFIX: &str = "egress-";

/// In the place of a template's fingerprint; no hexadecimal number begins so.
pub(in crate::model) const REVERT: &str = "revert";

/// `egress-{fingerprint}-e{epoch}-c{owner}`: tells what it would make, and who made it. `owner` is in its short form.
pub fn change_set_name(fingerprint: &str, epoch: u64, owner: Option<&str>) -> String {
    let name = format!("{CHANGE_SET_PREFIX}{}-e{epoch}", short(fingerprint));
    match owner {
        Some(owner) => format!("{name}-c{owner}"),
        None => name,
    }
}

/// Whether a change set is one of ours, by its name.
pub fn is_our_change_set(name: &str) -> bool {
    fingerprint_of(name).is_some()
}

pub(in crate::model) fn fingerprint_of(name: &str) -> Option<&str> {
    Some(parts_of(name)?.0)
}

/// The cluster, in its short form, whose controller made a change set. None where its name does not say: earlier versions did not.
pub fn owner_of_change_set(name: &str) -> Option<&str> {
    parts_of(name)?.1
}

fn parts_of(name: &str) -> Option<(&str, Option<&str>)> {
    let (fingerprint, rest) = name.strip_prefix(CHANGE_SET_PREFIX)?.split_once("-e")?;
    let (epoch, owner) = match rest.split_once("-c") {
        Some((epoch, owner)) => (epoch, Some(owner)),
        None => (rest, None),
    };
    let is_number = !epoch.is_empty() && epoch.bytes().all(|byte| byte.is_ascii_digit());
    (is_number && owner.is_none_or(is_short)).then_some((fingerprint, owner))
}

/// Returns the part of a fingerprint that a name has.
pub(in crate::model) fn short(fingerprint: &str) -> &str {
    fingerprint.get(..16).unwrap_or(fingerprint)
}

/// Whether a change set of ours is to revert drift, by its name.
pub fn is_revert(name: &str) -> bool {
    fingerprint_of(name).is_some_and(|fingerprint| fingerprint.starts_with(REVERT))
}
