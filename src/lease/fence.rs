//! The guard between kube-leader-election and the API server: a tower layer, and the only way to the Lease.
//!
//! The crate's protocol compares wall clocks and writes without compare-and-swap. The guard lets only requests for this one Lease
//! through, makes every write conditional on the version that was read before it, and shows the crate a Lease on which its own
//! rules come to our verdict (see [`super::seen`]).

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

use super::read;
use super::seen::{Act, Known};

type Answer = Response<Box<DynBody>>;

/// A write that may pass, and the version it replaces, if any.
type Checked = (Request<Body>, Option<String>);

/// The guard did not let a request through, or could not read an answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum FenceError {
    #[error(
        "{method} {path} is not a request for the Lease: use a client of its own for anything else"
    )]
    NotTheLease { method: Method, path: String },
    #[error("the write does not follow from what was read of the Lease: read it again")]
    NotAllowed,
    #[error("only a candidate creates the Lease: campaign again")]
    NotACandidate,
    #[error("the API server changed nothing: check that this machine's clock runs")]
    Unchanged,
    #[error(
        "the request's body is not JSON or not at hand: this version of kube-leader-election does not fit the guard"
    )]
    Request,
    #[error(
        "the API server's answer is not a Lease: check what stands between it and this process"
    )]
    Answer(#[source] BoxError),
}

/// Where the Lease is on the API server.
#[derive(Clone)]
struct Place {
    collection: String,
    object: String,
    selector: String,
}

/// What a request is for.
enum Ask {
    Read,
    Watch,
    Create,
    Write,
}

impl Place {
    fn ask(&self, request: &Request<Body>) -> Option<Ask> {
        let path = request.uri().path();
        let query = request.uri().query().unwrap_or_default();
        let one_watched = || {
            let mut pairs = query.split('&');
            pairs.clone().any(|pair| pair == "watch=true")
                && pairs.any(|pair| pair == self.selector)
        };
        if path == self.object {
            match *request.method() {
                Method::GET => Some(Ask::Read),
                Method::PATCH => Some(Ask::Write),
                _ => None,
            }
        } else if path == self.collection {
            match *request.method() {
                Method::GET if one_watched() => Some(Ask::Watch),
                Method::POST => Some(Ask::Create),
                _ => None,
            }
        } else {
            None
        }
    }
}

/// Puts the guard for one Lease onto a client's stack.
#[derive(Clone)]
pub(super) struct FenceLayer {
    place: Place,
    known: Known,
}

impl FenceLayer {
    pub(super) fn new(namespace: &str, name: &str, known: Known) -> Self {
        let collection = format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases");
        Self {
            place: Place {
                object: format!("{collection}/{name}"),
                selector: format!("fieldSelector=metadata.name%3D{name}"),
                collection,
            },
            known,
        }
    }
}

impl<S> Layer<S> for FenceLayer {
    type Service = Fence<S>;

    fn layer(&self, inner: S) -> Fence<S> {
        Fence {
            inner,
            place: self.place.clone(),
            known: self.known.clone(),
        }
    }
}

/// The guard.
pub(super) struct Fence<S> {
    inner: S,
    place: Place,
    known: Known,
}

impl<S> Service<Request<Body>> for Fence<S>
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
        let checked = match self.place.ask(&request) {
            Some(Ask::Watch) => return self.inner.call(request).boxed(),
            Some(Ask::Read) => return self.read(request),
            Some(Ask::Create) => creation(&self.known, request),
            Some(Ask::Write) => write(&self.known, request),
            None => Err(FenceError::NotTheLease {
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
            // A write that changes nothing makes no version, and so tells nobody that the holder lives.
            if lease.metadata.resource_version.is_none()
                || lease.metadata.resource_version == replaced
            {
                return Err(FenceError::Unchanged.into());
            }
            known.wrote(lease.clone());
            Ok(reply(&lease)?)
        }
        .boxed()
    }
}

impl<S> Fence<S>
where
    S: Service<Request<Body>, Response = Answer, Error = BoxError>,
    S::Future: Send + 'static,
{
    fn read(&mut self, request: Request<Body>) -> BoxFuture<'static, Result<Answer, BoxError>> {
        let known = self.known.clone();
        // A holder need not ask for what it wrote itself: its next write fails if somebody else has written since.
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

/// A Lease is created without a holder: the holder of one that was just deleted may still act, so a new one has to be seen for
/// as long as a dead one before anybody takes it.
fn creation(known: &Known, request: Request<Body>) -> Result<Checked, FenceError> {
    let (epoch, ttl) = known.newborn().ok_or(FenceError::NotACandidate)?;
    edit(request, |lease| {
        lease["spec"] = json!({ "leaseDurationSeconds": ttl, "leaseTransitions": epoch });
        Ok(None)
    })
}

/// A write replaces the version it was decided on, or fails.
fn write(known: &Known, request: Request<Body>) -> Result<Checked, FenceError> {
    let kind = request.headers().get(CONTENT_TYPE);
    if kind.is_none_or(|kind| kind.as_bytes() != b"application/merge-patch+json") {
        return Err(FenceError::Request);
    }
    edit(request, |patch| {
        let act = act(patch).ok_or(FenceError::Request)?;
        let version = known.permit(&act).ok_or(FenceError::NotAllowed)?;
        patch["metadata"]["resourceVersion"] = version.as_str().into();
        Ok(Some(version))
    })
}

/// What the patch would do. Whether the name in it is ours is the crate's matter: it knows no other.
fn act(patch: &Value) -> Option<Act> {
    let spec = patch.get("spec")?;
    match spec.get("holderIdentity") {
        None => Some(Act::Renew),
        Some(Value::String(holder)) if holder.is_empty() => Some(Act::GiveUp),
        Some(Value::String(_)) => {
            let time: Timestamp = spec.get("acquireTime")?.as_str()?.parse().ok()?;
            Some(Act::Take(time))
        }
        Some(_) => None,
    }
}

fn edit(
    request: Request<Body>,
    change: impl FnOnce(&mut Value) -> Result<Option<String>, FenceError>,
) -> Result<Checked, FenceError> {
    let (mut parts, body) = request.into_parts();
    let bytes = body
        .collect_bytes()
        .now_or_never()
        .and_then(Result::ok)
        .ok_or(FenceError::Request)?;
    let mut value: Value = serde_json::from_slice(&bytes).map_err(|_| FenceError::Request)?;
    if !value.get("metadata").is_some_and(Value::is_object) {
        return Err(FenceError::Request);
    }
    let replaced = change(&mut value)?;
    let bytes = serde_json::to_vec(&value).map_err(|_| FenceError::Request)?;
    // The body has another length now; the HTTP client puts the right one in.
    parts.headers.remove(CONTENT_LENGTH);
    Ok((Request::from_parts(parts, Body::from(bytes)), replaced))
}

async fn parse(answer: Answer) -> Result<Lease, BoxError> {
    let bytes = answer.into_body().collect().await?.to_bytes();
    read::lease(&bytes).map_err(|error| FenceError::Answer(error.into()).into())
}

fn reply(lease: &Lease) -> Result<Answer, FenceError> {
    let bytes = serde_json::to_vec(lease).map_err(|error| FenceError::Answer(error.into()))?;
    let body: Box<DynBody> =
        Box::new(Full::new(Bytes::from(bytes)).map_err(|never| match never {}));
    Ok(Response::new(body))
}
