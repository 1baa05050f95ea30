//! The leader's published status: the schema of `/api/status` and of the status ConfigMap. deploy/docs/json.md documents it.

pub mod annotations;
pub mod from_plan;
pub mod lists;
pub mod notifications;
pub(crate) mod plan_text;
pub mod routes;
pub(crate) mod text;
mod unrecorded;
mod without_nat;
pub mod zones;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::base::problem::{Problem, Severity, split};
use crate::model::base::reason::Reason;
use crate::model::base::share::in_turn;
use crate::model::base::text::Text;
use crate::model::cloud::live::Progress;
use crate::model::cloud::static_ip::{IpChange, KeptIp};
use lists::ListStatus;
use routes::Route;
use zones::ZoneStatus;

/// The version of the schema. It increases if a reader of the previous version would misread a document. New fields alone do not increase
/// it.
pub const SCHEMA_VERSION: u32 = 1;

/// The status. Times are RFC 3339, in UTC. Lists that exceed their limits are cut, and `omitted` counts the rest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    pub schema_version: u32,
    /// The program's version.
    pub version: String,
    pub leader: Leader,
    /// The time of this observation.
    pub time: String,
    pub next_look: String,
    pub dry_run: bool,
    /// Why the latest passes observed nothing; None if they succeeded. All other fields are from `time`.
    pub failure: Option<Failure>,
    pub stack: Stack,
    /// By zone.
    pub static_ips: BTreeMap<String, String>,
    /// More public IPs of the NAT gateways, by zone, of the stack or added by hand: traffic leaves from these, too.
    pub secondary_ips: BTreeMap<String, Vec<String>>,
    /// Additional static IPs of the stack, by zone, from which no traffic leaves yet.
    pub announced_ips: BTreeMap<String, Vec<String>>,
    /// Static IPs that the account keeps without a NAT gateway.
    pub kept_ips: Vec<KeptIp>,
    /// Changes of static IPs in the last day, of which partners have to know.
    pub ip_changes: Vec<IpChange>,
    /// The way of the traffic, zone by zone.
    pub zones: Vec<ZoneStatus>,
    /// The prefix lists that carry networks; empty without `--prefix-lists`.
    pub prefix_lists: Vec<ListStatus>,
    /// The latest plan's step.
    pub plan: Step,
    /// What the plan would change, in words.
    pub differences: Vec<String>,
    /// The last call of this leader that changed something.
    pub operation: Option<Step>,
    /// Why the last operation on the stack failed, while that still matters.
    pub setback: Option<String>,
    pub counts: Counts,
    /// Entries by cluster, namespace, name and key. If the list is cut, each namespace has its share, and entries that are not routed are
    /// kept first.
    pub entries: Vec<Entry>,
    /// Routes by CIDR.
    pub routes: Vec<Route>,
    /// Problems of zones, route tables, sources and the stack.
    pub problems: Vec<Told>,
    /// Differences between EC2 and the stack.
    pub drift: Vec<Told>,
    /// The steps and observations of this leader, oldest first.
    pub timeline: Vec<Step>,
    pub omitted: Omitted,
}

impl Status {
    /// Parses a status. None if the text is not a status, or is one that this version would misread.
    pub fn read(text: &str) -> Option<Self> {
        let status: Self = serde_json::from_str(text).ok()?;
        Some(status).filter(|status| status.schema_version == SCHEMA_VERSION)
    }

    /// Returns the status as JSON, in a buffer of exactly its length, because it may have megabytes. Serialization cannot fail.
    pub fn json(&self) -> String {
        let mut json = Vec::with_capacity(length(self));
        let written = serde_json::to_writer(&mut json, self);
        written
            .ok()
            .and_then(|()| String::from_utf8(json).ok())
            .unwrap_or_default()
    }

    /// Returns each IP from which traffic leaves, or will leave, with its zone.
    pub fn exits(&self) -> impl Iterator<Item = (&String, &String)> {
        exits(&self.static_ips, &self.secondary_ips).chain(by_zone(&self.announced_ips))
    }
}

/// Returns each IP from which traffic leaves, with its zone: the first IP of each NAT gateway, then the others.
pub fn exits<'a>(
    first: &'a BTreeMap<String, String>,
    more: &'a BTreeMap<String, Vec<String>>,
) -> impl Iterator<Item = (&'a String, &'a String)> {
    first.iter().chain(by_zone(more))
}

pub fn by_zone(ips: &BTreeMap<String, Vec<String>>) -> impl Iterator<Item = (&String, &String)> {
    ips.iter()
        .flat_map(|(zone, ips)| ips.iter().map(move |ip| (zone, ip)))
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Leader {
    /// The holder's name in the Lease; empty without a Lease.
    pub identity: String,
    pub epoch: u64,
    pub since: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Stack {
    pub name: String,
    /// The ARN; None while there is no stack.
    pub arn: Option<String>,
    pub status: Option<String>,
    /// The progress of the running operation, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Failure {
    /// The reason, as in deploy/docs/reasons.md.
    pub reason: String,
    pub message: String,
    pub cause: String,
    pub since: String,
}

/// One step of the loop.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Step {
    pub time: String,
    /// The name of the plan's action, or `Failed`.
    pub action: String,
    pub why: String,
    /// Whether the step was sent to the provider.
    pub applied: bool,
    pub stack_status: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Counts {
    pub config_maps: usize,
    pub entries: usize,
    pub routed: usize,
    pub pending: usize,
    pub waiting: usize,
    pub drifted: usize,
    pub kept: usize,
    pub refused: usize,
    /// The number of different destinations.
    pub routes: usize,
    pub route_tables: usize,
}

/// The state of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum State {
    /// Refused; its owner has to act.
    Refused,
    /// Refused now. Its previous network stays routed until the entry is corrected or removed.
    Kept,
    /// Accepted, and delayed: `reason` names the cause.
    Waiting,
    /// Its route was changed outside of CloudFormation.
    Drifted,
    /// Accepted; its route is being created.
    #[default]
    Pending,
    /// Its traffic leaves from the static IPs.
    Routed,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            Self::Refused => "Refused",
            Self::Kept => "Kept",
            Self::Waiting => "Waiting",
            Self::Drifted => "Drifted",
            Self::Pending => "Pending",
            Self::Routed => "Routed",
        }
    }
}

