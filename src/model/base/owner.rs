//! [`Owner`]: the cluster that a stack belongs to, and its short form in names and tokens.
//!
//! The owner is the UID of the namespace `kube-system` of the cluster that holds the Lease, so a copy of a cluster's Helm values has
//! another owner.

use crate::model::base::digest::digest;

/// The number of characters of a UID's short form in names and tokens.
const SHORT: usize = 8;

/// The maximum length of a UID in characters.
const MAX_UID: usize = 64;

/// The cluster that this controller works for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// The UID; None without a cluster, or while it cannot be read.
    pub uid: Option<String>,
    /// Why the UID cannot be read, if there is a cluster.
    pub unknown: Option<String>,
    /// The cluster whose stack this cluster takes over.
    pub takes_over: Option<String>,
    /// The short form of the Lease: [`lease_mark`]. None without leader election.
    pub lease: Option<String>,
}

impl Owner {
    /// Returns the UID's short form for names of change sets and for tokens.
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

/// Returns the short form of a Lease for tokens: eight lower-case characters of `[a-z0-9]`. Two controllers of one cluster have two Leases.
pub fn lease_mark(namespace: &str, name: &str) -> String {
    short(&digest(format!("{namespace}/{name}").as_bytes()))
}

/// Returns the client token of an operation, `e{epoch}-c{owner}-{what}-{n}-l{lease}`: at most 128 characters of `[A-Za-z0-9-]`, as AWS
/// requires. `owner` and `lease` are in their short forms.
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

/// Returns the name of a change set without the fingerprint of its zones, because the template's fingerprint covers the zones.
fn without_zones(name: &str) -> String {
    let parts = name.split('-').filter(|part| !part.starts_with('z'));
    parts.collect::<Vec<_>>().join("-")
}

/// Returns the short form of the Lease whose holder started an operation with this token. Tokens of earlier versions have none.
pub fn lease_of_token(token: &str) -> Option<&str> {
    owner_of_token(token)?;
    let lease = token.rsplit('-').next()?.strip_prefix('l')?;
    is_short(lease).then_some(lease)
}

/// Returns the term in which a controller started an operation with this token; None for tokens of other tools.
pub fn epoch_of(token: &str) -> Option<u64> {
    token.strip_prefix('e')?.split_once('-')?.0.parse().ok()
}

/// The program that started an operation, as its token shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Starter<'a> {
    NoToken,
    Console,
    /// The controller of the cluster with this short form.
    Controller(&'a str),
    /// A controller whose token names no cluster.
    NamelessController,
    /// Another tool, with its token.
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

/// Returns the short form of the cluster whose controller started an operation with this token.
pub fn owner_of_token(token: &str) -> Option<&str> {
    epoch_of(token)?;
    let owner = token.split('-').nth(1)?.strip_prefix('c')?;
    is_short(owner).then_some(owner)
}
