//! `/healthz`, `/readyz` and `/metrics`, and the status page. Reads only; the probes do not depend on who leads.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::chronicle::Chronicle;
use super::metrics::Metrics;
use super::page;
use super::pulse::Pulse;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// More connections at once wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 64;
/// From the start of a connection, or the end of the request before, to the end of the next request's headers. Also
/// what a connection may idle: probes and scrapes come more often, or can connect again.
const HEADER_TIMEOUT: Duration = Duration::from_secs(15);
/// No connection lives longer, so that one whose peer does not read keeps nobody out.
const MAX_LIFE: Duration = Duration::from_secs(300);
const MAX_HEADERS: usize = 16 * 1_024;
/// How long requests under way are waited for at the end.
const DRAIN: Duration = Duration::from_millis(500);

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: give a free address with --address")]
pub struct ListenError {
    address: SocketAddr,
    source: std::io::Error,
}

#[derive(Clone)]
struct Endpoints {
    metrics: Metrics,
    pulse: Pulse,
    ready: watch::Receiver<bool>,
}

/// Binds the address. All interfaces means IPv6 and IPv4, or IPv4 alone where the host has no IPv6.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, ListenError> {
    let result = match TcpListener::bind(address).await {
        Err(error)
            if address.is_ipv6()
                && address.ip().is_unspecified()
                && error.kind() != ErrorKind::AddrInUse =>
        {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        result => result,
    };
    result.map_err(|source| ListenError { address, source })
}

/// Serves, with the status page if there is something to show, until the sender of `ready` is dropped, then finishes the requests under way. Being dropped ends it at once.
pub async fn serve(
    listener: TcpListener,
    metrics: Metrics,
    pulse: Pulse,
    ready: watch::Receiver<bool>,
    shown: Option<Chronicle>,
) {
    let mut running = ready.clone();
    let mut routes = routes(Endpoints {
        metrics,
        pulse,
        ready: ready.clone(),
    });
    if let Some(chronicle) = shown {
        routes = routes.merge(page::routes(chronicle));
    }
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        // The place comes first: who finds none waits outside.
        let accept = async {
            (
                Arc::clone(&places).acquire_owned().await,
                listener.accept().await,
            )
        };
        tokio::select! {
            () = closed(&mut running) => break,
            Some(_) = connections.join_next() => {}
            (place, accepted) = accept => match accepted {
                Ok((stream, _)) => {
                    let connection = connection(stream, routes.clone(), ready.clone());
                    connections.spawn(async move {
                        let _place = place;
                        // Late or not, it is over.
                        let _ended = tokio::time::timeout(MAX_LIFE, connection).await;
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection to the endpoints");
                    // Too many open files, most likely: let some be closed.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    let _drained = tokio::time::timeout(DRAIN, drained).await;
}

/// Resolves when the sender is gone. Cancel safe.
async fn closed(ready: &mut watch::Receiver<bool>) {
    while ready.changed().await.is_ok() {}
}

async fn connection(stream: TcpStream, routes: Router, mut running: watch::Receiver<bool>) {
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        _ended = connection.as_mut() => return,
        () = closed(&mut running) => connection.as_mut().graceful_shutdown(),
    }
    // What the peer did wrong is the peer's business.
    let _ended = connection.await;
}

fn routes(endpoints: Endpoints) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(measures))
        .with_state(endpoints)
}

/// The control loop moves; if not, starting the process again is what helps.
async fn healthz(State(endpoints): State<Endpoints>) -> Response {
    match endpoints.pulse.check() {
        Ok(()) => (StatusCode::OK, "ok\n").into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why + "\n").into_response(),
    }
}

/// Clients and configuration are there, and the process is not on its way out.
async fn readyz(State(endpoints): State<Endpoints>) -> impl IntoResponse {
    if *endpoints.ready.borrow() {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "starting or stopping\n")
    }
}

async fn measures(State(endpoints): State<Endpoints>) -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, OPENMETRICS)],
        endpoints.metrics.text(),
    )
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
