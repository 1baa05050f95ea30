//! The API of one object, a Lease or a ConfigMap, in this process: resource versions, compare-and-swap, watches, and a network that can
//! fail.

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
use http_body_util::BodyExt as _;
use kube::client::{Body, ClientBuilder, DynBody};
use serde_json::{Value, json};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep, sleep_until};
use tower::{BoxError, Service};

use super::answers::{Answer, answer, failure, reply};
pub use super::net::{Ask, Fate, Net};
use super::wall::Wall;
use crate::lease::{ElectionConfig, LeaseElection, Spawn};

#[derive(Default)]
struct Store {
    lease: Option<Arc<Value>>,
    version: u64,
    /// The events for watches: the type, and the object of version n + 1.
    events: Vec<Event>,
    /// Watches from before this version get an error, and have to read again.
    oldest: usize,
    restarts: u32,
    down_until: Option<Instant>,
    count: BTreeMap<Ask, u64>,
    /// Whether writes replace any version, as with a layer that does not compare.
    blind: bool,
}

#[derive(Clone)]
struct Event {
    kind: &'static str,
    object: Arc<Value>,
    /// The event as a watch sends it.
    line: Bytes,
}

impl Event {
    fn new(kind: &'static str, object: Arc<Value>) -> Self {
        let line = format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n");
        Self {
            kind,
            object,
            line: line.into(),
        }
    }
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

    /// Creates an API with a Lease of this spec.
    pub fn with(spec: Value) -> Self {
        let api = Self::new();
        api.put(spec);
        api
    }

    /// Writes the spec, as a user with an editor would.
    pub fn put(&self, spec: Value) {
        self.change(|lease| {
            let mut new = lease.cloned().unwrap_or_else(
                || json!({ "metadata": { "name": "egress", "namespace": "default" } }),
            );
            new["spec"] = spec;
            Some(new)
        });
    }

    /// Changes some fields of the spec, as a user with an editor would.
    pub fn edit(&self, fields: Value) {
        let mut spec = self.spec();
        merge(&mut spec, &fields);
        self.put(spec);
    }

    pub fn scribble(&self, key: &str, text: &str) {
        self.change(|object| {
            let mut new = object.cloned()?;
            merge(&mut new, &json!({ "data": { key: text } }));
            Some(new)
        });
    }

    pub fn delete(&self) {
        self.change(|_| None);
    }

    pub fn spec(&self) -> Value {
        self.object()["spec"].clone()
    }