/// One `data` entry of a ConfigMap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Entry {
    /// The cluster; empty if only one cluster is watched.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cluster: String,
    pub namespace: String,
    pub name: String,
    pub key: String,
    /// The value of the entry, without the spaces around it.
    pub asked: String,
    pub state: State,
    /// The parsed network, if it is spelled differently.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cidr: Option<String>,
    /// The route that serves the entry now or will serve it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// The static IPs from which the entry's traffic leaves now or will leave.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub static_ips: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<Text>,
}

impl Entry {
    /// Sets the reason why the entry is not routed. The text may have a remedy after a semicolon; otherwise the reason's remedy applies.
    pub(super) fn explain(&mut self, reason: Reason, text: &str) {
        let (what, remedy) = split(text);
        self.reason = Some(reason.to_string());
        self.message = Some(what.into());
        self.remedy = Some(remedy.unwrap_or(reason.remedy()).into());
    }
}

/// A problem as text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Told {
    /// `Refused`, `Warning` or `Note`.
    pub severity: String,
    pub subject: String,
    pub reason: String,
    pub message: String,
    pub remedy: String,
}

/// The numbers of omitted items.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Omitted {
    pub entries: usize,
    pub routes: usize,
    pub problems: usize,
    pub drift: usize,
    pub differences: usize,
}

impl From<&Problem> for Told {
    fn from(problem: &Problem) -> Self {
        Self {
            severity: match problem.severity {
                Severity::Refused => "Refused",
                Severity::Warning => "Warning",
                Severity::Note => "Note",
            }
            .to_owned(),
            subject: problem.subject.to_string(),
            reason: problem.reason.to_string(),
            message: problem.what.to_string(),
            remedy: problem.remedy().to_owned(),
        }
    }
}

/// Counts the bytes that are written.
#[derive(Default)]
struct Length(usize);

impl std::io::Write for Length {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Returns the length of a value as JSON, in bytes.
fn length(value: &impl Serialize) -> usize {
    let mut length = Length::default();
    serde_json::to_writer(&mut length, value).map_or(0, |()| length.0)
}

/// Joins a message and its remedy.
pub(super) fn joined(message: &str, remedy: Option<&str>) -> String {
    match remedy {
        Some(remedy) if !remedy.is_empty() => format!("{message}; {remedy}"),
        _ => message.to_owned(),
    }
}

impl Status {
    /// Cuts the list of entries so that the status takes at most this many bytes as JSON. Each namespace has its share, and within it
    /// entries that need attention are kept before routed ones. The other lists have limits of their own.
    pub fn fit(&mut self, bytes: usize) {
        let entries = std::mem::take(&mut self.entries);
        let mut keep = self.room(&entries, bytes).into_iter();
        let all = entries.len();
        self.entries = entries;
        self.entries.retain(|_| keep.next().unwrap_or(false));
        self.omitted.entries += all - self.entries.len();
    }

    /// Returns a copy that fits, without copying the omitted entries: there may be 20,000.
    pub fn fitting(&mut self, bytes: usize) -> Self {
        let entries = std::mem::take(&mut self.entries);
        let mut copy = self.clone();
        let keep = copy.room(&entries, bytes);
        let kept = entries.iter().zip(keep).filter(|(_, keep)| *keep);
        copy.entries = kept.map(|(entry, _)| entry.clone()).collect();
        copy.omitted.entries += entries.len() - copy.entries.len();
        self.entries = entries;
        copy
    }

    /// Returns which of these entries fit into a status without entries. Namespaces take turns, the worst entries of each first. Half of
    /// the room is reserved for entries that need attention, if there are enough of them.
    fn room(&self, entries: &[Entry], bytes: usize) -> Vec<bool> {
        let size = |value: &Entry| length(value) + 1;
        // The numbers in `omitted` may still grow.
        let rest = length(self) + 64;
        let mut left = bytes.saturating_sub(rest);
        let half = left / 2;
        let mut order: Vec<usize> = (0..entries.len()).collect();
        order.sort_by_key(|index| entries[*index].state);
        let owners = order.iter().map(|index| &entries[*index]);
        let turns = in_turn(owners.map(|entry| (&entry.cluster, &entry.namespace)));
        let order: Vec<usize> = turns.into_iter().map(|turn| order[turn]).collect();
        let mut kept = vec![false; entries.len()];
        let urgent = |index: &&usize| entries[**index].state != State::Routed;
        let first = order.iter().filter(urgent).map(|index| (index, half));
        for (index, floor) in first.chain(order.iter().map(|index| (index, 0))) {
            if kept[*index] || left <= floor {
                continue;
            }
            let Some(less) = left.checked_sub(size(&entries[*index])) else {
                break;
            };
            left = less;
            kept[*index] = true;
        }
        kept
    }

    /// Returns a copy without times and progress, whose changes alone are not worth a write.
    pub fn timeless(&self) -> Self {
        let mut same = self.clone();
        same.time.clear();
        same.next_look.clear();
        same.stack.progress = None;
        same
    }
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
