//! Names of change sets. A name identifies the content of a change set, and the cluster that made it.

use crate::model::base::owner::is_short;

const CHANGE_SET_PREFIX: &str = "egress-";

/// Replaces the template's fingerprint in the name of a change set that reverts drift. No hexadecimal number starts with this word.
pub(in crate::model) const REVERT: &str = "revert";

/// Returns the name `egress-{fingerprint}-z{zones}-e{epoch}-n{attempt}-c{owner}`, without `-n0` for the first attempt. `content` is the
/// result of [`content`], and `owner` is in its short form. Each attempt has its own name: a name stays in use while AWS deletes or
/// remembers its change set.
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

/// Returns the part of a name that identifies a template, from the fingerprints of the whole template and of its zones alone.
pub(in crate::model) fn content(fingerprint: &str, zones: &str) -> String {
    format!("{}-z{}", short(fingerprint), short(zones))
}

/// Whether a change set's name is one that the controller gives.
pub fn is_our_change_set(name: &str) -> bool {
    fingerprint_of(name).is_some()
}

pub(in crate::model) fn fingerprint_of(name: &str) -> Option<&str> {
    let content = parts_of(name)?.0;
    Some(split(content, "-z").0)
}

/// Returns the fingerprint of a change set's zones. None if the name has none, as in earlier versions.
pub(in crate::model) fn zones_of(name: &str) -> Option<&str> {
    let content = parts_of(name)?.0;
    split(content, "-z").1
}

/// Returns the short form of the cluster whose controller made a change set. None if the name has none, as in earlier versions.
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

/// Returns the text before a mark, and the text after it.
fn split<'a>(text: &'a str, mark: &str) -> (&'a str, Option<&'a str>) {
    let parts = text.split_once(mark);
    parts.map_or((text, None), |(before, after)| (before, Some(after)))
}

/// Returns the first 16 digits of a fingerprint, as names have them.
pub(in crate::model) fn short(fingerprint: &str) -> &str {
    fingerprint.get(..16).unwrap_or(fingerprint)
}

/// Whether a change set of the controller reverts drift, by its name.
pub fn is_revert(name: &str) -> bool {
    fingerprint_of(name).is_some_and(|fingerprint| fingerprint.starts_with(REVERT))
}
