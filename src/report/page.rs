//! Serves the status page, and the same status as JSON under `/api/status`. Requests change nothing.

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use serde_json::json;

use super::connection_slots::Slot;
use super::host;
use super::status_publisher::StatusPublisher;
use crate::model::base::digest::digest;
use crate::model::base::plain::short;
use crate::model::status::SCHEMA_VERSION;

/// The maximum length of the holder's name in bytes. Other programs may write any name into the Lease.
const MAX_HOLDER: usize = 300;
const PAGE: &str = concat!(
    include_str!("page/head.html"),
    "<style>\n",
    include_str!("page/style.css"),
    "</style>\n</head>\n",
    include_str!("page/body.html"),
    "<script>\n",
    include_str!("page/base.js"),
    include_str!("page/zones.js"),
    include_str!("page/attention.js"),
    include_str!("page/script.js"),
    "</script>\n</body>\n</html>\n",
);

#[derive(Clone)]
struct Page {
    publisher: StatusPublisher,
    policy: String,
}

pub fn routes(publisher: StatusPublisher) -> Router {
    let policy = policy();
    Router::new()
        .route("/", get(page))
        .route("/api/status", get(status))
        .with_state(Page { publisher, policy })
}

/// Returns the Content-Security-Policy: only the page's own script and style, only requests to this server, no frames.
fn policy() -> String {
    format!(
        "default-src 'none'; script-src '{}'; style-src '{}'; connect-src 'self'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
        hash("script"),
        hash("style")
    )
}

/// Returns the CSP hash of the page's only element with this tag.
fn hash(tag: &str) -> String {
    use sha2::Digest as _;
    let begin = format!("<{tag}>");
    let inner = PAGE.split_once(&begin).map_or("", |(_, rest)| rest);
    let inner = inner
        .split_once(&format!("</{tag}>"))
        .map_or("", |(inner, _)| inner);
    let hash = sha2::Sha256::digest(inner.as_bytes());
    format!("sha256-{}", BASE64_STANDARD.encode(hash))
}

fn guarded(page: &Page) -> [(HeaderName, String); 5] {
    let plain = |text: &str| text.to_owned();
    [
        (header::CONTENT_SECURITY_POLICY, page.policy.clone()),
        (header::X_CONTENT_TYPE_OPTIONS, plain("nosniff")),
        (header::REFERRER_POLICY, plain("no-referrer")),
        (header::X_FRAME_OPTIONS, plain("DENY")),
        (header::CACHE_CONTROL, plain("no-store")),
    ]
}

async fn page(State(state): State<Page>, headers: HeaderMap, uri: Uri) -> Response {
    if !host::is_ours(&headers, &uri) {
        return misdirected();
    }
    let kind = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
    (guarded(&state), kind, PAGE).into_response()
}

fn misdirected() -> Response {
    (StatusCode::MISDIRECTED_REQUEST, host::REFUSAL).into_response()
}

fn nothing() -> (Bytes, String) {
    (Bytes::from_static(b"null"), String::new())
}

/// Serves the status on the leader. Other replicas serve the leader's name and what the leader wrote into the status ConfigMap.
/// All readers share one copy of the status.
async fn status(
    State(state): State<Page>,
    Extension(slot): Extension<Slot>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    if !host::is_ours(&headers, &uri) {
        return misdirected();
    }
    let lease = state.publisher.lease();
    let leading = lease.leading;
    let snapshot = state.publisher.latest();
    let head = json!({
        "schemaVersion": SCHEMA_VERSION,
        "replica": lease.us,
        "leading": lease.leading,
        "leader": lease.holder.map(|name| short(&name, MAX_HOLDER)),
        "epoch": lease.epoch,
    })
    .to_string();
    let (status, mark) = match &snapshot {
        Some(snapshot) => (snapshot.json.clone(), snapshot.digest.clone()),
        None if leading => nothing(),
        None => {
            let written = state.publisher.of_leader().await;
            written.map_or_else(nothing, |written| (written.json, written.digest))
        }
    };
    let tag = format!("\"{}\"", &digest(format!("{head}{mark}").as_bytes())[..32]);
    let known = headers.get(header::IF_NONE_MATCH);
    if known.is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        return (
            StatusCode::NOT_MODIFIED,
            guarded(&state),
            [(header::ETAG, tag)],
        )
            .into_response();
    }
    slot.reads(&mark);
    let head = format!("{},\"status\":", head.trim_end_matches('}'));
    let parts = [Bytes::from(head), status, Bytes::from_static(b"}")];
    let length = parts.iter().map(Bytes::len).sum::<usize>();
    let kind = [
        (header::CONTENT_TYPE, "application/json".to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
        (header::ETAG, tag),
    ];
    let parts = futures::stream::iter(parts.map(Ok::<_, Infallible>));
    (guarded(&state), kind, Body::from_stream(parts)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_one_script_one_style_and_nothing_from_elsewhere() {
        for tag in ["script", "style"] {
            assert_eq!(PAGE.matches(&format!("<{tag}")).count(), 1);
            assert_eq!(PAGE.matches(&format!("<{tag}>")).count(), 1);
        }
        // The only external address is that of the AWS console.
        assert_eq!(PAGE.matches("https:").count(), 1);
        for word in [
            "http:",
            "innerHTML",
            "outerHTML",
            "insertAdjacent",
            "eval(",
            "style=",
            "onclick=",
        ] {
            assert!(!PAGE.contains(word), "{word}");
        }
        assert!(PAGE.len() < 60_000, "{}", PAGE.len());
    }

    #[test]
    fn the_policy_names_the_hashes_of_what_is_there() {
        let policy = policy();
        let empty = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        assert_eq!(policy.matches("'sha256-").count(), 2);
        assert!(
            !policy.contains(empty) && !policy.contains("unsafe"),
            "{policy}"
        );
    }
}
