//! Sends spans to a collector with `opentelemetry-otlp`, over HTTP, in batches, from a thread of the SDK. No pass waits for it: spans that cannot be
//! delivered, or do not fit into the queue, are dropped. A collector that fails is logged once.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response, Uri};
use hyper_rustls::HttpsConnectorBuilder;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{Key, KeyValue, Value};
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{RetryPolicy, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use prost::Message as _;
use tokio::runtime::Handle;
use tokio::time::error::Elapsed;
use tracing::{Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

use crate::agent::PRODUCT;
use crate::{config, error_chain, spans};

const NAME: &str = env!("CARGO_PKG_NAME");
const SERVICE_NAME: &str = "service.name";
/// How long shutdown waits for the last spans.
const FLUSH: Duration = Duration::from_secs(1);
/// The maximum length of a collector's error message, in characters.
const MOST_TEXT: usize = 200;

/// The pipeline from this process's spans to a collector.
pub struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    /// Starts the pipeline on the current runtime. `replica` is the pod's name, or empty outside of a pod.
    ///
    /// # Errors
    /// If the endpoint is https and the CA certificates of this machine cannot be read.
    pub fn start(config: &config::Traces, replica: &str) -> Result<Self> {
        // The exporter itself reads the headers from the environment.
        let agent = HashMap::from([("User-Agent".to_owned(), PRODUCT.to_owned())]);
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Client::new(config)?)
            .with_endpoint(config.endpoint.to_string())
            .with_headers(agent)
            // A retry would delay the next batch and the end of the process.
            .with_retry_policy(RetryPolicy::disabled())
            .build()?;
        Ok(Self {
            provider: SdkTracerProvider::builder()
                .with_resource(resource(replica))
                .with_batch_exporter(exporter)
                .build(),
        })
    }

    /// Returns the layer that collects the spans of this program, but not of libraries.
    pub fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer(NAME))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_level(false)
            .with_tracked_inactivity(false)
            .with_context_activation(false)
            .with_filter(Targets::new().with_target(spans::TARGET, Level::INFO))
    }

    /// Sends the remaining spans. Blocks the thread for at most [`FLUSH`].
    pub fn end(self) {
        if self.provider.shutdown_with_timeout(FLUSH).is_err() {
            tracing::debug!("the last traces were not delivered");
        }
    }
}

/// Returns the resource attributes of this process. Attributes from the environment take precedence.
fn resource(replica: &str) -> Resource {
    let mut ours = vec![
        KeyValue::new(SERVICE_NAME, NAME),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
    ];
    if !replica.is_empty() {
        ours.push(KeyValue::new("service.instance.id", replica.to_owned()));
    }
    let detected = Resource::builder().build();
    let unknown = |key: &Key, value: &Value| {
        key.as_str() == SERVICE_NAME && value.as_str().starts_with("unknown_service")
    };
    let detected = detected
        .iter()
        .filter(|(key, value)| !unknown(key, value))
        .map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    Resource::builder_empty()
        .with_attributes(ours)
        .with_attributes(detected)
        .build()
}

/// The exporter's HTTP client. It logs why a request fails, which the exporter's own errors do not say.
#[derive(Debug)]
struct Client {
    runtime: Handle,
    http: Arc<dyn HttpClient>,
    timeout: Duration,
    /// Whether the last request failed.
    failing: AtomicBool,
}

impl Client {
    fn new(config: &config::Traces) -> Result<Self> {
        let timeout = config.timeout;
        let http: Arc<dyn HttpClient> = if config.endpoint.scheme_str() == Some("https") {
            let roots = HttpsConnectorBuilder::new().with_native_roots();
            let roots = roots
                .context("--otlp-endpoint: https needs CAs: set SSL_CERT_FILE to a file of them")?;
            let connector = roots.https_only().enable_http1().build();
            Arc::new(HyperClient::new(connector, timeout, None))
        } else {
            Arc::new(HyperClient::with_default_connector(timeout, None))
        };
        Ok(Self {
            runtime: Handle::current(),
            http,
            timeout,
            failing: AtomicBool::new(false),
        })
    }

    /// Returns why a request has lost spans, or None.
    fn loss(&self, sent: &Result<Response<Bytes>, HttpError>) -> Option<String> {
        match sent {
            Ok(response) => accepted(response).err().map(|why| format!("{why:#}")),
            Err(error) if error.is::<Elapsed>() => {
                Some(format!("no answer within {:?}", self.timeout))
            }
            Err(error) => Some(error_chain::text(error.as_ref())),
        }
    }

    fn tell(&self, endpoint: &Uri, loss: Option<String>) {
        let before = self.failing.swap(loss.is_some(), Ordering::Relaxed);
        match loss {
            Some(why) if !before => tracing::warn!(
                "traces are lost: {endpoint} does not accept them ({why}); check --otlp-endpoint, and the collector there"
            ),
            None if before => tracing::info!("traces are accepted again"),
            _ => {}
        }
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (http, endpoint) = (Arc::clone(&self.http), request.uri().clone());
        // The SDK's thread has no runtime.
        let sending = self
            .runtime
            .spawn(async move { http.send_bytes(request).await });
        let sent = sending.await.map_err(HttpError::from).flatten();
        self.tell(&endpoint, self.loss(&sent));
        sent
    }
}

/// Checks that a collector accepts all spans of a request.
fn accepted(response: &Response<Bytes>) -> Result<()> {
    let status = response.status();
    if !status.is_success() {
        bail!("it answers {status}");
    }
    let answer = ExportTraceServiceResponse::decode(response.body().as_ref());
    match answer.context("its answer is not OTLP")?.partial_success {
        Some(partial) if partial.rejected_spans > 0 => {
            let why: String = partial.error_message.chars().take(MOST_TEXT).collect();
            bail!("it refuses {} spans: {why:?}", partial.rejected_spans)
        }
        _ => Ok(()),
    }
}
