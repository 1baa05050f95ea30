//! The state of the account: the stack, its change sets, and the operation in progress.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::changes::{changes, layout};
use super::ec2::Ec2;
use super::wish::Made;
use crate::model::cloud::change_set_name::{change_set_name, is_revert};
use crate::model::cloud::layout::Layout;
use crate::model::cloud::live::{Change, ChangeSet, ChangeSetState, Effect, Stack};
use crate::model::cloud::network::Network;
use crate::model::cloud::status::Status;
use crate::model::desired::template::Template;
use crate::model::plan::stack_policy;
use crate::provider::memory::refusal::Refusal;
use crate::provider::{ProviderError, Retry};

pub(super) struct Account {
    pub(super) ec2: Ec2,
    pub(super) stack: Option<Stack>,
    /// The stack's resources, by logical id.
    pub(super) made: BTreeMap<String, Made>,
    /// The result of the operation in progress.
    pub(super) ends: Option<(Instant, Ending)>,
    pub(super) change_sets: BTreeMap<String, Prepared>,
    /// The number of changes of the stack. A change set created before the last change is obsolete.
    pub(super) generation: u64,
    /// LastUpdatedTime; None for a stack that was never updated.
    updated: Option<Instant>,
    /// The number of stacks created so far. A stack that is created again has another ARN.
    pub(super) created: u32,
    /// The duration of an operation on the stack. Computing a change set takes half as long.
    pub(super) pace: Duration,
    /// Why the next operation fails; None if it does not.
    pub(super) mishap: Option<String>,
    /// Whether change sets can revert drift, which not every region supports.
    pub(super) reverts: bool,
}

/// A change set, computed when it was created.
pub(super) struct Prepared {
    pub(super) template: Template,
    pub(super) changes: Vec<Change>,
    ready: Instant,
    /// Why the change set cannot be executed.
    pub(super) failed: Option<String>,
    /// The generation of the stack that the change set was created for.
    pub(super) generation: u64,
}

pub(super) enum Ending {
    Become(Status),
    /// Applies the template. If that fails, the stack is restored.
    Settle(Box<Settling>),
    Vanish,
}

pub(super) struct Settling {
    /// The stack before the operation, restored if the operation fails.
    before: Stack,
    pub(super) revert: bool,
}

impl Account {
    pub(super) fn new(network: Network) -> Self {
        Self {
            ec2: Ec2::new(network),
            stack: None,
            made: BTreeMap::new(),
            ends: None,
            change_sets: BTreeMap::new(),
            generation: 0,
            updated: None,
            created: 0,
            pace: OPERATION,
            mishap: None,
            reverts: true,
        }
    }

    pub(super) fn advance(&mut self) {
        let now = Instant::now();
        if self.ends.as_ref().is_none_or(|(at, _)| *at > now) {
            return;
        }
        match self.ends.take() {
            Some((_, Ending::Become(status))) => {
                if let Some(stack) = &mut self.stack {
                    stack.status = status;
                }
            }
            Some((_, Ending::Settle(settling))) => self.finish(*settling),
            Some((_, Ending::Vanish)) => {
                self.clear();
                self.stack = None;
                self.change_sets.clear();
            }
            None => {}
        }
    }

    fn finish(&mut self, settling: Settling) {
        let is_new = self.made.is_empty();
        let failed = self.settle(settling.revert).err();
        let Some(stack) = &mut self.stack else { return };
        stack.status = status(match (&failed, is_new) {
            (None, true) => "CREATE_COMPLETE",
            (None, false) => "UPDATE_COMPLETE",
            (Some(_), true) => "ROLLBACK_COMPLETE",
            (Some(_), false) => "UPDATE_ROLLBACK_COMPLETE",
        });
        let has_failed = failed.is_some();
        if let Some(refusal) = failed {
            refusal.explain(stack);
        }
        if has_failed && !is_new {
            stack.template = settling.before.template;
            stack.parameters = settling.before.parameters;
            stack.tags = settling.before.tags;
        }
    }

