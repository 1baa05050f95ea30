//! [`ConfigMap`]: a ConfigMap that the controller writes itself, the ledger or the status.
//!
//! Other writers must not be able to make it unreadable. So only the required fields are parsed. The API's own types refuse a whole object
//! because of one time in the year 9999 or one deeply nested field.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::ObjectMeta;
use serde::{Deserialize, Serialize};

const KIND: &str = "ConfigMap";
const VERSION: &str = "v1";

/// A ConfigMap that the controller writes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMap {
    #[serde(skip_deserializing, default = "version")]
    api_version: &'static str,
    #[serde(skip_deserializing, default = "kind")]
    kind: &'static str,
    #[serde(deserialize_with = "metadata")]
    pub metadata: ObjectMeta,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<BTreeMap<String, String>>,
}

/// The metadata that is needed, or that a replacement must keep.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    owner_references: Option<Vec<OwnerReference>>,
    finalizers: Option<Vec<String>>,
}

fn metadata<'de, D: serde::Deserializer<'de>>(from: D) -> Result<ObjectMeta, D::Error> {
    let read = Metadata::deserialize(from)?;
    Ok(ObjectMeta {
        name: read.name,
        namespace: read.namespace,
        uid: read.uid,
        resource_version: read.resource_version,
        labels: read.labels,
        annotations: read.annotations,
        owner_references: read.owner_references,
        finalizers: read.finalizers,
        ..ObjectMeta::default()
    })
}

fn version() -> &'static str {
    VERSION
}

fn kind() -> &'static str {
    KIND
}

impl Default for ConfigMap {
    fn default() -> Self {
        Self {
            api_version: VERSION,
            kind: KIND,
            metadata: ObjectMeta::default(),
            data: None,
        }
    }
}

impl kube::Resource for ConfigMap {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        KIND.into()
    }

    fn group((): &()) -> Cow<'_, str> {
        "".into()
    }

    fn version((): &()) -> Cow<'_, str> {
        VERSION.into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        "configmaps".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_used_cannot_make_it_unreadable() {
        let deep = "{\"f:x\":".repeat(500) + "1" + &"}".repeat(500);
        let text = format!(
            "{{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{{\"name\":\"n\",\"resourceVersion\":\"7\",\
             \"labels\":{{\"a\":\"b\"}},\"finalizers\":[\"f\"],\"creationTimestamp\":\"9999-12-31T23:59:59Z\",\
             \"managedFields\":[{{\"time\":\"9999-12-31T23:59:59Z\",\"fieldsV1\":{deep}}}]}},\"data\":{{\"k\":\"v\"}}}}"
        );
        let typed = serde_json::from_str::<k8s_openapi::api::core::v1::ConfigMap>(&text);
        assert!(typed.is_err(), "the API's own type cannot read it");
        let kept: ConfigMap = serde_json::from_str(&text).expect("it is readable");
        let again = serde_json::to_value(&kept).expect("JSON");
        let expected = serde_json::json!({
            "apiVersion": "v1", "kind": "ConfigMap", "data": { "k": "v" },
            "metadata": { "name": "n", "resourceVersion": "7", "labels": { "a": "b" }, "finalizers": ["f"] },
        });
        assert_eq!(again, expected);
    }
}
