//! The routes of a template, to single networks and to network lists.

use std::collections::BTreeMap;

use ipnet::Ipv4Net;
use serde_json::{Map, Value, json};

use crate::model::base::ids::{TableId, Zone};
use crate::model::cloud::layout::{Layout, Names};
use crate::model::cloud::network_lists::{self, NetworkList, list_route_name};
use crate::model::cloud::part_names::{self, Part, alphanumeric};
use crate::model::desired::Desired;
use crate::model::desired::lists::carried;
use crate::model::desired::template_quotas::{MAX_RESOURCES, TemplateError};

/// Adds the routes, and the lists that routes lead to.
pub(super) fn add(
    desired: &Desired,
    names: &Names,
    live: &Layout,
    resources: &mut Map<String, Value>,
    parameters: &mut BTreeMap<String, String>,
) -> Result<(), TemplateError> {
    let carried = carried(desired, names);
    let routes = || {
        let routes = carried.direct.iter();
        routes.filter_map(|route| {
            let unturned = desired.unturned.get(route);
            let zone = unturned.or_else(|| desired.tables.get(&route.0))?;
            Some((&route.0, &route.1, zone))
        })
    };
    // Checked before the resources are built, since the search for the number of entries that fit renders often.
    let routes_count = routes().count() + carried.list_routes.len();
    let count = resources.len() + routes_count + carried.lists.len();
    if count > MAX_RESOURCES {
        return Err(TemplateError::TooManyResources {
            resources: count,
            routes: routes_count,
            tables: desired.tables.len(),
            lists: desired.into_lists.is_some(),
        });
    }
    let mut add = |id, table: &TableId, zone, key: &str, destination| {
        let live = names.table_parameters.get(table).cloned();
        let parameter = live.unwrap_or_else(|| alphanumeric(table));
        let properties = json!({
            key: destination,
            "NatGatewayId": { "Ref": part_name(names, zone, Part::NatGateway) },
            "RouteTableId": { "Ref": parameter },
        });
        parameters.insert(parameter, table.clone());
        resources.insert(id, resource("AWS::EC2::Route", properties));
    };
    for (table, cidr, zone) in routes() {
        let route = (table.clone(), *cidr);
        let named = names.routes.get(&route).filter(|_| names.is_direct(&route));
        let id = named.cloned().unwrap_or_else(|| route_name(table, *cidr));
        add(
            id,
            table,
            zone,
            "DestinationCidrBlock",
            json!(cidr.to_string()),
        );
    }
    for ((table, list), zone) in &carried.list_routes {
        let named = names.routes_to(list).find(|(_, of)| *of == table);
        let id = named.map_or_else(|| list_route_name(table, list), |(id, _)| id.clone());
        add(
            id,
            table,
            zone,
            "DestinationPrefixListId",
            json!({ "Ref": list }),
        );
    }
    for (id, list) in &carried.lists {
        resources.insert(
            id.clone(),
            network_list(&desired.stack_name, id, list, live),
        );
    }
    Ok(())
}

/// Returns a prefix list. A live list keeps all its properties except its entries.
fn network_list(stack: &str, id: &str, list: &NetworkList, live: &Layout) -> Value {
    let entries = list.entries.iter();
    let entries: Vec<Value> = entries
        .map(|net| json!({ "Cidr": net.to_string() }))
        .collect();
    let number = network_lists::number_of(id).unwrap_or_default();
    let new = || {
        json!({
            "AddressFamily": "IPv4",
            "MaxEntries": list.size,
            "PrefixListName": format!("{stack}-{number:02}"),
        })
    };
    let live = live.body(id).map(|body| body["Properties"].clone());
    let mut properties = live.unwrap_or_else(new);
    properties["Entries"] = json!(entries);
    resource(network_lists::KIND, properties)
}

pub(in crate::model) fn route_name(table: &str, cidr: Ipv4Net) -> String {
    let cidr = cidr.to_string().replace('.', "x").replace('/', "y");
    format!("RouteToNAT{}z{cidr}", alphanumeric(table))
}

/// Returns the network of a table's route from the logical id that [`route_name`] gives it.
pub(in crate::model) fn routed(id: &str, table: &TableId) -> Option<Ipv4Net> {
    let rest = id.strip_prefix(&format!("RouteToNAT{}z", alphanumeric(table)))?;
    rest.replace('x', ".").replace('y', "/").parse().ok()
}

pub(super) fn resource(kind: &str, properties: Value) -> Value {
    json!({ "Type": kind, "Properties": properties })
}

pub(super) fn part_name(names: &Names, zone: &Zone, part: Part) -> String {
    let live = names.part(zone, part).cloned();
    live.unwrap_or_else(|| part_names::part_name(zone, part))
}
