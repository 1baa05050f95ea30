//! Serves `/healthz`, `/readyz`, `/metrics` and the status page. Requests change nothing, and the probes do not depend on leadership.

use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tower::ServiceExt as _;

use super::connection_slots::{self, ConnectionSlots, Slot};
use super::liveness::Liveness;
use super::metrics::Metrics;
use super::page;
use super::status_publisher::StatusPublisher;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The time from the start of a connection, or from the end of a request, to the end of the next request's headers. It is also
/// the idle timeout: probes and scrapes come more often, or connect again.
const HEADER_TIMEOUT: Duration = Duration::from_secs(15);
/// The maximum lifetime of a connection.
const MAX_LIFE: Duration = Duration::from_secs(300);
const MAX_HEADERS: usize = 16 * 1_024;
/// The send buffer of a connection: how much of a response the kernel holds for a client that does not read.
const SEND_BUFFER: u32 = 64 * 1_024;
/// The number of connections that may wait to be accepted.
const BACKLOG: u32 = 1_024;
/// How long shutdown waits for requests in flight.
const DRAIN: Duration = Duration::from_millis(500);
/// The pause after a connection could not be accepted.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

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
    liveness: Liveness,
    ready: watch::Receiver<bool>,
}

/// Binds the address. All interfaces means IPv6 and IPv4, or IPv4 alone where the host has no IPv6.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, ListenError> {
    let result = match bind(address) {
        Err(error)
            if address.is_ipv6()
                && address.ip().is_unspecified()
                && error.kind() != ErrorKind::AddrInUse =>
        {
            bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())))
        }
        result => result,
    };
    result.map_err(|source| ListenError { address, source })
}

/// Returns the page's address for a browser on this machine.
fn url(address: SocketAddr) -> String {
    let port = address.port();
    match address.ip().is_unspecified() {
        true => format!("http://localhost:{port}/"),
        false => format!("http://{address}/"),
    }
}

fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv6() {
        TcpSocket::new_v6()?
    } else {
        TcpSocket::new_v4()?
    };
    socket.set_reuseaddr(true)?;
    // Connections inherit the size.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves until the sender of `ready` is dropped, then finishes the requests in flight. The status page is served if `shown` is set.
pub async fn serve(
    listener: TcpListener,
    metrics: Metrics,
    liveness: Liveness,
    ready: watch::Receiver<bool>,
    shown: Option<StatusPublisher>,
) {
    let mut running = ready.clone();
    let mut routes = routes(Endpoints {
        metrics,
        liveness,
        ready: ready.clone(),
    });
    if let Some(publisher) = shown {
        routes = routes.merge(page::routes(publisher));
        if let Ok(address) = listener.local_addr() {
            tracing::info!("the status page is at {}", url(address));
        }
    }
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let slots = ConnectionSlots::within(connection_slots::open_files(&limits));
    let mut connections = JoinSet::new();
    let mut failing = false;
    loop {
        tokio::select! {
            () = closed(&mut running) => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    failing = false;
                    let (slot, asked) = slots.enter(peer.ip());
                    let connection = connection(stream, routes.clone(), slot, ready.clone());
                    connections.spawn(async move {
                        // The connection ends by itself, by its lifetime, or because its slot is needed.
                        tokio::select! {
                            _ended = tokio::time::timeout(MAX_LIFE, connection) => {}
                            _asked = asked => {}
                        }
                    });
                    // A request that has arrived is answered before the next connection can take this slot.
                    tokio::task::yield_now().await;
                }
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(%error, "cannot accept a connection to the endpoints{}", advice(&error));
                    }
                    slots.shed();
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            },
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    let _drained = tokio::time::timeout(DRAIN, drained).await;
}

/// Resolves when the sender is dropped. Cancel safe.
async fn closed(ready: &mut watch::Receiver<bool>) {
    while ready.changed().await.is_ok() {}
}

/// Returns the remedy for an error of `accept`, if there is one.
fn advice(error: &std::io::Error) -> &'static str {
    match error.raw_os_error() {
        // ENFILE, EMFILE
        Some(23 | 24) => ": raise the limit of open files",
        _ => "",
    }
}

async fn connection(
    stream: TcpStream,
    routes: Router,
    slot: Slot,
    mut running: watch::Receiver<bool>,
) {
    let service = service_fn(move |mut request: Request<Incoming>| {
        let stays = slot.used();
        request.extensions_mut().insert(slot.clone());
        let answer = routes.clone().oneshot(request);
        async move {
            let mut answer = answer.await?;
            if !stays {
                let close = HeaderValue::from_static("close");
                answer.headers_mut().insert(header::CONNECTION, close);
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        _ended = connection.as_mut() => return,
        () = closed(&mut running) => connection.as_mut().graceful_shutdown(),
    }
    // An error of the client needs no log line.
    let _ended = connection.await;
}

fn routes(endpoints: Endpoints) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(measures))
        .with_state(endpoints)
}

/// Whether the control loop makes progress. If it does not, a restart of the process helps.
async fn healthz(State(endpoints): State<Endpoints>) -> Response {
    match endpoints.liveness.check() {
        Ok(()) => (StatusCode::OK, "ok\n").into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why + "\n").into_response(),
    }
}

/// Whether clients and configuration are set up, and the process is not stopping.
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

#[cfg(test)]
#[path = "http_flood_tests.rs"]
mod flood_tests;
