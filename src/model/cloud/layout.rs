//! A template with its parameters replaced by their values: the basis for comparing two stacks and for finding live names.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;
use serde_json::{Map, Value};

use crate::model::base::ids::{TableId, Zone};
use crate::model::cloud::logical_id::renewal;
pub use crate::model::cloud::names::Names;
use crate::model::cloud::network_lists;
use crate::model::cloud::part_names::{MAX_EIPS, Part, part_name};
use crate::model::cloud::resource_type::ResourceType;
use crate::model::cloud::retention;

/// Why a template's text cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    #[error(
        "the stack's template is not JSON; a stack with a YAML template was not made by this controller"
    )]
    NotJson,
    #[error("the stack's template has no Resources object")]
    NoResources,
}

/// A resource of a template, with parameters replaced by their values.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Resource {
    /// The type, such as `AWS::EC2::Route`.
    pub kind: String,
    pub properties: Value,
}

/// The content of a template with its parameters' values. Templates that differ only in spelling have equal layouts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layout {
    pub resources: BTreeMap<String, Resource>,
    /// The resolved value of each output, by name.
    pub outputs: BTreeMap<String, Value>,
    /// The parameters that routes use for their route tables.
    table_parameters: BTreeMap<TableId, String>,
    /// The resources' bodies in the original spelling.
    bodies: BTreeMap<String, Value>,
    parameters: BTreeMap<String, String>,
}

