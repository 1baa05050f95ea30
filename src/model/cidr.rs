//! IPv4 networks: read from text, judged, and merged into the smallest set.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::Ipv4Net;

/// Nothing wider is accepted, and merging makes nothing wider. A /8 is the widest block that was ever given to anyone.
pub const WIDEST_PREFIX: u8 = 8;
/// The longest text worth reading; `255.255.255.255/255.255.255.255` would have 31 characters.
const MAX_TEXT: usize = 64;

const fn net(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

/// Not destinations in the internet (RFC 6890). EC2 refuses routes into 169.254.168.0/22; hosts treat the rest locally.
const RESERVED: [(Ipv4Net, &str); 5] = [
    (net(0, 0, 0, 0, 8), "\"this network\""),
    (net(127, 0, 0, 0, 8), "loopback"),
    (net(169, 254, 0, 0, 16), "link-local"),
    (net(224, 0, 0, 0, 4), "multicast"),
    (net(240, 0, 0, 0, 4), "reserved"),
];

/// A NAT gateway that faces the internet cannot reach them.
const PRIVATE: [Ipv4Net; 4] = [
    net(10, 0, 0, 0, 8),
    net(172, 16, 0, 0, 12),
    net(192, 168, 0, 0, 16),
    net(100, 64, 0, 0, 10),
];

/// Why an entry gets no route. Display says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    NotCidr(String),
    Ipv6(String),
    TooWide(Ipv4Net),
    InVpc {
        net: Ipv4Net,
        vpc: Ipv4Net,
    },
    InNatSubnet {
        net: Ipv4Net,
        subnet: Ipv4Net,
    },
    Reserved {
        net: Ipv4Net,
        range: Ipv4Net,
        what: &'static str,
    },
    TooMany,
}

impl Refusal {
    /// CamelCase, stable.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotCidr(_) => "NotACidr",
            Self::Ipv6(_) => "Ipv6NotSupported",
            Self::TooWide(_) => "TooWide",
            Self::InVpc { .. } => "InsideVpc",
            Self::InNatSubnet { .. } => "InsideNatSubnet",
            Self::Reserved { .. } => "ReservedRange",
            Self::TooMany => "TooManyEntries",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotCidr(text) => write!(
                f,
                "{text:?} is not an IPv4 CIDR; write one network per key, such as 203.0.113.0/24, or one address"
            ),
            Self::Ipv6(text) => write!(
                f,
                "{text:?} is IPv6, and a NAT gateway gives no static IPv6 address; use the destination's IPv4 network"
            ),
            Self::TooWide(net) => write!(
                f,
                "{net} is wider than /{WIDEST_PREFIX} and would take most of the internet with it; name the networks \
                 that you really mean"
            ),
            Self::InVpc { net, vpc } => write!(
                f,
                "{net} is inside the VPC's own {vpc}, where traffic must stay local; remove the entry"
            ),
            Self::InNatSubnet { net, subnet } => write!(
                f,
                "{net} is inside the NAT subnet {subnet}, where traffic must stay local; remove the entry"
            ),
            Self::Reserved { net, range, what } => write!(
                f,
                "{net} is inside {range} ({what}), which cannot be reached through a NAT gateway; remove the entry"
            ),
            Self::TooMany => write!(
                f,
                "there are more than {} entries in its ConfigMap or more than {} altogether; merge networks or remove \
                 entries",
                super::request::MAX_ENTRIES_PER_OBJECT,
                super::request::MAX_ENTRIES
            ),
        }
    }
}

/// Why an accepted entry may not do what its author means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caution {
    Contains {
        net: Ipv4Net,
        inner: Ipv4Net,
        what: &'static str,
    },
    Private {
        net: Ipv4Net,
        range: Ipv4Net,
    },
}

impl Caution {
    /// CamelCase, stable.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Contains { .. } => "ContainsLocalNetwork",
            Self::Private { .. } => "PrivateRange",
        }
    }
}

impl fmt::Display for Caution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Contains { net, inner, what } => {
                write!(
                    f,
                    "{net} contains {inner} ({what}), which stays local; only the rest of it gets a static IP"
                )
            }
            Self::Private { net, range } => write!(
                f,
                "{net} is inside the private {range}, which an internet-facing NAT gateway cannot reach; remove the \
                 entry unless you know better"
            ),
        }
    }
}

/// Reads one value: trimmed, a bare address means /32, host bits are masked. The flag says whether any were.
pub fn parse(text: &str) -> Result<(Ipv4Net, bool), Refusal> {
    let text = text.trim();
    if text.len() > MAX_TEXT {
        return Err(Refusal::NotCidr(
            text.chars().take(MAX_TEXT).chain(['…']).collect(),
        ));
    }
    let not_cidr = || Refusal::NotCidr(text.to_owned());
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address.trim_end(), Some(prefix.trim_start())),
        None => (text, None),
    };
    if address.parse::<Ipv6Addr>().is_ok() {
        return Err(Refusal::Ipv6(text.to_owned()));
    }
    let address: Ipv4Addr = address.parse().map_err(|_| not_cidr())?;
    let prefix = match prefix {
        None => 32,
        // u8's parser takes a sign, a CIDR has none.
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
            digits.parse().map_err(|_| not_cidr())?
        }
        Some(_) => return Err(not_cidr()),
    };
    let given = Ipv4Net::new(address, prefix).map_err(|_| not_cidr())?;
    let net = given.trunc();
    Ok((net, net.addr() != given.addr()))
}

