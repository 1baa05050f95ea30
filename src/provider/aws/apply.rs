//! The mutating calls of each action, within the leader's term.

use std::collections::BTreeSet;

use aws_sdk_cloudformation::operation::create_change_set::builders::CreateChangeSetFluentBuilder;
use aws_sdk_cloudformation::types::{ChangeSetType, DeploymentMode, Parameter, Tag};

use super::bucket::{self, Bucket};
use super::calls::Calls;
use super::error::Failure;
use super::kind::{Kind, Service};
use super::memory::Memory;
use super::operation::Operation;
use crate::lease::term::Term;
use crate::model::base::owner::token;
use crate::model::cloud::change_set_name::change_set_name;
use crate::model::cloud::status::Status;
use crate::model::desired::template::Template;
use crate::model::plan::stack_policy;
use crate::model::plan::types::Action;
use crate::provider::ProviderError;

pub struct Writer<'a> {
    pub calls: &'a Calls,
    pub cloudformation: &'a aws_sdk_cloudformation::Client,
    pub bucket: Option<&'a Bucket>,
    /// The role that CloudFormation assumes. Without a role, CloudFormation uses the caller's rights.
    pub role_arn: Option<&'a str>,
    pub term: &'a Term,
    /// The short form of the cluster that acts.
    pub owner: Option<&'a str>,
    /// The short form of the cluster's Lease.
    pub lease: Option<&'a str>,
}

