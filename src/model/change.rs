//! A change of a live stack: prepared as a change set, read, executed.

use super::difference;
use super::live::{ChangeSet, ChangeSetState, Effect, Stack};
use super::plan::{Action, Plan};
use super::problem::{Problem, Subject};
use super::repair;
use super::resolved::Names;
use super::template::{self, Template};

const CHANGE_SET_PREFIX: &str = "egress-";

/// `egress-{fingerprint}-e{epoch}`: tells what it would make, and who made it.
pub fn change_set_name(template: &Template, epoch: u64) -> String {
    format!(
        "{CHANGE_SET_PREFIX}{}-e{epoch}",
        short(&template.fingerprint)
    )
}

/// Whether a change set is one of ours, by its name.
pub fn is_our_change_set(name: &str) -> bool {
    fingerprint_of(name).is_some()
}

pub(super) fn fingerprint_of(name: &str) -> Option<&str> {
    let (fingerprint, epoch) = name.strip_prefix(CHANGE_SET_PREFIX)?.split_once("-e")?;
    (!epoch.is_empty() && epoch.bytes().all(|byte| byte.is_ascii_digit())).then_some(fingerprint)
}

fn short(fingerprint: &str) -> &str {
    fingerprint.get(..16).unwrap_or(fingerprint)
}

impl Plan {
    /// Every change goes through a change set: CloudFormation says what it would do before it does it, and executes it
    /// only on the stack it was made for.
    pub(super) fn change(&mut self, stack: &Stack, template: Template, names: &Names) {
        let ours =
            |set: &&ChangeSet| fingerprint_of(&set.name) == Some(short(&template.fingerprint));
        let Some(found) = stack.change_sets.iter().rev().find(ours) else {
            return self.change_anew(stack, template, names);
        };
        match &found.state {
            ChangeSetState::Pending => {
                self.set(Action::Wait, "CloudFormation is computing the change set")
            }
            ChangeSetState::NoChanges => {
                let text = "CloudFormation sees nothing to change, though the stack differs from what is asked for (see the \
                            differences); if routes are missing, delete the change set to have it made again";
                self.problems.push(Problem::warning(
                    Subject::Stack(stack.name.clone()),
                    "NotSeenByCloudFormation",
                    text.to_owned(),
                ));
                self.set(
                    Action::Keep,
                    "CloudFormation sees no difference in the resources",
                );
            }
            ChangeSetState::Dead(reason) => {
                self.setback = Some(reason.clone());
                self.set(
                    discard(found),
                    format!("the change set cannot be executed: {reason}"),
                );
            }
            ChangeSetState::Executed => {
                self.setback = Some(
                    stack
                        .cause
                        .clone()
                        .unwrap_or_else(|| "its execution changed nothing".to_owned()),
                );
                self.set(
                    discard(found),
                    "the change set was executed without the intended effect",
                );
            }
            ChangeSetState::Ready => {
                let allowed = |id: &str| self.may_go(names, id);
                match difference::unplanned(&found.changes, &self.differences, allowed) {
                    Some(text) => self.refuse(&stack.name, "UnplannedChange", text),
                    None => {
                        let change_set = found.name.clone();
                        let why =
                            format!("{} resource changes, all as planned", found.changes.len());
                        self.set(Action::Execute { change_set }, why);
                    }
                }
            }
        }
    }

    /// There is no change set for just this template. One for an earlier template is used as far as it goes: else a
    /// stream of edits, each outdating the change set before, would starve all of them.
    fn change_anew(&mut self, stack: &Stack, template: Template, names: &Names) {
        let allowed = |id: &str| self.may_go(names, id);
        let mut sets = stack.change_sets.iter().rev();
        if sets.clone().any(|set| set.state == ChangeSetState::Pending) {
            return self.set(Action::Wait, "CloudFormation is computing a change set");
        }
        let wanted = |id: &str| {
            self.differences
                .iter()
                .any(|difference| difference.id == id)
        };
        let useful = |set: &&ChangeSet| {
            set.state == ChangeSetState::Ready
                && !set.changes.is_empty()
                && !repair::is_revert(&set.name)
                && difference::unplanned(&set.changes, &self.differences, allowed).is_none()
                && set.changes.iter().all(|change| wanted(&change.logical_id))
                && !self.leaves_a_gap(set, names)
        };
        match sets.find(useful).cloned() {
            Some(set) => {
                let count = set.changes.len();
                let why = format!("{count} resource changes of an earlier plan, all still wanted");
                self.set(
                    Action::Execute {
                        change_set: set.name,
                    },
                    why,
                );
            }
            None => {
                let why = format!(
                    "{} differences from what is asked for",
                    self.differences.len()
                );
                self.set(Action::Prepare(template), why);
            }
        }
    }

    /// Whether a change set takes a route out and does not make those that are to stand for it or parts of it. It is of a time when
    /// nobody asked for these.
    fn leaves_a_gap(&self, set: &ChangeSet, names: &Names) -> bool {
        let has = |effect, id: &str| {
            let mut changes = set.changes.iter();
            changes.any(|change| change.effect == effect && change.logical_id == id)
        };
        let removed = names
            .routes
            .iter()
            .filter(|(_, id)| has(Effect::Remove, id));
        removed.into_iter().any(|((table, route), _)| {
            let mut parts =
                self.desired.routes.iter().filter(|(of, part)| {
                    of == table && (route.contains(part) || part.contains(route))
                });
            parts.any(|(table, part)| {
                !names.routes.contains_key(&(table.clone(), *part))
                    && !has(Effect::Add, &template::route_name(table, *part))
            })
        })
    }

    /// Whether a live resource belongs to a zone that is to go, or is made anew because it is gone. [`desired::build`] only
    /// drops a zone when the operator allowed it.
    pub(super) fn may_go(&self, names: &Names, id: &str) -> bool {
        if self.renewed.contains(id) {
            return true;
        }
        let zone = names
            .parts
            .iter()
            .find(|(_, name)| name.as_str() == id)
            .map(|((zone, _), _)| zone);
        zone.is_some_and(|zone| !self.desired.zones.contains_key(zone))
    }
}

pub(super) fn discard(set: &ChangeSet) -> Action {
    Action::Discard {
        change_set: set.name.clone(),
    }
}
