//! What users have to be told: who it concerns, a machine-readable reason, and what to do about it.

use std::borrow::Cow;
use std::fmt;

use crate::model::base::ids::{EntryId, ObjectId};
use crate::model::base::plain::{plain, short};
use crate::model::base::reason::{About, Reason};

/// Bytes of a message: it may quote what a server answers.
const MAX_MESSAGE: usize = 4_000;

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

impl Subject {
    /// Returns the kind of subject.
    pub fn about(&self) -> About {
        match self {
            Self::Entry(_) => About::Entry,
            Self::Object(_) => About::Object,
            Self::Source(_) => About::Source,
            Self::Zone(_) => About::Zone,
            Self::RouteTable(_) => About::RouteTable,
            Self::Stack(_) => About::Stack,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry(id) => write!(f, "ConfigMap {id}"),
            Self::Object(id) => write!(f, "ConfigMap {id}"),
            Self::Source(name) => write!(f, "source {}", plain(name)),
            Self::Zone(name) => write!(f, "zone {}", plain(name)),
            Self::RouteTable(id) => write!(f, "route table {}", plain(id)),
            Self::Stack(name) => write!(f, "stack {}", plain(name)),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Problem {
    pub severity: Severity,
    pub subject: Subject,
    pub reason: Reason,
    pub message: String,
}

impl Problem {
    /// Makes a problem whose message is safe to show and not too long, whatever it quotes.
    pub fn new(severity: Severity, subject: Subject, reason: Reason, message: String) -> Self {
        let message = match plain(&message) {
            Cow::Borrowed(_) if message.len() <= MAX_MESSAGE => message,
            clean => short(&clean, MAX_MESSAGE),
        };
        Self {
            severity,
            subject,
            reason,
            message,
        }
    }

    pub fn refused(subject: Subject, reason: Reason, message: String) -> Self {
        Self::new(Severity::Refused, subject, reason, message)
    }

    pub fn warning(subject: Subject, reason: Reason, message: String) -> Self {
        Self::new(Severity::Warning, subject, reason, message)
    }

    pub fn note(subject: Subject, reason: Reason, message: String) -> Self {
        Self::new(Severity::Note, subject, reason, message)
    }

    /// Returns the namespace whose owners caused it; None where it is everybody's.
    pub fn namespace(&self) -> Option<&str> {
        match &self.subject {
            Subject::Entry(id) => Some(&id.object.namespace),
            Subject::Object(id) => Some(&id.namespace),
            Subject::Source(_) | Subject::Zone(_) | Subject::RouteTable(_) | Subject::Stack(_) => {
                None
            }
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
