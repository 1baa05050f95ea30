//! A plain HTTP server between a replica and the API server. It can hold back events of watches and refuse lists, while all other requests
//! pass. A replica behind it has an outdated view without any sign.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use futures::StreamExt as _;
use http::StatusCode;
use kube::config::{KubeConfigOptions, Kubeconfig};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::proxy::runtime;
use crate::stage::Stage;

const MAX_BODY: usize = 8 << 20;

#[derive(Clone, Copy, Default)]
struct Orders {
    /// Whether data of watches is held back.
    holds_watches: bool,
    /// Whether lists of labelled ConfigMaps are answered with 503.
    refuses_lists: bool,
}

struct Shared {
    kube: kube::Client,
    orders: watch::Sender<Orders>,
}

/// A running relay. Dropping it ends the relay.
pub struct Relay {
    pub url: String,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

impl Relay {
    /// Starts a relay to the API server of the stage, with the permissions of its service account.
    pub async fn to(stage: &Stage) -> Self {
        let file = Kubeconfig::read_from(stage.dir.join("kubeconfig")).unwrap();
        let options = KubeConfigOptions::default();
        let mut config = kube::Config::from_custom_kubeconfig(file, &options)
            .await
            .unwrap();
        // The replica decides about retries and waits.
        config.default_retry = false;
        config.read_timeout = None;
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let orders = watch::Sender::new(Orders::default());
        let (made, started) = tokio::sync::oneshot::channel();
        let serving = runtime().spawn(async move {
            let kube = kube::Client::try_from(config).unwrap();
            let shared = Arc::new(Shared { kube, orders });
            let app = Router::new().fallback(pass).with_state(Arc::clone(&shared));
            let _ = made.send(shared);
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, app).await.unwrap();
        });
        Self {
            url,
            shared: started.await.unwrap(),
            serving,
        }
    }

    /// Holds back the events of watches, or lets them go.
    pub fn hold_watches(&self, holds: bool) {
        let set = |orders: &mut Orders| orders.holds_watches = holds;
        self.shared.orders.send_modify(set);
    }

    pub fn refuse_lists(&self, refuses: bool) {
        let set = |orders: &mut Orders| orders.refuses_lists = refuses;
        self.shared.orders.send_modify(set);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn pass(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let watches = query.contains("watch=true");
    let lists = query.contains("labelSelector=") && !watches;
    if lists && shared.orders.borrow().refuses_lists {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let (head, body) = request.into_parts();
    let path = head.uri.path_and_query().unwrap().as_str();
    let mut onward = http::Request::builder().method(head.method).uri(path);
    for name in ["accept", "content-type", "user-agent"] {
        if let Some(value) = head.headers.get(name) {
            onward = onward.header(name, value);
        }
    }
    let Ok(body) = to_bytes(body, MAX_BODY).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let onward = onward.body(kube::client::Body::from(body.to_vec()));
    let Ok(answer) = shared.kube.send(onward.unwrap()).await else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    let (head, body) = answer.into_parts();
    let orders = shared.orders.subscribe();
    let parts = Body::new(body).into_data_stream().then(move |part| {
        let mut orders = orders.clone();
        async move {
            if watches {
                let _ = orders.wait_for(|orders| !orders.holds_watches).await;
            }
            part
        }
    });
    let mut response = Response::new(Body::from_stream(parts));
    *response.status_mut() = head.status;
    if let Some(kind) = head.headers.get("content-type") {
        response.headers_mut().insert("content-type", kind.clone());
    }
    response
}
