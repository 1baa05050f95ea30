//! `/healthz`, `/readyz` and `/metrics`. Reads only; nothing here depends on who leads.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::metrics::Metrics;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone)]
struct Endpoints {
    metrics: Metrics,
    ready: watch::Receiver<bool>,
}

/// Serves until it is dropped.
pub async fn serve(listener: TcpListener, metrics: Metrics, ready: watch::Receiver<bool>) {
    let routes = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(measures))
        .with_state(Endpoints { metrics, ready });
    if let Err(error) = axum::serve(listener, routes).await {
        tracing::error!(%error, "the endpoints are gone; restart this replica");
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
    ([(header::CONTENT_TYPE, OPENMETRICS)], endpoints.metrics.text())
}
