//! Why a network is not routed, or may not do what its owner intends.

use std::fmt;

use ipnet::Ipv4Net;

use crate::model::base::reason::Reason;

/// The shortest accepted prefix. Merging produces no wider network either. A /8 is the widest block that was ever allocated.
pub const WIDEST_PREFIX: u8 = 8;
/// The maximum number of addresses in the entries of one ConfigMap: one /8.
pub const MAX_ADDRESSES_PER_OBJECT: u64 = 1 << 24;

/// Why an entry gets no route. Its text includes the remedy.
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
    Private {
        net: Ipv4Net,
        range: Ipv4Net,
    },
    RoutedElsewhere {
        net: Ipv4Net,
        way: Elsewhere,
    },
    TooManyAddresses {
        net: Ipv4Net,
        in_all: u64,
    },
    NamespaceFull {
        namespace: String,
        limit: usize,
    },
    TooMany,
}

/// An active route of a worker table whose target is neither the internet gateway nor one of the stack's NAT gateways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    pub table: String,
    pub cidr: Ipv4Net,
    pub target: String,
}

impl fmt::Display for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            table,
            cidr,
            target,
        } = self;
        write!(f, "{cidr}, which route table {table} sends to {target}")
    }
}

impl Refusal {
    /// Returns the reason of the problem that reports the refusal.
    pub fn reason(&self) -> Reason {
        match self {
            Self::NotCidr(_) => Reason::NotACidr,
            Self::Ipv6(_) => Reason::Ipv6NotSupported,
            Self::TooWide(_) => Reason::TooWide,
            Self::InVpc { .. } => Reason::InsideVpc,
            Self::InNatSubnet { .. } => Reason::InsideNatSubnet,
            Self::Reserved { .. } => Reason::ReservedRange,
            Self::Private { .. } => Reason::PrivateRange,
            Self::RoutedElsewhere { .. } => Reason::RoutedElsewhere,
            Self::TooManyAddresses { .. } => Reason::TooManyAddresses,
            Self::NamespaceFull { .. } => Reason::NamespaceFull,
            Self::TooMany => Reason::TooManyEntries,
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
                "{text:?} is IPv6, and NAT gateways have no static IPv6 addresses; use the destination's IPv4 network"
            ),
            Self::TooWide(net) => write!(
                f,
                "{net} is wider than /{WIDEST_PREFIX}, the widest network that is accepted; list only the networks that you need"
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
            Self::Private { net, range } => write!(
                f,
                "{net} overlaps the private range {range}, which a NAT gateway that faces the internet cannot reach; remove \
                 the entry, or have the operators set --allow-private-ranges"
            ),
            Self::RoutedElsewhere { net, way } => write!(
                f,
                "{net} is inside {way}: a route of its own would take it off that path; remove the entry, or have the \
                 operators remove that route"
            ),
            Self::TooManyAddresses { net, in_all } => write!(
                f,
                "with {net} the ConfigMap would list {in_all} addresses, more than the limit of {MAX_ADDRESSES_PER_OBJECT} (a /8); \
                 list only the networks that you need"
            ),
            Self::NamespaceFull { namespace, limit } => write!(
                f,
                "namespace {namespace} has reached its limit of {limit} networks, and older entries come first; merge networks, remove \
                 entries, or have the operators raise --max-networks-per-namespace"
            ),
            Self::TooMany => write!(
                f,
                "there are too many entries; merge networks or remove entries"
            ),
        }
    }
}

/// Why an accepted entry may not do what its owner intends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caution {
    Contains {
        net: Ipv4Net,
        inner: Ipv4Net,
        what: &'static str,
    },
    /// A new entry like this would be refused.
    Kept(Box<Refusal>),
}

impl Caution {
    /// Returns the reason of the problem that reports the caution.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Contains { .. } => Reason::ContainsLocalNetwork,
            Self::Kept(refusal) => refusal.reason(),
        }
    }
}

impl fmt::Display for Caution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Contains { net, inner, what } => {
                write!(
                    f,
                    "{net} contains {inner} ({what}), which stays local: only the rest of it gets a static IP"
                )
            }
            Self::Kept(refusal) => write!(
                f,
                "{refusal}; its route stays because the entry was accepted earlier, but a new entry like it would be refused"
            ),
        }
    }
}
