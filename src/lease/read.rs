//! A Lease read by its own fields alone: what cannot be understood is left out, so that no odd value keeps replicas from a leader.

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use serde::Deserialize;
use serde_json::Value;

/// Characters of a holder's name that are kept: more than any replica's name has.
const MAX_HOLDER: usize = 160;

/// The fields that count. Others are skipped without being interpreted.
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

/// Reads what the API server answered.
///
/// # Errors
/// If it is no JSON, or no object with metadata.
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

/// A time that this program cannot count with says nothing.
fn time(value: Option<Value>) -> Option<MicroTime> {
    let time: Timestamp = value?.as_str()?.parse().ok()?;
    Some(MicroTime(time))
}

/// The name as it may be logged. No name of ours is changed by it, and none that is changed looks like one of ours.
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
