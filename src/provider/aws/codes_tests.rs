//! Codes and texts as AWS's documents and public reports quote them, and the kind of each.

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

/// Code, text, HTTP status, and the kind of the error.
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
        "InvalidParameterValue",
        "The number of entries per request cannot exceeds limit (100).",
        400,
        Kind::Invalid,
    ),
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
    (
        "RequestExpired",
        "Request has expired.",
        400,
        Kind::CredentialsExpired,
    ),
    (
        "AddressLimitExceeded",
        "The maximum number of addresses has been reached.",
        400,
        Kind::Limit,
    ),
    ("NatGatewayLimitExceeded", "", 400, Kind::Limit),
    (
        "RouteLimitExceeded",
        "The maximum number of routes has been reached.",
        400,
        Kind::Limit,
    ),
    ("NotAvailableInZone", "", 400, Kind::Invalid),
    (
        "ValidationError",
        "The submitted information didn't contain changes. Submit different information to create a change set.",
        400,
        Kind::Invalid,
    ),
    (
        "ValidationError",
        "No updates are to be performed.",
        400,
        Kind::Invalid,
    ),
    (
        "InvalidChangeSetStatus",
        "ChangeSet [arn] cannot be executed in its current status of [OBSOLETE]",
        400,
        Kind::State,
    ),
    (
        "ValidationError",
        "Stack:arn is in UPDATE_ROLLBACK_FAILED state and can not be updated.",
        400,
        Kind::State,
    ),
    (
        "ValidationError",
        "Stack with id arn:aws:cloudformation:eu-central-1:1:stack/a/1 does not exist",
        400,
        Kind::Missing,
    ),
    (
        "AuthFailure",
        "The address '203.0.113.7' does not belong to you.",
        400,
        Kind::Missing,
    ),
    (
        "AuthFailure",
        "AWS was not able to validate the provided access credentials",
        401,
        Kind::Credentials,
    ),
];

/// Messages to CloudFormation's resource handlers, as events show them: whether the route's table is full, and the message.
const EVENTS: &[(&str, bool, &str)] = &[
    (
        "API: ec2:disassociateAddress You are not authorized to perform this operation",
        false,
        "API: ec2:disassociateAddress You are not authorized to perform this operation",
    ),
    (
        "You do not have permission to access the specified resource",
        false,
        "You do not have permission to access the specified resource",
    ),
    (
        "Route did not stabilize in expected time",
        false,
        "Route did not stabilize in expected time",
    ),
    (
        "Resource handler returned message: \"The maximum number of routes has been reached. (Service: Ec2, Status Code: 400, \
         Request ID: 1)\" (RequestToken: 2, HandlerErrorCode: ServiceLimitExceeded)",
        true,
        "The maximum number of routes has been reached.",
    ),
    ("RouteLimitExceeded", true, "RouteLimitExceeded"),
    (
        "Resource handler returned message: \"The route identified by 8.8.8.8/32 already exists. (Service: Ec2, Status Code: \
         400, Request ID: 1)\" (RequestToken: 2, HandlerErrorCode: AlreadyExists)",
        false,
        "The route identified by 8.8.8.8/32 already exists.",
    ),
    (
        "Resource handler returned message: \"Elastic IP address could not be allocated. The maximum number of addresses has \
         been reached. (Service: Ec2, Status Code: 400, Request ID: 1)\" (RequestToken: 2, HandlerErrorCode: GeneralServiceException)",
        false,
        "Elastic IP address could not be allocated. The maximum number of addresses has been reached.",
    ),
];

#[test]
fn what_events_say_of_a_resource() {
    for (text, is_full, told) in EVENTS {
        assert_eq!(says_table_is_full(text), *is_full, "{text}");
        assert_eq!(handler_message(text), *told);
        assert!(!says_cancelled(text) && says_a_cause(text), "{text}");
    }
    for cancelled in ["Resource creation cancelled", "Resource update cancelled"] {
        assert!(says_cancelled(cancelled));
    }
    assert!(!says_a_cause("User Initiated"));
}

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
