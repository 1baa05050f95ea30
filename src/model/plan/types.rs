//! [`World`], which a plan is made from; [`Plan`], which holds the next step and its reasons; and [`Action`], the step itself.

use crate::model::cloud::status::Status;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ipnet::Ipv4Net;

use crate::model::base::ids::{EntryId, TableId, Zone};
use crate::model::base::problem::Problem;
use crate::model::base::settings::Settings;
use crate::model::cloud::live::{ChangeSet, Live, Progress};
use crate::model::cloud::more_ips::IpStep;
use crate::model::cloud::network::{Later, Network};
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

/// What to do now: at most one mutating call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// The stack is as it should be.
    #[default]
    Keep,
    /// Something is under way; look again soon.
    Wait,
    /// CreateStack.
    Create(Template),
    /// CreateChangeSet of type UPDATE, named by [`change_set_name`].
    Prepare(Template),
    /// CreateChangeSet of what the stack already says, to undo what others did in EC2. Only text, parameters and tags of the
    /// live stack are in it.
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
    /// DeleteStack: of a stack that nobody asks for any more, or whose creation failed. `retain`: logical ids of resources that
    /// are left behind, since they would not go.
    Delete { retain: BTreeSet<String> },
    /// Nothing may be done until a person has acted; the reasons say what.
    Refuse,
}

/// Everything that a plan is made from.
#[derive(Clone, Copy, Debug)]
pub struct World<'a> {
    pub snapshot: &'a Snapshot,
    pub network: &'a Network,
    pub live: &'a Live,
    pub settings: &'a Settings,
    pub grace: Grace,
    pub ledger: Recall<'a>,
    /// What EC2 was last seen to hold of the stack.
    pub watch: &'a Watch,
}

/// The next step and what to tell about it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    pub action: Action,
    /// ARN, or name when there is none yet.
    pub stack: String,
    /// One sentence: why this action.
    pub why: String,
    /// What the stack lacks or has too much, in the order of logical ids.
    pub differences: Vec<Difference>,
    pub problems: Vec<Problem>,
    /// What users request. Whether nobody requests anything, or less than before, is decided by this alone.
    pub request: Request,
    /// The part of it that gets routes.
    pub admitted: Admitted,
    pub desired: Desired,
    /// The live stack's status.
    pub status: Option<Status>,
    /// What CloudFormation shows instead, while it is not certain that the operation has ended.
    pub unconfirmed: Option<Status>,
    /// How far the operation that runs has come, where that is known.
    pub progress: Option<Progress>,
    /// The live static IPs by zone.
    pub static_ips: BTreeMap<Zone, String>,
    /// More public IPs of the NAT gateways, of the stack or added by hand; traffic leaves from any of them.
    pub secondary_ips: BTreeMap<Zone, Vec<String>>,
    /// Additional static IPs of the stack from which no traffic leaves yet.
    pub announced_ips: BTreeMap<Zone, Vec<String>>,
    /// The static IPs that the account keeps without a NAT gateway, as far as it is known.
    pub kept_ips: Vec<KeptIp>,
    /// By public IP, the allocation ids of the live ones, as far as they are known.
    pub allocations: BTreeMap<String, String>,
    /// The changes of static IPs that partners have to know of.
    pub ip_changes: Vec<IpChange>,
    /// The ids of the NAT gateways by zone, as EC2 last showed them.
    pub gateways: BTreeMap<Zone, String>,
    /// The live stack's routes, and whether EC2 has them so, as far as it can be seen.
    pub live_routes: BTreeMap<(TableId, Ipv4Net), bool>,
    /// Look again after this long, though nothing may have changed.
    pub again: Option<Duration>,
    /// Why an earlier attempt at the same failed.
    pub setback: Option<String>,
    pub grace: Grace,
    /// What the ledger should hold, before the action is taken; None where nothing is known of it.
    pub ledger: Option<Ledger>,
    /// The entries that the ledger does not hold yet. A leader that takes over now does not know what they request.
    pub unrecorded: BTreeSet<EntryId>,
    /// The worker route tables of configured zones that have no NAT gateway and get none now.
    pub tables_without_nat: BTreeMap<TableId, Zone>,
    /// Where EC2 differs from what the stack believes.
    pub drifts: Vec<Drift>,
    /// The route tables that the stack uses and the network lacks.
    pub missing_tables: BTreeSet<TableId>,
    /// The drifts, by their keys, that the action is a repair of.
    pub repairs: Vec<String>,
    /// Zones that the differences add, or give another static IP.
    pub new_zones: BTreeSet<Zone>,
    /// Those that are left out now.
    pub later: Later,
    /// Logical ids of what the action creates again since it is gone, or replaces since the operator has named its zone.
    pub(in crate::model) renewed: BTreeSet<String>,
    /// The additional static IP that the action adds, and those that wait.
    pub ip_step: Option<IpStep>,
    pub ip_waits: BTreeSet<IpStep>,
    /// The zone that the action gives another static IP, and those that are to get one as soon as EC2 shows it.
    pub replaced: Option<Zone>,
    pub(in crate::model) undecided: BTreeSet<Zone>,
    /// What the template takes of CloudFormation's quotas, when one was made.
    pub size: Option<Size>,
    /// Why the stack's last operation failed.
    pub failure: Failure,
    /// The new routes of the change set that is executed.
    pub attempt: BTreeSet<(TableId, Ipv4Net)>,
}

/// Why the stack's last operation failed, in terms of what is planned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// Names the operation; None while one runs.
    pub operation: Option<String>,
    pub failed: bool,
    /// Nothing has ever stood.
    pub is_creation: bool,
    pub routes: BTreeMap<Key, String>,
    /// New zones that could not be made.
    pub zones: BTreeSet<(Zone, Ipv4Net)>,
    /// The stack's events name no resource.
    pub unexplained: bool,
    /// The status and the first failure, for what is refused without a reason of its own.
    pub cause: String,
}

/// Returns the deletion of a change set.
pub(in crate::model) fn discard(set: &ChangeSet) -> Action {
    Action::Discard {
        change_set: set.name.clone(),
    }
}
