//! [`World`], which a plan is made from; [`Plan`], which holds the next step and its reasons; and [`Action`], the step itself.

use crate::model::cloud::status::Status;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ipnet::Ipv4Net;

use crate::model::base::cidr::Rules;
use crate::model::base::ids::{EntryId, TableId, Zone};
use crate::model::base::problem::Problem;
use crate::model::base::settings::Settings;
use crate::model::cloud::live::{ChangeSet, Live, Progress};
use crate::model::cloud::more_ips::IpStep;
use crate::model::cloud::network::{Later, Network};
use crate::model::cloud::network_lists::LiveList;
use crate::model::cloud::released_ips::Lost;
use crate::model::cloud::set_aside::Key;
use crate::model::cloud::static_ip::{IpChange, KeptIp};
use crate::model::desired::Desired;
use crate::model::desired::admitted::Admitted;
use crate::model::desired::template::{Size, Template};
use crate::model::drift::Drift;
use crate::model::drift::tracker::Watch;
use crate::model::input::request::{Request, Snapshot};
use crate::model::persisted::grace::Grace;
use crate::model::persisted::ledger::Ledger;
use crate::model::persisted::recall::Recall;
use crate::model::plan::diff::Difference;

/// The next step: at most one mutating call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// No call is needed now.
    #[default]
    Keep,
    /// An operation or change set is in progress; look again soon.
    Wait,
    /// CreateStack.
    Create(Template),
    /// CreateChangeSet of type UPDATE, named by [`change_set_name`].
    Prepare(Template),
    /// CreateChangeSet of the live stack's own text, parameters and tags, to revert changes that were made in EC2.
    Revert(Template),
    /// ExecuteChangeSet.
    Execute { change_set: String },
    /// DeleteChangeSet.
    Discard { change_set: String },
    /// UpdateTerminationProtection.
    Protect(bool),
    /// SetStackPolicy.
    SetPolicy { open: bool },
    /// ContinueUpdateRollback. `skip`: logical ids of resources that stay as they are.
    ContinueRollback { skip: BTreeSet<String> },
    /// DeleteStack, if nobody requests a route any more, or if a creation or deletion of the stack failed. `retain`: logical ids of
    /// resources that stay behind, since their deletion failed.
    Delete { retain: BTreeSet<String> },
    /// Nothing may be done until a user has acted. The problems say what to do.
    Refuse,
}

/// The complete input of a plan.
#[derive(Clone, Copy, Debug)]
pub struct World<'a> {
    pub snapshot: &'a Snapshot,
    pub network: &'a Network,
    pub live: &'a Live,
    pub settings: &'a Settings,
    pub grace: Grace,
    pub ledger: Recall<'a>,
    /// The state of drift detection, with the last readings of EC2.
    pub watch: &'a Watch,
}

