//! The resources that CloudFormation requests from EC2.

use std::collections::BTreeMap;

use ipnet::Ipv4Net;
use serde_json::Value;

use crate::model::cloud::layout::Resource;
use crate::model::cloud::more_ips::SECONDARY;

/// A requested resource. It refers to other resources by their physical ids.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wish {
    pub(super) kind: String,
    fields: BTreeMap<String, String>,
    /// The entries of a prefix list, in the order of the template.
    pub(super) entries: Vec<Ipv4Net>,
    pub(super) tags: BTreeMap<String, String>,
}

/// A created resource, with the request that created it.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub(super) wish: Wish,
    /// The physical id: `nat-…`, `subnet-…`, `rtb-…`, `rtbassoc-…`, `pl-…`, the public IP of an EIP, or table and destination of a route.
    pub(super) id: String,
    /// Whether the resource stays in EC2 when the stack no longer has it.
    pub(super) retained: bool,
}

impl Made {
    pub(super) fn new(wish: Wish, id: String) -> Self {
        let retained = false;
        Self { wish, id, retained }
    }
}

impl Wish {
    pub(super) fn new(resource: &Resource, made: &BTreeMap<String, Made>) -> Self {
        let id = |logical: &Value| made.get(logical.as_str()?).map(|made| made.id.clone());
        let one = |value: &Value| match value {
            Value::String(text) => text.clone(),
            other => id(&other["Ref"])
                .or_else(|| id(&other["Fn::GetAtt"][0]))
                .unwrap_or_default(),
        };
        let text = |value: &Value| match value {
            Value::Array(items) => items.iter().map(one).collect::<Vec<_>>().join(","),
            other => one(other),
        };
        let fields = resource.properties.as_object().into_iter().flatten();
        let tags = resource.properties["Tags"].as_array().into_iter().flatten();
        let entries = resource.properties["Entries"].as_array();
        let entry = |entry: &Value| entry["Cidr"].as_str()?.parse().ok();
        Self {
            kind: resource.kind.clone(),
            fields: fields
                .filter(|(key, _)| !matches!(key.as_str(), "Tags" | "Entries"))
                .map(|(key, value)| (key.clone(), text(value)))
                .collect(),
            entries: entries.into_iter().flatten().filter_map(entry).collect(),
            tags: tags
                .map(|tag| (text(&tag["Key"]), text(&tag["Value"])))
                .collect(),
        }
    }

    pub(super) fn field(&self, key: &str) -> &str {
        self.fields.get(key).map_or("", String::as_str)
    }

    /// Returns the parts of a field that is a list.
    pub(super) fn list(&self, key: &str) -> Vec<&str> {
        let parts = self.field(key).split(',');
        parts.filter(|part| !part.is_empty()).collect()
    }

    pub(super) fn cidr(&self, key: &str) -> Ipv4Net {
        self.field(key).parse().unwrap_or_default()
    }

    /// Returns the target of a route.
    pub(super) fn target(&self) -> &str {
        let fields = ["NatGatewayId", "GatewayId"].map(|key| self.field(key));
        fields
            .into_iter()
            .find(|id| !id.is_empty())
            .unwrap_or_default()
    }

    /// Returns the order of creation. Resources are deleted in the reverse order.
    pub(super) fn rank(kind: &str) -> usize {
        let order = [
            "AWS::EC2::EIP",
            "AWS::EC2::Subnet",
            "AWS::EC2::RouteTable",
            "AWS::EC2::NatGateway",
            "AWS::EC2::PrefixList",
        ];
        let place = order.iter().position(|of| *of == kind);
        place.unwrap_or(order.len())
    }

    /// Whether the resource is a route to a prefix list.
    pub(super) fn leads_to_list(&self) -> bool {
        !self.field("DestinationPrefixListId").is_empty()
    }

    /// Whether EC2 can update one resource to the other in place: tags, the target of a route, the static IPs of a NAT gateway besides its
    /// first, and a prefix list except its address family.
    pub(super) fn becomes(&self, other: &Self) -> bool {
        let is_fixed = |key: &str| match self.kind.as_str() {
            "AWS::EC2::Route" => {
                !key.ends_with("Id") || key == "RouteTableId" || key == "DestinationPrefixListId"
            }
            "AWS::EC2::PrefixList" => key == "AddressFamily",
            _ => true,
        };
        let fixed = |wish: &Self| -> BTreeMap<String, String> {
            let mut fields = wish.fields.clone();
            fields.retain(|key, _| is_fixed(key));
            fields.remove(SECONDARY);
            fields
        };
        self.kind == other.kind && fixed(self) == fixed(other)
    }
}
