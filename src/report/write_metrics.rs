//! Limits and counts the writes that inform users.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tokio::time::timeout;

use crate::error_chain;

/// The timeout of one write, a new connection included.
const PATIENCE: Duration = Duration::from_secs(5);

/// The kind of object that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriteKind {
    Event,
    Status,
    Annotations,
}

/// The result of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriteResult {
    Ok,
    /// A permission is missing.
    Forbidden,
    /// Another field manager owns it.
    Conflict,
    /// The object or its namespace no longer exists.
    Gone,
    Refused,
    Unanswered,
    /// The content changed before it was written.
    Superseded,
}

/// Why a request failed.
#[derive(Debug)]
pub(super) struct WriteFailure {
    pub(super) result: WriteResult,
    pub(super) text: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Write {
    object: &'static str,
    result: &'static str,
}

/// Counts writes. All clones share the counters.
#[derive(Clone, Default)]
pub struct WriteMetrics {
    counters: Family<Write, Counter>,
}

impl WriteMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let writes = Self::default();
        for kind in [WriteKind::Event, WriteKind::Status, WriteKind::Annotations] {
            // Rates need a first sample to compare with.
            for result in [
                WriteResult::Ok,
                WriteResult::Forbidden,
                WriteResult::Refused,
                WriteResult::Unanswered,
            ] {
                writes.count(kind, result, 0);
            }
        }
        let help = "Writes that inform users, by object (event, status or annotations) and result";
        registry.register("cluster_writes", help, writes.counters.clone());
        writes
    }

    pub(super) fn count(&self, kind: WriteKind, result: WriteResult, times: u64) {
        let object = match kind {
            WriteKind::Event => "event",
            WriteKind::Status => "status",
            WriteKind::Annotations => "annotations",
        };
        let result = match result {
            WriteResult::Ok => "ok",
            WriteResult::Forbidden => "forbidden",
            WriteResult::Conflict => "conflict",
            WriteResult::Gone => "gone",
            WriteResult::Refused => "refused",
            WriteResult::Unanswered => "unanswered",
            WriteResult::Superseded => "superseded",
        };
        let counter = self.counters.get_or_create(&Write { object, result });
        counter.inc_by(times);
    }

    /// Sends a write and counts its result.
    pub(super) async fn counted<T>(
        &self,
        kind: WriteKind,
        request: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, WriteFailure> {
        let answer = answered(request).await;
        let result = answer
            .as_ref()
            .map_or_else(|failure| failure.result, |_| WriteResult::Ok);
        self.count(kind, result, 1);
        answer
    }
}

/// Sends a request with a timeout.
pub(super) async fn answered<T>(
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, WriteFailure> {
    match timeout(PATIENCE, request).await {
        Ok(answer) => answer.map_err(|error| WriteFailure {
            result: result(&error),
            text: match &error {
                kube::Error::Api(status) => status.message.clone(),
                other => error_chain::text(other),
            },
        }),
        Err(_) => Err(WriteFailure {
            result: WriteResult::Unanswered,
            text: format!("no answer from the API server within {PATIENCE:?}"),
        }),
    }
}

fn result(error: &kube::Error) -> WriteResult {
    let kube::Error::Api(status) = error else {
        return WriteResult::Unanswered;
    };
    let caused = |name: &str| {
        let mut causes = status.details.iter().flat_map(|details| &details.causes);
        causes.any(|cause| cause.reason == name || cause.field == name)
    };
    match status.code {
        _ if caused("NamespaceTerminating") => WriteResult::Gone,
        401 | 403 => WriteResult::Forbidden,
        404 => WriteResult::Gone,
        409 if caused("FieldManagerConflict") => WriteResult::Conflict,
        // API server 1.37 answers so if the object has another UID or does not exist.
        422 if caused("metadata.uid") => WriteResult::Gone,
        409 if status.reason == "Conflict" => WriteResult::Gone,
        _ => WriteResult::Refused,
    }
}
