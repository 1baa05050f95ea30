//! The API of one object, a Lease or a ConfigMap, in this process: resource versions, compare-and-swap, watches, and a network that can be told to misbehave.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use futures::stream::{Stream, unfold};
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use kube::client::{Body, ClientBuilder, DynBody};
use serde_json::{Value, json};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep, sleep_until};
use tower::{BoxError, Service};

use crate::lease::{ElectionConfig, LeaseElection, Spawn};

pub type Answer = Response<Box<DynBody>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ask {
    Get,
    Post,
    Patch,
    Put,
    Watch,
    /// One event of a watch.
    Event,
}

/// What becomes of one request.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fate {
    pub before: Duration,
    pub request_lost: bool,
    pub after: Duration,
    pub answer_lost: bool,
    /// Instead of doing what was asked.
    pub status: Option<u16>,
}

impl Fate {
    pub const LOST: Self = Self {
        before: Duration::ZERO,
        request_lost: true,
        after: Duration::ZERO,
        answer_lost: false,
        status: None,
    };

    pub fn status(status: u16) -> Self {
        Self {
            status: Some(status),
            ..Self::default()
        }
    }
}

/// One replica's network.
#[derive(Clone)]
pub struct Net(Arc<Mutex<Fates>>);

type Fates = Box<dyn FnMut(Ask) -> Fate + Send>;

impl Net {
    pub fn good() -> Self {
        Self(Arc::new(Mutex::new(Box::new(|_| Fate::default()))))
    }

    pub fn set(&self, fate: impl FnMut(Ask) -> Fate + Send + 'static) {
        *self.0.lock().unwrap() = Box::new(fate);
    }

    fn fate(&self, ask: Ask) -> Fate {
        (self.0.lock().unwrap())(ask)
    }
}

#[derive(Default)]
struct Store {
    lease: Option<Value>,
    version: u64,
    /// What happened, for watches: the type and the object that made version n + 1.
    events: Vec<(&'static str, Value)>,
    count: BTreeMap<Ask, u64>,
    /// Writes replace any version: what a guard without compare-and-swap would amount to.
    blind: bool,
}

#[derive(Clone)]
pub struct FakeApi {
    store: Arc<Mutex<Store>>,
    changed: Arc<Notify>,
}

impl FakeApi {
    pub fn new() -> Self {
        Self {
            store: Arc::default(),
            changed: Arc::default(),
        }
    }

    /// With a Lease of this spec.
    pub fn with(spec: Value) -> Self {
        let api = Self::new();
        api.put(spec);
        api
    }

    /// Writes the spec as somebody with an editor does.
    pub fn put(&self, spec: Value) {
        self.change(|lease| {
            let mut new = lease.unwrap_or_else(
                || json!({ "metadata": { "name": "egress", "namespace": "default" } }),
            );
            new["spec"] = spec;
            Some(new)
        });
    }

    /// Changes some fields of the spec as somebody with an editor does.
    pub fn edit(&self, fields: Value) {
        let mut spec = self.spec();
        merge(&mut spec, &fields);
        self.put(spec);
    }

    pub fn delete(&self) {
        self.change(|_| None);
    }

    pub fn spec(&self) -> Value {
        self.store
            .lock()
            .unwrap()
            .lease
            .as_ref()
            .map_or(Value::Null, |lease| lease["spec"].clone())
    }

