//! A collector of traces on loopback. It takes OTLP over HTTP, refuses malformed requests, and can be made to fail.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1 as otlp;
use prost::Message as _;

const OTLP: &str = "application/x-protobuf";

/// How the collector answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    Takes,
    /// With status 503.
    Refuses,
    /// With status 200 and a message that it rejected all spans.
    Rejects,
    /// Not at all.
    Hangs,
}

#[derive(Clone, Debug)]
pub struct Span {
    pub name: String,
    pub trace: Vec<u8>,
    pub id: Vec<u8>,
    /// The id of the parent span; empty for the root of a trace.
    pub parent: Vec<u8>,
    pub kind: otlp::span::SpanKind,
    pub start: u64,
    pub end: u64,
    pub failed: bool,
    pub attributes: BTreeMap<String, String>,
    pub resource: BTreeMap<String, String>,
}

impl Span {
    pub fn get(&self, attribute: &str) -> &str {
        self.attributes.get(attribute).map_or("", String::as_str)
    }
}

struct Inner {
    manner: Manner,
    requests: usize,
    malformed: Vec<String>,
    headers: HeaderMap,
    spans: Vec<Span>,
}

#[derive(Clone)]
pub struct Collector {
    pub url: String,
    inner: Arc<Mutex<Inner>>,
}

impl Collector {
    pub async fn start(manner: Manner) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let collector = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            inner: Arc::new(Mutex::new(Inner {
                manner,
                requests: 0,
                malformed: Vec::new(),
                headers: HeaderMap::new(),
                spans: Vec::new(),
            })),
        };
        let app = Router::new()
            .route("/v1/traces", post(take))
            .with_state(collector.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        collector
    }

    pub fn behave(&self, manner: Manner) {
        self.inner.lock().unwrap().manner = manner;
    }

    /// Returns the number of requests.
    pub fn requests(&self) -> usize {
        self.inner.lock().unwrap().requests
    }

    /// Returns a header of the last request.
    pub fn header(&self, name: &str) -> String {
        let inner = self.inner.lock().unwrap();
        let value = inner.headers.get(name).map(|value| value.to_str().unwrap());
        value.unwrap_or_default().to_owned()
    }

    /// Returns the accepted spans. Panics if a request was malformed.
    pub fn spans(&self) -> Vec<Span> {
        let inner = self.inner.lock().unwrap();
        assert!(inner.malformed.is_empty(), "{:?}", inner.malformed);
        inner.spans.clone()
    }
}

async fn take(State(collector): State<Collector>, headers: HeaderMap, body: Bytes) -> Response {
    let read = read(&headers, &body);
    let manner = {
        let mut inner = collector.inner.lock().unwrap();
        inner.requests += 1;
        inner.headers = headers;
        match &read {
            Err(why) => inner.malformed.push(why.clone()),
            Ok(spans) if inner.manner == Manner::Takes => inner.spans.extend(spans.iter().cloned()),
            Ok(_) => {}
        }
        inner.manner
    };
    let mut answer = ExportTraceServiceResponse::default();
    match (read, manner) {
        (Err(why), _) => return (StatusCode::BAD_REQUEST, why).into_response(),
        (Ok(_), Manner::Takes) => {}
        (Ok(_), Manner::Refuses) => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
        (Ok(spans), Manner::Rejects) => {
            answer.partial_success = Some(ExportTracePartialSuccess {
                rejected_spans: spans.len().try_into().unwrap(),
                error_message: "too many for this plan".to_owned(),
            });
        }
        (Ok(_), Manner::Hangs) => tokio::time::sleep(Duration::from_secs(3600)).await,
    }
    ([(header::CONTENT_TYPE, OTLP)], answer.encode_to_vec()).into_response()
}

fn read(headers: &HeaderMap, body: &[u8]) -> Result<Vec<Span>, String> {
    if headers
        .get(header::CONTENT_TYPE)
        .is_none_or(|is| is != OTLP)
    {
        return Err(format!("{headers:?}"));
    }
    let request = ExportTraceServiceRequest::decode(body).map_err(|error| error.to_string())?;
    let mut found = Vec::new();
    for of_resource in request.resource_spans {
        let resource = attributes(of_resource.resource.unwrap_or_default().attributes)?;
        let spans = of_resource.scope_spans.into_iter().flat_map(|is| is.spans);
        for span in spans {
            found.push(judge(span, &resource)?);
        }
    }
    if found.is_empty() {
        return Err("no spans".to_owned());
    }
    Ok(found)
}

fn judge(span: otlp::Span, resource: &BTreeMap<String, String>) -> Result<Span, String> {
    let is_id = |id: &[u8], bytes: usize| id.len() == bytes && id.iter().any(|byte| *byte != 0);
    let good = is_id(&span.trace_id, 16)
        && is_id(&span.span_id, 8)
        && (span.parent_span_id.is_empty() || is_id(&span.parent_span_id, 8))
        && !span.name.is_empty()
        && span.start_time_unix_nano > 0
        && span.start_time_unix_nano <= span.end_time_unix_nano;
    if !good {
        return Err(format!("{span:?}"));
    }
    let status = span.status.clone().unwrap_or_default();
    Ok(Span {
        kind: span.kind(),
        name: span.name,
        trace: span.trace_id,
        id: span.span_id,
        parent: span.parent_span_id,
        start: span.start_time_unix_nano,
        end: span.end_time_unix_nano,
        failed: status.code() == otlp::status::StatusCode::Error,
        attributes: attributes(span.attributes)?,
        resource: resource.clone(),
    })
}

/// Parses attributes. Keys must be unique and have a value.
fn attributes(pairs: Vec<KeyValue>) -> Result<BTreeMap<String, String>, String> {
    let mut found = BTreeMap::new();
    for KeyValue { key, value, .. } in pairs {
        let text = match value.and_then(|value| value.value) {
            Some(any_value::Value::StringValue(text)) => text,
            Some(any_value::Value::IntValue(number)) => number.to_string(),
            Some(any_value::Value::BoolValue(value)) => value.to_string(),
            other => return Err(format!("{key} is {other:?}")),
        };
        if found.insert(key.clone(), text).is_some() {
            return Err(format!("{key} is there twice"));
        }
    }
    Ok(found)
}
