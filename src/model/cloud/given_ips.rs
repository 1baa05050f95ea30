//! Static IPs of zones that are no resources of the stack, in its template: a NAT gateway refers to them by a literal allocation id.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::model::base::ids::Zone;
use crate::model::cloud::layout::{Layout, Names, text};
use crate::model::cloud::part_names::{MAX_EIPS, Part, part_name};
use crate::model::cloud::static_ip::StaticIp;

/// The entry in the metadata of a NAT subnet's route table with the allocation ids of the zone's additional static IPs that are no resources
/// of the stack, by the names of their outputs. An output alone would be no change to CloudFormation, and shows only the IP.
pub const GIVEN: &str = "AdditionalStaticIPs";

/// Returns the allocation ids in the metadata of a resource.
fn given_in(body: &Value) -> Option<&Map<String, Value>> {
    body.get("Metadata")?.get(GIVEN)?.as_object()
}

/// Returns the additional static IPs of a template that are no resources of the stack: the names of their outputs by allocation id.
pub fn given(resources: &Map<String, Value>) -> BTreeMap<String, String> {
    let given = resources.values().filter_map(given_in).flatten();
    let given = given.filter_map(|(id, it)| Some((it.as_str()?.to_owned(), id.clone())));
    given.collect()
}

impl Layout {
    /// Adds the static IPs of NAT gateways that refer to them by a literal allocation id.
    pub(super) fn name_given(&self, known: &BTreeMap<&str, (Zone, Part)>, names: &mut Names) {
        for (id, gateway) in self.of_kind("AWS::EC2::NatGateway") {
            let name = |zone: &Zone| part_name(zone, Part::Eip);
            let zone = known.get(id.as_str()).map(|(zone, _)| zone);
            let zone = zone.filter(|zone| !self.resources.contains_key(&name(zone)));
            if let (Some(zone), Some(allocation)) =
                (zone, text(&gateway.properties, "AllocationId"))
            {
                let ip = self.outputs.get(&name(zone)).and_then(Value::as_str);
                let ip = ip.unwrap_or_default().to_owned();
                let allocation = allocation.to_owned();
                (names.given).insert(zone.clone(), StaticIp { ip, allocation });
                (names.parts).insert((zone.clone(), Part::Eip), name(zone));
            }
        }
    }

    /// Adds the additional static IPs that are no resources of the stack.
    pub(super) fn name_given_more(&self, names: &mut Names) {
        for zone in names.nat_cidrs.keys() {
            let table = names.part(zone, Part::NatSubnetRouteTable);
            let known = table.and_then(|id| given_in(self.body(id)?));
            for part in (2..=MAX_EIPS).map(Part::MoreEip) {
                let id = part_name(zone, part);
                let ip = self.outputs.get(&id).and_then(Value::as_str);
                let Some(ip) = ip.filter(|_| !self.resources.contains_key(&id)) else {
                    continue;
                };
                let allocation = known.and_then(|known| known.get(&id)?.as_str());
                let given = StaticIp {
                    ip: ip.to_owned(),
                    allocation: allocation.unwrap_or_default().to_owned(),
                };
                names.given_more.insert(id.clone(), given);
                (names.parts).insert((zone.clone(), part), id);
            }
        }
    }
}