    pub fn holder(&self) -> String {
        self.spec()["holderIdentity"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    pub fn version(&self) -> u64 {
        self.store.lock().unwrap().version
    }

    pub fn count(&self) -> BTreeMap<Ask, u64> {
        self.store.lock().unwrap().count.clone()
    }

    pub fn forget_to_compare(&self) {
        self.store.lock().unwrap().blind = true;
    }

    fn change(&self, change: impl FnOnce(Option<Value>) -> Option<Value>) -> Value {
        let mut store = self.store.lock().unwrap();
        let old = store.lease.clone();
        let mut new = change(old.clone());
        if new == old {
            return old.unwrap_or_default();
        }
        store.version += 1;
        let version = store.version;
        if let Some(new) = &mut new {
            new["metadata"]["resourceVersion"] = version.to_string().into();
        }
        let kind = match (&old, &new) {
            (None, _) => "ADDED",
            (_, None) => "DELETED",
            _ => "MODIFIED",
        };
        let object = new.clone().or(old).unwrap_or_default();
        store.events.push((kind, object.clone()));
        store.lease = new;
        drop(store);
        self.changed.notify_waiters();
        object
    }

    fn answer(&self, ask: Ask, body: &Value) -> Answer {
        *self.store.lock().unwrap().count.entry(ask).or_default() += 1;
        let lease = self.store.lock().unwrap().lease.clone();
        match (ask, lease) {
            (Ask::Get | Ask::Patch | Ask::Put, None) => status(404),
            (Ask::Get, Some(lease)) => reply(200, &lease),
            (Ask::Post, Some(_)) => status(409),
            (Ask::Post, None) => reply(201, &self.change(|_| Some(body.clone()))),
            (Ask::Patch | Ask::Put, Some(lease)) => {
                let given = &body["metadata"]["resourceVersion"];
                let blind = self.store.lock().unwrap().blind;
                if !blind && !given.is_null() && *given != lease["metadata"]["resourceVersion"] {
                    return status(409);
                }
                reply(
                    200,
                    &self.change(|_| {
                        let mut new = lease;
                        match ask {
                            Ask::Put => new.clone_from(body),
                            _ => merge(&mut new, body),
                        }
                        Some(new)
                    }),
                )
            }
            _ => status(500),
        }
    }

    fn watch(&self, net: Net, from: usize) -> Answer {
        let end = Instant::now() + Duration::from_secs(290);
        let body = axum::body::Body::from_stream(self.clone().stream(net, from, end));
        let body: Box<DynBody> = Box::new(body.map_err(BoxError::from));
        Response::new(body)
    }

    fn stream(
        self,
        net: Net,
        from: usize,
        end: Instant,
    ) -> impl Stream<Item = Result<Bytes, Infallible>> {
        unfold(from, move |from| {
            let (store, changed, net) = (
                Arc::clone(&self.store),
                Arc::clone(&self.changed),
                net.clone(),
            );
            async move {
                loop {
                    let mut changed = pin!(changed.notified());
                    changed.as_mut().enable();
                    let next = store.lock().unwrap().events.get(from).cloned();
                    if let Some((kind, object)) = next {
                        let fate = net.fate(Ask::Event);
                        if fate.request_lost || fate.answer_lost {
                            return std::future::pending().await;
                        }
                        if fate.status.is_some() {
                            return None;
                        }
                        sleep(fate.before + fate.after).await;
                        let line = format!("{}\n", json!({ "type": kind, "object": object }));
                        return Some((Ok(Bytes::from(line)), from + 1));
                    }
                    tokio::select! {
                        biased;
                        () = changed => {}
                        () = sleep_until(end) => return None,
                    }
                }
            }
        })
    }

    /// A transport to this API over a network.
    pub fn transport(&self, net: &Net) -> Transport {
        Transport {
            api: self.clone(),
            net: net.clone(),
        }
    }

    /// A replica with the default times and a good network.
    pub fn replica(&self, name: &str) -> (LeaseElection, Net) {
        let net = Net::good();
        let spawn: Spawn = Arc::new(tokio::spawn);
        (self.replica_over(name, &net, spawn), net)
    }

    pub fn replica_over(&self, name: &str, net: &Net, spawn: Spawn) -> LeaseElection {
        self.replica_with(ElectionConfig::new("egress", "default", name), net, spawn)
    }

    pub fn replica_with(&self, config: ElectionConfig, net: &Net, spawn: Spawn) -> LeaseElection {
        let transport = || ClientBuilder::new(self.transport(net), "default");
        LeaseElection::over(transport(), transport(), config, spawn).unwrap()
    }
}

#[derive(Clone)]
pub struct Transport {
    api: FakeApi,
    net: Net,
}

impl Service<Request<Body>> for Transport {
    type Response = Answer;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Answer, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let this = self.clone();
        async move {
            // A request that is under way lands whether or not somebody waits for its answer.
            let (done, answer) = oneshot::channel();
            tokio::spawn(async move {
                if let Some(answer) = this.serve(request).await {
                    let _nobody_waits = done.send(answer);
                } else {
                    std::future::pending::<()>().await;
                }
            });
            answer.await.map_err(BoxError::from)
        }
        .boxed()
    }
}

impl Transport {
    async fn serve(self, request: Request<Body>) -> Option<Answer> {
        let query = request.uri().query().unwrap_or_default().to_owned();
        let ask = match *request.method() {
            Method::GET if query.contains("watch=true") => Ask::Watch,
            Method::GET => Ask::Get,
            Method::POST => Ask::Post,
            Method::PUT => Ask::Put,
            _ => Ask::Patch,
        };
        let fate = self.net.fate(ask);
        sleep(fate.before).await;
        if fate.request_lost {
            return None;
        }
        let bytes = request.into_body().collect_bytes().await.unwrap();
        let body = serde_json::from_slice(&bytes).unwrap_or_default();
        let answer = match (fate.status, ask) {
            (Some(code), _) => status(code),
            (None, Ask::Watch) => {
                *self.api.store.lock().unwrap().count.entry(ask).or_default() += 1;
                let version = query
                    .split('&')
                    .find_map(|pair| pair.strip_prefix("resourceVersion="));
                self.api
                    .watch(self.net.clone(), version.unwrap().parse().unwrap())
            }
            (None, _) => self.api.answer(ask, &body),
        };
        sleep(fate.after).await;
        (!fate.answer_lost).then_some(answer)
    }
}

fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        into.clone_from(patch);
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            into.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut into[key], value);
        }
    }
}

fn reply(code: u16, value: &Value) -> Answer {
    let bytes = Bytes::from(value.to_string());
    let body: Box<DynBody> = Box::new(Full::new(bytes).map_err(|never| match never {}));
    Response::builder().status(code).body(body).unwrap()
}

fn status(code: u16) -> Answer {
    let text = format!("fake {code}");
    reply(
        code,
        &json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": text, "reason": text, "code": code,
        }),
    )
}
