//! What is written into a cluster for people's sake: nothing waits long for an answer, and each is counted.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tokio::time::timeout;

/// How long one may take, a new connection included.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Event,
    Status,
    Annotations,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Ok,
    /// A right is missing.
    Forbidden,
    /// Another field manager owns it.
    Conflict,
    /// The object, or its namespace, is not there any more.
    Gone,
    Refused,
    Unanswered,
    /// It said something else by the time it was its turn.
    Superseded,
}

/// Why there is no good answer.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) fate: Fate,
    pub(super) text: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Write {
    object: &'static str,
    result: &'static str,
}

/// Counts them. Cheap to clone: all clones count together.
#[derive(Clone, Default)]
pub struct Writes {
    counters: Family<Write, Counter>,
}

impl Writes {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let writes = Self::default();
        for kind in [Kind::Event, Kind::Status, Kind::Annotations] {
            // Rates need a first sample to compare with.
            for fate in [Fate::Ok, Fate::Forbidden, Fate::Refused, Fate::Unanswered] {
                writes.count(kind, fate, 0);
            }
        }
        let help =
            "Writes into a cluster for people: event, status or annotations, by what became of it";
        registry.register("cluster_writes", help, writes.counters.clone());
        writes
    }

    pub(super) fn count(&self, kind: Kind, fate: Fate, times: u64) {
        let object = match kind {
            Kind::Event => "event",
            Kind::Status => "status",
            Kind::Annotations => "annotations",
        };
        let result = match fate {
            Fate::Ok => "ok",
            Fate::Forbidden => "forbidden",
            Fate::Conflict => "conflict",
            Fate::Gone => "gone",
            Fate::Refused => "refused",
            Fate::Unanswered => "unanswered",
            Fate::Superseded => "superseded",
        };
        let counter = self.counters.get_or_create(&Write { object, result });
        counter.inc_by(times);
    }

    /// The answer to a write, counted.
    pub(super) async fn counted<T>(
        &self,
        kind: Kind,
        request: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, Failure> {
        let answer = answered(request).await;
        let fate = answer
            .as_ref()
            .map_or_else(|failure| failure.fate, |_| Fate::Ok);
        self.count(kind, fate, 1);
        answer
    }
}

/// The answer to a request that nothing waits for, or why there is none.
pub(super) async fn answered<T>(
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Failure> {
    match timeout(PATIENCE, request).await {
        Ok(answer) => answer.map_err(|error| Failure {
            fate: fate(&error),
            text: match &error {
                kube::Error::Api(status) => status.message.clone(),
                other => other.to_string(),
            },
        }),
        Err(_) => Err(Failure {
            fate: Fate::Unanswered,
            text: format!("no answer from the API server within {PATIENCE:?}"),
        }),
    }
}

fn fate(error: &kube::Error) -> Fate {
    let kube::Error::Api(status) = error else {
        return Fate::Unanswered;
    };
    let caused = |name: &str| {
        let mut causes = status.details.iter().flat_map(|details| &details.causes);
        causes.any(|cause| cause.reason == name || cause.field == name)
    };
    match status.code {
        _ if caused("NamespaceTerminating") => Fate::Gone,
        401 | 403 => Fate::Forbidden,
        404 => Fate::Gone,
        409 if caused("FieldManagerConflict") => Fate::Conflict,
        // Another uid than that of the object which is there now, or none is there: seen with API server 1.37.
        422 if caused("metadata.uid") => Fate::Gone,
        409 if status.reason == "Conflict" => Fate::Gone,
        _ => Fate::Refused,
    }
}
