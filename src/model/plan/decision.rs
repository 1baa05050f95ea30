//! [`Decision`], the next step as a value, and [`Notes`], which a stage leaves whether it decides or not.

use std::collections::BTreeSet;
use std::time::Duration;

use ipnet::Ipv4Net;

use crate::model::base::ids::Zone;
use crate::model::base::problem::{Problem, Subject};
use crate::model::base::reason::Reason;
use crate::model::cloud::live::{ChangeSet, Stack};
use crate::model::cloud::more_ips::IpStep;
use crate::model::cloud::released_ips::Lost;
use crate::model::desired::template::Size;
use crate::model::plan::diff::Difference;
use crate::model::plan::types::{Action, Plan, discard};

/// The next step, with everything that is published about the step. The fields are those of [`Plan`].
#[derive(Clone, Debug, Default)]
pub(in crate::model) struct Decision {
    pub action: Action,
    pub why: String,
    pub differences: Vec<Difference>,
    pub problems: Vec<Problem>,
    pub setback: Option<String>,
    pub repairs: Vec<String>,
    pub renewed: BTreeSet<String>,
    pub replaced: Option<Zone>,
    pub ip_step: Option<IpStep>,
    pub recovers: Option<Lost>,
    pub size: Option<Size>,
    pub again: Option<Duration>,
    /// The networks of new routes, which the ledger records as planned.
    pub planned: BTreeSet<Ipv4Net>,
}

impl Decision {
    pub fn new(action: Action, why: impl Into<String>) -> Self {
        Self {
            action,
            why: why.into(),
            ..Self::default()
        }
    }

    /// Returns the decision to do nothing until a user has acted.
    pub fn refuse(stack: &str, reason: Reason, message: String) -> Self {
        let subject = Subject::Stack(stack.to_owned());
        Self {
            problems: vec![Problem::refused(subject, reason, message.clone())],
            ..Self::new(Action::Refuse, message)
        }
    }

    /// Returns the deletion of the stack, or the step that makes a deletion possible. `retain`: logical ids of resources that stay behind.
    pub fn delete(stack: &Stack, why: String, retain: BTreeSet<String>) -> Self {
        if stack.termination_protection {
            let why = format!(
                "{why}; the controller first switches off the stack's termination protection"
            );
            Self::new(Action::Protect(false), why)
        } else {
            Self::new(Action::Delete { retain }, why)
        }
    }

    /// Returns the discarding of the change set, if the decision is to make no change by it: the change must not block others. `text`
    /// returns the reason, given the problem of the change.
    pub fn or_discard(
        mut self,
        set: Option<&ChangeSet>,
        text: impl FnOnce(&str) -> String,
    ) -> Self {
        let Some(set) = set.filter(|_| matches!(self.action, Action::Refuse | Action::Keep)) else {
            return self;
        };
        self.setback = self.problems.pop().map(|problem| problem.message());
        let why = text(self.setback.as_deref().unwrap_or_default());
        self.with_action(discard(set), why)
    }

    /// Replaces the action, with its reason.
    pub fn with_action(self, action: Action, why: impl Into<String>) -> Self {
        Self {
            action,
            why: why.into(),
            ..self
        }
    }
}

/// What is published whichever stage decides. Stages only add to the notes: no stage can read what an earlier one noted.
#[derive(Debug, Default)]
pub(in crate::model) struct Notes {
    problems: Vec<Problem>,
    again: Option<Duration>,
    ip_waits: BTreeSet<IpStep>,
    undecided: BTreeSet<Zone>,
    postponed: bool,
}

impl Notes {
    pub fn report(&mut self, problems: impl IntoIterator<Item = Problem>) {
        self.problems.extend(problems);
    }

    /// Schedules the next look after the shortest of these waits, unless it is due earlier.
    pub fn look_within(&mut self, waits: impl IntoIterator<Item = Duration>) {
        self.again = self.again.into_iter().chain(waits).min();
    }

    /// Notes a change of additional static IPs that waits after a failure.
    pub fn waits(&mut self, step: IpStep) {
        self.ip_waits.insert(step);
    }

    /// Notes that edits come before a change of static IPs.
    pub fn postpone(&mut self) {
        self.postponed = true;
    }

    /// Notes a zone for which EC2 is asked about addresses.
    pub fn ask_about(&mut self, zone: Zone) {
        self.undecided.insert(zone);
    }
}

impl Plan {
    /// Completes the draft by the decision and the notes of the stages before it.
    pub(in crate::model) fn complete(&mut self, decision: Decision, notes: Notes) {
        self.action = decision.action;
        self.why = decision.why;
        self.differences = decision.differences;
        self.problems.extend(decision.problems);
        self.problems.extend(notes.problems);
        self.setback = decision.setback;
        self.repairs = decision.repairs;
        self.renewed = decision.renewed;
        self.replaced = decision.replaced;
        self.ip_step = decision.ip_step;
        self.recovers = decision.recovers;
        self.size = decision.size;
        self.ip_waits = notes.ip_waits;
        self.undecided = notes.undecided;
        self.postponed = notes.postponed;
        self.look_within(decision.again.into_iter().chain(notes.again));
        if let Some(ledger) = &mut self.ledger {
            ledger.note_planned(decision.planned.into_iter());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_published_whichever_stage_decides() {
        let seconds = Duration::from_secs;
        let mut notes = Notes::default();
        notes.look_within([seconds(9), seconds(5)]);
        notes.ask_about("eu-west-1a".to_owned());
        let subject = Subject::Zone("eu-west-1a".to_owned());
        let warning = Problem::warning(subject, Reason::LimitReached, "it waits".to_owned());
        notes.report([warning.clone()]);
        let refusal = Decision {
            again: Some(seconds(7)),
            ..Decision::refuse("egress", Reason::NothingToRoute, "no zone".to_owned())
        };
        let mut plan = Plan::default();
        plan.complete(refusal, notes);
        assert_eq!(
            (&plan.action, plan.why.as_str()),
            (&Action::Refuse, "no zone")
        );
        assert_eq!(plan.again, Some(seconds(5)));
        assert_eq!(plan.problems.len(), 2);
        assert!(plan.problems.contains(&warning));
        assert_eq!(plan.undecided, BTreeSet::from(["eu-west-1a".to_owned()]));
    }

    #[test]
    fn a_protected_stack_is_not_deleted_before_its_protection_is_off() {
        let retain = BTreeSet::from(["EIPa".to_owned()]);
        let mut stack = Stack::default();
        let delete = |stack: &Stack| Decision::delete(stack, "empty".to_owned(), retain.clone());
        assert_eq!(
            delete(&stack).action,
            Action::Delete {
                retain: retain.clone()
            }
        );
        stack.termination_protection = true;
        assert_eq!(delete(&stack).action, Action::Protect(false));
    }
}
