//! [`Owner`]: the cluster that a stack belongs to, and its short form in names and tokens.
//!
//! The owner is the UID of the namespace `kube-system` of the cluster that holds the Lease: copying a cluster's values does not copy it.

use crate::model::base::digest::digest;

/// Characters of a UID that stand for it in names and tokens.
const SHORT: usize = 8;

/// Characters of a UID that are believed to be one.
const MAX_UID: usize = 64;

/// The cluster that this controller works for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// None without a cluster, and while it cannot be read.
    pub uid: Option<String>,
    /// Why it cannot be read, where there is a cluster.
    pub unknown: Option<String>,
    /// The cluster whose stack becomes this one's.
    pub takes_over: Option<String>,
    /// Stands for the Lease: [`lease_mark`]. None without leader election.
    pub lease: Option<String>,
}

impl Owner {
    /// What stands for it in the names of change sets and in tokens.
    pub fn short(&self) -> Option<String> {
        self.uid.as_deref().map(short)
    }
}

/// Whether a text can be the UID of an object.
pub fn is_uid(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=MAX_UID).contains(&text.len()) && text.bytes().all(is_plain)
}

/// Returns the short form of a UID: eight lower-case characters of `[a-z0-9]`.
pub fn short(uid: &str) -> String {
    let plain = uid.chars().filter(char::is_ascii_alphanumeric);
    let padded = plain.chain(std::iter::repeat('0')).take(SHORT);
    padded.collect::<String>().to_ascii_lowercase()
}

/// Whether a text has the short form of a UID.
pub fn is_short(text: &str) -> bool {
    text.len() == SHORT && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Returns what stands for a Lease in tokens: eight lower-case characters of `[a-z0-9]`. Two controllers of one cluster have two Leases.
pub fn lease_mark(namespace: &str, name: &str) -> String {
    short(&digest(format!("{namespace}/{name}").as_bytes()))
}

/// The token of an operation, `e{epoch}-c{owner}-{what}-{n}-l{lease}`: at most 128 characters of `[A-Za-z0-9-]`, as the API wants it.
/// `owner` and `lease` are in their short forms.
pub fn token(
    epoch: u64,
    (owner, lease): (Option<&str>, Option<&str>),
    what: &str,
    n: u64,
) -> String {
    let what = match what.strip_prefix("egress-") {
        Some(rest) => without_zones(rest),
        None => what.get(..16).unwrap_or(what).to_owned(),
    };
    let owner = owner.map(|owner| format!("-c{owner}")).unwrap_or_default();
    let lease = lease.map(|lease| format!("-l{lease}")).unwrap_or_default();
    format!("e{epoch}{owner}-{what}-{n}{lease}")
}

/// Returns the name of a change set without the fingerprint of its zones, which the other one covers.
fn without_zones(name: &str) -> String {
    let parts = name.split('-').filter(|part| !part.starts_with('z'));
    parts.collect::<Vec<_>>().join("-")
}

/// The Lease, in its short form, whose holder started an operation with this token. Earlier versions did not say it.
pub fn lease_of_token(token: &str) -> Option<&str> {
    owner_of_token(token)?;
    let lease = token.rsplit('-').next()?.strip_prefix('l')?;
    is_short(lease).then_some(lease)
}

/// The term in which an operation with this token was started, where it is a controller's.
pub fn epoch_of(token: &str) -> Option<u64> {
    token.strip_prefix('e')?.split_once('-')?.0.parse().ok()
}

/// Who has started an operation, as far as its token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Starter<'a> {
    NoToken,
    Console,
    /// The controller of this cluster, in its short form.
    Controller(&'a str),
    /// A controller that names no cluster.
    NamelessController,
    /// Another tool, with this token.
    Unknown(&'a str),
}

pub fn starter(token: Option<&str>) -> Starter<'_> {
    let Some(token) = token.filter(|token| !token.is_empty()) else {
        return Starter::NoToken;
    };
    match (owner_of_token(token), epoch_of(token)) {
        _ if token.starts_with("Console-") => Starter::Console,
        (Some(owner), _) => Starter::Controller(owner),
        (None, Some(_)) => Starter::NamelessController,
        (None, None) => Starter::Unknown(token),
    }
}

/// The cluster, in its short form, whose controller started an operation with this token.
pub fn owner_of_token(token: &str) -> Option<&str> {
    epoch_of(token)?;
    let owner = token.split('-').nth(1)?.strip_prefix('c')?;
    is_short(owner).then_some(owner)
}
