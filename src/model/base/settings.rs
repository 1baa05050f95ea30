//! The operator's settings, as far as the model needs them.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;

use crate::model::base::digest::digest;
use crate::model::base::ids::Zone;
use crate::model::base::owner::Owner;

/// The operator's settings, as far as the model needs them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Deterministic from the cluster id; see [`stack_name`].
    pub stack_name: String,
    /// There is no cluster id although AWS may have stacks of other clusters.
    pub nameless: bool,
    /// All tags of the stack: the two ownership tags and the additional ones.
    pub tags: BTreeMap<String, String>,
    /// The tags by which a stack is ours: a subset of `tags`.
    pub ownership: BTreeMap<String, String>,
    /// NAT subnet CIDR by zone.
    pub zones: BTreeMap<Zone, Ipv4Net>,
    pub termination_protection: bool,
    /// The stack has a policy that protects what a static IP hangs on.
    pub stack_policy: bool,
    /// A template of more than [`crate::model::desired::template::MAX_INLINE_BYTES`] can be sent through S3.
    pub template_bucket: bool,
    /// Zones that are no longer configured, and are removed with their static IPs.
    pub remove_zones: BTreeSet<Zone>,
    pub on_empty: OnEmpty,
    /// A change that removes more networks than this, in percent of those that are routed, has to last for the grace period.
    pub max_removal: u16,
    /// Private ranges are routed, too.
    pub allow_private_ranges: bool,
    /// Networks that one namespace may have; None: as many as there is room for.
    pub max_networks_per_namespace: Option<usize>,
    /// Routes that a route table may have; None: as many as the account's quota says.
    pub route_table_quota: Option<u16>,
    pub drift: OnDrift,
    /// Zones that get a new static IP, each with the one that it has lost.
    pub new_eips: BTreeSet<(Zone, String)>,
    /// The allocation ids, `eipalloc-…`, of the static IPs that zones get when they are added.
    pub allocations: BTreeMap<Zone, String>,
    /// Live zones whose static IP is replaced by the one in `allocations`.
    pub replaced: BTreeSet<Zone>,
    pub owner: Owner,
}

/// What to say where there is no cluster id.
pub const NAMELESS: &str = "there is no --cluster-id: another cluster of this account that has none either takes this stack for its own, and \
     each undoes the other's routes; set --cluster-id, but first give this stack the ownership tag with it, else it gets a twin with other \
     static IPs";

/// What becomes of a difference between EC2 and the stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDrift {
    /// EC2 is not compared with the stack.
    #[default]
    Off,
    Report,
    Repair,
}

/// What becomes of the stack when no ConfigMap asks for anything any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnEmpty {
    /// NAT gateways and static IPs stay, without routes.
    #[default]
    Keep,
    /// The stack is deleted; its static IPs stay in the account.
    Delete,
}

/// `egress-static-nat-{cluster id, cleaned}`, or `egress-static-nat` without one; at most 128 characters. Ids that
/// differ only where they were cleaned or cut get different names by a hash.
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
