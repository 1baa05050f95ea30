//! The operator's settings, as far as the model needs them.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;

use crate::model::base::digest::digest;
use crate::model::base::ids::Zone;
use crate::model::base::owner::Owner;

/// The operator's settings that the model needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The name of the stack, derived from the cluster id; see [`stack_name`].
    pub stack_name: String,
    /// Whether no cluster id is set although AWS may have stacks of other clusters.
    pub nameless: bool,
    /// All tags of the stack: the two ownership tags and the additional ones.
    pub tags: BTreeMap<String, String>,
    /// The tags that identify our stack: a subset of `tags`.
    pub ownership: BTreeMap<String, String>,
    /// The CIDRs of the NAT subnets, by zone.
    pub zones: BTreeMap<Zone, Ipv4Net>,
    pub termination_protection: bool,
    /// Whether a stack policy protects the static IPs and the resources that use them.
    pub stack_policy: bool,
    /// Whether a template of more than [`crate::model::desired::template::MAX_INLINE_BYTES`] can be sent through S3.
    pub template_bucket: bool,
    /// Zones that are no longer configured, and are removed from the stack with their static IPs.
    pub remove_zones: BTreeSet<Zone>,
    pub on_empty: OnEmpty,
    /// A change that removes a larger share of the routed networks, in percent, waits for the grace period.
    pub max_removal: u16,
    /// Whether private ranges are routed, too.
    pub allow_private_ranges: bool,
    /// The maximum number of networks per namespace; None for no limit.
    pub max_networks_per_namespace: Option<usize>,
    /// The maximum number of routes per route table; None for the account's quota.
    pub route_table_quota: Option<u16>,
    pub drift: OnDrift,
    /// Zones that get a new static IP, each with the static IP that it lost.
    pub new_eips: BTreeSet<(Zone, String)>,
    /// The allocation ids, `eipalloc-…`, of the static IPs that zones get when they are added.
    pub allocations: BTreeMap<Zone, String>,
    /// The allocation ids of the static IPs that zones get besides the first, in their order.
    pub more_allocations: BTreeMap<Zone, Vec<String>>,
    /// How many static IPs each zone has. 0 counts as 1.
    pub eips_per_zone: u8,
    /// How many of them traffic leaves from. 0 counts as 1.
    pub eips_in_use: u8,
    /// Live zones whose static IP is replaced by the one in `allocations`.
    pub replaced: BTreeSet<Zone>,
    pub prefix_lists: PrefixLists,
    pub owner: Owner,
}

/// The warning if no cluster id is set.
pub const NAMELESS: &str = "--cluster-id is not set: another cluster of this account without one uses the same stack, and each controller removes the \
     other's routes; set --cluster-id, but first give this stack the ownership tag with it, or the controller creates a second stack with \
     other static IPs";

/// How the controller reacts to a difference between EC2 and the stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDrift {
    /// EC2 is not compared with the stack.
    #[default]
    Off,
    Report,
    Repair,
}

/// Which new networks get their routes by prefix lists of the stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PrefixLists {
    /// None. What is in lists gets direct routes again, if all of them fit.
    #[default]
    Never,
    /// Those that do not fit with routes of their own, and once there is a list, those that it has room for.
    WhenFull,
    /// All. Networks with direct routes move into lists as well.
    Always,
}

/// How the controller treats the stack when no ConfigMap requests a route any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnEmpty {
    /// NAT gateways and static IPs stay, without routes.
    #[default]
    Keep,
    /// The stack is deleted; its static IPs stay in the account.
    Delete,
}

/// Returns the name of the stack: `egress-static-nat-{cleaned cluster id}`, or `egress-static-nat` without an id; at most 128 characters.
/// Ids that are equal after cleaning or cutting get different names by a hash.
pub fn stack_name(cluster_id: &str) -> String {
    const BASE: &str = "egress-static-nat";
    if cluster_id.is_empty() {
        return BASE.to_owned();
    }
    let cleaned: String = cluster_id
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '-' {
                c
            } else {
                '-'
            }
        })
        .collect();
    let name = format!("{BASE}-{cleaned}");
    if cleaned == cluster_id && name.len() <= 128 {
        return name;
    }
    let hash = digest(cluster_id.as_bytes());
    let cut: String = name.chars().take(128 - 9).collect();
    format!("{cut}-{}", &hash[..8])
}
