//! What the AWS provider is given, and what it reports: the same with and without the feature `aws`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What the provider has to know; region, credentials and endpoints come from the environment.
#[derive(Clone)]
pub struct AwsConfig {
    /// The name of the stack that is created when none is found.
    pub stack_name: String,
    /// The tags by which a stack is ours.
    pub ownership: BTreeMap<String, String>,
    /// `vpc-…`; without it the only VPC, else the default one.
    pub vpc_id: Option<String>,
    /// Tags (key, value) that a worker route table has besides `AvailabilityZone`.
    pub route_table_filters: Vec<(String, String)>,
    /// For templates that are too large for a request.
    pub template_bucket: Option<String>,
    /// The account is asked for its quota of routes per route table, since the operator has set none.
    pub asks_route_quota: bool,
    /// The account is asked how many more prefix lists it may have, since the controller may make some.
    pub asks_more_lists: bool,
    /// Service role that CloudFormation takes on.
    pub role_arn: Option<String>,
    /// The stack has a policy that this controller keeps.
    pub stack_policy: bool,
    /// Stands for the Lease in the tokens of operations.
    pub lease: Option<String>,
    /// Marks the replica in the user agent of every request.
    pub app_name: String,
    pub observer: Observer,
}

/// What one call came to, its retries included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallReport {
    /// `cloudformation`, `ec2`, `s3` or `servicequotas`.
    pub service: &'static str,
    /// As in the API reference: `DescribeStacks`.
    pub action: &'static str,
    /// `ok`, AWS's error code, or `Timeout`, `Unreachable`, `TermOver`, … where AWS did not answer.
    pub code: String,
    /// How often it was sent; 0 when it never left.
    pub attempts: u32,
    pub duration: Duration,
}

/// Receives a report of every call, for metrics. It runs on the calling task, so it must not block.
pub type Observer = Arc<dyn Fn(&CallReport) + Send + Sync>;
