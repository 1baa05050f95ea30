//! Reads the fields of a Lease that matter. Values that cannot be parsed are ignored, so that no odd value prevents an election.

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use serde::Deserialize;
use serde_json::Value;

/// The maximum length of a holder's name in characters, more than any replica's name has.
const MAX_HOLDER: usize = 160;

/// The fields that matter. Other fields are skipped without being parsed.
#[derive(Deserialize)]
struct Slim {
    metadata: Metadata,
    spec: Option<Spec>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    holder_identity: Option<Value>,
    lease_duration_seconds: Option<Value>,
    lease_transitions: Option<Value>,
    acquire_time: Option<Value>,
    renew_time: Option<Value>,
}

/// Parses a response of the API server.
///
/// # Errors
/// If the response is not JSON, or not an object with metadata.
pub(super) fn lease(bytes: &[u8]) -> Result<Lease, serde_json::Error> {
    let Slim { metadata, spec } = serde_json::from_slice(bytes)?;
    Ok(Lease {
        metadata: ObjectMeta {
            name: metadata.name,
            namespace: metadata.namespace,
            uid: metadata.uid,
            resource_version: metadata.resource_version,
            ..ObjectMeta::default()
        },
        spec: spec.map(|spec| LeaseSpec {
            holder_identity: text(spec.holder_identity).map(|name| clean(&name)),
            lease_duration_seconds: number(spec.lease_duration_seconds),
            lease_transitions: number(spec.lease_transitions),
            acquire_time: time(spec.acquire_time),
            renew_time: time(spec.renew_time),
            ..LeaseSpec::default()
        }),
    })
}

fn text(value: Option<Value>) -> Option<String> {
    value?.as_str().map(str::to_owned)
}

fn number(value: Option<Value>) -> Option<i32> {
    i32::try_from(value?.as_i64()?).ok()
}

/// Parses a time. A time out of range counts as missing.
fn time(value: Option<Value>) -> Option<MicroTime> {
    let time: Timestamp = value?.as_str()?.parse().ok()?;
    Some(MicroTime(time))
}

/// Makes a name safe to log. A replica's own name stays the same, and no other name becomes equal to one.
fn clean(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_graphic() { c } else { '\u{fffd}' };
    let mut clean: String = name.chars().take(MAX_HOLDER).map(plain).collect();
    if name.chars().nth(MAX_HOLDER).is_some() {
        clean.push('…');
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_understood_is_left_out() {
        let deep = format!("{}{}", "[".repeat(1_000), "]".repeat(1_000));
        let odd = format!(
            r#"{{"metadata":{{"name":"egress","resourceVersion":"7","managedFields":[{{"time":"9999-12-31T23:59:59Z","fieldsV1":{deep}}}]}},
                "spec":{{"holderIdentity":"a\nb\u202e","renewTime":"9999-12-31T23:59:59.000000Z","acquireTime":"no",
                "leaseDurationSeconds":99999999999,"leaseTransitions":-1}}}}"#
        );
        let read = lease(odd.as_bytes()).expect("a Lease");
        assert_eq!(read.metadata.resource_version.as_deref(), Some("7"));
        let spec = read.spec.expect("a spec");
        assert_eq!(spec.holder_identity.as_deref(), Some("a\u{fffd}b\u{fffd}"));
        assert!(spec.renew_time.is_none() && spec.acquire_time.is_none());
        assert_eq!(
            (spec.lease_duration_seconds, spec.lease_transitions),
            (None, Some(-1))
        );
        let good = r#"{"metadata":{},"spec":{"holderIdentity":"r1_0","renewTime":"2026-08-02T00:00:00.000000Z"}}"#;
        let spec = lease(good.as_bytes())
            .expect("a Lease")
            .spec
            .expect("a spec");
        assert!(spec.renew_time.is_some() && spec.holder_identity.as_deref() == Some("r1_0"));
        let long = format!(
            r#"{{"metadata":{{}},"spec":{{"holderIdentity":"{}"}}}}"#,
            "x".repeat(200_000)
        );
        let spec = lease(long.as_bytes())
            .expect("a Lease")
            .spec
            .expect("a spec");
        assert_eq!(
            spec.holder_identity.map(|name| name.chars().count()),
            Some(MAX_HOLDER + 1)
        );
        for bad in ["", "7", "{}", "<html>"] {
            assert!(lease(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
