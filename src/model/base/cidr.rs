//! Parses IPv4 networks, checks them against the rules, and merges them into the smallest set.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::Ipv4Net;

pub use crate::model::base::refusal::{
    Caution, Elsewhere, MAX_ADDRESSES_PER_OBJECT, Refusal, WIDEST_PREFIX,
};

/// The maximum length of a value in characters; `255.255.255.255/255.255.255.255` has 31.
const MAX_TEXT: usize = 64;

const fn net(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

/// Ranges that are not destinations on the internet (RFC 6890). EC2 refuses routes into 169.254.168.0/22; hosts handle the rest locally.
const RESERVED: [(Ipv4Net, &str); 5] = [
    (net(0, 0, 0, 0, 8), "\"this network\""),
    (net(127, 0, 0, 0, 8), "loopback"),
    (net(169, 254, 0, 0, 16), "link-local"),
    (net(224, 0, 0, 0, 4), "multicast"),
    (net(240, 0, 0, 0, 4), "reserved"),
];

/// Private ranges. An internet-facing NAT gateway cannot reach them, and a route to it would break their existing path.
const PRIVATE: [Ipv4Net; 4] = [
    net(10, 0, 0, 0, 8),
    net(172, 16, 0, 0, 12),
    net(192, 168, 0, 0, 16),
    net(100, 64, 0, 0, 10),
];

/// Parses one value. Blanks around it are ignored, a bare address means /32, and host bits are masked. The flag is true if any were set.
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
        // u8's parser accepts a sign; a CIDR has none.
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
            digits.parse().map_err(|_| not_cidr())?
        }
        Some(_) => return Err(not_cidr()),
    };
    let given = Ipv4Net::new(address, prefix).map_err(|_| not_cidr())?;
    let net = given.trunc();
    Ok((net, net.addr() != given.addr()))
}

/// The rules of the VPC and the operator's settings. Every rule except the width has the form "inside X" or "overlaps X", so no union of
/// accepted networks breaks a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    pub vpc: Vec<Ipv4Net>,
    pub nat_subnets: Vec<Ipv4Net>,
    /// Whether private ranges are accepted.
    pub allow_private: bool,
    /// The maximum number of networks per namespace; None for no limit.
    pub max_networks: Option<usize>,
    /// Active routes of the worker tables to other targets, by destination.
    pub elsewhere: BTreeMap<Ipv4Net, Elsewhere>,
    /// The networks of live routes, as [`minimal`] returns them. A network inside one of them keeps its route, with a warning, if only a
    /// new route would do harm.
    pub routed: Vec<Ipv4Net>,
}

impl Rules {
    /// Checks whether a network may be routed. `known`: it was accepted before.
    pub fn check(&self, net: Ipv4Net, known: bool) -> Result<Option<Caution>, Refusal> {
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
        if let Some(refusal) = self.off_its_path(net) {
            let stays = known || self.is_routed(&net);
            return match stays {
                true => Ok(Some(Caution::Kept(Box::new(refusal)))),
                false => Err(refusal),
            };
        }
        let local = self.vpc.iter().map(|vpc| (*vpc, "the VPC's own network"));
        let subnets = self
            .nat_subnets
            .iter()
            .map(|subnet| (*subnet, "a NAT subnet"));
        let mut inner = local.chain(subnets).chain(RESERVED);
        let contains = inner.find(|(inner, _)| net.contains(inner));
        Ok(contains.map(|(inner, what)| Caution::Contains { net, inner, what }))
    }

    /// Whether live routes cover the network.
    pub fn is_routed(&self, net: &Ipv4Net) -> bool {
        covers(&self.routed, net)
    }

    /// Returns why a route to a NAT gateway would take the network's traffic off a working path.
    fn off_its_path(&self, net: Ipv4Net) -> Option<Refusal> {
        let overlaps = |range: &Ipv4Net| range.contains(&net) || net.contains(range);
        let private = PRIVATE.into_iter().find(overlaps);
        if let Some(range) = private.filter(|_| !self.allow_private) {
            return Some(Refusal::Private { net, range });
        }
        if self.elsewhere.is_empty() {
            return None;
        }
        let mut wider = supernets(net).skip(1);
        let way = wider.find_map(|wide| self.elsewhere.get(&wide))?.clone();
        Some(Refusal::RoutedElsewhere { net, way })
    }
}

/// Returns the network and all networks that contain it, the most specific first. A stack that was taken over may have wider routes than
/// the rules accept.
pub fn supernets(cidr: Ipv4Net) -> impl Iterator<Item = Ipv4Net> {
    std::iter::successors(Some(cidr), Ipv4Net::supernet)
}

/// Whether one of the networks contains `net`. They are sorted and disjoint, as [`minimal`] returns them.
pub fn covers(minimal: &[Ipv4Net], net: &Ipv4Net) -> bool {
    let after = minimal.partition_point(|wide| wide.network() <= net.network());
    let last = after.checked_sub(1).and_then(|before| minimal.get(before));
    last.is_some_and(|wide| wide.contains(net))
}

/// Returns the smallest set of networks, none wider than [`WIDEST_PREFIX`] and none in `never`, that covers exactly the same addresses;
/// sorted. O(n log n). A member of `never` is split into its halves, so `never` must not contain a /32.
pub fn minimal(nets: impl IntoIterator<Item = Ipv4Net>, never: &BTreeSet<Ipv4Net>) -> Vec<Ipv4Net> {
    let mut sorted: Vec<Packed> = nets.into_iter().map(Packed::from).collect();
    // Sorted by address, wider first, so a network always comes after the networks that contain it.
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

/// Address and prefix length in one integer. Sorting integers is several times faster than sorting networks.
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

    /// Returns the network whose left and right halves are `self` and `right`.
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

/// Whether two networks have addresses in common.
pub fn overlap(one: &Ipv4Net, other: &Ipv4Net) -> bool {
    one.contains(other) || other.contains(one)
}

#[cfg(test)]
#[path = "cidr_tests.rs"]
mod tests;
