//! Failed calls: the kind of a failure, and the error that the controller reports.

use std::error::Error;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::answer_limit::MAX_ANSWER;
use super::kind::{Kind, Service};
use super::{codes, credentials, profile};
use crate::error_chain;
use crate::provider::{ProviderError, Retry};

/// A failed call.
#[derive(Debug)]
pub struct Failure {
    pub service: Service,
    pub action: &'static str,
    pub kind: Kind,
    /// AWS's error code, or the kind if AWS did not answer.
    pub code: String,
    /// AWS's text. Empty if there is none.
    pub text: String,
    /// How often the request was sent: 0 if it never left.
    pub attempts: u32,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    pub fn term_over(service: Service, action: &'static str, attempts: u32) -> Self {
        Self {
            service,
            action,
            kind: Kind::TermOver,
            code: "TermOver".to_owned(),
            text: String::new(),
            attempts,
            source: None,
        }
    }

    /// Returns the failure for a list with more pages than are read.
    pub fn too_long(service: Service, action: &'static str, text: String) -> Self {
        Self {
            service,
            action,
            kind: Kind::Invalid,
            code: "TooManyPages".to_owned(),
            text,
            attempts: 1,
            source: None,
        }
    }

    pub fn new<E>(
        service: Service,
        action: &'static str,
        attempts: u32,
        error: SdkError<E, HttpResponse>,
    ) -> Self
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let status = error
            .raw_response()
            .map(|response| response.status().as_u16());
        let code = error
            .code()
            .and_then(codes::code)
            .unwrap_or_default()
            .to_owned();
        let text = codes::one_line(error.message().unwrap_or_default());
        let kind = match &error {
            SdkError::TimeoutError(_) => Kind::Timeout,
            SdkError::DispatchFailure(_) | SdkError::ConstructionFailure(_)
                if about_credentials(&error) =>
            {
                Kind::Credentials
            }
            SdkError::DispatchFailure(failure) if failure.is_timeout() => Kind::Timeout,
            SdkError::DispatchFailure(_) => Kind::Unreachable,
            SdkError::ConstructionFailure(_) => Kind::Invalid,
            SdkError::ResponseError(_) => Kind::Unreadable,
            // AWS gives each refusal a code. An answer without one may come from a proxy.
            _ if code.is_empty()
                && text.is_empty()
                && status.is_some_and(|it| !is_overload(it)) =>
            {
                Kind::Unreadable
            }
            _ => codes::classify(&code, &text, status),
        };
        // The source is kept only if AWS sent neither code nor text.
        let told = !code.is_empty() || !text.is_empty();
        let code = match (code.as_str(), kind, status) {
            ("", Kind::Unreadable, Some(status)) => format!("HTTP{status}"),
            ("", _, _) => format!("{kind:?}"),
            _ => code,
        };
        let source: Option<Box<dyn Error + Send + Sync>> =
            if told { None } else { Some(Box::new(error)) };
        Self {
            service,
            action,
            kind,
            code,
            text,
            attempts,
            source,
        }
    }

    /// Whether a mutation may have taken effect although the call failed: the answer was lost, or an earlier attempt of the call succeeded
    /// and made the last one fail.
    pub fn may_have_happened(&self) -> bool {
        match self.kind {
            Kind::TermOver
            | Kind::Timeout
            | Kind::Unreachable
            | Kind::Unreadable
            | Kind::Server => self.attempts > 0,
            Kind::Exists | Kind::State | Kind::Missing => self.attempts > 1,
            _ => false,
        }
    }
}

/// Whether a service, or a proxy before it, answers with this status while it cannot serve.
fn is_overload(status: u16) -> bool {
    status >= 500 || status == 429
}

