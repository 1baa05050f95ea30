//! The settings and reports of the AWS provider, the same with and without the feature `aws`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The settings of the provider. Region, credentials and endpoints come from the environment.
#[derive(Clone)]
pub struct AwsConfig {
    /// The name of the stack that is created when none is found.
    pub stack_name: String,
    /// The tags that mark a stack as ours.
    pub ownership: BTreeMap<String, String>,
    /// The id of the VPC (`vpc-…`). Without one, the only VPC is used, or else the default one.
    pub vpc_id: Option<String>,
    /// The tags (key, value) that a worker route table must have besides `AvailabilityZone`.
    pub route_table_filters: Vec<(String, String)>,
    /// The S3 bucket for templates that are too large for a request.
    pub template_bucket: Option<String>,
    /// Whether AWS is asked for the quota of routes per route table, because the operator has set none.
    pub asks_route_quota: bool,
    /// Whether AWS is asked how many more prefix lists the account may have, because the controller may make some.
    pub asks_more_lists: bool,
    /// The service role that CloudFormation assumes.
    pub role_arn: Option<String>,
    /// Whether this controller keeps a policy of the stack.
    pub stack_policy: bool,
    /// Stands for the Lease in the tokens of operations.
    pub lease: Option<String>,
    /// The name of the replica in the user agent of every request.
    pub app_name: String,
    pub observer: Observer,
}

/// The result of one call, including its retries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallReport {
    /// `cloudformation`, `ec2`, `s3` or `servicequotas`.
    pub service: &'static str,
    /// The action as in the API reference, such as `DescribeStacks`.
    pub action: &'static str,
    /// `ok`, AWS's error code, or `Timeout`, `Unreachable`, `TermOver`, … if AWS did not answer.
    pub code: String,
    /// How often the request was sent: 0 if it never left.
    pub attempts: u32,
    pub duration: Duration,
}

/// Receives a report of every call, for metrics. It runs on the calling task, so it must not block.
pub type Observer = Arc<dyn Fn(&CallReport) + Send + Sync>;
