//! The static IPs of a live zone besides its first. Changes of their own add them and give them to the NAT gateway
//! (`plan/more_ips.rs`); in every other template they stay as they are.

use serde_json::{Map, Value, json};

use crate::model::base::ids::Zone;
use crate::model::cloud::layout::{Layout, Names};
use crate::model::cloud::more_eips::SECONDARY;
use crate::model::cloud::part_names::Part;

/// Keeps what the live stack has of them.
pub(super) fn keep(
    zone: &Zone,
    names: &Names,
    live: &Layout,
    (resources, outputs): (&mut Map<String, Value>, &mut Map<String, Value>),
) {
    for (number, id) in names.more_eips(zone) {
        if let Some(eip) = live.resources.get(id) {
            let body = json!({ "Type": eip.kind, "Properties": eip.properties });
            resources.insert(id.clone(), body);
        }
        if let Some(ip) = live.outputs.get(id) {
            outputs.insert(id.clone(), output(zone, number, ip.clone()));
        }
    }
    let gateway = names.part(zone, Part::NatGateway);
    let gateway = gateway.and_then(|id| resources.get_mut(id));
    if let (Some(used), Some(gateway)) = (names.secondary.get(zone), gateway) {
        gateway["Properties"][SECONDARY] = json!(used);
    }
}

/// Returns the output that shows a static IP of a zone that is not its first.
pub(in crate::model) fn output(zone: &Zone, number: u8, ip: Value) -> Value {
    json!({ "Description": format!("Static IP {number} of {zone}"), "Value": ip })
}
