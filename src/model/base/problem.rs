//! Problems that are reported to users: the subject, a machine-readable reason, the description, and the remedy.

use std::borrow::Cow;
use std::fmt;

use serde::Serializer;
use serde::ser::SerializeStruct;

use crate::model::base::ids::{EntryId, ObjectId};
use crate::model::base::plain::{plain, short};
use crate::model::base::reason::{About, Reason};
use crate::model::base::text::Text;

/// The maximum size of a message in bytes. A message may quote a server's response.
const MAX_MESSAGE: usize = 4_000;

/// The severity for the owner of the subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub enum Severity {
    /// The request was refused: the owner has to act.
    Refused,
    /// The request was accepted, or waits, but may not do what the owner intends.
    Warning,
    /// Information only.
    Note,
}

/// The subject of a problem.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
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

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Problem {
    pub severity: Severity,
    pub subject: Subject,
    pub reason: Reason,
    /// The description of the problem.
    pub what: Text,
    /// The remedy, if it is more precise than the reason's.
    pub remedy: Option<Text>,
}

impl Problem {
    /// Creates a problem. The message has the description and, after a semicolon, the remedy. Quoted text is made safe to show, and the
    /// message is cut to its maximum size.
    pub fn new(severity: Severity, subject: Subject, reason: Reason, message: String) -> Self {
        let message = match plain(&message) {
            Cow::Borrowed(_) if message.len() <= MAX_MESSAGE => message,
            clean => short(&clean, MAX_MESSAGE),
        };
        let (what, remedy) = split(&message);
        Self {
            severity,
            subject,
            reason,
            what: what.into(),
            remedy: remedy.map(Into::into),
        }
    }

    /// Creates the same problem for another subject. Both share their texts.
    pub fn with_subject(&self, subject: Subject) -> Self {
        Self {
            severity: self.severity,
            subject,
            reason: self.reason,
            what: self.what.clone(),
            remedy: self.remedy.clone(),
        }
    }

    /// Returns the description and the remedy as one text.
    pub fn message(&self) -> String {
        match &self.remedy {
            Some(remedy) => format!("{}; {remedy}", self.what),
            None => self.what.to_string(),
        }
    }

    /// Returns the remedy.
    pub fn remedy(&self) -> &str {
        let precise = self.remedy.as_deref();
        precise.unwrap_or_else(|| self.reason.remedy())
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

    /// Whether an entry or a zone is valid and waits for something else.
    pub fn waits(&self) -> bool {
        let about = matches!(self.subject, Subject::Entry(_) | Subject::Zone(_));
        about
            && match self.reason {
                Reason::LimitReached => self.severity != Severity::Note,
                reason => reason.only_waits() && self.severity == Severity::Refused,
            }
    }

    /// Whether the stack's problem about entries without room counts this problem.
    pub fn is_counted_elsewhere(&self) -> bool {
        self.reason == Reason::LimitReached && matches!(self.subject, Subject::Entry(_))
    }

    /// Returns the namespace whose owners caused the problem; None if no single namespace did.
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

/// Splits a message into description and remedy: every message has them in this order. Text in quotes belongs to a user and is not split.
pub fn split(message: &str) -> (&str, Option<&str>) {
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in message.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = quoted,
            '"' => quoted = !quoted,
            ';' if !quoted => {
                if let Some(remedy) = message[at..].strip_prefix("; ") {
                    return (&message[..at], Some(remedy));
                }
            }
            _ => {}
        }
    }
    (message, None)
}

impl serde::Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Problem", 4)?;
        fields.serialize_field("severity", &self.severity)?;
        fields.serialize_field("subject", &self.subject)?;
        fields.serialize_field("reason", &self.reason)?;
        fields.serialize_field("message", &self.message())?;
        fields.end()
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
            self.subject,
            self.message(),
            self.reason
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_ends_with_its_remedy() {
        assert_eq!(
            split(r#""a; \"b; c" is no CIDR; write one; or two"#),
            (r#""a; \"b; c" is no CIDR"#, Some("write one; or two"))
        );
        assert_eq!(split("no more;none"), ("no more;none", None));
    }

    #[test]
    fn a_problem_without_a_remedy_of_its_own_has_that_of_its_reason() {
        let problem = |text: &str| {
            let subject = Subject::Stack("egress".to_owned());
            Problem::warning(subject, Reason::InReview, text.to_owned())
        };
        let plain = problem("nobody executed it");
        assert_eq!(plain.remedy(), "delete the empty stack");
        assert_eq!(plain.message(), "nobody executed it");
        let precise = problem("nobody executed it; delete one");
        assert_eq!(
            (&*precise.what, precise.remedy()),
            ("nobody executed it", "delete one")
        );
        assert_eq!(precise.message(), "nobody executed it; delete one");
        let json = serde_json::to_value(&precise).expect("JSON");
        assert_eq!(json["message"], "nobody executed it; delete one");
    }
}
