//! Interprets error codes and texts of AWS. No other module of the project does.

use super::kind::Kind;
use crate::model::base::plain::plain;

/// The maximum length of an AWS text in a message, in characters. A denied call can carry kilobytes of encoded detail.
const MAX_TEXT: usize = 600;
/// The maximum length of an error code, in bytes.
const MAX_CODE: usize = 64;

/// Returns a text of AWS on one line, short enough for a log line, an Event or a status.
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

/// Returns an error code that is usable as the label of a metric, and None for any other. AWS's own codes have letters, digits and dots.
pub fn code(code: &str) -> Option<&str> {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.';
    let good = (1..=MAX_CODE).contains(&code.len()) && code.bytes().all(known);
    good.then_some(code)
}

/// Returns the kind of an error, by code, then text, then HTTP status. The codes are the common errors and those in the API references of
/// the three services.
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

/// Returns the kind of an error by its text, because CloudFormation reports most errors with the code `ValidationError`.
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

/// Whether EC2 answers that a resource, requested by its id, does not exist in this account. No other answer proves that.
pub fn says_not_found(code: &str, text: &str) -> bool {
    let is_id = code.starts_with("Invalid") && code.ends_with(".NotFound");
    // A public IP that was released and now belongs to another account.
    let is_theirs = code == "AuthFailure" && text.contains("does not belong to you");
    is_id || code == "NatGatewayNotFound" || is_theirs
}

/// Whether IAM denies the right to read an object, whether or not the object exists.
pub fn says_reading_is_denied(text: &str) -> bool {
    denied_action(text) == Some("s3:GetObject")
}

/// Whether Service Quotas has no value of the account for a quota, so that AWS's default applies.
pub fn says_no_such_quota(code: &str) -> bool {
    code == "NoSuchResourceException"
}

/// Whether AWS rejects the request's time. EC2 has the same code for credentials that have expired.
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

/// Whether EC2 refused a route because its table is full.
pub fn says_table_is_full(text: &str) -> bool {
    [
        "RouteLimitExceeded",
        "ServiceLimitExceeded",
        "maximum number of routes",
    ]
    .iter()
    .any(|part| text.contains(part))
}

/// Returns a service's message to CloudFormation's resource handler, without the ids that differ in each attempt.
pub fn handler_message(text: &str) -> &str {
    let said = text.split_once("returned message: \"");
    let said = said.map_or(text, |(_, said)| said);
    let end = [" (Service: ", "\" (RequestToken", "\" (HandlerErrorCode"];
    let ends = end.iter().filter_map(|end| said.find(end));
    ends.min().map_or(said, |end| &said[..end])
}

/// Returns the action that IAM denied. It can differ from the call (`iam:PassRole`, `ec2:…` of a resource).
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