impl Writer<'_> {
    pub async fn apply(
        &self,
        memory: &mut Memory,
        stack: &str,
        action: &Action,
    ) -> Result<(), ProviderError> {
        match action {
            Action::Keep | Action::Wait | Action::Refuse => Ok(()),
            Action::Create(template) => self.create(memory, template).await,
            Action::Prepare(template) => {
                let (text, url) = self.body(template).await?;
                let body = self.change_set(memory, stack, template);
                let body = body.set_template_body(text).set_template_url(url);
                self.prepare(memory, body.set_parameters(Some(parameters(template))))
                    .await
            }
            Action::Revert(template) => {
                let body = self.change_set(memory, stack, template);
                let body = body.use_previous_template(true);
                let body = body.deployment_mode(DeploymentMode::RevertDrift);
                self.prepare(memory, body.set_parameters(Some(same_parameters(template))))
                    .await
            }
            Action::Execute { change_set } => self.execute(memory, stack, change_set).await,
            Action::Discard { change_set } => {
                memory.prepared = None;
                // The name may still be in use, whether or not the call succeeds.
                memory.attempts += 1;
                self.discard(stack, change_set).await
            }
            Action::Protect(on) => self.protect(stack, *on).await,
            Action::SetPolicy { open } => self.set_policy(memory, stack, *open).await,
            Action::ContinueRollback { skip } => self.continue_rollback(memory, stack, skip).await,
            Action::Delete { retain } => self.delete(memory, stack, retain).await,
        }
    }

    async fn create(&self, memory: &mut Memory, template: &Template) -> Result<(), ProviderError> {
        let (text, url) = self.body(template).await?;
        let token = self.token(memory, &template.fingerprint);
        let request = self
            .cloudformation
            .create_stack()
            .stack_name(&template.stack_name)
            .set_template_body(text)
            .set_template_url(url)
            .set_parameters(Some(parameters(template)))
            .set_tags(Some(tags(template)))
            .enable_termination_protection(template.termination_protection)
            .set_stack_policy_body(template.stack_policy.then(|| stack_policy::text(false)))
            .set_role_arn(self.role_arn.map(str::to_owned))
            .client_request_token(&token);
        let operation = Operation::new(
            token,
            template.stack_name.clone(),
            Status::CreateInProgress,
            None,
        );
        memory.operation = Some(operation.changing(Some(template.size.resources)));
        let answer = self
            .calls
            .write(self.term, Service::CloudFormation, "CreateStack", |gate| {
                request.customize().interceptor(gate).send()
            })
            .await;
        let answer = self.started(memory, answer)?;
        if let Some(arn) = answer.and_then(|answer| answer.stack_id) {
            if let Some(operation) = &mut memory.operation {
                operation.accepted(Some(&arn));
            }
            memory.known = vec![arn];
        }
        Ok(())
    }

    fn change_set(
        &self,
        memory: &Memory,
        stack: &str,
        template: &Template,
    ) -> CreateChangeSetFluentBuilder {
        let (epoch, attempt) = (self.term.epoch(), memory.attempts);
        let name = change_set_name(&template.content(), epoch, attempt, self.owner);
        self.cloudformation
            .create_change_set()
            .stack_name(stack)
            .change_set_name(&name)
            .change_set_type(ChangeSetType::Update)
            .set_tags(Some(tags(template)))
            // No client token: the name identifies the request, and AWS may remember a token longer than its change set.
            .set_role_arn(self.role_arn.map(str::to_owned))
    }

    async fn prepare(
        &self,
        memory: &mut Memory,
        request: CreateChangeSetFluentBuilder,
    ) -> Result<(), ProviderError> {
        memory.change_sets = true;
        memory.prepared = request.get_change_set_name().clone();
        let answer = self
            .calls
            .write(
                self.term,
                Service::CloudFormation,
                "CreateChangeSet",
                |gate| request.customize().interceptor(gate).send(),
            )
            .await;
        match answer {
            // An earlier call, whose answer was lost, made the change set: the name stands for its content and the attempt.
            Err(failure) if failure.kind == Kind::Exists => Ok(()),
            answer => {
                let made = answer?;
                memory.prepared = made.id.or(memory.prepared.take());
                memory.attempts += 1;
                Ok(())
            }
        }
    }

    async fn execute(
        &self,
        memory: &mut Memory,
        stack: &str,
        change_set: &str,
    ) -> Result<(), ProviderError> {
        let token = self.token(memory, change_set);
        let request = self
            .cloudformation
            .execute_change_set()
            .stack_name(stack)
            .change_set_name(change_set)
            // A failed operation is rolled back, independent of the API's default.
            .disable_rollback(false)
            .client_request_token(&token);
        memory.prepared = None;
        let before = memory.updated(stack);
        let changes = memory.ready.take().filter(|(name, _)| name == change_set);
        let operation = Operation::new(token, stack.to_owned(), Status::UpdateInProgress, before);
        memory.operation = Some(operation.changing(changes.map(|(_, changes)| changes)));
        let answer = self
            .calls
            .write(
                self.term,
                Service::CloudFormation,
                "ExecuteChangeSet",
                |gate| request.customize().interceptor(gate).send(),
            )
            .await;
        self.started(memory, answer).map(drop)
    }

    async fn discard(&self, stack: &str, change_set: &str) -> Result<(), ProviderError> {
        let request = self
            .cloudformation
            .delete_change_set()
            .stack_name(stack)
            .change_set_name(change_set);
        let answer = self
            .calls
            .write(
                self.term,
                Service::CloudFormation,
                "DeleteChangeSet",
                |gate| request.customize().interceptor(gate).send(),
            )
            .await;
        match answer {
            Err(failure) if failure.kind == Kind::Missing => Ok(()),
            answer => Ok(answer.map(drop)?),
        }
    }

    async fn protect(&self, stack: &str, on: bool) -> Result<(), ProviderError> {
        let request = self
            .cloudformation
            .update_termination_protection()
            .stack_name(stack)
            .enable_termination_protection(on);
        let answer = self
            .calls
            .write(
                self.term,
                Service::CloudFormation,
                "UpdateTerminationProtection",
                |gate| request.customize().interceptor(gate).send(),
            )
            .await;
        Ok(answer.map(drop)?)
    }

    async fn set_policy(
        &self,
        memory: &mut Memory,
        stack: &str,
        open: bool,
    ) -> Result<(), ProviderError> {
        let request = self
            .cloudformation
            .set_stack_policy()
            .stack_name(stack)
            .stack_policy_body(stack_policy::text(open));
        memory.policy = None;
        let answer = self
            .calls
            .write(
                self.term,
                Service::CloudFormation,
                "SetStackPolicy",
                |gate| request.customize().interceptor(gate).send(),
            )
            .await;
        answer?;
        let at = memory.seen.clone();
        memory.policy = at.map(|at| (at, Some(stack_policy::text(open))));
        Ok(())
    }

    async fn continue_rollback(
        &self,
        memory: &mut Memory,
        stack: &str,
        skip: &BTreeSet<String>,
    ) -> Result<(), ProviderError> {
        let token = self.token(memory, "rollback");
        let request = self
            .cloudformation
            .continue_update_rollback()
            .stack_name(stack)
            .set_resources_to_skip((!skip.is_empty()).then(|| skip.iter().cloned().collect()))
            .set_role_arn(self.role_arn.map(str::to_owned))
            .client_request_token(&token);
        memory.operation = Some(Operation::new(
            token,
            stack.to_owned(),
            Status::UpdateRollbackInProgress,
            None,
        ));
        let answer = self
            .calls
            .write(
                self.term,
                Service::CloudFormation,
                "ContinueUpdateRollback",
                |gate| request.customize().interceptor(gate).send(),
            )
            .await;
        self.started(memory, answer).map(drop)
    }

    async fn delete(
        &self,
        memory: &mut Memory,
        stack: &str,
        retain: &BTreeSet<String>,
    ) -> Result<(), ProviderError> {
        let token = self.token(memory, "delete");
        let request = self
            .cloudformation
            .delete_stack()
            .stack_name(stack)
            .set_retain_resources((!retain.is_empty()).then(|| retain.iter().cloned().collect()))
            .set_role_arn(self.role_arn.map(str::to_owned))
            .client_request_token(&token);
        memory.operation = Some(Operation::new(
            token,
            stack.to_owned(),
            Status::DeleteInProgress,
            None,
        ));
        let answer = self
            .calls
            .write(self.term, Service::CloudFormation, "DeleteStack", |gate| {
                request.customize().interceptor(gate).send()
            })
            .await;
        self.started(memory, answer).map(drop)
    }

    /// Returns the client token of an operation. A call that is repeated after a lost answer has the same token; the token changes once a
    /// call was accepted.
    fn token(&self, memory: &Memory, what: &str) -> String {
        token(
            self.term.epoch(),
            (self.owner, self.lease),
            what,
            memory.started,
        )
    }

    /// Evaluates the answer to a call that starts an operation. None: an earlier attempt of the call started the operation.
    fn started<T>(
        &self,
        memory: &mut Memory,
        answer: Result<T, Failure>,
    ) -> Result<Option<T>, ProviderError> {
        match answer {
            Ok(answer) => {
                memory.started += 1;
                if let Some(operation) = &mut memory.operation {
                    operation.accepted(None);
                }
                Ok(Some(answer))
            }
            Err(failure) if failure.may_have_happened() => {
                // The operation stays in memory. The call is repeated when events show how the operation ended, or after a time limit.
                let done = matches!(failure.kind, Kind::Exists | Kind::State | Kind::Missing);
                if done { Ok(None) } else { Err(failure.into()) }
            }
            Err(failure) => {
                memory.operation = None;
                Err(failure.into())
            }
        }
    }

    /// Returns the template as TemplateBody or TemplateURL. Uploads a template that is too large for a request.
    async fn body(
        &self,
        template: &Template,
    ) -> Result<(Option<String>, Option<String>), ProviderError> {
        if !template.needs_bucket() {
            return Ok((Some(template.text.clone()), None));
        }
        let bucket = self.bucket.ok_or_else(|| bucket::none_given(template))?;
        let url = bucket.put(self.calls, self.term, template).await?;
        Ok((None, Some(url)))
    }
}

fn parameters(template: &Template) -> Vec<Parameter> {
    let parameter = |(key, value)| {
        Parameter::builder()
            .parameter_key(key)
            .parameter_value(value)
            .build()
    };
    template.parameters.iter().map(parameter).collect()
}

fn same_parameters(template: &Template) -> Vec<Parameter> {
    let same = |key| {
        Parameter::builder()
            .parameter_key(key)
            .use_previous_value(true)
            .build()
    };
    template.parameters.keys().map(same).collect()
}

fn tags(template: &Template) -> Vec<Tag> {
    template
        .tags
        .iter()
        .map(|(key, value)| Tag::builder().key(key).value(value).build())
        .collect()
}
