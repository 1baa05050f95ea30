//! The stack as CloudFormation shows it: found by name and tags, read only when it changes, and never at rest while an operation of ours
//! may still run.

use aws_sdk_cloudformation::types::Stack as CfnStack;

use super::claim::{Claim, pairs};
use super::error::Failure;
use super::kind::{Kind, Service};
use super::memory::{Memory, Search, StateKey};
use super::operation::Operation;
use super::pages::{List, Pages};
use super::reader::Reader;
use super::{
    changeset, claim, codes, deletion, failure, latest, left_behind, operation, policy, progress,
};
use crate::model::cloud::live::{ChangeSet, ChangeSetState, Deletion, Live, Progress, Stack};
use crate::model::cloud::status::{Phase, Status};
use crate::provider::ProviderError;

/// The number of stacks that each pass reads if several claim to be ours.
const MAX_CLAIMS: usize = 5;

/// The template of a stack that has none yet: no resources.
const NO_TEMPLATE: &str = r#"{"Resources":{}}"#;

impl Reader<'_> {
    /// Returns the stack, and whether the known VPC and limits may be outdated or have caused a failure: the stack has newly reached a
    /// failed state, or is gone.
    pub async fn live(
        &self,
        memory: &mut Memory,
        epoch: Option<u64>,
        known: Option<&str>,
    ) -> Result<(Live, bool), ProviderError> {
        memory.begin(epoch, known);
        let mut found = self.look(memory).await?;
        let is_known = |stack: &CfnStack| memory.known.iter().any(|arn| arn == id(stack));
        // While the known stack exists, the account need not be searched.
        memory.searched |= found
            .iter()
            .any(|stack| is_known(stack) && claim::is_owned(stack, self.ownership));
        if !memory.searched {
            found.extend(self.search(&mut memory.search).await?);
            memory.searched = true;
        }
        let claim = claim::claim(self.name, self.ownership, &found);
        Ok(match claim {
            Claim::Ours(stack) => {
                memory.known = vec![id(&stack).to_owned()];
                let key = StateKey::of(&stack);
                let live = self.read(memory, &stack, &key).await?;
                let failed = has_failed(&live.status, live.status.phase());
                let news = failed && memory.seen.as_ref() != Some(&key);
                memory.seen = Some(key);
                (Live::Ours(Box::new(live)), news)
            }
            Claim::Several(stacks) => {
                memory.known = stacks
                    .iter()
                    .take(MAX_CLAIMS)
                    .map(|stack| id(stack).to_owned())
                    .collect();
                (Live::Several(stacks.iter().map(name).collect()), false)
            }
            Claim::Foreign { name, why } => (Live::Foreign { name, why }, false),
            Claim::Absent => match found
                .iter()
                .find(|stack| memory.known.iter().any(|arn| arn == id(stack)))
            {
                // The stack was ours before. If it counted as absent, the controller would create a second one with other IPs.
                Some(lost) => {
                    let why = claim::why_foreign(lost, self.ownership);
                    (
                        Live::Foreign {
                            name: name(lost),
                            why,
                        },
                        false,
                    )
                }
                None => (self.absent(memory), memory.seen.take().is_some()),
            },
        })
    }

    /// Returns the stacks that are known to be ours, or else the one that has the name.
    async fn look(&self, memory: &mut Memory) -> Result<Vec<CfnStack>, Failure> {
        let mut found = Vec::new();
        for arn in memory.known.clone() {
            let described = match self.describe(&arn).await {
                // The ledger comes from another account or region, so its ARN is no help.
                Err(failure)
                    if memory.seen.is_none()
                        && matches!(failure.kind, Kind::Denied | Kind::Invalid) =>
                {
                    None
                }
                described => described?,
            };
            match described {
                Some(stack) if !claim::is_gone(&stack) => found.push(stack),
                Some(_) => {
                    memory.forget_stack(&arn);
                    memory.gone = Some(arn);
                }
                // DescribeStacks lags behind CreateStack.
                None if is_creating(memory.operation.as_ref(), &arn) => {}
                None => {
                    memory.forget_stack(&arn);
                    // A search by tags comes before the creation of a second stack.
                    memory.searched = false;
                }
            }
        }
        if memory.known.is_empty() {
            found.extend(
                self.describe(self.name)
                    .await?
                    .filter(|stack| stack.stack_id() != memory.gone.as_deref()),
            );
        }
        Ok(found)
    }

    async fn describe(&self, stack: &str) -> Result<Option<CfnStack>, Failure> {
        let request = self.cloudformation.describe_stacks().stack_name(stack);
        let answer = self
            .calls
            .read(Service::CloudFormation, "DescribeStacks", |gate| {
                request.customize().interceptor(gate).send()
            })
            .await;
        match answer {
            Ok(answer) => Ok(answer.stacks.unwrap_or_default().into_iter().next()),
            Err(failure) if failure.kind == Kind::Missing => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Returns every stack with our tags, from all pages. A search that is throttled continues where it stopped.
    async fn search(&self, search: &mut Search) -> Result<Vec<CfnStack>, ProviderError> {
        if self.ownership.is_empty() {
            return Ok(Vec::new());
        }
        let mut pages = Pages::resume(List::Stacks, search.next.clone());
        while let Some(token) = pages.turn() {
            let request = self.cloudformation.describe_stacks().set_next_token(token);
            let answer = self
                .calls
                .read(Service::CloudFormation, "DescribeStacks", |gate| {
                    request.customize().interceptor(gate).send()
                })
                .await;
            let answer = match answer {
                Err(failure) if matches!(failure.kind, Kind::Invalid | Kind::Missing) => {
                    // The token was too old. The next search starts from the beginning.
                    *search = Search::default();
                    return Err(failure.into());
                }
                answer => answer?,
            };
            let stacks = answer.stacks.unwrap_or_default().into_iter();
            search
                .found
                .extend(stacks.filter(|stack| claim::is_owned(stack, self.ownership)));
            pages.note(answer.next_token);
            search.next = pages.token();
        }
        let found = std::mem::take(search).found;
        let whole = pages.end().map(|()| found);
        whole.map_err(|long| long.error("TooManyStacks", "use an account with fewer"))
    }

    /// Returns the state if no stack was found: absent, or a stack for which CreateStack was sent.
    fn absent(&self, memory: &mut Memory) -> Live {
        match &memory.operation {
            Some(operation) if is_creating(Some(operation), &operation.stack) => {
                Live::Ours(Box::new(Stack {
                    name: self.name.to_owned(),
                    id: operation.stack.clone(),
                    status: operation.status.clone(),
                    tags: self.ownership.clone(),
                    template: NO_TEMPLATE.to_owned(),
                    ..Stack::default()
                }))
            }
            _ => {
                memory.operation = None;
                memory.known.clear();
                Live::Absent
            }
        }
    }

    async fn read(
        &self,
        memory: &mut Memory,
        stack: &CfnStack,
        key: &StateKey,
    ) -> Result<Stack, ProviderError> {
        let shown = Status::read(&key.status);
        let running = self.running(memory, stack, &shown).await?;
        let (status, unconfirmed) = match running {
            Some(running) => (running, Some(shown)),
            None => (shown, None),
        };
        let phase = status.phase();
        let mut live = Stack {
            name: name(stack),
            id: key.id.clone(),
            parameters: pairs(
                stack
                    .parameters()
                    .iter()
                    .map(|p| (p.parameter_key(), p.parameter_value())),
            ),
            tags: pairs(stack.tags().iter().map(|tag| (tag.key(), tag.value()))),
            outputs: pairs(
                stack
                    .outputs()
                    .iter()
                    .map(|output| (output.output_key(), output.output_value())),
            ),
            updated: stack.last_updated_time().is_some(),
            termination_protection: stack.enable_termination_protection().unwrap_or(false),
            status,
            unconfirmed,
            version: key.version(),
            ..Stack::default()
        };
        if live.status.tells_failure() || phase == Phase::Unknown {
            let reason = stack.stack_status_reason().map(codes::one_line);
            live.cause = reason.filter(|reason| codes::says_a_cause(reason));
        }
        live.template = match phase {
            Phase::Review | Phase::Gone => NO_TEMPLATE.to_owned(),
            _ => self.template(memory, key, phase).await?,
        };
        live.policy = policy::read(self, memory, key, phase).await?;
        live.last_operation = latest::read(self, memory, key, &live).await;
        live.left_behind = left_behind::read(self, &mut memory.left_behind, &live).await;
        if has_failed(&live.status, phase) {
            let failure = self.failure(memory, key).await?;
            live.cause = failure.cause.or(live.cause);
            live.failed = failure.failed;
            live.rollback = failure.rollback;
        }
        if phase == Phase::DeleteFailed {
            live.deletion = Some(self.deletion(memory, key).await?);
        }
        if phase == Phase::Busy {
            live.progress = self.progress(memory, stack).await;
        }
        if phase == Phase::Settled && memory.change_sets {
            let changed = stack.last_updated_time().map_or(0, |time| time.secs());
            live.change_sets = self.change_sets(memory, &key.id, changed).await?;
        }
        Ok(live)
    }

    /// Returns the controller's change sets. `changed`: the time of the stack's last update, in seconds since 1970.
    async fn change_sets(
        &self,
        memory: &mut Memory,
        stack: &str,
        changed: i64,
    ) -> Result<Vec<ChangeSet>, Failure> {
        let known = (memory.prepared.as_deref(), &mut memory.refused);
        let sets = changeset::ours(self.calls, self.cloudformation, stack, known, changed).await?;
        // CloudFormation may list an executed change set forever. It needs no further check.
        memory.change_sets = sets.iter().any(|set| set.state != ChangeSetState::Executed);
        memory.prepared = memory.prepared.take().filter(|_| memory.change_sets);
        let ready = sets.iter().find(|set| set.state == ChangeSetState::Ready);
        memory.ready = ready.map(|set| (set.name.clone(), set.changes.len()));
        if sets
            .iter()
            .any(|set| set.state == ChangeSetState::NoChanges)
        {
            // A change set found no changes, although one was expected: the template in memory may be old.
            memory.template = None;
        }
        Ok(sets)
    }

    /// Returns the status of our operation if it has not ended although the stack is shown at rest.
    async fn running(
        &self,
        memory: &mut Memory,
        stack: &CfnStack,
        status: &Status,
    ) -> Result<Option<Status>, Failure> {
        let Some(operation) = memory
            .operation
            .as_mut()
            .filter(|operation| operation.is_of(stack))
        else {
            return Ok(None);
        };
        if status.phase() == Phase::Busy {
            operation.is_running();
            return Ok(None);
        }
        let page = operation::page(self.calls, self.cloudformation, id(stack), None);
        let (events, after) = page.await?;
        if operation.has_ended(stack, &events) || operation.is_out_of_patience() {
            memory.operation = None;
            latest::note(memory, &StateKey::of(stack), &events, after);
            // Values that were read during the operation may be outdated. A deletion that fails again does not change the state key.
            memory.template = None;
            memory.deletion = None;
            memory.failure = None;
            return Ok(None);
        }
        Ok(Some(operation.status.clone()))
    }

    /// Returns the template as it was sent. While an operation runs, the known template is sufficient.
    async fn template(
        &self,
        memory: &mut Memory,
        key: &StateKey,
        phase: Phase,
    ) -> Result<String, Failure> {
        if let Some((at, text)) = &memory.template
            && (at == key || (phase == Phase::Busy && at.id == key.id))
        {
            return Ok(text.clone());
        }
        let text = changeset::template(self.calls, self.cloudformation, &key.id, None).await?;
        memory.template = Some((key.clone(), text.clone()));
        Ok(text)
    }

    async fn progress(&self, memory: &mut Memory, stack: &CfnStack) -> Option<Progress> {
        let changes = memory.operation.as_ref().and_then(|it| it.changes);
        progress::read(self, &mut memory.progress, stack, changes).await
    }

    async fn deletion(&self, memory: &mut Memory, key: &StateKey) -> Result<Deletion, Failure> {
        if let Some((_, known)) = memory.deletion.as_ref().filter(|(at, _)| at == key) {
            return Ok(known.clone());
        }
        let read = deletion::read(self.calls, self.cloudformation, &key.id).await?;
        memory.deletion = Some((key.clone(), read.clone()));
        Ok(read)
    }

    async fn failure(
        &self,
        memory: &mut Memory,
        key: &StateKey,
    ) -> Result<failure::Failure, Failure> {
        if let Some((_, known)) = memory.failure.as_ref().filter(|(at, _)| at == key) {
            return Ok(known.clone());
        }
        let failure = failure::read(self.calls, self.cloudformation, &key.id).await?;
        memory.failure = Some((key.clone(), failure.clone()));
        Ok(failure)
    }
}

fn is_creating(operation: Option<&Operation>, stack: &str) -> bool {
    operation.is_some_and(|operation| {
        operation.stack == stack
            && operation.status == Status::CreateInProgress
            && !operation.is_out_of_patience()
    })
}

/// Whether the last operation failed or was rolled back, and has ended.
fn has_failed(status: &Status, phase: Phase) -> bool {
    match phase {
        Phase::CreateFailed | Phase::RollbackFailed | Phase::DeleteFailed => true,
        Phase::Settled => status.tells_failure(),
        Phase::Busy | Phase::Review | Phase::Gone | Phase::Unknown => false,
    }
}

fn id(stack: &CfnStack) -> &str {
    stack.stack_id().unwrap_or_default()
}

fn name(stack: &CfnStack) -> String {
    stack.stack_name().unwrap_or_default().to_owned()
}
