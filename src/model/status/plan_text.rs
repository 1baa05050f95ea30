//! A plan as text and as JSON: the output of a dry run, the log line and the golden files.

use std::fmt;

use serde_json::{Value, json};

use crate::model::base::ids::EntryId;
use crate::model::base::plain::plain;
use crate::model::base::problem::{Problem, Severity};
use crate::model::base::reason::Reason;
use crate::model::cloud::status::Status;
use crate::model::plan::coverage;
use crate::model::plan::diff::Kind;
use crate::model::plan::types::{Action, Plan};
use crate::model::status::lists::lists;

/// The maximum number of entries without room that the text of a plan names.
const NAMED: usize = 20;

impl Action {
    /// Returns the CloudFormation call of the action, or what it does instead. The name is stable, because it is a label of metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Keep => "Keep",
            Self::Wait => "Wait",
            Self::Create(_) => "CreateStack",
            Self::Prepare(_) => "CreateChangeSet",
            Self::Revert(_) => "RevertDrift",
            Self::Execute { .. } => "ExecuteChangeSet",
            Self::Discard { .. } => "DeleteChangeSet",
            Self::Protect(_) => "UpdateTerminationProtection",
            Self::SetPolicy { .. } => "SetStackPolicy",
            Self::ContinueRollback { .. } => "ContinueUpdateRollback",
            Self::Delete { .. } => "DeleteStack",
            Self::Refuse => "Refuse",
        }
    }

    /// Whether the action makes a mutating call.
    pub fn mutates(&self) -> bool {
        !matches!(self, Self::Keep | Self::Wait | Self::Refuse)
    }
}

impl Plan {
    /// Whether the stack differs from the request, now or after the operation under way.
    pub fn changes_something(&self) -> bool {
        self.action.mutates() || matches!(self.action, Action::Wait)
    }

    /// Whether EC2 differs from the stack, or seems to have a foreign route in the way. The stack may just have removed that route.
    pub fn is_doubtful(&self) -> bool {
        let foreign = |problem: &Problem| problem.reason == Reason::RouteExists;
        !self.drifts.is_empty() || self.problems.iter().any(foreign)
    }

    /// Whether an entry, a zone or the stack needs an operator, or has to wait.
    pub fn refuses_something(&self) -> bool {
        let mut problems = self.problems.iter();
        problems.any(|problem| problem.severity == Severity::Refused || problem.waits())
    }

    /// Whether everything that is requested has its live route in every worker route table of a configured zone.
    pub fn serves_all(&self) -> bool {
        if !self.tables_without_nat.is_empty() {
            return self.request.entries.is_empty();
        }
        let live = self.live_routes.iter().filter(|(_, shown)| **shown);
        let live = coverage::by_table(&self.desired, live.map(|(route, _)| route));
        let mut nets = self.request.entries.values();
        nets.all(|net| coverage::in_all(&live, net))
    }

    /// Returns the stack's status as CloudFormation shows it.
    pub fn shown_status(&self) -> Option<&Status> {
        self.unconfirmed.as_ref().or(self.status.as_ref())
    }

    /// Returns one line for the log.
    pub fn summary(&self) -> String {
        let count = |kind| {
            self.differences
                .iter()
                .filter(|difference| difference.kind == kind)
                .count()
        };
        let (add, modify, remove) = (count(Kind::Add), count(Kind::Modify), count(Kind::Remove));
        let changes = match add + modify + remove {
            0 => String::new(),
            _ => format!(" (+{add} ~{modify} -{remove})"),
        };
        format!("{}: {}{changes}", self.action.name(), self.why)
    }

    /// Returns the plan as JSON; deploy/docs/json.md has the schema.
    pub fn to_json(&self) -> Value {
        let entry = |(entry, cidr): (&EntryId, &ipnet::Ipv4Net)| {
            let mut value = json!(entry);
            value["cidr"] = json!(cidr.to_string());
            value
        };
        let route = |(table, cidr): &(String, ipnet::Ipv4Net)| json!({ "routeTable": table, "cidr": cidr.to_string(), "zone": self.desired.tables.get(table) });
        let mut plan = json!({
            "action": self.action.name(),
            "stack": self.stack,
            "why": self.why,
            "differences": self.differences,
            "problems": self.problems,
            "entries": self.admitted.entries.iter().map(entry).collect::<Vec<_>>(),
            "status": self.shown_status(),
            "staticIps": self.static_ips,
            "routes": self.desired.routes.iter().map(route).collect::<Vec<_>>(),
        });
        if !self.secondary_ips.is_empty() {
            plan["secondaryIps"] = json!(self.secondary_ips);
        }
        if !self.announced_ips.is_empty() {
            plan["announcedIps"] = json!(self.announced_ips);
        }
        if !self.lists.is_empty() {
            plan["prefixLists"] = json!(lists(self));
        }
        plan
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} on stack {}: {}",
            self.action.name(),
            plain(&self.stack),
            plain(&self.why)
        )?;
        for difference in &self.differences {
            writeln!(f, "  {}", plain(&difference.to_string()))?;
        }
        if let Some(setback) = &self.setback {
            writeln!(f, "  an earlier attempt failed: {}", plain(setback))?;
        }
        let mut counted = 0;
        for problem in &self.problems {
            counted += usize::from(problem.is_counted_elsewhere());
            if counted <= NAMED || !problem.is_counted_elsewhere() {
                writeln!(f, "  ! {problem}")?;
            }
        }
        if let Some(more @ 1..) = counted.checked_sub(NAMED) {
            writeln!(
                f,
                "  ! and {more} more entries without room: the output json names them"
            )?;
        }
        for (zone, ip) in &self.static_ips {
            writeln!(f, "  static IP {} ({})", plain(ip), plain(zone))?;
        }
        for (zone, ips) in &self.secondary_ips {
            let (ips, zone) = (ips.join(", "), plain(zone));
            writeln!(f, "  secondary IPs {} ({zone})", plain(&ips))?;
        }
        for (zone, ips) in &self.announced_ips {
            let (ips, zone) = (ips.join(", "), plain(zone));
            writeln!(f, "  announced IPs {} ({zone})", plain(&ips))?;
        }
        for list in lists(self) {
            writeln!(f, "  prefix list {}", plain(&list.to_string()))?;
        }
        let entries = self.admitted.entries.len();
        let routes = self.desired.routes.len();
        write!(
            f,
            "{entries} entries accepted, {routes} routes in {} route tables",
            self.desired.tables.len()
        )
    }
}
