//! What users have to be told: who it concerns, a machine-readable reason, and what to do about it.

use std::fmt;

use super::request::{EntryId, ObjectId};

/// How much it matters to the owner of the subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub enum Severity {
    /// Not done: the owner has to act.
    Refused,
    /// Done, or waiting, but probably not as meant.
    Warning,
    /// Worth knowing.
    Note,
}

/// What a problem is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Subject {
    Entry(EntryId),
    Object(ObjectId),
    Source(String),
    Zone(String),
    RouteTable(String),
    Stack(String),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry(id) => write!(f, "ConfigMap {id}"),
            Self::Object(id) => write!(f, "ConfigMap {id}"),
            Self::Source(name) => write!(f, "source {name}"),
            Self::Zone(name) => write!(f, "zone {name}"),
            Self::RouteTable(id) => write!(f, "route table {id}"),
            Self::Stack(name) => write!(f, "stack {name}"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Problem {
    pub severity: Severity,
    pub subject: Subject,
    /// CamelCase, stable: usable as the reason of a Kubernetes Event.
    pub reason: &'static str,
    pub message: String,
}

impl Problem {
    pub fn refused(subject: Subject, reason: &'static str, message: String) -> Self {
        Self {
            severity: Severity::Refused,
            subject,
            reason,
            message,
        }
    }

    pub fn warning(subject: Subject, reason: &'static str, message: String) -> Self {
        Self {
            severity: Severity::Warning,
            subject,
            reason,
            message,
        }
    }

    pub fn note(subject: Subject, reason: &'static str, message: String) -> Self {
        Self {
            severity: Severity::Note,
            subject,
            reason,
            message,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Refused => "refused",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        write!(
            f,
            "{severity}: {}: {} ({})",
            self.subject, self.message, self.reason
        )
    }
}
