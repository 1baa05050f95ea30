//! What should be: zones with a NAT gateway each, and a route per destination CIDR and worker route table.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;

use super::cidr;
use super::network::{Network, TableId, Zone};
use super::problem::{Problem, Subject};
use super::request::Request;
use super::resolved::Layout;

/// The operator's settings, as far as the model needs them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Deterministic from the cluster id; see [`stack_name`].
    pub stack_name: String,
    /// All tags of the stack: the two ownership tags and the additional ones.
    pub tags: BTreeMap<String, String>,
    /// The tags by which a stack is ours: a subset of `tags`.
    pub ownership: BTreeMap<String, String>,
    /// NAT subnet CIDR by zone.
    pub zones: BTreeMap<Zone, Ipv4Net>,
    pub termination_protection: bool,
    /// A template of more than [`super::template::MAX_INLINE_BYTES`] can be sent through S3.
    pub template_bucket: bool,
    /// A zone that is no longer configured is removed with its static IP.
    pub allow_zone_removal: bool,
    pub on_empty: OnEmpty,
}

/// What becomes of the stack when no ConfigMap asks for anything any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnEmpty {
    /// NAT gateways and static IPs stay, without routes.
    #[default]
    Keep,
    /// The stack is deleted; its static IPs are lost for good.
    Delete,
}

/// A NAT gateway's zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatZone {
    pub nat_cidr: Ipv4Net,
}

/// What the stack should hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    pub stack_name: String,
    pub tags: BTreeMap<String, String>,
    pub termination_protection: bool,
    pub vpc_id: String,
    pub internet_gateway_id: String,
    pub zones: BTreeMap<Zone, Ipv4Net>,
    /// Worker route tables whose zone has a NAT gateway.
    pub tables: BTreeMap<TableId, Zone>,
    pub routes: BTreeSet<(TableId, Ipv4Net)>,
}

/// `egress-static-nat-{cluster id, cleaned}`, or `egress-static-nat` without one; at most 128 characters. Ids that
/// differ only where they were cleaned or cut get different names by a hash.
pub fn stack_name(cluster_id: &str) -> String {
    const BASE: &str = "egress-static-nat";
    if cluster_id.is_empty() {
        return BASE.to_owned();
    }
    let cleaned: String =
        cluster_id.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' }).collect();
    let name = format!("{BASE}-{cleaned}");
    if cleaned == cluster_id && name.len() <= 128 {
        return name;
    }
    let hash = super::template::digest(cluster_id.as_bytes());
    let cut: String = name.chars().take(128 - 9).collect();
    format!("{cut}-{}", &hash[..8])
}
