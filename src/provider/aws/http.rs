//! The HTTP client of all calls to AWS: proxy and certificate authorities as in the AWS CLI, time limits, and retries.

use std::path::Path;
use std::time::Duration;

use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{self, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, ConnectorBuilder};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::agent::named;
use crate::error_chain;
use crate::provider::ProviderError;
use crate::proxy::{HTTPS, Proxy};

/// The variable that names a PEM file of certificate authorities, which replace those of the system.
const CA_BUNDLE: &str = "AWS_CA_BUNDLE";
/// The setting of a profile that does the same, unless the variable is set.
const OF_PROFILE: &str = "ca_bundle of the AWS profile";
/// The maximum size of the file, in bytes. A bundle of all public authorities has about 250 KB.
const MAX_BUNDLE: u64 = 4 << 20;

/// The time limit of one call with its retries, and so of each wait for AWS in a pass.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(20);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(8);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The number of attempts of one call. The controller's own backoff decides about further calls.
const ATTEMPTS: u32 = 3;

/// Returns the time limits of a call. Service Quotas, the template bucket and credentials have their own.
pub(super) fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .operation_timeout(OPERATION_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .connect_timeout(CONNECT_TIMEOUT)
        .build()
}

/// Returns how often the SDK retries a call.
pub(super) fn retries() -> RetryConfig {
    RetryConfig::standard().with_max_attempts(ATTEMPTS)
}

/// Creates the client from the environment of this process. `of_profile` is the `ca_bundle` of the selected profile.
///
/// # Errors
/// If a proxy's address or the bundle cannot be used.
pub(super) fn client(of_profile: Option<&Path>) -> Result<SharedHttpClient, ProviderError> {
    let proxy = Proxy::from_environment().map_err(|error| unusable(error.to_string()))?;
    let variable = std::env::var_os(CA_BUNDLE).filter(|path| !path.is_empty());
    let bundle = match (&variable, of_profile) {
        (Some(path), _) => Some(read(CA_BUNDLE, Path::new(path))?),
        (None, Some(path)) => Some(read(OF_PROFILE, path)?),
        (None, None) => None,
    };
    let trusted = match bundle {
        Some(pem) => TrustStore::empty().with_pem_certificate(pem),
        None => TrustStore::default(),
    };
    Ok(named(with(&proxy, trusted)?))
}

fn with(proxy: &Proxy, trusted: TrustStore) -> Result<SharedHttpClient, ProviderError> {
    let context = TlsContext::builder().with_trust_store(trusted).build();
    let context =
        context.map_err(|error| unusable(format!("{CA_BUNDLE}: {}", error_chain::text(&error))))?;
    let proxy = proxies(proxy)?;
    Ok(
        Builder::new().build_with_connector_fn(move |settings, components| {
            let provider = tls::Provider::Rustls(CryptoMode::AwsLc);
            let mut builder = ConnectorBuilder::default()
                .tls_provider(provider)
                .tls_context(context.clone())
                .proxy_config(proxy.clone());
            builder.set_connector_settings(settings.cloned());
            if let Some(components) = components {
                builder.set_sleep_impl(components.sleep_impl());
            }
            builder.build()
        }),
    )
}

fn proxies(proxy: &Proxy) -> Result<ProxyConfig, ProviderError> {
    let Some(url) = proxy.url() else {
        return Ok(ProxyConfig::disabled());
    };
    let config = ProxyConfig::https(url.to_string());
    // The error's text may show a password.
    let config = config.map_err(|_| unusable("the proxy's address cannot be used".to_owned()))?;
    Ok(config.no_proxy(proxy.exceptions(HTTPS)))
}

