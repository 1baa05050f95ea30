//! Sends spans to a collector as OTLP over HTTP, in batches, from a thread of the SDK. No pass waits for it: spans that cannot be
//! delivered, or do not fit into the queue, are dropped. A collector that fails is logged once.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{Key, KeyValue, Value};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use prost::Message as _;
use tokio::runtime::Handle;
use tracing::{Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

use crate::agent::AGENT;
use crate::config;
use crate::spans;

const NAME: &str = env!("CARGO_PKG_NAME");
const SERVICE_NAME: &str = "service.name";
/// How long shutdown waits for the last spans.
const FLUSH: Duration = Duration::from_secs(1);
/// The maximum size of a collector's response.
const MOST_BYTES: usize = 64 << 10;
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
        let exporter = Exporter {
            runtime: Handle::current(),
            post: Post {
                http: Http::new(&config.endpoint)?,
                endpoint: config.endpoint.clone(),
                headers: config.headers.clone(),
            },
            timeout: config.timeout,
            resource: ResourceAttributesWithSchema::default(),
            failing: AtomicBool::new(false),
        };
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

#[derive(Clone, Debug)]
enum Http {
    Plain(Client<HttpConnector, Full<Bytes>>),
    Tls(Client<HttpsConnector<HttpConnector>, Full<Bytes>>),
}

impl Http {
    fn new(endpoint: &Uri) -> Result<Self> {
        let client = Client::builder(TokioExecutor::new());
        if endpoint.scheme_str() != Some("https") {
            return Ok(Self::Plain(client.build(HttpConnector::new())));
        }
        let roots = HttpsConnectorBuilder::new().with_native_roots();
        let roots = roots
            .context("--otlp-endpoint: https needs CAs: set SSL_CERT_FILE to a file of them")?;
        let connector = roots.https_only().enable_http1().build();
        Ok(Self::Tls(client.build(connector)))
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>> {
        let response = match self {
            Self::Plain(client) => client.request(request),
            Self::Tls(client) => client.request(request),
        };
        Ok(response.await?)
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

#[derive(Debug)]
struct Exporter {
    runtime: Handle,
    post: Post,
    timeout: Duration,
    resource: ResourceAttributesWithSchema,
    /// Whether the last request failed.
    failing: AtomicBool,
}

#[derive(Clone, Debug)]
struct Post {
    http: Http,
    endpoint: Uri,
    headers: HeaderMap,
}

impl SpanExporter for Exporter {
    fn export(&self, batch: Vec<SpanData>) -> impl Future<Output = OTelSdkResult> + Send {
        let resource_spans = group_spans_by_resource_and_scope(batch, &self.resource);
        let body = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
        // The SDK's thread has no runtime.
        let (post, timeout) = (self.post.clone(), self.timeout);
        let sending = self.runtime.spawn(async move {
            tokio::time::timeout(timeout, post.send(body.into()))
                .await
                .unwrap_or_else(|_| bail!("no answer within {timeout:?}"))
        });
        async move {
            let sent = sending.await.unwrap_or_else(|error| Err(error.into()));
            self.tell(&sent);
            sent.map_err(|error| OTelSdkError::InternalFailure(error.to_string()))
        }
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = resource.into();
    }
}

impl Exporter {
    fn tell(&self, sent: &Result<()>) {
        let before = self.failing.swap(sent.is_err(), Ordering::Relaxed);
        match sent {
            Err(error) if !before => tracing::warn!(
                "traces are lost: {} does not accept them ({error:#}); check --otlp-endpoint, and the collector there",
                self.post.endpoint
            ),
            Ok(()) if before => tracing::info!("traces are accepted again"),
            _ => {}
        }
    }
}

impl Post {
    async fn send(self, body: Bytes) -> Result<()> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.endpoint;
        *request.headers_mut() = self.headers;
        let kind = HeaderValue::from_static("application/x-protobuf");
        request.headers_mut().insert(header::CONTENT_TYPE, kind);
        // The operator may have set another one.
        let agent = request.headers_mut().entry(header::USER_AGENT);
        agent.or_insert(AGENT);
        let response = self.http.send(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MOST_BYTES);
        let body = body.collect().await;
        if !status.is_success() {
            bail!("it answers {status}");
        }
        let body = body.map_err(|error| anyhow!(error))?.to_bytes();
        let answer = ExportTraceServiceResponse::decode(body);
        match answer.context("its answer is not OTLP")?.partial_success {
            Some(partial) if partial.rejected_spans > 0 => {
                let why: String = partial.error_message.chars().take(MOST_TEXT).collect();
                bail!("it refuses {} spans: {why:?}", partial.rejected_spans)
            }
            _ => Ok(()),
        }
    }
}