impl Layout {
    pub fn read(text: &str, parameters: &BTreeMap<String, String>) -> Result<Self, LayoutError> {
        let mut template: Value = serde_json::from_str(text).map_err(|_| LayoutError::NotJson)?;
        let Some(Value::Object(declared)) = template.get_mut("Resources").map(Value::take) else {
            return Err(LayoutError::NoResources);
        };
        let mut layout = Self {
            parameters: parameters.clone(),
            ..Self::default()
        };
        for (id, body) in declared {
            let kind = body
                .get("Type")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned();
            let raw = body.get("Properties");
            let properties =
                raw.map_or_else(|| Value::Object(Map::new()), |raw| resolve(raw, parameters));
            if let (Some(parameter), Some(table)) = (
                raw.and_then(|raw| referenced(&raw["RouteTableId"])),
                properties["RouteTableId"].as_str(),
            ) {
                layout
                    .table_parameters
                    .insert(table.to_owned(), parameter.to_owned());
            }
            layout
                .resources
                .insert(id.clone(), Resource { kind, properties });
            layout.bodies.insert(id, body);
        }
        for (name, output) in template
            .get("Outputs")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            layout
                .outputs
                .insert(name.clone(), resolve(&output["Value"], parameters));
        }
        Ok(layout)
    }

    /// Finds the purpose of each resource by following references, not by its name.
    pub fn names(&self) -> Names {
        let mut names = Names {
            table_parameters: self.table_parameters.clone(),
            ..Names::default()
        };
        let known = self.parts(&mut names.nat_cidrs);
        self.name_lists(&mut names);
        let zone_of = |id: &str| {
            let gateway = referenced(&self.resources.get(id)?.properties["NatGatewayId"])?;
            known.get(gateway).map(|(zone, _)| zone.clone())
        };
        for (id, resource) in &self.resources {
            let route = (
                text(&resource.properties, "RouteTableId"),
                net(&resource.properties, "DestinationCidrBlock"),
            );
            match (known.get(id.as_str()), route) {
                (Some(part), _) if !names.parts.contains_key(part) => {
                    names.parts.insert(part.clone(), id.clone());
                }
                (None, (Some(table), Some(cidr)))
                    if ResourceType::of(&resource.kind) == ResourceType::Route
                        && !names.routes.contains_key(&(table.to_owned(), cidr)) =>
                {
                    let route = (table.to_owned(), cidr);
                    if let Some(zone) = zone_of(id) {
                        names.route_zones.insert(route.clone(), zone);
                    }
                    names.routes.insert(route, id.clone());
                }
                _ if names.lists.contains_key(id) || names.list_routes.contains_key(id) => {}
                _ => names.strangers.push(id.clone()),
            }
        }
        names.serve_lists(zone_of);
        self.name_given(&known, &mut names);
        self.name_given_more(&mut names);
        names
    }

    /// Adds the network lists and the routes to them. A second route from a table to the same list is not added.
    fn name_lists(&self, names: &mut Names) {
        for (id, resource) in &self.resources {
            if let Some(list) = network_lists::list(id, &resource.kind, &resource.properties) {
                names.lists.insert(id.clone(), list);
            }
        }
        let mut known = BTreeSet::new();
        for (id, resource) in &self.resources {
            if let Some(leads) = network_lists::route(&resource.kind, &resource.properties)
                && names.lists.contains_key(&leads.1)
                && known.insert(leads.clone())
            {
                names.list_routes.insert(id.clone(), leads);
            }
        }
    }

    /// Finds the parts of zones by references, starting with their NAT subnets.
    fn parts(&self, nat_cidrs: &mut BTreeMap<Zone, Ipv4Net>) -> BTreeMap<&str, (Zone, Part)> {
        let mut known: BTreeMap<&str, (Zone, Part)> = BTreeMap::new();
        for (id, resource) in self.of_kind("AWS::EC2::Subnet") {
            let properties = &resource.properties;
            if let (Some(zone), Some(cidr)) = (
                text(properties, "AvailabilityZone"),
                net(properties, "CidrBlock"),
            ) {
                known.insert(id, (zone.to_owned(), Part::NatSubnet));
                nat_cidrs.insert(zone.to_owned(), cidr);
            }
        }
        self.follow(
            "AWS::EC2::NatGateway",
            "SubnetId",
            Part::NatSubnet,
            Part::NatGateway,
            &mut known,
        );
        for (id, resource) in self.of_kind("AWS::EC2::NatGateway") {
            let zone = known.get(id.as_str()).map(|(zone, _)| zone.clone());
            if let (Some(zone), Some(eip)) =
                (zone, referenced(&resource.properties["AllocationId"]))
            {
                known.insert(eip, (zone, Part::Eip));
            }
        }
        let association = "AWS::EC2::SubnetRouteTableAssociation";
        self.follow(
            association,
            "SubnetId",
            Part::NatSubnet,
            Part::NatSubnetRouteTableAssociation,
            &mut known,
        );
        for (id, resource) in self.of_kind(association) {
            let zone = known.get(id.as_str()).map(|(zone, _)| zone.clone());
            if let (Some(zone), Some(table)) =
                (zone, referenced(&resource.properties["RouteTableId"]))
            {
                known.insert(table, (zone, Part::NatSubnetRouteTable));
            }
        }
        self.follow(
            "AWS::EC2::Route",
            "RouteTableId",
            Part::NatSubnetRouteTable,
            Part::NatSubnetRoute,
            &mut known,
        );
        self.find_more_eips(nat_cidrs, &mut known);
        known
    }

    /// Finds the additional static IPs of the zones by their logical ids, because no resource refers to an IP that is not used yet.
    fn find_more_eips<'a>(
        &'a self,
        zones: &BTreeMap<Zone, Ipv4Net>,
        known: &mut BTreeMap<&'a str, (Zone, Part)>,
    ) {
        let eips = self.of_kind("AWS::EC2::EIP");
        let eips = eips.map(|(id, _)| (renewal(id).0, id));
        let eips: BTreeMap<&str, &String> = eips.collect();
        for zone in zones.keys() {
            for part in (2..=MAX_EIPS).map(Part::MoreEip) {
                if let Some(id) = eips.get(part_name(zone, part).as_str()) {
                    known.insert(id, (zone.clone(), part));
                }
            }
        }
    }

    /// Returns the body of a resource for a new template, and the live parameters that it needs. A body with the same content keeps its
    /// live spelling, since CloudFormation may take a new spelling for a change. Attributes beside the properties (such as a
    /// DeletionPolicy) stay.
    pub fn written(
        &self,
        id: &str,
        body: Value,
        parameters: &BTreeMap<String, String>,
    ) -> (Value, BTreeMap<String, String>) {
        let Some(live) = self.bodies.get(id) else {
            return (body, BTreeMap::new());
        };
        let says_the_same = body == *live
            || self.resources.get(id).is_some_and(|has| {
                has.kind == body["Type"].as_str().unwrap_or_default()
                    && has.properties == resolve(&body["Properties"], parameters)
            });
        if says_the_same {
            let needed = |(name, _): &(&String, &String)| names_parameter(live, name);
            let needed = self.parameters.iter().filter(needed);
            return (
                live.clone(),
                needed.map(|(k, v)| (k.clone(), v.clone())).collect(),
            );
        }
        let (Value::Object(mut merged), Value::Object(ours)) = (live.clone(), body.clone()) else {
            return (body, BTreeMap::new());
        };
        merged.extend(ours);
        (Value::Object(merged), BTreeMap::new())
    }

    /// Returns the body of a resource in its original spelling.
    pub fn body(&self, id: &str) -> Option<&Value> {
        self.bodies.get(id)
    }

    /// Whether CloudFormation leaves the resource in the account when the stack no longer has it.
    pub fn is_retained(&self, id: &str) -> bool {
        self.bodies.get(id).is_some_and(retention::is_retained)
    }

    /// Returns the logical ids of the EIPs that CloudFormation releases with the stack.
    pub fn released(&self) -> impl Iterator<Item = &str> {
        let ids = self.resources.keys().map(String::as_str);
        ids.filter(|id| self.releases(id))
    }

    /// Whether the resource is an EIP that CloudFormation releases when the stack no longer has it.
    pub fn releases(&self, id: &str) -> bool {
        let is_eip = |it: &Resource| ResourceType::of(&it.kind) == ResourceType::Eip;
        self.resources.get(id).is_some_and(is_eip) && !self.is_retained(id)
    }

    /// Returns the tags that the template sets on a resource.
    pub fn tags(&self, id: &str) -> BTreeMap<&str, &str> {
        let properties = self.resources.get(id).map(|resource| &resource.properties);
        let tags = properties.and_then(|properties| properties["Tags"].as_array());
        let tags = tags.into_iter().flatten();
        tags.filter_map(|tag| Some((tag["Key"].as_str()?, tag["Value"].as_str()?)))
            .collect()
    }

    /// Returns the VPCs of the template's subnets and route tables, as far as the text and its parameters name them.
    pub fn vpcs(&self) -> BTreeSet<&str> {
        let kinds = ["AWS::EC2::Subnet", "AWS::EC2::RouteTable"];
        let resources = kinds.into_iter().flat_map(|kind| self.of_kind(kind));
        resources
            .filter_map(|(_, resource)| text(&resource.properties, "VpcId"))
            .collect()
    }

    pub(super) fn of_kind(&self, kind: &'static str) -> impl Iterator<Item = (&String, &Resource)> {
        self.resources
            .iter()
            .filter(move |(_, resource)| resource.kind == kind)
    }

    /// Adds each resource that refers, by `property`, to the part `from` of a zone, as the part `to` of that zone.
    fn follow<'a>(
        &'a self,
        kind: &'static str,
        property: &str,
        from: Part,
        to: Part,
        known: &mut BTreeMap<&'a str, (Zone, Part)>,
    ) {
        for (id, resource) in self.of_kind(kind) {
            let zone = referenced(&resource.properties[property])
                .and_then(|target| known.get(target))
                .filter(|(_, part)| *part == from)
                .map(|(zone, _)| zone.clone());
            if let Some(zone) = zone {
                known.insert(id, (zone, to));
            }
        }
    }
}

