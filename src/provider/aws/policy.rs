//! The stack policy in CloudFormation.

use super::calls::Calls;
use super::error::Failure;
use super::kind::{Kind, Service};
use super::memory::{Memory, StateKey};
use super::reader::Reader;
use crate::error_chain;
use crate::model::cloud::status::Phase;
use crate::provider::ProviderError;

/// Reads the policy once in each state of a stack at rest. Checks for drift read it as well ([`super::observe`]). None if the controller
/// does not keep it, or there is none.
pub async fn read(
    reader: &Reader<'_>,
    memory: &mut Memory,
    key: &StateKey,
    phase: Phase,
) -> Result<Option<String>, Failure> {
    if !reader.policy || phase != Phase::Settled {
        return Ok(None);
    }
    if let Some((at, policy)) = &memory.policy
        && at == key
    {
        return Ok(policy.clone());
    }
    let answer = ask(reader.calls, reader.cloudformation, &key.id).await;
    if let Some(policy) = take(memory, answer)? {
        memory.policy = Some((key.clone(), policy));
    }
    Ok(memory.policy.as_ref().and_then(|(_, last)| last.clone()))
}

/// Stores an answer. None if the policy could not be read: the failure is logged once, the next pass reads the policy again, and nothing
/// else waits for it.
pub fn take(
    memory: &mut Memory,
    answer: Result<Option<String>, Failure>,
) -> Result<Option<Option<String>>, Failure> {
    match answer {
        Ok(policy) => {
            memory.policy_complaint = None;
            Ok(Some(policy))
        }
        Err(failure) if failure.kind == Kind::TermOver => Err(failure),
        Err(failure) => {
            let error = ProviderError::from(failure);
            if memory.policy_complaint.replace(error.reason) != Some(error.reason) {
                tracing::warn!(
                    reason = error.reason,
                    "the stack policy cannot be read, so it is taken for what it was: {}",
                    error_chain::text(&error)
                );
            }
            Ok(None)
        }
    }
}

/// Asks CloudFormation for the policy. None if there is none, or the right to read it is missing.
pub async fn ask(
    calls: &Calls,
    cloudformation: &aws_sdk_cloudformation::Client,
    stack: &str,
) -> Result<Option<String>, Failure> {
    let request = cloudformation.get_stack_policy().stack_name(stack);
    let answer = calls
        .read(Service::CloudFormation, "GetStackPolicy", |gate| {
            request.customize().interceptor(gate).send()
        })
        .await;
    match answer {
        // Setting the policy reports the missing right. Until then nothing else waits for it.
        Err(failure) if failure.kind == Kind::Denied => Ok(None),
        answer => Ok(answer?.stack_policy_body),
    }
}
