//! Renders the desired stack for CloudFormation. The same input gives the same bytes.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;
use serde_json::{Map, Value, json};

use crate::model::base::ids::{Zone, border_group};
use crate::model::cloud::change_set_name;
use crate::model::cloud::layout::{Layout, Names};
use crate::model::cloud::part_names::Part;
use crate::model::cloud::retention;
use crate::model::cloud::static_ip::StaticIp;
pub use crate::model::desired::template_quotas::{
    MAX_INLINE_BYTES, MAX_PARAMETERS, MAX_RESOURCES, MAX_S3_BYTES, Size, TemplateError,
};
use crate::model::desired::template_routes::{self, part_name, resource};
pub(in crate::model) use crate::model::desired::template_routes::{route_name, routed};
use crate::model::desired::{Desired, fingerprint, more_ips};

/// The content of a CreateStack or CreateChangeSet call that describes the stack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    pub stack_name: String,
    /// The template's JSON.
    pub text: String,
    pub parameters: BTreeMap<String, String>,
    pub tags: BTreeMap<String, String>,
    pub termination_protection: bool,
    /// Whether the stack is created with a stack policy.
    pub stack_policy: bool,
    /// The hexadecimal digest of text, parameters and tags. It names the change set.
    pub fingerprint: String,
    /// The hexadecimal digest of the resources that static IPs depend on. No request of a tenant changes it.
    pub zones: String,
    pub size: Size,
}

impl Template {
    /// Whether the template must go through S3.
    pub fn needs_bucket(&self) -> bool {
        self.text.len() > MAX_INLINE_BYTES
    }

    /// Returns the part of a change set's name that identifies the template.
    pub fn content(&self) -> String {
        change_set_name::content(&self.fingerprint, &self.zones)
    }
}

pub(in crate::model) const VPC: &str = "VPCIDParameter";
/// The output that names the cluster which owns the stack.
pub const OWNER: &str = "OwnerCluster";
const BORDER_GROUP: &str = "NetworkBorderGroup";
const INTERNET_GATEWAY: &str = "InternetGatewayIDParameter";

/// Renders the desired stack. Live resources keep their logical ids and spelling. `live` and its `names` are empty if there is no stack.
/// `bucket`: whether a bucket is available for a long template.
pub fn render(
    desired: &Desired,
    names: &Names,
    live: &Layout,
    bucket: bool,
) -> Result<Template, TemplateError> {
    let mut resources = Map::new();
    let mut outputs = Map::new();
    for (zone, cidr) in &desired.zones {
        let given = desired.given.get(zone);
        let zone_parts = (zone, *cidr, given);
        add_zone(zone_parts, names, live, &mut resources, &mut outputs);
        recover(zone, desired, names, &mut resources);
        more_ips::keep(zone, names, live, &mut resources, &mut outputs);
        if desired.frozen.contains(zone) {
            freeze(zone, names, live, &mut resources);
        }
    }
    if let Some(owner) = &desired.owner {
        let text = "UID of the namespace kube-system of the cluster that this stack belongs to";
        let output = json!({ "Description": text, "Value": owner });
        outputs.insert(OWNER.to_owned(), output);
    }
    let mut parameters = BTreeMap::from([
        (VPC.to_owned(), desired.vpc_id.clone()),
        (
            INTERNET_GATEWAY.to_owned(),
            desired.internet_gateway_id.clone(),
        ),
    ]);
    template_routes::add(desired, names, live, &mut resources, &mut parameters)?;
    keep_spelling(&mut resources, &mut parameters, live);
    complete(&mut resources);
    let resource_count = resources.len();
    let zones = fingerprint::of_zones(&resources, places(&parameters));
    let declared: Map<String, Value> = parameters
        .keys()
        .map(|name| (name.clone(), json!({ "Type": "String" })))
        .collect();
    let text = json!({
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": "Static IPs for egress traffic",
        "Parameters": declared,
        "Resources": resources,
        "Outputs": outputs,
    })
    .to_string();
    let size = Size {
        resources: resource_count,
        parameters: parameters.len(),
        bytes: text.len(),
        bucket,
    };
    check_limits(size)?;
    Ok(Template {
        stack_name: desired.stack_name.clone(),
        fingerprint: fingerprint::of_all(&text, &parameters, &desired.tags),
        zones,
        text,
        parameters,
        tags: desired.tags.clone(),
        termination_protection: desired.termination_protection,
        stack_policy: desired.stack_policy,
        size,
    })
}