/// The next step, with everything that is published about the step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    pub action: Action,
    /// The stack's ARN, or its name if the stack does not exist yet.
    pub stack: String,
    /// The reason for the action, in one sentence.
    pub why: String,
    /// The differences between the live stack and the next template.
    pub differences: Vec<Difference>,
    pub problems: Vec<Problem>,
    /// The entries that users request. This field alone decides whether nobody requests anything, or less than before.
    pub request: Request,
    /// The part of the request that gets routes.
    pub admitted: Admitted,
    pub desired: Desired,
    /// The live stack's status.
    pub status: Option<Status>,
    /// The status that CloudFormation shows while the end of the operation is not confirmed.
    pub unconfirmed: Option<Status>,
    /// The progress of the running operation, if it is known.
    pub progress: Option<Progress>,
    /// The live static IPs by zone.
    pub static_ips: BTreeMap<Zone, String>,
    /// The secondary public IPs of the NAT gateways, from the stack or added by hand. Traffic leaves from any of them.
    pub secondary_ips: BTreeMap<Zone, Vec<String>>,
    /// Additional static IPs of the stack from which no traffic leaves yet.
    pub announced_ips: BTreeMap<Zone, Vec<String>>,
    /// The static IPs that the account keeps without a NAT gateway, as far as they are known.
    pub kept_ips: Vec<KeptIp>,
    /// The allocation ids of current and former static IPs by public IP, as far as the ledger has them.
    pub allocations: BTreeMap<String, String>,
    /// The changes of static IPs that partners have to know of.
    pub ip_changes: Vec<IpChange>,
    /// The ids of the NAT gateways by zone, as EC2 last showed them.
    pub gateways: BTreeMap<Zone, String>,
    /// The live stack's network lists, by logical id.
    pub lists: BTreeMap<String, LiveList>,
    /// The live stack's routes, and whether EC2 shows each of them to lead to a NAT gateway.
    pub live_routes: BTreeMap<(TableId, Ipv4Net), bool>,
    /// The time until the next look, even if nothing changes.
    pub again: Option<Duration>,
    /// The reason why an earlier attempt failed.
    pub setback: Option<String>,
    pub grace: Grace,
    /// The ledger's contents to record before the action. None if the ledger is unknown.
    pub ledger: Option<Ledger>,
    /// The rules that judge entries. None if the ledger records no entries now, because the stack is not ours or cannot be read.
    pub rules: Option<Rules>,
    /// The entries that the ledger does not hold yet. A leader that takes over now does not know what they request.
    pub unrecorded: BTreeSet<EntryId>,
    /// The worker route tables of configured zones that have no NAT gateway and get none now.
    pub tables_without_nat: BTreeMap<TableId, Zone>,
    /// The differences between EC2 and the stack.
    pub drifts: Vec<Drift>,
    /// The route tables that the stack uses and the network lacks.
    pub missing_tables: BTreeSet<TableId>,
    /// The keys of the drifts for which the action counts as an attempt of repair.
    pub repairs: Vec<String>,
    /// The zones that the differences add, or to which they give another static IP.
    pub new_zones: BTreeSet<Zone>,
    /// The zones whose addition or new static IP waits after a failure.
    pub later: Later,
    /// The logical ids of resources that the action may replace or remove: they are lost, or the operator has named their zone.
    pub(in crate::model) renewed: BTreeSet<String>,
    /// The change of a zone's additional static IPs that the action makes, and (`ip_waits`) those that wait after a failure.
    pub ip_step: Option<IpStep>,
    pub ip_waits: BTreeSet<IpStep>,
    /// Whether edits come before a change of static IPs.
    pub postponed: bool,
    /// The released static IP that the action asks AWS for, and (`recoverable`) the one that a new zone may ask for next.
    pub recovers: Option<Lost>,
    pub(in crate::model) recoverable: Option<Lost>,
    /// The zone that the action gives another static IP, and (`undecided`) the live zones for which EC2 is asked about addresses.
    pub replaced: Option<Zone>,
    pub(in crate::model) undecided: BTreeSet<Zone>,
    /// The template's use of CloudFormation's quotas, if a template was rendered.
    pub size: Option<Size>,
    /// Why the stack's last operation failed.
    pub failure: Failure,
    /// The new routes of the change set that is executed.
    pub attempt: BTreeSet<(TableId, Ipv4Net)>,
}

/// Why the stack's last operation failed, in terms of the plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// The identity of the operation. None while an operation runs, or without a stack.
    pub operation: Option<String>,
    pub failed: bool,
    /// Whether the stack's creation failed.
    pub is_creation: bool,
    pub routes: BTreeMap<Key, String>,
    /// The NAT gateways of the stack that AWS names as the reason, of these routes.
    pub gateways: BTreeMap<Key, String>,
    /// New zones whose resources could not be created.
    pub zones: BTreeSet<(Zone, Ipv4Net)>,
    /// Whether the stack's events do not show which zone or route failed.
    pub unexplained: bool,
    /// The first failure, or the status: the reason for a refused route without a reason of its own.
    pub cause: String,
}

/// Returns the deletion of a change set.
pub(in crate::model) fn discard(set: &ChangeSet) -> Action {
    Action::Discard {
        change_set: set.name.clone(),
    }
}
