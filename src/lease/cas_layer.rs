//! A tower layer between kube-leader-election and the API server that adds compare-and-swap. Every request for the Lease passes it.
//!
//! The crate compares wall clocks and writes without compare-and-swap. This layer lets only requests for one Lease through. It makes
//! every write conditional on the version that was read before it. It also edits the Lease that the crate reads, so that the crate's own
//! rules lead to the decision of [`super::observation`].

use std::task::{Context, Poll};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{BoxFuture, ready};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::client::{Body, DynBody};
use serde_json::{Value, json};
use tower::{BoxError, Layer, Service};

use super::observation::{LeaseState, WriteIntent};
use super::read;

type Answer = Response<Box<DynBody>>;

/// A write that may be sent, and the version it replaces, if any.
type Checked = (Request<Body>, Option<String>);

/// Why the layer refused a request, or could not read a response.
#[derive(Debug, thiserror::Error)]
pub(super) enum CasError {
    #[error(
        "{method} {path} is not a request for the Lease: use a client of its own for anything else"
    )]
    NotTheLease { method: Method, path: String },
    #[error(
        "the write does not match the version of the Lease that was read: read the Lease again"
    )]
    NotAllowed,
    #[error("only a candidate creates the Lease: campaign again")]
    NotACandidate,
    #[error("the API server changed nothing: check that this machine's clock runs")]
    Unchanged,
    #[error(
        "the request's body is not JSON or not in memory: this version of kube-leader-election does not fit this layer"
    )]
    Request,
    #[error(
        "the API server's response is not a Lease: check the proxies between the API server and this process"
    )]
    Answer(#[source] BoxError),
}

/// The paths of the Lease on the API server.
#[derive(Clone)]
struct LeasePath {
    collection: String,
    object: String,
    selector: String,
}

/// The kind of a request.
enum RequestKind {
    Read,
    Watch,
    Create,
    Write,
}

impl LeasePath {
    fn ask(&self, request: &Request<Body>) -> Option<RequestKind> {
        let path = request.uri().path();
        let query = request.uri().query().unwrap_or_default();
        let one_watched = || {
            let mut pairs = query.split('&');
            pairs.clone().any(|pair| pair == "watch=true")
                && pairs.any(|pair| pair == self.selector)
        };
        if path == self.object {
            match *request.method() {
                Method::GET => Some(RequestKind::Read),
                Method::PATCH => Some(RequestKind::Write),
                _ => None,
            }
        } else if path == self.collection {
            match *request.method() {
                Method::GET if one_watched() => Some(RequestKind::Watch),
                Method::POST => Some(RequestKind::Create),
                _ => None,
            }
        } else {
            None
        }
    }
}

/// Adds the compare-and-swap service for one Lease to a client's stack.
#[derive(Clone)]
pub(super) struct CasLayer {
    path: LeasePath,
    known: LeaseState,
}

impl CasLayer {
    pub(super) fn new(namespace: &str, name: &str, known: LeaseState) -> Self {
        let collection = format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases");
        Self {
            path: LeasePath {
                object: format!("{collection}/{name}"),
                selector: format!("fieldSelector=metadata.name%3D{name}"),
                collection,
            },
            known,
        }
    }
}

impl<S> Layer<S> for CasLayer {
    type Service = CasService<S>;

    fn layer(&self, inner: S) -> CasService<S> {
        CasService {
            inner,
            path: self.path.clone(),
            known: self.known.clone(),
        }
    }
}

/// The service that checks each request for the Lease.
pub(super) struct CasService<S> {
    inner: S,
    path: LeasePath,
    known: LeaseState,
}

impl<S> Service<Request<Body>> for CasService<S>
where
    S: Service<Request<Body>, Response = Answer, Error = BoxError>,
    S::Future: Send + 'static,
{
    type Response = Answer;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Answer, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let checked = match self.path.ask(&request) {
            Some(RequestKind::Watch) => return self.inner.call(request).boxed(),
            Some(RequestKind::Read) => return self.read(request),
            Some(RequestKind::Create) => creation(&self.known, request),
            Some(RequestKind::Write) => write(&self.known, request),
            None => Err(CasError::NotTheLease {
                method: request.method().clone(),
                path: request.uri().path().to_owned(),
            }),
        };
        let (request, replaced) = match checked {
            Ok(checked) => checked,
            Err(refusal) => return ready(Err(refusal.into())).boxed(),
        };
        let (known, answer) = (self.known.clone(), self.inner.call(request));
        async move {
            let answer = answer.await?;
            if !answer.status().is_success() {
                return Ok(answer);
            }
            let lease = parse(answer).await?;
            // A write that changes nothing creates no version, so other candidates cannot see that the holder is alive.
            if lease.metadata.resource_version.is_none()
                || lease.metadata.resource_version == replaced
            {
                return Err(CasError::Unchanged.into());
            }
            known.wrote(lease.clone());
            Ok(reply(&lease)?)
        }
        .boxed()
    }
}

