//! Checks whether a replica leads, because the status may be outdated.

use std::time::Duration;

use http::Request;
use jiff::Timestamp;
use kube::Client;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::PATIENCE;
use crate::clock::wall;
use crate::error_chain;
use crate::model::base::plain::{plain, short};

/// The maximum length of a holder's name and of an error, in bytes.
const MAX_NAME: usize = 300;
/// The maximum wait for a renewal in seconds, whatever duration the Lease has.
const MAX_DURATION: u64 = 60;
const LOOK: Duration = Duration::from_millis(500);

/// The leadership that the Lease shows.
pub(super) enum Leadership {
    Led {
        holder: String,
    },
    Nobody {
        /// When the Lease was last renewed or released; empty if the Lease has no such time.
        since: String,
        why: String,
    },
    /// The Lease could not be read.
    Unknown {
        why: String,
    },
}

/// The required fields of a Lease. Other fields may have any content.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Lease {
    metadata: Metadata,
    spec: Spec,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    resource_version: String,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    holder_identity: Option<String>,
    lease_duration_seconds: Option<u64>,
    renew_time: Option<String>,
}

/// Reads who leads. If the Lease looks expired by this machine's clock, polls it for its duration, in which a leader renews it.
pub(super) async fn read(client: &Client, namespace: &str, name: &str) -> Leadership {
    let first = match get(client, namespace, name).await {
        Ok(Some(lease)) => lease,
        Ok(None) => {
            let (namespace, name) = (plain(namespace), plain(name));
            return Leadership::Nobody {
                since: String::new(),
                why: format!("there is no Lease {namespace}/{name}"),
            };
        }
        Err(why) => return Leadership::Unknown { why },
    };
    if first.holder().is_empty() {
        return first.nobody("the Lease was released");
    }
    let duration = Duration::from_secs(first.seconds());
    if first.is_fresh(wall()) {
        return first.led();
    }
    let end = Instant::now() + duration;
    while Instant::now() < end {
        sleep(LOOK).await;
        match get(client, namespace, name).await {
            Ok(Some(lease))
                if lease.metadata.resource_version != first.metadata.resource_version =>
            {
                return match lease.holder() {
                    "" => lease.nobody("the Lease was released"),
                    _ => lease.led(),
                };
            }
            _ => {}
        }
    }
    let holder = short(first.holder(), MAX_NAME);
    first.nobody(&format!("{holder} holds the Lease and does not renew it"))
}

async fn get(client: &Client, namespace: &str, name: &str) -> Result<Option<Lease>, String> {
    let path = format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{name}");
    let request = Request::get(path)
        .body(Vec::new())
        .map_err(|error| error.to_string())?;
    match timeout(PATIENCE, client.request::<Lease>(request)).await {
        Ok(Ok(lease)) => Ok(Some(lease)),
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => Ok(None),
        Ok(Err(kube::Error::Api(status))) if status.code == 403 => Err(format!(
            "the right to get the Lease {namespace}/{name} is missing"
        )),
        Ok(Err(error)) => Err(short(&error_chain::text(&error), MAX_NAME)),
        Err(_) => Err("the API server did not answer in time".to_owned()),
    }
}

impl Lease {
    fn holder(&self) -> &str {
        self.spec.holder_identity.as_deref().unwrap_or_default()
    }

    fn seconds(&self) -> u64 {
        let seconds = self.spec.lease_duration_seconds.unwrap_or(1);
        seconds.clamp(1, MAX_DURATION)
    }

    fn renewed(&self) -> Option<Timestamp> {
        self.spec.renew_time.as_deref()?.parse().ok()
    }

    /// Whether the Lease was renewed within its duration, by this machine's clock.
    fn is_fresh(&self, now: Timestamp) -> bool {
        let age = |renewed: Timestamp| now.as_second().saturating_sub(renewed.as_second());
        let seconds = i64::try_from(self.seconds()).unwrap_or(1);
        let age = self.renewed().map(age);
        age.is_some_and(|age| (-1..seconds).contains(&age))
    }

    fn led(&self) -> Leadership {
        Leadership::Led {
            holder: short(self.holder(), MAX_NAME),
        }
    }

    fn nobody(&self, why: &str) -> Leadership {
        let renewed = self.renewed();
        let second = renewed.and_then(|time| Timestamp::from_second(time.as_second()).ok());
        Leadership::Nobody {
            since: second.map(|time| time.to_string()).unwrap_or_default(),
            why: why.to_owned(),
        }
    }
}

impl Leadership {
    pub(super) fn is_missing(&self) -> bool {
        matches!(self, Self::Nobody { .. })
    }

    /// Returns one line if no replica leads or leadership is unknown; otherwise an empty text.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Led { .. } => String::new(),
            Self::Nobody { since, why } => {
                let since = match since.as_str() {
                    "" => String::new(),
                    since => format!(" since {since}"),
                };
                format!(
                    "NOBODY LEADS{since}: {why}; routes stay as they are, and nothing is done for any change until a replica of \
                     the controller runs; what follows is what the last leader wrote\n"
                )
            }
            Self::Unknown { why } => {
                format!(
                    "It is not known whether a replica leads: {why}; the following status may be outdated\n"
                )
            }
        }
    }

    pub(super) fn json(&self) -> Value {
        match self {
            Self::Led { holder } => json!({ "held": true, "holder": holder }),
            Self::Nobody { since, why } => json!({ "held": false, "since": since, "why": why }),
            Self::Unknown { why } => json!({ "held": null, "why": why }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(text: &str) -> Lease {
        serde_json::from_str(text).expect("a Lease")
    }

    #[test]
    fn what_a_clock_cannot_explain_is_not_fresh() {
        let now: Timestamp = "2026-11-28T04:00:00Z".parse().expect("a time");
        let renewed = |time: &str| {
            let spec =
                json!({"holderIdentity": "a", "leaseDurationSeconds": 15, "renewTime": time});
            lease(&json!({ "spec": spec }).to_string()).is_fresh(now)
        };
        assert!(renewed("2026-11-28T03:59:50.123456Z") && renewed("2026-11-28T04:00:01Z"));
        for old in [
            "2026-11-28T03:59:45Z",
            "2026-11-28T04:00:09Z",
            "9999-12-31T23:59:59Z",
            "x",
            "",
        ] {
            assert!(!renewed(old), "{old}");
        }
    }

    #[test]
    fn nothing_else_in_a_lease_matters() {
        let odd = lease(
            r#"{"metadata": {"managedFields": [{"time": "9999-12-31T23:59:59Z"}]}, "spec": {}, "more": [7]}"#,
        );
        assert_eq!((odd.holder(), odd.seconds()), ("", 1));
        let nobody = odd.nobody("why");
        assert!(nobody.is_missing() && nobody.text().starts_with("NOBODY LEADS: why"));
    }
}