    pub fn object(&self) -> Arc<Value> {
        self.store.lock().unwrap().lease.clone().unwrap_or_default()
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

    /// Restarts the API server: for this time requests are refused. Watches end, and earlier events are forgotten.
    pub fn restart(&self, away: Duration) {
        let mut store = self.store.lock().unwrap();
        store.restarts += 1;
        store.oldest = store.events.len();
        store.down_until = Some(Instant::now() + away);
        drop(store);
        self.changed.notify_waiters();
    }

    fn is_down(&self) -> bool {
        let until = self.store.lock().unwrap().down_until;
        until.is_some_and(|until| until > Instant::now())
    }

    pub fn forget_to_compare(&self) {
        self.store.lock().unwrap().blind = true;
    }

    fn change(&self, change: impl FnOnce(Option<&Value>) -> Option<Value>) -> Arc<Value> {
        let mut store = self.store.lock().unwrap();
        let old = store.lease.clone();
        let mut new = change(old.as_deref());
        if new.as_ref() == old.as_deref() {
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
        let new = new.map(Arc::new);
        let object = new.clone().or(old).unwrap_or_default();
        store.events.push(Event::new(kind, Arc::clone(&object)));
        store.lease = new;
        drop(store);
        self.changed.notify_waiters();
        object
    }

    fn answer(&self, ask: Ask, body: &Value, wall: Option<&Wall>) -> Answer {
        let mut store = self.store.lock().unwrap();
        *store.count.entry(ask).or_default() += 1;
        let (lease, blind) = (store.lease.clone(), store.blind);
        drop(store);
        match (ask, lease) {
            (Ask::Get | Ask::Patch | Ask::Put, None) => reply(404, &failure(404)),
            (Ask::Get, Some(lease)) => match wall.filter(|wall| wall.trusted) {
                Some(wall) => {
                    let mut lease = Value::clone(&lease);
                    wall.mislead(&mut lease);
                    reply(200, &lease)
                }
                None => reply(200, &lease),
            },
            (Ask::Post, Some(_)) => reply(409, &failure(409)),
            (Ask::Post, None) => reply(201, &self.change(|_| Some(body.clone()))),
            (Ask::Patch | Ask::Put, Some(lease)) => {
                let given = &body["metadata"]["resourceVersion"];
                if !blind && !given.is_null() && *given != lease["metadata"]["resourceVersion"] {
                    return reply(409, &failure(409));
                }
                let mut new = Value::clone(&lease);
                match ask {
                    Ask::Put => new.clone_from(body),
                    _ => merge(&mut new, body),
                }
                reply(200, &self.change(|_| Some(new)))
            }
            _ => reply(500, &failure(500)),
        }
    }

    fn watch(&self, net: Net, from: usize) -> Answer {
        let store = self.store.lock().unwrap();
        let (oldest, restarts) = (store.oldest, store.restarts);
        drop(store);
        if from < oldest {
            let gone = json!({ "type": "ERROR", "object": failure(410) });
            return answer(200, format!("{gone}\n"));
        }
        let life = Life {
            restarts,
            end: Instant::now() + Duration::from_secs(290),
        };
        let body = axum::body::Body::from_stream(self.clone().stream(net, from, life));
        let body: Box<DynBody> = Box::new(body.map_err(BoxError::from));
        Response::new(body)
    }

    fn stream(
        self,
        net: Net,
        from: usize,
        life: Life,
    ) -> impl Stream<Item = Result<Bytes, Infallible>> {
        unfold(from, move |from| {
            let (api, net) = (self.clone(), net.clone());
            async move {
                loop {
                    let mut changed = pin!(api.changed.notified());
                    changed.as_mut().enable();
                    if api.store.lock().unwrap().restarts != life.restarts {
                        return None;
                    }
                    let next = api.store.lock().unwrap().events.get(from).cloned();
                    if let Some(mut event) = next {
                        let fate = net.fate(Ask::Event);
                        if fate.request_lost || fate.answer_lost {
                            return std::future::pending().await;
                        }
                        if fate.status.is_some() {
                            return None;
                        }
                        sleep(fate.before + fate.after).await;
                        if let Some(wall) = net.wall().filter(|wall| wall.trusted) {
                            let mut object = Value::clone(&event.object);
                            wall.mislead(&mut object);
                            event = Event::new(event.kind, object.into());
                        }
                        return Some((Ok(event.line), from + 1));
                    }
                    tokio::select! {
                        biased;
                        () = changed => {}
                        () = sleep_until(life.end) => return None,
                    }
                }
            }
        })
    }

    /// Returns a transport to this API over a network.
    pub fn transport(&self, net: &Net) -> Transport {
        Transport {
            api: self.clone(),
            net: net.clone(),
        }
    }

    /// Returns a replica with the default times and a network without faults.
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
            // A request in flight takes effect, even if its sender no longer waits for the response.
            let (done, answer) = oneshot::channel();
            tokio::spawn(async move {
                if let Some(answer) = this.serve(request).await {
                    let _nobody_waits = done.send(answer);
                } else {
                    std::future::pending::<()>().await;
                }
            });
            answer.await?.map_err(BoxError::from)
        }
        .boxed()
    }
}

impl Transport {
    async fn serve(self, request: Request<Body>) -> Option<Result<Answer, &'static str>> {
        let query = request.uri().query().unwrap_or_default().to_owned();
        let ask = match *request.method() {
            Method::GET if query.contains("watch=true") => Ask::Watch,
            Method::GET => Ask::Get,
            Method::POST => Ask::Post,
            Method::PUT => Ask::Put,
            _ => Ask::Patch,
        };
        let fate = self.net.fate(ask);
        let bytes = request.into_body().collect_bytes().await.unwrap();
        let mut body = serde_json::from_slice(&bytes).unwrap_or_default();
        if let Some(wall) = self.net.wall() {
            wall.date(&mut body);
        }
        sleep(fate.before).await;
        if fate.request_lost {
            return None;
        }
        if self.api.is_down() {
            return Some(Err("connection refused"));
        }
        let answer = match (fate.status, ask) {
            (Some(code), _) => reply(code, &failure(code)),
            (None, Ask::Watch) => {
                *self.api.store.lock().unwrap().count.entry(ask).or_default() += 1;
                let version = query
                    .split('&')
                    .find_map(|pair| pair.strip_prefix("resourceVersion="));
                self.api
                    .watch(self.net.clone(), version.unwrap().parse().unwrap())
            }
            (None, _) => self.api.answer(ask, &body, self.net.wall()),
        };
        if let Some(later) = fate.again {
            let api = self.api.clone();
            tokio::spawn(async move {
                sleep(later).await;
                api.answer(ask, &body, None);
            });
        }
        sleep(fate.after).await;
        (!fate.answer_lost).then_some(Ok(answer))
    }
}

/// The lifetime of a watch.
#[derive(Clone, Copy)]
struct Life {
    restarts: u32,
    end: Instant,
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
