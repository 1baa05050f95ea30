//! The additional static IPs of live zones in the template. They stay unchanged: a separate change adds one.

use serde_json::{Map, Value, json};

use crate::model::base::ids::Zone;
use crate::model::cloud::layout::{Layout, Names};
use crate::model::cloud::more_ips::{SECONDARY, of};
use crate::model::cloud::part_names::Part;

/// Keeps the zone's additional static IPs, and its NAT gateway's use of them.
pub(super) fn keep(
    zone: &Zone,
    names: &Names,
    live: &Layout,
    resources: &mut Map<String, Value>,
    outputs: &mut Map<String, Value>,
) {
    for (number, id) in of(names, zone) {
        if let Some(given) = names.given_more.get(id) {
            outputs.insert(id.clone(), output(zone, number, json!(given.ip)));
        } else if let Some(body) = live.body(id) {
            resources.insert(id.clone(), body.clone());
            outputs.insert(id.clone(), output(zone, number, json!({ "Ref": id })));
        }
    }
    let gateway = names.part(zone, Part::NatGateway);
    let has = gateway.and_then(|id| Some((id, live.resources.get(id)?.properties.get(SECONDARY)?)));
    if let Some((id, secondary)) = has {
        resources[id]["Properties"][SECONDARY] = secondary.clone();
    }
}

/// Returns the output that shows an additional static IP.
pub(in crate::model) fn output(zone: &Zone, number: u8, ip: Value) -> Value {
    json!({ "Description": format!("Static IP {number} of {zone}"), "Value": ip })
}

/// Returns the template's expression for the allocation id of an EIP of the stack.
pub(in crate::model) fn allocation_of(eip: &str) -> Value {
    json!({ "Fn::GetAtt": [eip, "AllocationId"] })
}
