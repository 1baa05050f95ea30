//! Templates that are too large for a request go through S3.

use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;

use super::calls::Calls;
use super::codes;
use super::kind::{Kind, Service};
use crate::lease::term::Term;
use crate::model::cloud::limits::Doubt;
use crate::model::desired::template::{MAX_INLINE_BYTES, Template};
use crate::provider::ProviderError;

/// The key prefix of the controller's objects.
const PREFIX: &str = "kube-static-egress-controller";
/// The time limit of a check of the bucket, which delays a pass.
const TIMEOUT: Duration = Duration::from_secs(4);

/// A bucket in the stack's region.
#[derive(Clone, Debug)]
pub struct Bucket {
    pub name: String,
    pub region: String,
    /// The URL of an S3 service other than AWS's.
    pub endpoint: Option<String>,
    pub client: aws_sdk_s3::Client,
}

impl Bucket {
    /// Asks for an object that need not exist, and returns why templates cannot go through the bucket, as far as S3 reports a reason.
    /// Without the right to list the bucket, S3 denies access to any object that does not exist.
    pub async fn doubt(&self, calls: &Calls, stack: &str) -> Option<(Doubt, String)> {
        let key = format!("{PREFIX}/{stack}/none");
        let request = self.client.get_object().bucket(&self.name).key(key);
        let timeouts = TimeoutConfig::builder().operation_timeout(TIMEOUT).build();
        let quick = aws_sdk_s3::config::Builder::new()
            .timeout_config(timeouts)
            .retry_config(RetryConfig::disabled());
        let answer = calls.read(Service::S3, "GetObject", |gate| {
            let request = request.customize().interceptor(gate);
            request.config_override(quick).send()
        });
        let failure = answer.await.err()?;
        let doubt = match failure.kind {
            Kind::Bucket => Doubt::BucketWrong,
            Kind::Denied if codes::says_reading_is_denied(&failure.text) => Doubt::BucketWrong,
            Kind::Timeout | Kind::Unreachable | Kind::Unreadable => Doubt::BucketSilent,
            _ => return None,
        };
        let name = &self.name;
        Some((
            doubt,
            format!("bucket {name}: {}", ProviderError::from(failure)),
        ))
    }

    /// Uploads the template and returns its URL. The key identifies the content: a repeated upload changes nothing, and no upload changes a
    /// template that CloudFormation reads.
    pub async fn put(
        &self,
        calls: &Calls,
        term: &Term,
        template: &Template,
    ) -> Result<String, ProviderError> {
        let key = key(template);
        let request = self
            .client
            .put_object()
            .bucket(&self.name)
            .key(&key)
            .content_type("application/json")
            .body(ByteStream::from(template.text.clone().into_bytes()));
        calls
            .write(term, Service::S3, "PutObject", |gate| {
                request.customize().interceptor(gate).send()
            })
            .await?;
        Ok(url(
            &self.name,
            &self.region,
            self.endpoint.as_deref(),
            &key,
        ))
    }
}

/// Returns the error for a template that needs a bucket if none is configured.
pub fn none_given(template: &Template) -> ProviderError {
    let bytes = template.text.len();
    let message = format!(
        "the template has {bytes} bytes, CloudFormation takes {MAX_INLINE_BYTES} in a request; name an S3 bucket with \
         --cf-template-bucket"
    );
    ProviderError::after_fix("TemplateTooLarge", message)
}

fn key(template: &Template) -> String {
    format!(
        "{PREFIX}/{}/{}.json",
        template.stack_name, template.fingerprint
    )
}

/// The prefixes of regions outside of the partitions `aws` and `aws-us-gov`, and the domain of each partition, as in the SDK.
const DOMAINS: [(&str, &str); 6] = [
    ("cn-", "amazonaws.com.cn"),
    ("eusc-", "amazonaws.eu"),
    ("us-iso-", "c2s.ic.gov"),
    ("us-isob-", "sc2s.sgov.gov"),
    ("eu-isoe-", "cloud.adc-e.uk"),
    ("us-isof-", "csp.hci.ic.gov"),
];

/// Returns the URL of an object in the form that CloudFormation accepts as TemplateURL.
fn url(bucket: &str, region: &str, endpoint: Option<&str>, key: &str) -> String {
    let domain = DOMAINS.iter().find(|(start, _)| region.starts_with(start));
    let domain = domain.map_or("amazonaws.com", |(_, domain)| domain);
    match endpoint {
        Some(endpoint) => format!("{}/{bucket}/{key}", endpoint.trim_end_matches('/')),
        // A dot in the name would not match the certificate of a virtual host.
        None if bucket.contains('.') => format!("https://s3.{region}.{domain}/{bucket}/{key}"),
        None => format!("https://{bucket}.s3.{region}.{domain}/{key}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_domain_of_a_bucket_is_that_of_its_partition() {
        let cases = [
            (
                "b",
                "eu-west-1",
                None,
                "https://b.s3.eu-west-1.amazonaws.com/k/a.json",
            ),
            (
                "b",
                "cn-north-1",
                None,
                "https://b.s3.cn-north-1.amazonaws.com.cn/k/a.json",
            ),
            (
                "b",
                "eusc-de-east-1",
                None,
                "https://b.s3.eusc-de-east-1.amazonaws.eu/k/a.json",
            ),
            (
                "b",
                "us-gov-west-1",
                None,
                "https://b.s3.us-gov-west-1.amazonaws.com/k/a.json",
            ),
            (
                "b",
                "us-isob-east-1",
                None,
                "https://b.s3.us-isob-east-1.sc2s.sgov.gov/k/a.json",
            ),
            (
                "a.b",
                "eu-west-1",
                None,
                "https://s3.eu-west-1.amazonaws.com/a.b/k/a.json",
            ),
            (
                "b",
                "eu-west-1",
                Some("http://127.0.0.1:5000/"),
                "http://127.0.0.1:5000/b/k/a.json",
            ),
        ];
        for (bucket, region, endpoint, expected) in cases {
            assert_eq!(url(bucket, region, endpoint, "k/a.json"), expected);
        }
    }

    #[test]
    fn the_key_names_the_content() {
        let template = Template {
            stack_name: "s".to_owned(),
            fingerprint: "ff".to_owned(),
            ..Template::default()
        };
        assert_eq!(key(&template), "kube-static-egress-controller/s/ff.json");
    }

    #[test]
    fn a_large_template_without_a_bucket_names_the_flag() {
        let error = none_given(&Template {
            text: "x".repeat(51_201),
            ..Template::default()
        });
        assert!(
            error.message.contains("51201 bytes") && error.message.contains("--cf-template-bucket"),
            "{error}"
        );
    }
}