    pub(super) fn start(&mut self, during: &str, ending: Ending) {
        if let Some(stack) = &mut self.stack {
            stack.status = status(during);
        }
        self.generation += 1;
        self.updated = match during {
            "CREATE_IN_PROGRESS" | "ROLLBACK_IN_PROGRESS" => None,
            _ => Some(Instant::now()),
        };
        self.ends = Some((Instant::now() + self.pace, ending));
    }

    /// Records the end of another principal's operation on the stack. CloudFormation then no longer shows why an earlier one failed.
    #[cfg(test)]
    pub(super) fn was_changed(&mut self) {
        if let Some(stack) = &mut self.stack {
            stack.status = status("UPDATE_COMPLETE");
            stack.cause = None;
            stack.failed.clear();
        }
        self.generation += 1;
        self.updated = Some(Instant::now());
    }

    /// Returns the version of the stack, from the values that CloudFormation's answers show.
    pub(super) fn version(&self, stack: &Stack) -> String {
        format!("{} {} {:?}", stack.id, stack.status, self.updated)
    }

    pub(super) fn idle_stack(&mut self) -> Result<&mut Stack, ProviderError> {
        let Some(stack) = &mut self.stack else {
            return Err(refused("ValidationError", "the stack does not exist"));
        };
        if self.ends.is_some() {
            let text = format!(
                "the stack is in {} state and can not be updated",
                stack.status
            );
            return Err(refused("ValidationError", &text));
        }
        Ok(stack)
    }

