//! CloudFormation's own drift detection. It only reads and is not an operation of the stack, so changes can run at the same time.

use std::collections::BTreeMap;

use aws_sdk_cloudformation::types::{
    StackDriftDetectionStatus, StackResourceDrift, StackResourceDriftStatus,
};

use super::calls::Calls;
use super::codes;
use super::error::Failure;
use super::kind::Service;
use super::memory::Memory;
use super::pages::{List, Pages};
use crate::model::cloud::live::Stack;
use crate::model::drift::cfn_detection::{Detection, Property, Verdict};
use crate::provider::ProviderError;

/// The maximum length of a property's value in a message, in characters.
const MAX_VALUE: usize = 120;

pub struct DriftDetector<'a> {
    pub calls: &'a Calls,
    pub cloudformation: &'a aws_sdk_cloudformation::Client,
}

impl DriftDetector<'_> {
    /// Starts a detection if `new` or if none runs, and otherwise asks for the state of the one that was started.
    pub async fn detect(
        &self,
        memory: &mut Memory,
        stack: &Stack,
        new: bool,
    ) -> Result<Detection, ProviderError> {
        let Some(id) = memory.detection.take().filter(|_| !new) else {
            memory.detection = self.start(stack).await?;
            return Ok(Detection::UnderWay);
        };
        let Some(failure) = self.end(&id).await? else {
            memory.detection = Some(id);
            return Ok(Detection::UnderWay);
        };
        let found = self.found(stack).await?;
        match failure {
            // A detection can fail for some resources and still find drift of others.
            Some(why) if found.is_empty() => {
                Err(ProviderError::after_fix("DriftDetectionFailed", why))
            }
            _ => Ok(Detection::Done(found)),
        }
    }

    async fn start(&self, stack: &Stack) -> Result<Option<String>, Failure> {
        let request = self
            .cloudformation
            .detect_stack_drift()
            .stack_name(&stack.id);
        let answer = self
            .calls
            .read(Service::CloudFormation, "DetectStackDrift", |gate| {
                request.customize().interceptor(gate).send()
            })
            .await?;
        Ok(answer.stack_drift_detection_id)
    }

    /// Returns None while a detection runs. The inner value is the reason why it failed for at least one resource.
    async fn end(&self, id: &str) -> Result<Option<Option<String>>, Failure> {
        let request = self
            .cloudformation
            .describe_stack_drift_detection_status()
            .stack_drift_detection_id(id);
        let answer = self
            .calls
            .read(
                Service::CloudFormation,
                "DescribeStackDriftDetectionStatus",
                |gate| request.customize().interceptor(gate).send(),
            )
            .await?;
        let why = || {
            let why = answer.detection_status_reason().map(codes::one_line);
            why.unwrap_or_else(|| "no reason given".to_owned())
        };
        Ok(match answer.detection_status() {
            Some(StackDriftDetectionStatus::DetectionInProgress) => None,
            Some(StackDriftDetectionStatus::DetectionFailed) => Some(Some(why())),
            _ => Some(None),
        })
    }

    async fn found(&self, stack: &Stack) -> Result<BTreeMap<String, Verdict>, Failure> {
        let (mut found, mut pages) = (BTreeMap::new(), Pages::of(List::ResourceDrifts));
        while let Some(token) = pages.turn() {
            let request = self
                .cloudformation
                .describe_stack_resource_drifts()
                .stack_name(&stack.id)
                .stack_resource_drift_status_filters(StackResourceDriftStatus::Modified)
                .stack_resource_drift_status_filters(StackResourceDriftStatus::Deleted)
                .set_next_token(token);
            let answer = self
                .calls
                .read(
                    Service::CloudFormation,
                    "DescribeStackResourceDrifts",
                    |gate| request.customize().interceptor(gate).send(),
                )
                .await?;
            found.extend(answer.stack_resource_drifts().iter().filter_map(verdict));
            pages.note(answer.next_token);
        }
        Ok(found)
    }
}

fn verdict(drift: &StackResourceDrift) -> Option<(String, Verdict)> {
    let id = drift.logical_resource_id()?.to_owned();
    let verdict = match drift.stack_resource_drift_status()? {
        StackResourceDriftStatus::Deleted => Verdict::Deleted,
        StackResourceDriftStatus::Modified => Verdict::Modified(properties(drift)),
        _ => return None,
    };
    Some((id, verdict))
}

fn properties(drift: &StackResourceDrift) -> Vec<Property> {
    let text = |value: Option<&str>| {
        let line = codes::one_line(value.unwrap_or_default());
        line.chars().take(MAX_VALUE).collect()
    };
    let property = |difference: &aws_sdk_cloudformation::types::PropertyDifference| Property {
        path: text(difference.property_path()),
        expected: text(difference.expected_value()),
        actual: text(difference.actual_value()),
    };
    drift.property_differences().iter().map(property).collect()
}