/// Returns the ids of the VPC and of its internet gateway among the parameters.
pub(in crate::model) fn places(parameters: &BTreeMap<String, String>) -> [Option<&String>; 2] {
    [VPC, INTERNET_GATEWAY].map(|name| parameters.get(name))
}

fn keep_spelling(
    resources: &mut Map<String, Value>,
    parameters: &mut BTreeMap<String, String>,
    live: &Layout,
) {
    let mut needed = BTreeMap::new();
    for (id, body) in resources.iter_mut() {
        let (written, needs) = live.written(id, body.take(), parameters);
        *body = written;
        needed.extend(needs);
    }
    for (name, value) in needed {
        parameters.entry(name).or_insert(value);
    }
}

fn check_limits(size: Size) -> Result<(), TemplateError> {
    let Size {
        parameters,
        bytes,
        bucket,
        ..
    } = size;
    if parameters > MAX_PARAMETERS {
        Err(TemplateError::TooManyParameters(parameters))
    } else if bytes > MAX_S3_BYTES {
        Err(TemplateError::TooLong(bytes))
    } else if bytes > MAX_INLINE_BYTES && !bucket {
        Err(TemplateError::NeedsBucket(bytes))
    } else {
        Ok(())
    }
}

/// Adds the parts of a zone. `given`: its static IP, if that is not a resource of the stack.
fn add_zone(
    (zone, cidr, given): (&Zone, Ipv4Net, Option<&StaticIp>),
    names: &Names,
    live: &Layout,
    resources: &mut Map<String, Value>,
    outputs: &mut Map<String, Value>,
) {
    let name = |part| part_name(names, zone, part);
    let tags = json!([{ "Key": "Name", "Value": format!("nat-{zone}") }]);
    let mut add = |part, kind, properties| resources.insert(name(part), resource(kind, properties));
    let allocation = match given {
        Some(given) => json!(given.allocation),
        None => {
            add(Part::Eip, "AWS::EC2::EIP", eip(zone, names, live));
            more_ips::allocation_of(&name(Part::Eip))
        }
    };
    let gateway = json!({
        "AllocationId": allocation,
        "SubnetId": { "Ref": name(Part::NatSubnet) },
    });
    add(Part::NatGateway, "AWS::EC2::NatGateway", gateway);
    let subnet = json!({
        "AvailabilityZone": zone,
        "CidrBlock": cidr.to_string(),
        "Tags": tags,
        "VpcId": { "Ref": VPC },
    });
    add(Part::NatSubnet, "AWS::EC2::Subnet", subnet);
    let table = json!({ "Tags": tags, "VpcId": { "Ref": VPC } });
    add(Part::NatSubnetRouteTable, "AWS::EC2::RouteTable", table);
    let route = json!({
        "DestinationCidrBlock": "0.0.0.0/0",
        "GatewayId": { "Ref": INTERNET_GATEWAY },
        "RouteTableId": { "Ref": name(Part::NatSubnetRouteTable) },
    });
    add(Part::NatSubnetRoute, "AWS::EC2::Route", route);
    let association = json!({
        "RouteTableId": { "Ref": name(Part::NatSubnetRouteTable) },
        "SubnetId": { "Ref": name(Part::NatSubnet) },
    });
    add(
        Part::NatSubnetRouteTableAssociation,
        "AWS::EC2::SubnetRouteTableAssociation",
        association,
    );
    // A new gateway has its route from its creation until its deletion. A live gateway is not changed for that.
    if names.part(zone, Part::NatGateway).is_none() {
        let way = [Part::NatSubnetRoute, Part::NatSubnetRouteTableAssociation].map(name);
        resources[&name(Part::NatGateway)]["DependsOn"] = json!(way);
    }
    let eip = name(Part::Eip);
    let ip = given.map_or_else(|| json!({ "Ref": eip }), |given| json!(given.ip));
    outputs.insert(eip, ip_output(zone, ip));
}

