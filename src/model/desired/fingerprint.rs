//! Fingerprints of templates. They name change sets.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::model::base::digest::digest;
use crate::model::cloud::resource_type::ResourceType;

/// Returns the fingerprint of a whole template.
pub(in crate::model) fn of_all(
    text: &str,
    parameters: &BTreeMap<String, String>,
    tags: &BTreeMap<String, String>,
) -> String {
    digest(json!([text, parameters, tags]).to_string().as_bytes())
}

/// Returns the fingerprint of the resources that static IPs depend on (EIPs, NAT gateways and NAT subnets), and of their `places`: the VPC
/// and its internet gateway. No request of a tenant changes the fingerprint.
pub(in crate::model) fn of_zones(
    resources: &Map<String, Value>,
    places: [Option<&String>; 2],
) -> String {
    let is_protected = |body: &Value| {
        let kind = body["Type"].as_str();
        kind.is_some_and(|kind| ResourceType::of(kind).is_protected())
    };
    let zones = resources.iter().filter(|(_, body)| is_protected(body));
    let zones: BTreeMap<&String, &Value> = zones.collect();
    digest(json!([zones, places]).to_string().as_bytes())
}
