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
mod tests {
    use super::*;

    #[test]
    fn texts_fit_into_a_line() {
        assert_eq!(
            one_line("S3 error: Access Denied\n  For more\tinformation "),
            "S3 error: Access Denied For more information"
        );
        assert_eq!(one_line(&"é".repeat(2_000)).chars().count(), MAX_TEXT);
        assert_eq!(one_line(""), "");
    }

    /// Code, text, HTTP status, and what they mean.
    const CASES: &[(&str, &str, u16, Kind)] = &[
        ("Throttling", "Rate exceeded", 400, Kind::Throttled),
        ("ValidationError", "Rate exceeded", 400, Kind::Throttled),
        ("RequestLimitExceeded", "", 503, Kind::Throttled),
        ("SlowDown", "", 503, Kind::Throttled),
        (
            "AccessDenied",
            "User: x is not authorized",
            403,
            Kind::Denied,
        ),
        ("UnauthorizedOperation", "", 403, Kind::Denied),
        (
            "ExpiredToken",
            "The security token included in the request is expired",
            403,
            Kind::CredentialsExpired,
        ),
        ("InvalidClientTokenId", "", 403, Kind::Credentials),
        (
            "ValidationError",
            "Stack with id a does not exist",
            400,
            Kind::Missing,
        ),
        (
            "ChangeSetNotFound",
            "ChangeSet [x] does not exist",
            404,
            Kind::Missing,
        ),
        (
            "AlreadyExistsException",
            "Stack [a] already exists",
            400,
            Kind::Exists,
        ),
        (
            "ValidationError",
            "Stack:arn is in UPDATE_IN_PROGRESS state and can not be updated.",
            400,
            Kind::State,
        ),
        (
            "ValidationError",
            "Stack [a] cannot be deleted while TerminationProtection is enabled",
            400,
            Kind::State,
        ),
        ("InvalidChangeSetStatus", "", 400, Kind::State),
        (
            "ValidationError",
            "S3 error: Access Denied",
            400,
            Kind::Bucket,
        ),
        (
            "ValidationError",
            "S3 error: The specified key does not exist. For more information check \
             http://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html",
            400,
            Kind::Bucket,
        ),
        (
            "ValidationError",
            "S3 error: The specified bucket does not exist",
            400,
            Kind::Bucket,
        ),
        (
            "ValidationError",
            "TemplateURL must be a supported URL.",
            400,
            Kind::Bucket,
        ),
        (
            "ValidationError",
            "Stack [a] does not exist",
            400,
            Kind::Missing,
        ),
        (
            "ValidationError",
            "The role named in the request does not exist",
            400,
            Kind::Invalid,
        ),
        (
            "ValidationError",
            "ChangeSet [x] cannot be created due to a mismatch with existing attribute ClientToken",
            400,
            Kind::Exists,
        ),
        (
            "ValidationError",
            "Stack:arn is in REVIEW_IN_PROGRESS state and can not be updated.",
            400,
            Kind::State,
        ),
        (
            "ValidationError",
            "Stack:arn is in UPDATE_ROLLBACK_COMPLETE state and can not continue rollback.",
            400,
            Kind::State,
        ),
        (
            "AccessDenied",
            "User: x is not authorized to perform: cloudformation:ListStacks on resource: \
             arn:aws:cloudformation:eu-central-1:1:stack/*/*",
            403,
            Kind::Denied,
        ),
        (
            "ValidationError",
            "Role arn:aws:iam::1:role/cfn is invalid or cannot be assumed",
            400,
            Kind::Invalid,
        ),
        ("NoSuchBucket", "", 404, Kind::Bucket),
        (
            "ValidationError",
            "Template format error: unsupported structure.",
            400,
            Kind::Invalid,
        ),
        ("LimitExceededException", "", 400, Kind::Limit),
        ("VpcLimitExceeded", "", 400, Kind::Limit),
        (
            "InsufficientCapabilitiesException",
            "",
            400,
            Kind::Capabilities,
        ),
        ("InternalFailure", "", 500, Kind::Server),
        ("", "", 502, Kind::Server),
        ("SomethingNew", "whatever", 400, Kind::Invalid),
    ];

    #[test]
    fn only_ec2s_own_word_proves_that_something_is_gone() {
        for code in [
            "InvalidAddress.NotFound",
            "InvalidAllocationID.NotFound",
            "NatGatewayNotFound",
            "InvalidSubnetID.NotFound",
            "InvalidRouteTableID.NotFound",
        ] {
            assert!(says_not_found(code, ""), "{code}");
            assert_eq!(classify(code, "", Some(400)), Kind::Missing);
        }
        let theirs = "The address '203.0.113.7' does not belong to you.";
        assert!(says_not_found("AuthFailure", theirs));
        let refused = "AWS was not able to validate the provided access credentials";
        for (code, text) in [
            ("AuthFailure", refused),
            ("UnauthorizedOperation", ""),
            ("RequestLimitExceeded", ""),
            ("InvalidParameterValue", "does not exist"),
            ("InternalError", ""),
            ("", "not found"),
        ] {
            assert!(!says_not_found(code, text), "{code}");
        }
    }

    #[test]
    fn only_what_looks_like_a_code_is_one() {
        for good in [
            "Throttling",
            "InvalidParameterValue",
            "Client.RequestLimitExceeded",
        ] {
            assert_eq!(code(good), Some(good));
        }
        let long = "x".repeat(65);
        for bad in ["", "a b", "a\nb", "x\"}", "<html>", long.as_str()] {
            assert_eq!(code(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn kinds() {
        for (code, text, status, kind) in CASES {
            assert_eq!(classify(code, text, Some(*status)), *kind, "{code}: {text}");
        }
    }

    #[test]
    fn what_a_handler_says_is_the_same_at_each_try() {
        let says = |text, said| assert_eq!(handler_message(text), said);
        says("plain", "plain");
        says("a \"word\" in quotes", "a \"word\" in quotes");
        let message = "Resource handler returned message: \"No. (Service: Ec2, Status Code: 400, Request ID: 7)\" (Reque";
        says(message, "No.");
        let message = "Resource handler returned message: \"No\" (RequestToken: 7, HandlerErrorCode: InvalidRequest)";
        says(message, "No");
    }

    #[test]
    fn empty_change_sets_by_either_wording() {
        assert!(says_no_changes(
            "The submitted information didn't contain changes. Submit different information"
        ));
        assert!(says_no_changes("No updates are to be performed."));
        assert!(!says_no_changes("Template error"));
    }
}