impl<S> CasService<S>
where
    S: Service<Request<Body>, Response = Answer, Error = BoxError>,
    S::Future: Send + 'static,
{
    fn read(&mut self, request: Request<Body>) -> BoxFuture<'static, Result<Answer, BoxError>> {
        let known = self.known.clone();
        // A holder need not read what it wrote itself: its next write fails if another writer has changed the Lease.
        if let Some(lease) = known.own() {
            return ready(reply(&known.show(lease)).map_err(Into::into)).boxed();
        }
        let answer = self.inner.call(request);
        async move {
            let answer = answer.await?;
            if answer.status() == StatusCode::NOT_FOUND {
                known.absent();
            }
            if !answer.status().is_success() {
                return Ok(answer);
            }
            let lease = parse(answer).await?;
            Ok(reply(&known.show(lease))?)
        }
        .boxed()
    }
}

/// Creates the Lease without a holder. The holder of a Lease that was just deleted may still act, so candidates wait for a new Lease as
/// long as for an expired one.
fn creation(known: &LeaseState, request: Request<Body>) -> Result<Checked, CasError> {
    let (epoch, ttl) = known.newborn().ok_or(CasError::NotACandidate)?;
    edit(request, |lease| {
        lease["spec"] = json!({ "leaseDurationSeconds": ttl, "leaseTransitions": epoch });
        Ok(None)
    })
}

/// Makes a write conditional on the version it was decided on.
fn write(known: &LeaseState, request: Request<Body>) -> Result<Checked, CasError> {
    let kind = request.headers().get(CONTENT_TYPE);
    if kind.is_none_or(|kind| kind.as_bytes() != b"application/merge-patch+json") {
        return Err(CasError::Request);
    }
    edit(request, |patch| {
        let intent = intent(patch).ok_or(CasError::Request)?;
        let version = known.permit(&intent).ok_or(CasError::NotAllowed)?;
        patch["metadata"]["resourceVersion"] = version.as_str().into();
        Ok(Some(version))
    })
}

/// Returns what the patch would do. The holder in it is always this replica, because the crate knows no other name.
fn intent(patch: &Value) -> Option<WriteIntent> {
    let spec = patch.get("spec")?;
    match spec.get("holderIdentity") {
        None => Some(WriteIntent::Renew),
        Some(Value::String(holder)) if holder.is_empty() => Some(WriteIntent::GiveUp),
        Some(Value::String(_)) => {
            let time: Timestamp = spec.get("acquireTime")?.as_str()?.parse().ok()?;
            Some(WriteIntent::Take(time))
        }
        Some(_) => None,
    }
}

fn edit(
    request: Request<Body>,
    change: impl FnOnce(&mut Value) -> Result<Option<String>, CasError>,
) -> Result<Checked, CasError> {
    let (mut parts, body) = request.into_parts();
    let bytes = body
        .collect_bytes()
        .now_or_never()
        .and_then(Result::ok)
        .ok_or(CasError::Request)?;
    let mut value: Value = serde_json::from_slice(&bytes).map_err(|_| CasError::Request)?;
    if !value.get("metadata").is_some_and(Value::is_object) {
        return Err(CasError::Request);
    }
    let replaced = change(&mut value)?;
    let bytes = serde_json::to_vec(&value).map_err(|_| CasError::Request)?;
    // The length of the body has changed; the HTTP client sets the header again.
    parts.headers.remove(CONTENT_LENGTH);
    Ok((Request::from_parts(parts, Body::from(bytes)), replaced))
}

async fn parse(answer: Answer) -> Result<Lease, BoxError> {
    let bytes = answer.into_body().collect().await?.to_bytes();
    read::lease(&bytes).map_err(|error| CasError::Answer(error.into()).into())
}

fn reply(lease: &Lease) -> Result<Answer, CasError> {
    let bytes = serde_json::to_vec(lease).map_err(|error| CasError::Answer(error.into()))?;
    let body: Box<DynBody> =
        Box::new(Full::new(Bytes::from(bytes)).map_err(|never| match never {}));
    Ok(Response::new(body))
}
