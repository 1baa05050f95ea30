//! Error codes and texts of AWS, read here and nowhere else in the project.

use super::kind::Kind;
use crate::model::base::plain::plain;

/// Longest text of AWS that goes into a message: a denied call can carry kilobytes of encoded detail.
const MAX_TEXT: usize = 600;
/// Longest code of AWS.
const MAX_CODE: usize = 64;

/// A text of AWS as it fits into a log line, an Event or a status.
pub fn one_line(text: &str) -> String {
    let mut line = String::new();
    for word in plain(text).split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
        if line.len() > MAX_TEXT {
            return line.chars().take(MAX_TEXT).collect();
        }
    }
    line
}

/// A code as it may be a label of a metric: AWS's own have letters, digits and dots. None is any other.
pub fn code(code: &str) -> Option<&str> {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.';
    let good = (1..=MAX_CODE).contains(&code.len()) && code.bytes().all(known);
    good.then_some(code)
}

/// By code, then text, then HTTP status. Codes: the common errors and those of the three services' API references.
pub fn classify(code: &str, text: &str, status: Option<u16>) -> Kind {
    match code {
        _ if says_not_found(code, text) => Kind::Missing,
        "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "RequestLimitExceeded"
        | "TooManyRequestsException"
        | "TooManyRequests"
        | "SlowDown"
        | "BandwidthLimitExceeded"
        | "PriorRequestNotComplete"
        | "EC2ThrottledException" => Kind::Throttled,
        "AccessDenied"
        | "AccessDeniedException"
        | "UnauthorizedOperation"
        | "NotAuthorized"
        | "OptInRequired" => Kind::Denied,
        "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" | "TokenRefreshRequired" => {
            Kind::CredentialsExpired
        }
        "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "SignatureDoesNotMatch"
        | "AuthFailure"
        | "IncompleteSignature"
        | "InvalidAccessKeyId"
        | "MissingAuthenticationToken"
        | "InvalidToken" => Kind::Credentials,
        "AlreadyExistsException" | "NameAlreadyExistsException" | "TokenAlreadyExistsException" => {
            Kind::Exists
        }
        "ChangeSetNotFound" | "ChangeSetNotFoundException" | "StackNotFoundException" => {
            Kind::Missing
        }
        "InvalidChangeSetStatus"
        | "InvalidChangeSetStatusException"
        | "OperationInProgressException"
        | "InvalidOperationException" => Kind::State,
        "InsufficientCapabilitiesException" => Kind::Capabilities,
        "NoSuchBucket" | "PermanentRedirect" | "AuthorizationHeaderMalformed" => Kind::Bucket,
        "InternalFailure"
        | "InternalError"
        | "InternalServerError"
        | "ServiceUnavailable"
        | "Unavailable" => Kind::Server,
        "RequestTimeout" | "RequestTimeoutException" => Kind::Timeout,
        _ if code.ends_with("LimitExceeded") || code.ends_with("LimitExceededException") => {
            Kind::Limit
        }
        _ if status.is_some_and(|status| status >= 500) => Kind::Server,
        _ if status == Some(429) => Kind::Throttled,
        _ => classify_text(text),
    }
}

/// CloudFormation says most things as `ValidationError`; the difference is in the text.
fn classify_text(text: &str) -> Kind {
    let has = |part: &str| text.contains(part);
    let of_ours = text.starts_with("Stack") || text.starts_with("ChangeSet");
    if has("Rate exceeded") {
        Kind::Throttled
    } else if has("S3 error") || has("TemplateURL must") {
        Kind::Bucket
    } else if of_ours && has("does not exist") {
        Kind::Missing
    } else if has("already exists") || has("mismatch with existing attribute") {
        Kind::Exists
    } else if has("_IN_PROGRESS")
        || has("_COMPLETE")
        || has("_FAILED")
        || has("TerminationProtection is enabled")
        || has("already in progress")
    {
        Kind::State
    } else if has("security token") && has("expired") {
        Kind::CredentialsExpired
    } else {
        Kind::Invalid
    }
}

/// Whether EC2 says that what was asked for by its id does not exist in this account. No other answer proves that.
pub fn says_not_found(code: &str, text: &str) -> bool {
    let is_id = code.starts_with("Invalid") && code.ends_with(".NotFound");
    // A public IP that was released, and that another account has by now.
    let is_theirs = code == "AuthFailure" && text.contains("does not belong to you");
    is_id || code == "NatGatewayNotFound" || is_theirs
}

/// Whether IAM forbids to read an object, whether or not it is there.
pub fn says_reading_is_denied(text: &str) -> bool {
    denied_action(text) == Some("s3:GetObject")
}

/// Whether Service Quotas has no value of the account for a quota: then AWS's default counts.
pub fn says_no_such_quota(code: &str) -> bool {
    code == "NoSuchResourceException"
}

/// Whether AWS takes the request's time for wrong. EC2 has the same code for credentials that have expired.
pub fn says_the_clock_is_off(code: &str, text: &str) -> bool {
    code == "RequestExpired"
        || text.contains("Signature expired")
        || text.contains("Signature not yet current")
}

/// Whether a CreateStack, UpdateStack or change set failed only because there is nothing to do.
pub fn says_no_changes(text: &str) -> bool {
    text.contains("didn't contain changes") || text.contains("No updates are to be performed")
}

/// Whether a stack's status reason says more than that a user started the operation.
pub fn says_a_cause(text: &str) -> bool {
    !text.is_empty() && text != "User Initiated"
}

/// Whether a resource failed only because the operation was stopped.
pub fn says_cancelled(text: &str) -> bool {
    text.contains("cancelled")
}

/// Whether a route was refused since its table takes no more.
pub fn says_table_is_full(text: &str) -> bool {
    [
        "RouteLimitExceeded",
        "ServiceLimitExceeded",
        "maximum number of routes",
    ]
    .iter()
    .any(|part| text.contains(part))
}

/// What a service said to CloudFormation's handler of a resource, without ids that are others at each try.
pub fn handler_message(text: &str) -> &str {
    let said = text.split_once("returned message: \"");
    let said = said.map_or(text, |(_, said)| said);
    let end = [" (Service: ", "\" (RequestToken", "\" (HandlerErrorCode"];
    let ends = end.iter().filter_map(|end| said.find(end));
    ends.min().map_or(said, |end| &said[..end])
}

/// IAM names the action that it missed; that can be another one than the call (`iam:PassRole`, `ec2:…` of a resource).
pub fn denied_action(text: &str) -> Option<&str> {
    let action = text
        .split_once("to perform: ")?
        .1
        .split_whitespace()
        .next()?;
    action.contains(':').then_some(action)
}

#[cfg(test)]
#[path = "codes_tests.rs"]
mod tests;
