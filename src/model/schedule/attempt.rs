//! The subjects of attempts, and their names in the ledger.

use std::fmt;

use ipnet::Ipv4Net;

use crate::model::base::ids::Zone;
use crate::model::cloud::more_ips::IpStep;
use crate::model::cloud::released_ips::Lost;
use crate::model::plan::types::{Action, Plan};

/// The subject of an attempt. Its text in the ledger is stable, because other versions may read it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Attempt {
    /// The template with this fingerprint.
    Template(String),
    /// The execution of this change set.
    Execute(String),
    /// One zone that a change set adds.
    Zone(Zone, Ipv4Net),
    /// A change of additional static IPs.
    Ip(IpStep),
    /// A change in which a zone asks AWS for its released static IP.
    Recovery(Lost),
    /// The deletion of the stack with this ARN. The stack that is created next has another ARN.
    Delete(String),
    ContinueRollback(String),
    Discard(String),
    Protect(bool),
    SetPolicy(bool),
    /// A subject that only another version knows. It delays nothing, and stays in the ledger.
    Unknown(String),
}

impl Attempt {
    /// Returns the subject of the plan's action.
    pub fn of(plan: &Plan) -> Option<Self> {
        let stack = || plan.stack.clone();
        match &plan.action {
            Action::Create(template) | Action::Prepare(template) | Action::Revert(template) => {
                Some(Self::Template(template.fingerprint.clone()))
            }
            Action::Delete { .. } => Some(Self::Delete(stack())),
            Action::ContinueRollback { .. } => Some(Self::ContinueRollback(stack())),
            Action::Discard { change_set } => Some(Self::Discard(change_set.clone())),
            Action::Protect(on) => Some(Self::Protect(*on)),
            Action::SetPolicy { open } => Some(Self::SetPolicy(*open)),
            Action::Execute { change_set } => Some(Self::Execute(change_set.clone())),
            Action::Keep | Action::Wait | Action::Refuse => None,
        }
    }

    /// Parses the ledger's text.
    pub fn read(text: &str) -> Self {
        let Some((what, of)) = text.split_once(' ') else {
            return Self::Template(text.to_owned());
        };
        let read = match what {
            "execute" => Some(Self::Execute(of.to_owned())),
            "zone" => zone(of),
            "ips" => ips(of),
            "recover" => recovery(of),
            "delete" => Some(Self::Delete(of.to_owned())),
            "continue" => Some(Self::ContinueRollback(of.to_owned())),
            "discard" => Some(Self::Discard(of.to_owned())),
            "protect" => of.parse().ok().map(Self::Protect),
            "policy" => of.parse().ok().map(Self::SetPolicy),
            _ => None,
        };
        read.unwrap_or_else(|| Self::Unknown(text.to_owned()))
    }

    /// Whether what could not be added is asked for again only after a long wait: each try is a change that fails.
    pub fn is_patient(&self) -> bool {
        matches!(self, Self::Zone(..) | Self::Ip(_) | Self::Recovery(_))
    }

    pub fn zone(&self) -> Option<(Zone, Ipv4Net)> {
        match self {
            Self::Zone(zone, cidr) => Some((zone.clone(), *cidr)),
            _ => None,
        }
    }
}

fn ips(text: &str) -> Option<Attempt> {
    let (zone, numbers) = text.split_once(' ')?;
    let (exist, used) = numbers.split_once(' ')?;
    Some(Attempt::Ip(IpStep {
        zone: zone.to_owned(),
        exist: exist.parse().ok()?,
        used: used.parse().ok()?,
    }))
}

fn recovery(text: &str) -> Option<Attempt> {
    let (zone, ip) = text.split_once(' ')?;
    Some(Attempt::Recovery((zone.to_owned(), ip.to_owned())))
}

fn zone(text: &str) -> Option<Attempt> {
    let (zone, cidr) = text.split_once(' ')?;
    Some(Attempt::Zone(zone.to_owned(), cidr.parse().ok()?))
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Template(text) | Self::Unknown(text) => f.write_str(text),
            Self::Execute(change_set) => write!(f, "execute {change_set}"),
            Self::Zone(zone, cidr) => write!(f, "zone {zone} {cidr}"),
            Self::Ip(IpStep { zone, exist, used }) => write!(f, "ips {zone} {exist} {used}"),
            Self::Recovery((zone, ip)) => write!(f, "recover {zone} {ip}"),
            Self::Delete(stack) => write!(f, "delete {stack}"),
            Self::ContinueRollback(stack) => write!(f, "continue {stack}"),
            Self::Discard(change_set) => write!(f, "discard {change_set}"),
            Self::Protect(on) => write!(f, "protect {on}"),
            Self::SetPolicy(open) => write!(f, "policy {open}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_ledger_says_is_read_as_it_was_meant() {
        let net = "10.0.0.0/28".parse().expect("a network");
        let cases = [
            ("0123abcd", Attempt::Template("0123abcd".to_owned())),
            (
                "execute egress-1-e2",
                Attempt::Execute("egress-1-e2".to_owned()),
            ),
            ("zone a 10.0.0.0/28", Attempt::Zone("a".to_owned(), net)),
            (
                "ips a 2 1",
                Attempt::Ip(IpStep {
                    zone: "a".to_owned(),
                    exist: 2,
                    used: 1,
                }),
            ),
            (
                "recover a 198.51.100.1",
                Attempt::Recovery(("a".to_owned(), "198.51.100.1".to_owned())),
            ),
            ("delete arn", Attempt::Delete("arn".to_owned())),
            ("continue arn", Attempt::ContinueRollback("arn".to_owned())),
            (
                "discard egress-1-e2",
                Attempt::Discard("egress-1-e2".to_owned()),
            ),
            ("protect false", Attempt::Protect(false)),
            ("policy true", Attempt::SetPolicy(true)),
        ];
        for (text, attempt) in cases {
            assert_eq!(Attempt::read(text), attempt);
            assert_eq!(attempt.to_string(), text);
        }
        for text in [
            "zone a 10.0.0.0",
            "zone a",
            "ips a 2 two",
            "recover a",
            "protect maybe",
            "import arn",
            " ",
        ] {
            let unknown = Attempt::Unknown(text.to_owned());
            assert_eq!(Attempt::read(text), unknown);
            assert_eq!(unknown.to_string(), text);
        }
    }
}
