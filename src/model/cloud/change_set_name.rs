//! Names of change sets: what a change set makes, and who made it.

use crate::model::base::owner::is_short;

const CHANGE_SET_PREFIX: &str = "egress-";

/// In the place of a template's fingerprint; no hexadecimal number begins so.
pub(in crate::model) const REVERT: &str = "revert";

/// `egress-{fingerprint}-z{zones}-e{epoch}-n{attempt}-c{owner}`: tells what it would make, and who made it. `content` is what
/// [`content`] returns, and `owner` is in its short form. Each attempt has a name of its own, since a change set that is still being
/// deleted, or that AWS remembers, keeps its name taken. The first attempt, 0, is not in the name.
pub fn change_set_name(content: &str, epoch: u64, attempt: u64, owner: Option<&str>) -> String {
    let mut name = format!("{CHANGE_SET_PREFIX}{content}-e{epoch}");
    if attempt > 0 {
        name.push_str(&format!("-n{attempt}"));
    }
    match owner {
        Some(owner) => format!("{name}-c{owner}"),
        None => name,
    }
}

/// Returns what a name says of a template, by the fingerprints of the whole template and of its zones alone.
pub(in crate::model) fn content(fingerprint: &str, zones: &str) -> String {
    format!("{}-z{}", short(fingerprint), short(zones))
}

/// Whether a change set is one of ours, by its name.
pub fn is_our_change_set(name: &str) -> bool {
    fingerprint_of(name).is_some()
}

pub(in crate::model) fn fingerprint_of(name: &str) -> Option<&str> {
    let content = parts_of(name)?.0;
    Some(split(content, "-z").0)
}

/// Returns the fingerprint of the zones that a change set makes. None where its name does not have it: earlier versions did not.
pub(in crate::model) fn zones_of(name: &str) -> Option<&str> {
    let content = parts_of(name)?.0;
    split(content, "-z").1
}

/// The cluster, in its short form, whose controller made a change set. None where its name does not say: earlier versions did not.
pub fn owner_of_change_set(name: &str) -> Option<&str> {
    parts_of(name)?.1
}

fn parts_of(name: &str) -> Option<(&str, Option<&str>)> {
    let (content, rest) = name.strip_prefix(CHANGE_SET_PREFIX)?.split_once("-e")?;
    let (rest, owner) = split(rest, "-c");
    let (epoch, attempt) = split(rest, "-n");
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_ours = is_number(epoch) && attempt.is_none_or(is_number) && owner.is_none_or(is_short);
    is_ours.then_some((content, owner))
}

/// Returns what is before a mark, and what is after it.
fn split<'a>(text: &'a str, mark: &str) -> (&'a str, Option<&'a str>) {
    let parts = text.split_once(mark);
    parts.map_or((text, None), |(before, after)| (before, Some(after)))
}

/// Returns the part of a fingerprint that a name has.
pub(in crate::model) fn short(fingerprint: &str) -> &str {
    fingerprint.get(..16).unwrap_or(fingerprint)
}

/// Whether a change set of ours is to revert drift, by its name.
pub fn is_revert(name: &str) -> bool {
    fingerprint_of(name).is_some_and(|fingerprint| fingerprint.starts_with(REVERT))
}
