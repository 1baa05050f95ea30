//! [`Kind`]: the kind of an error of AWS; [`Service`]: the service that it comes from.

/// A service's name as IAM spells it before the colon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    CloudFormation,
    Ec2,
    S3,
    Quotas,
}

impl Service {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CloudFormation => "cloudformation",
            Self::Ec2 => "ec2",
            Self::S3 => "s3",
            Self::Quotas => "servicequotas",
        }
    }

    /// Returns the service's name in the SDK.
    pub fn sdk_name(self) -> &'static str {
        match self {
            Self::CloudFormation => "CloudFormation",
            Self::Ec2 => "EC2",
            Self::S3 => "S3",
            Self::Quotas => "Service Quotas",
        }
    }
}

/// The kind of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The term ended before the call did; the request may have been sent.
    TermOver,
    /// AWS asks for fewer calls.
    Throttled,
    /// IAM denies the call.
    Denied,
    /// There are no credentials, or AWS does not accept them.
    Credentials,
    /// The credentials have expired; the next call loads new ones.
    CredentialsExpired,
    /// The object that the call names does not exist.
    Missing,
    /// The object that the call should create exists already.
    Exists,
    /// The state of the stack or change set does not allow the call; the next pass reads the state again.
    State,
    /// A quota of the account.
    Limit,
    /// CloudFormation requires CAPABILITY_… for this template.
    Capabilities,
    /// The template bucket is missing, in another region, or closed to CloudFormation.
    Bucket,
    /// AWS does not accept the request.
    Invalid,
    /// A fault on AWS's side.
    Server,
    /// No answer in time.
    Timeout,
    /// No connection, or the connection broke.
    Unreachable,
    /// An answer that does not come from AWS, or is too long.
    Unreadable,
}