/// What the network forbids. Every rule but the width has the form "inside X": so a union of accepted networks is never
/// one that would have been refused.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    pub vpc: Vec<Ipv4Net>,
    pub nat_subnets: Vec<Ipv4Net>,
}

impl Rules {
    pub fn check(&self, net: Ipv4Net) -> Result<Option<Caution>, Refusal> {
        if net.prefix_len() < WIDEST_PREFIX {
            return Err(Refusal::TooWide(net));
        }
        if let Some((range, what)) = RESERVED.into_iter().find(|(range, _)| range.contains(&net)) {
            return Err(Refusal::Reserved { net, range, what });
        }
        if let Some(&subnet) = self.nat_subnets.iter().find(|subnet| subnet.contains(&net)) {
            return Err(Refusal::InNatSubnet { net, subnet });
        }
        if let Some(&vpc) = self.vpc.iter().find(|vpc| vpc.contains(&net)) {
            return Err(Refusal::InVpc { net, vpc });
        }
        let local = self.vpc.iter().map(|vpc| (*vpc, "the VPC's own network"));
        let subnets = self
            .nat_subnets
            .iter()
            .map(|subnet| (*subnet, "a NAT subnet"));
        if let Some((inner, what)) = local
            .chain(subnets)
            .chain(RESERVED)
            .find(|(inner, _)| net.contains(inner))
        {
            return Ok(Some(Caution::Contains { net, inner, what }));
        }
        Ok(PRIVATE
            .into_iter()
            .find(|range| range.contains(&net))
            .map(|range| Caution::Private { net, range }))
    }
}

/// The network itself and all that contain it, the most specific first. A stack that was taken over may have wider routes than are
/// accepted.
pub fn supernets(cidr: Ipv4Net) -> impl Iterator<Item = Ipv4Net> {
    std::iter::successors(Some(cidr), Ipv4Net::supernet)
}

/// Whether one of them contains the network. They are sorted and disjoint, as [`minimal`] has them.
pub fn covers(minimal: &[Ipv4Net], net: &Ipv4Net) -> bool {
    let after = minimal.partition_point(|wide| wide.network() <= net.network());
    let last = after.checked_sub(1).and_then(|before| minimal.get(before));
    last.is_some_and(|wide| wide.contains(net))
}

/// The smallest set of networks, none wider than [`WIDEST_PREFIX`] and none in `never`, that covers exactly the same
/// addresses; sorted. O(n log n). A member of `never` appears as its halves, so a /32 must not be in it.
pub fn minimal(nets: impl IntoIterator<Item = Ipv4Net>, never: &BTreeSet<Ipv4Net>) -> Vec<Ipv4Net> {
    let mut sorted: Vec<Packed> = nets.into_iter().map(Packed::from).collect();
    // By address, wider first: what contains a network is always in front of it.
    sorted.sort_unstable();
    let mut merged: Vec<Packed> = Vec::with_capacity(sorted.len());
    for mut net in sorted {
        if merged.last().is_some_and(|last| last.contains(net)) {
            continue;
        }
        while let Some(parent) = merged.last().and_then(|last| last.union(net)) {
            merged.pop();
            net = parent;
        }
        merged.push(net);
    }
    merged
        .into_iter()
        .flat_map(|net| without(net.unpack(), never))
        .collect()
}

/// Address and prefix length in one number, which sorts a million networks in a fraction of the time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Packed(u64);

impl From<Ipv4Net> for Packed {
    fn from(net: Ipv4Net) -> Self {
        Self::new(
            u32::from(net.addr()) & mask(net.prefix_len()),
            net.prefix_len(),
        )
    }
}

impl Packed {
    fn new(address: u32, prefix: u8) -> Self {
        Self(u64::from(address) << 8 | u64::from(prefix))
    }

    fn address(self) -> u32 {
        (self.0 >> 8) as u32
    }

    fn prefix(self) -> u8 {
        self.0 as u8
    }

    fn contains(self, other: Self) -> bool {
        self.prefix() <= other.prefix() && other.address() & mask(self.prefix()) == self.address()
    }

    /// The network whose halves these are, left and right.
    fn union(self, right: Self) -> Option<Self> {
        let prefix = self.prefix();
        let halves = prefix == right.prefix() && prefix > WIDEST_PREFIX && self != right;
        let parent = prefix.saturating_sub(1);
        (halves && right.address() & mask(parent) == self.address())
            .then(|| Self::new(self.address(), parent))
    }

    fn unpack(self) -> Ipv4Net {
        Ipv4Net::new(Ipv4Addr::from(self.address()), self.prefix()).unwrap_or_default()
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX
        .checked_shl(32 - u32::from(prefix.min(32)))
        .unwrap_or(0)
}

fn without(net: Ipv4Net, never: &BTreeSet<Ipv4Net>) -> Vec<Ipv4Net> {
    if !never.contains(&net) {
        return vec![net];
    }
    match net.subnets(net.prefix_len() + 1) {
        Ok(halves) => halves.flat_map(|half| without(half, never)).collect(),
        Err(_) => vec![net],
    }
}

#[cfg(test)]
#[path = "cidr_tests.rs"]
mod tests;
