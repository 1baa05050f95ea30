//! Fingerprints of templates. They name change sets.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::model::base::digest::digest;
use crate::model::cloud::resource_type::ResourceType;
use crate::model::desired::template::{INTERNET_GATEWAY, VPC};

/// Returns the fingerprint of a whole template.
pub(in crate::model) fn of_all(
    text: &str,
    parameters: &BTreeMap<String, String>,
    tags: &BTreeMap<String, String>,
) -> String {
    digest(json!([text, parameters, tags]).to_string().as_bytes())
}

/// Returns the fingerprint of what static IPs depend on: EIPs, NAT gateways and NAT subnets, and where they are made. Nothing that
/// tenants request is part of it.
pub(in crate::model) fn of_zones(
    resources: &Map<String, Value>,
    parameters: &BTreeMap<String, String>,
) -> String {
    let is_protected = |body: &Value| {
        let kind = body["Type"].as_str();
        kind.is_some_and(|kind| ResourceType::of(kind).is_protected())
    };
    let zones = resources.iter().filter(|(_, body)| is_protected(body));
    let zones: BTreeMap<&String, &Value> = zones.collect();
    let places = [VPC, INTERNET_GATEWAY].map(|name| parameters.get(name));
    digest(json!([zones, places]).to_string().as_bytes())
}