/// Reads the bundle that a setting names, and checks each certificate, because the SDK assumes that all are valid.
fn read(setting: &str, path: &Path) -> Result<Vec<u8>, ProviderError> {
    let wrong = |why: String| {
        unusable(format!(
            "{setting} names {}, and {why}: name a file of certificates in PEM, or remove the setting",
            path.display()
        ))
    };
    let size = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?;
    if !size.is_file() || size.len() > MAX_BUNDLE {
        return Err(wrong(format!(
            "it is no regular file of at most {MAX_BUNDLE} bytes"
        )));
    }
    let text = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|error| wrong(format!("{error:?}")))?;
        roots
            .add(certificate)
            .map_err(|error| wrong(error.to_string()))?;
    }
    match roots.is_empty() {
        true => Err(wrong("it holds no certificate".to_owned())),
        false => Ok(text),
    }
}

fn unusable(message: String) -> ProviderError {
    ProviderError::after_fix("Unreachable", message)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// Reads the head of a request and refuses it.
    async fn refused(mut stream: TcpStream) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("a head"));
        }
        let answer = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        stream.write_all(answer).await.expect("an answer");
        String::from_utf8(head).expect("text")
    }

    /// Returns whether a call to this endpoint goes to the proxy, and the head of its first request.
    async fn first_request(
        endpoint: &str,
        proxy: &TcpListener,
        server: &TcpListener,
    ) -> (bool, String) {
        let address = proxy.local_addr().expect("an address");
        let named = Proxy::for_tests(&format!("http://user:pass@{address}"));
        let credentials =
            aws_sdk_cloudformation::config::Credentials::new("id", "key", None, None, "test");
        let config = aws_sdk_cloudformation::Config::builder()
            .behavior_version(aws_config::BehaviorVersion::latest())
            .region(aws_sdk_cloudformation::config::Region::new("eu-west-1"))
            .credentials_provider(credentials)
            .retry_config(aws_smithy_types::retry::RetryConfig::disabled())
            .endpoint_url(endpoint)
            .http_client(with(&named, TrustStore::default()).expect("a client"))
            .build();
        let client = aws_sdk_cloudformation::Client::from_conf(config);
        let call = client.describe_stacks().send();
        let seen = async {
            tokio::select! {
                Ok((stream, _)) = proxy.accept() => (true, refused(stream).await),
                Ok((stream, _)) = server.accept() => (false, refused(stream).await),
            }
        };
        let (answer, seen) = tokio::join!(call, seen);
        assert!(answer.is_err());
        seen
    }

    #[tokio::test]
    async fn https_goes_through_the_proxy_and_this_host_is_reached_directly() {
        let bind = || TcpListener::bind("127.0.0.1:0");
        let (proxy, server) = (bind().await.expect("a port"), bind().await.expect("a port"));
        let far = "https://cloudformation.eu-west-1.amazonaws.com";
        let (by_proxy, head) = first_request(far, &proxy, &server).await;
        assert!(by_proxy, "{head}");
        assert!(
            head.starts_with("CONNECT cloudformation.eu-west-1.amazonaws.com:443"),
            "{head}"
        );
        assert!(
            head.to_lowercase().contains("proxy-authorization: basic"),
            "{head}"
        );
        let near = server.local_addr().expect("an address");
        let (by_proxy, head) = first_request(&format!("http://{near}"), &proxy, &server).await;
        assert!(!by_proxy && head.starts_with("POST / "), "{head}");
    }

    #[test]
    fn a_bundle_is_read_or_named_with_what_is_wrong() {
        let dir = std::env::temp_dir().join(format!("bundle-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory");
        let file = dir.join("ca.pem");
        let garbled = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
        for text in ["", "no certificate", garbled] {
            std::fs::write(&file, text).expect("a file");
            let error = read(CA_BUNDLE, &file).expect_err(text).to_string();
            assert!(
                error.contains("AWS_CA_BUNDLE") && error.contains("ca.pem"),
                "{error}"
            );
        }
        for bad in [dir.clone(), dir.join("missing"), "/dev/zero".into()] {
            read(OF_PROFILE, &bad).expect_err("no regular file");
        }
        std::fs::remove_dir_all(&dir).expect("a directory");
    }
}