/// Whether the credentials caused the failure: the request then fails in the connector or in its construction, and the chain of sources
/// names the credential provider.
fn about_credentials(error: &(dyn Error + 'static)) -> bool {
    error_chain::chain(error)
        .any(|error| error.is::<aws_credential_types::provider::error::CredentialsError>())
}

/// Returns why the server's certificate is not trusted, if that caused the failure.
fn distrust(failure: &Failure) -> Option<String> {
    let texts = error_chain::chain(failure.source.as_deref()?).map(ToString::to_string);
    let mut why = texts.filter_map(|text| {
        let at = text.find("invalid peer certificate")?;
        // A time that changes would make a new problem of each attempt.
        text[at..]
            .split(": verification time")
            .next()
            .map(codes::one_line)
    });
    why.next()
}

/// Whether the operating system had no file descriptor left for a connection: ENFILE or EMFILE.
fn lacks_files(failure: &Failure) -> bool {
    let mut next: Option<&(dyn Error + 'static)> =
        failure.source.as_deref().map(|error| error as _);
    for _ in 0..16 {
        let Some(error) = next else { return false };
        let of_system = error.downcast_ref::<std::io::Error>();
        if matches!(
            of_system.and_then(std::io::Error::raw_os_error),
            Some(23 | 24)
        ) {
            return true;
        }
        // `source` skips the error that an I/O error wraps.
        let wrapped = of_system.and_then(std::io::Error::get_ref);
        next = wrapped.map(|error| error as _).or_else(|| error.source());
    }
    false
}

impl From<Failure> for ProviderError {
    fn from(failure: Failure) -> Self {
        let (service, action) = (failure.service.as_str(), failure.action);
        let call = format!("{service}:{action}");
        let said = match (failure.text.as_str(), failure.code.as_str()) {
            ("", code) => code.to_owned(),
            (text, code) => format!("{} ({code})", text.trim_end_matches('.')),
        };
        let (retry, reason) = failure.kind.retry();
        Self {
            retry,
            reason,
            message: message(&failure, &call, &said),
            source: failure.source,
        }
    }
}

impl Kind {
    /// Returns when to retry, and the stable reason for Events and metrics.
    fn retry(&self) -> (Retry, &'static str) {
        match self {
            Self::TermOver => (Retry::Soon, "TermOver"),
            Self::Throttled => (Retry::Slowly, "Throttled"),
            Self::Denied => (Retry::AfterFix, "AccessDenied"),
            Self::Credentials => (Retry::AfterFix, "NoCredentials"),
            Self::CredentialsExpired => (Retry::Soon, "CredentialsExpired"),
            Self::Missing => (Retry::Soon, "NotFound"),
            Self::Exists => (Retry::Soon, "AlreadyExists"),
            Self::State => (Retry::Soon, "WrongState"),
            Self::Limit => (Retry::AfterFix, "QuotaReached"),
            Self::Capabilities => (Retry::AfterFix, "CapabilitiesNeeded"),
            Self::Bucket => (Retry::AfterFix, "TemplateBucket"),
            Self::Invalid => (Retry::AfterFix, "Rejected"),
            Self::Server => (Retry::Soon, "AwsFault"),
            Self::Timeout => (Retry::Soon, "Timeout"),
            Self::Unreachable | Self::Unreadable => (Retry::Soon, "Unreachable"),
        }
    }
}

/// Returns the message for a failed `call`: AWS's words if there are any, and the remedy.
fn message(failure: &Failure, call: &str, said: &str) -> String {
    match failure.kind {
        Kind::TermOver => format!(
            "{call} was stopped because leadership ended; the next leader sees what came of it"
        ),
        Kind::Throttled => format!("AWS throttles {call}: {said}; it is retried later"),
        Kind::Denied => {
            let missing = codes::denied_action(&failure.text).unwrap_or(call);
            format!(
                "AWS denied {call}: {said}; allow {missing} to the controller's role; deploy/ has the whole policy"
            )
        }
        Kind::Credentials | Kind::CredentialsExpired
            if codes::says_the_clock_is_off(&failure.code, &failure.text) =>
        {
            format!(
                "AWS takes the time of {call} for wrong: {said}; correct this host's clock, or renew credentials that have expired"
            )
        }
        Kind::Credentials => {
            let what = match failure.text.as_str() {
                "" => format!("no AWS credentials for {call}"),
                _ => format!("AWS does not accept the credentials of {call}: {said}"),
            };
            let cause = failure.source.as_deref();
            let remedy = credentials::remedy(cause.map(|it| it as _), &profile::selected());
            format!("{what}; {remedy}")
        }
        Kind::CredentialsExpired => {
            format!(
                "the AWS credentials have expired at {call}: {said}; if this stays, nothing renews them"
            )
        }
        Kind::Missing | Kind::Exists => format!("{call}: {said}"),
        Kind::State => format!("{call} is not possible now: {said}"),
        Kind::Limit => {
            format!(
                "{call} exceeds a quota of the AWS account: {said}; ask for more in Service Quotas"
            )
        }
        Kind::Capabilities => format!(
            "{call}: {said}; the stack holds only EC2 resources and needs none, so look for a macro or hook"
        ),
        Kind::Bucket => format!(
            "{call}: {said}; --cf-template-bucket must name a bucket in the stack's region from which the controller's \
             role, or the role given to CloudFormation, may read"
        ),
        Kind::Invalid => format!("AWS does not accept {call}: {said}"),
        Kind::Server => format!("{call} failed within AWS: {said}"),
        Kind::Timeout => format!("no answer in time from AWS to {call}"),
        Kind::Unreachable if lacks_files(failure) => format!(
            "no connection to AWS for {call}: this process may open no more files; raise the limit of open files"
        ),
        Kind::Unreachable => match distrust(failure) {
            Some(why) => format!(
                "no connection to AWS for {call}: {why}; AWS_CA_BUNDLE can name a file of the authorities to trust, such \
                 as that of a proxy that reads TLS"
            ),
            None => format!("no connection to AWS for {call}"),
        },
        Kind::Unreadable => format!(
            "what came for {call} is no answer of AWS, or is longer than {} MiB ({said}): check the proxy between this process \
             and AWS, and AWS_ENDPOINT_URL",
            MAX_ANSWER >> 20
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(kind: Kind, code: &str, text: &str) -> Failure {
        Failure {
            service: Service::CloudFormation,
            action: "CreateStack",
            kind,
            code: code.to_owned(),
            text: text.to_owned(),
            attempts: 1,
            source: None,
        }
    }

    #[test]
    fn a_denied_call_names_what_iam_missed() {
        let text =
            "User: arn:aws:sts::1:role/a is not authorized to perform: iam:PassRole on resource: b";
        let error = ProviderError::from(failure(Kind::Denied, "AccessDenied", text));
        assert_eq!(
            (error.retry, error.reason),
            (Retry::AfterFix, "AccessDenied")
        );
        assert!(
            error.message.contains("allow iam:PassRole to"),
            "{}",
            error.message
        );
        let error = ProviderError::from(failure(Kind::Denied, "AccessDenied", ""));
        assert!(
            error
                .message
                .contains("allow cloudformation:CreateStack to"),
            "{}",
            error.message
        );
    }

    #[test]
    fn too_many_open_files_are_not_taken_for_a_broken_network() {
        let without = failure(Kind::Unreachable, "", "");
        assert!(!ProviderError::from(without).message.contains("open files"));
        let source = std::io::Error::other(std::io::Error::from_raw_os_error(24));
        let error = ProviderError::from(Failure {
            source: Some(Box::new(source)),
            ..failure(Kind::Unreachable, "", "")
        });
        assert!(
            error.message.contains("raise the limit of open files"),
            "{}",
            error.message
        );
    }

    #[test]
    fn a_clock_that_is_off_is_named() {
        let early =
            "Signature not yet current: 20260101T000000Z is still later than 20251231T000000Z";
        for (kind, code, text) in [
            (
                Kind::CredentialsExpired,
                "RequestExpired",
                "Request has expired.",
            ),
            (Kind::Credentials, "SignatureDoesNotMatch", early),
        ] {
            let error = ProviderError::from(failure(kind, code, text));
            assert!(
                error.message.contains("this host's clock"),
                "{}",
                error.message
            );
        }
        let error =
            ProviderError::from(failure(Kind::CredentialsExpired, "ExpiredToken", "Expired"));
        assert!(!error.message.contains("clock"), "{}", error.message);
    }

    #[test]
    fn a_certificate_that_is_not_trusted_is_named_without_the_time() {
        let source = "client error: invalid peer certificate: certificate expired: verification time 1 (UNIX)";
        let error = ProviderError::from(Failure {
            source: Some(source.into()),
            ..failure(Kind::Unreachable, "", "")
        });
        let text = error.message;
        assert!(
            text.contains("certificate expired; AWS_CA_BUNDLE") && !text.contains("UNIX"),
            "{text}"
        );
    }

    #[test]
    fn only_an_open_end_may_have_happened() {
        let sent = |kind, attempts| {
            Failure {
                attempts,
                ..failure(kind, "", "")
            }
            .may_have_happened()
        };
        assert!(sent(Kind::Unreachable, 1) && sent(Kind::Timeout, 1) && sent(Kind::Server, 1));
        assert!(sent(Kind::Unreadable, 1) && !sent(Kind::Unreadable, 0));
        assert!(!sent(Kind::TermOver, 0) && sent(Kind::TermOver, 1));
        // The second attempt fails because the first one succeeded.
        assert!(!sent(Kind::Exists, 1) && sent(Kind::Exists, 2));
        assert!(!sent(Kind::Invalid, 2) && !sent(Kind::Throttled, 3));
    }
}