/// Returns the logical id that a `Ref` or `Fn::GetAtt` names.
pub(in crate::model) fn referenced(value: &Value) -> Option<&str> {
    let name = value
        .get("Ref")
        .or_else(|| value.get("Fn::GetAtt").and_then(|parts| parts.get(0)));
    name.and_then(Value::as_str)
}

/// Whether a value contains a reference to the parameter.
fn names_parameter(value: &Value, name: &str) -> bool {
    match value {
        Value::Object(fields) => {
            fields.get("Ref").and_then(Value::as_str) == Some(name)
                || fields.values().any(|field| names_parameter(field, name))
        }
        Value::Array(items) => items.iter().any(|item| names_parameter(item, name)),
        _ => false,
    }
}

pub(super) fn text<'a>(properties: &'a Value, key: &str) -> Option<&'a str> {
    properties.get(key).and_then(Value::as_str)
}

fn net(properties: &Value, key: &str) -> Option<Ipv4Net> {
    text(properties, key)
        .and_then(|cidr| cidr.parse().ok())
        .map(|cidr: Ipv4Net| cidr.trunc())
}

/// Replaces parameters by their values, and normalises spellings: `Fn::GetAtt`, the order of tags and of a list's entries.
fn resolve(value: &Value, parameters: &BTreeMap<String, String>) -> Value {
    match value {
        Value::Object(fields) => {
            let value_of = |name: &str| {
                parameters
                    .get(name)
                    .map(|value| Value::String(value.clone()))
            };
            if let Some(known) = fields.get("Ref").and_then(Value::as_str).and_then(value_of) {
                return known;
            }
            if let Some((id, attribute)) = fields
                .get("Fn::GetAtt")
                .and_then(Value::as_str)
                .and_then(|path| path.split_once('.'))
            {
                return serde_json::json!({ "Fn::GetAtt": [id, attribute] });
            }
            let field = |(key, field): (&String, &Value)| (key.clone(), resolve(field, parameters));
            Value::Object(fields.iter().map(field).collect())
        }
        Value::Array(items) => {
            let mut items: Vec<Value> =
                items.iter().map(|item| resolve(item, parameters)).collect();
            for key in ["Key", "Cidr"] {
                if items.iter().all(|item| item.get(key).is_some()) {
                    items.sort_by_cached_key(|item| item[key].to_string());
                }
            }
            Value::Array(items)
        }
        // CloudFormation accepts `true` for `"true"` and 1 for `"1"`.
        Value::Bool(_) | Value::Number(_) => Value::String(value.to_string()),
        Value::String(_) | Value::Null => value.clone(),
    }
}