/// Returns the output that shows the static IP of a zone.
pub(in crate::model) fn ip_output(zone: &Zone, ip: Value) -> Value {
    json!({ "Description": format!("Static IP of {zone}"), "Value": ip })
}

/// Returns the properties of a zone's EIP. A live EIP keeps all of them: most cannot be changed, and another `Address` or border group
/// would be another static IP.
pub(in crate::model) fn eip(zone: &Zone, names: &Names, live: &Layout) -> Value {
    let id = names.part(zone, Part::Eip);
    if let Some(live) = id.and_then(|id| live.resources.get(id)) {
        return live.properties.clone();
    }
    let mut properties = json!({ "Domain": "vpc" });
    if let Some(group) = border_group(zone) {
        properties[BORDER_GROUP] = json!(group);
    }
    properties
}

/// Makes the zone's new EIP ask AWS for the zone's released static IP, if the zone has one.
fn recover(zone: &Zone, desired: &Desired, names: &Names, resources: &mut Map<String, Value>) {
    let of_zone = desired.recovers.as_ref().filter(|(of, _)| of == zone);
    let eip = resources.get_mut(&part_name(names, zone, Part::Eip));
    if let (Some((_, ip)), Some(eip)) = (of_zone, eip) {
        ask_for(ip, eip);
    }
}

/// Sets the static IP that a new EIP asks AWS for. If a later step of the change fails, the IP stays in the account: AWS need not return the
/// IP twice.
pub(in crate::model) fn ask_for(ip: &str, eip: &mut Value) {
    eip["Properties"]["Address"] = json!(ip);
    retention::retain_always(eip);
}

/// Puts the live bodies of a zone's parts into the template, so that the zone stays unchanged.
fn freeze(zone: &Zone, names: &Names, live: &Layout, resources: &mut Map<String, Value>) {
    let of_zone = names.parts.iter().filter(|((of, _), _)| of == zone);
    for (id, body) in of_zone.filter_map(|(_, id)| Some((id, live.body(id)?))) {
        resources.insert(id.clone(), body.clone());
    }
    // Only this part can be missing from the stack: between two steps of its repair.
    if names.part(zone, Part::NatSubnetRoute).is_none() {
        resources.remove(&part_name(names, zone, Part::NatSubnetRoute));
    }
}

/// Completes the resources of a template: every EIP is retained, and no DependsOn names a resource that does not exist.
pub(in crate::model) fn complete(resources: &mut Map<String, Value>) {
    drop_dangling(resources);
    retention::retain(resources);
}

/// Drops from each DependsOn the names that are not among the resources: CloudFormation would refuse the whole template.
fn drop_dangling(resources: &mut Map<String, Value>) {
    let ids: BTreeSet<String> = resources.keys().cloned().collect();
    let is_there = |name: &Value| name.as_str().is_some_and(|name| ids.contains(name));
    for body in resources.values_mut().filter_map(Value::as_object_mut) {
        let is_empty = match body.get_mut("DependsOn") {
            Some(Value::Array(names)) => {
                names.retain(is_there);
                names.is_empty()
            }
            Some(name) => !is_there(name),
            None => false,
        };
        if is_empty {
            body.remove("DependsOn");
        }
    }
}

#[cfg(test)]
#[path = "template_tests.rs"]
mod tests;
