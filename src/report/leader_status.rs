//! Reads the leader's status ConfigMap on a standby.

use std::time::Duration;

use bytes::Bytes;
use kube::Api;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::write_metrics::answered;
use crate::config_map::ConfigMap;
use crate::model::base::digest::digest;
use crate::model::status::Status;

/// The minimum time between two requests to the API server, however many users open the page. The leader writes equally often.
const PACE: Duration = Duration::from_secs(5);

/// Reads the status ConfigMap on request.
pub struct LeaderStatus {
    api: Api<ConfigMap>,
    name: String,
    /// The key of the ConfigMap that has the status.
    key: &'static str,
    last: Mutex<Option<Read>>,
}

/// The time and result of a request, including a failed one.
struct Read {
    at: Instant,
    written: Option<Written>,
}

/// A status as JSON, and its digest.
#[derive(Clone)]
pub(super) struct Written {
    pub json: Bytes,
    pub digest: String,
}

impl LeaderStatus {
    pub(super) fn new(api: Api<ConfigMap>, name: String, key: &'static str) -> Self {
        Self {
            api,
            name,
            key,
            last: Mutex::default(),
        }
    }

    /// Returns the last status that a leader wrote. None if there is none or it cannot be read.
    pub(super) async fn read(&self) -> Option<Written> {
        let mut last = self.last.lock().await;
        if let Some(last) = last.as_ref()
            && last.at.elapsed() < PACE
        {
            return last.written.clone();
        }
        let object = answered(self.api.get_opt(&self.name)).await;
        let object = object.inspect_err(|error| {
            tracing::debug!(
                error = error.text,
                "the ConfigMap {} cannot be read",
                self.name
            );
        });
        let data = object.ok().flatten().and_then(|object| object.data);
        let written = data.and_then(|mut data| understood(&data.remove(self.key)?));
        *last = Some(Read {
            at: Instant::now(),
            written: written.clone(),
        });
        written
    }
}

/// Parses the status and renders it as this version does. Other programs can write the ConfigMap, so its bytes are never passed on
/// unparsed.
fn understood(text: &str) -> Option<Written> {
    let json = Bytes::from(serde_json::to_string(&Status::read(text)?).ok()?);
    Some(Written {
        digest: digest(&json),
        json,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_status_is_passed_on() {
        let good = understood(r#"{"schemaVersion":1,"more":["</script>"]}"#).expect("a status");
        let text = String::from_utf8_lossy(&good.json);
        assert!(
            text.contains("\"schemaVersion\":1") && !text.contains("script"),
            "{text}"
        );
        for bad in [
            "",
            "{}",
            "null",
            r#"{"schemaVersion":2}"#,
            r#"{"schemaVersion":1},"x":{"#,
        ] {
            assert!(understood(bad).is_none(), "{bad}");
        }
    }
}