    /// Refuses a call that names, by its ARN, a deleted stack with the name of the current one.
    pub(super) fn is_named(&self, stack: &str) -> Result<(), ProviderError> {
        match &self.stack {
            Some(live) if stack.starts_with("arn:") && live.id != stack => {
                Err(refused("ValidationError", "the stack does not exist"))
            }
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn create(&mut self, template: &Template) -> Result<(), ProviderError> {
        if self.stack.is_some() {
            return Err(refused(
                "AlreadyExistsException",
                "the stack already exists",
            ));
        }
        self.created += 1;
        self.stack = Some(Stack {
            name: template.stack_name.clone(),
            id: format!(
                "arn:aws:cloudformation:memory:000000000000:stack/{}/{}",
                template.stack_name, self.created
            ),
            termination_protection: template.termination_protection,
            policy: template.stack_policy.then(|| stack_policy::text(false)),
            ..Stack::default()
        });
        let before = self.stack.clone().unwrap_or_default();
        let conflict = self.conflict(template, false);
        self.adopt(template);
        match conflict {
            None => {
                let revert = false;
                let settling = Settling { before, revert };
                self.start("CREATE_IN_PROGRESS", Ending::Settle(Box::new(settling)));
            }
            Some(cause) => {
                self.explain(cause);
                self.start(
                    "ROLLBACK_IN_PROGRESS",
                    Ending::Become(status("ROLLBACK_COMPLETE")),
                );
            }
        }
        Ok(())
    }

    pub(super) fn prepare(
        &mut self,
        template: &Template,
        (epoch, owner): (u64, Option<&str>),
    ) -> Result<(), ProviderError> {
        let mut changes = changes(self.idle_stack()?, template);
        let name = change_set_name(&template.content(), epoch, 0, owner);
        if is_revert(&name) && !self.reverts {
            return Err(ProviderError::after_fix(
                "Rejected",
                "the account in memory does not revert drift".to_owned(),
            ));
        }
        if self.change_sets.contains_key(&name) {
            return Err(refused(
                "AlreadyExistsException",
                "a change set of this name exists",
            ));
        }
        if is_revert(&name) {
            changes = self.reversions();
        }
        let prepared = Prepared {
            template: template.clone(),
            changes,
            ready: Instant::now() + self.pace / 2,
            failed: None,
            generation: self.generation,
        };
        self.change_sets.insert(name, prepared);
        Ok(())
    }

    pub(super) fn execute(&mut self, name: &str) -> Result<(), ProviderError> {
        let before = self.idle_stack()?.clone();
        let ready = self
            .change_sets()
            .into_iter()
            .any(|set| set.name == name && set.state == ChangeSetState::Ready);
        let prepared = self.change_sets.get(name).filter(|_| ready);
        let Some(template) = prepared.map(|prepared| prepared.template.clone()) else {
            return Err(refused(
                "InvalidChangeSetStatus",
                "the change set cannot be executed",
            ));
        };
        self.change_sets.clear();
        let revert = is_revert(name);
        match self.conflict(&template, revert) {
            None => {
                self.adopt(&template);
                let settling = Settling { before, revert };
                self.start("UPDATE_IN_PROGRESS", Ending::Settle(Box::new(settling)));
            }
            Some(cause) => {
                self.explain(cause);
                self.start(
                    "UPDATE_ROLLBACK_IN_PROGRESS",
                    Ending::Become(status("UPDATE_ROLLBACK_COMPLETE")),
                );
            }
        }
        Ok(())
    }

    pub(super) fn delete(&mut self) -> Result<(), ProviderError> {
        if self.idle_stack()?.termination_protection {
            return Err(refused("ValidationError", "termination protection is on"));
        }
        self.start("DELETE_IN_PROGRESS", Ending::Vanish);
        Ok(())
    }

    fn explain(&mut self, refusal: Refusal) {
        if let Some(stack) = &mut self.stack {
            refusal.explain(stack);
        }
    }

    /// Stores the template in the stack.
    fn adopt(&mut self, template: &Template) {
        let Some(stack) = &mut self.stack else { return };
        stack.template.clone_from(&template.text);
        stack.parameters.clone_from(&template.parameters);
        stack.tags.clone_from(&template.tags);
        stack.cause = None;
        stack.failed.clear();
    }

    /// Returns the refusal of an operation that the stack policy forbids or that EC2 would refuse.
    fn conflict(&mut self, template: &Template, revert: bool) -> Option<Refusal> {
        if let Some(why) = self.mishap.take() {
            return Some(Refusal { id: None, why });
        }
        let stack = self.stack.as_ref()?;
        if stack_policy::is(stack, false)
            && let Some(lost) = changes(stack, template)
                .iter()
                .find(|change| is_loss(change))
        {
            let why = format!("{} is denied by stack policy", lost.logical_id);
            return Some(Refusal::of(&lost.logical_id, why));
        }
        let layout = Layout::read(&template.text, &template.parameters).unwrap_or_default();
        self.bring(&layout, revert).err()
    }

    pub(super) fn change_sets(&self) -> Vec<ChangeSet> {
        let Some(stack) = &self.stack else {
            return Vec::new();
        };
        let now = Instant::now();
        let set = |(name, prepared): (&String, &Prepared)| {
            let Prepared {
                template, changes, ..
            } = prepared;
            let state = if prepared.generation != self.generation {
                ChangeSetState::Dead("the stack has changed since".to_owned())
            } else if let Some(why) = &prepared.failed {
                ChangeSetState::Dead(why.clone())
            } else if prepared.ready > now {
                ChangeSetState::Pending
            } else if changes.is_empty() && says_the_same(stack, template) {
                ChangeSetState::NoChanges
            } else {
                ChangeSetState::Ready
            };
            let mut set = ChangeSet {
                name: name.clone(),
                state,
                changes: changes.clone(),
                lists: None,
            };
            if set.changes_list() {
                let wanted = Layout::read(&template.text, &template.parameters);
                set.lists = wanted.ok().map(|layout| layout.names().lists);
            }
            set
        };
        self.change_sets.iter().map(set).collect()
    }
}

/// Whether the stack and the template have the same tags and outputs.
fn says_the_same(stack: &Stack, template: &Template) -> bool {
    let wanted = Layout::read(&template.text, &template.parameters).unwrap_or_default();
    stack.tags == template.tags && layout(stack).outputs == wanted.outputs
}

fn is_loss(change: &Change) -> bool {
    let protected = ["AWS::EC2::EIP", "AWS::EC2::NatGateway", "AWS::EC2::Subnet"];
    matches!(change.effect, Effect::Remove | Effect::MayReplace)
        && protected.contains(&change.resource_type.as_str())
}

pub(super) fn status(name: &str) -> Status {
    Status::read(name)
}

pub(super) fn refused(reason: &'static str, text: &str) -> ProviderError {
    let message = format!("the account in memory refuses: {text}");
    ProviderError {
        retry: Retry::Soon,
        reason,
        message,
        source: None,
    }
}

/// The default of [`Account::pace`].
const OPERATION: Duration = Duration::from_millis(1_500);
