//! The stack policy as CloudFormation has it.

use super::error::{Failure, Kind, Service};
use super::memory::{Memory, StateKey};
use super::stack::Reader;
use crate::model::live::Phase;

/// Read once in each state of the stack: somebody else's change of it is seen by the next leader, or after the next
/// operation. None where it is not kept, or there is none.
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
    let request = reader.cloudformation.get_stack_policy().stack_name(&key.id);
    let answer = reader
        .calls
        .read(Service::CloudFormation, "GetStackPolicy", |gate| {
            request.customize().interceptor(gate).send()
        })
        .await;
    let answer = match answer {
        // Told when it is to be set; until then it keeps nothing else from being done.
        Err(failure) if failure.kind == Kind::Denied => return Ok(None),
        answer => answer?,
    };
    memory.policy = Some((key.clone(), answer.stack_policy_body.clone()));
    Ok(answer.stack_policy_body)
}
