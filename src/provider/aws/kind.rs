//! [`Kind`]: what kind of refusal an error of AWS is; [`Service`]: which service it comes from.

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

    /// As the SDK names it.
    pub fn sdk_name(self) -> &'static str {
        match self {
            Self::CloudFormation => "CloudFormation",
            Self::Ec2 => "EC2",
            Self::S3 => "S3",
            Self::Quotas => "Service Quotas",
        }
    }
}

/// What kind of "no" it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The term ended first; the call may have been sent.
    TermOver,
    /// AWS asks for fewer calls.
    Throttled,
    /// IAM forbids it.
    Denied,
    /// There are no credentials, or AWS does not accept them.
    Credentials,
    /// They have run out; the next ones come by themselves.
    CredentialsExpired,
    /// What the call names is not there.
    Missing,
    /// What the call should create is already there.
    Exists,
    /// Not in this state of the stack or change set, which another look will show.
    State,
    /// A quota of the account.
    Limit,
    /// CloudFormation wants CAPABILITY_… for this template.
    Capabilities,
    /// The template bucket is missing, in another region, or closed to CloudFormation.
    Bucket,
    /// AWS does not accept what was sent.
    Invalid,
    /// A fault on AWS's side.
    Server,
    /// No answer in time.
    Timeout,
    /// No connection, or it broke.
    Unreachable,
    /// An answer that is none of AWS's, or is too long.
    Unreadable,
}
