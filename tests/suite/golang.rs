//! Stacks as the Go controller creates them: positions in names, one parameter per route table, outputs.

use serde_json::{Map, Value, json};

use crate::replica::nat_cidr;
use crate::stage::Stage;
use crate::standin::REGION;
use crate::wait;

/// The tags by which the Go controller, too, finds its stack.
pub const TAGS: [(&str, &str); 2] = [
    ("kubernetes.io/cluster/suite", "owned"),
    ("kubernetes:application", "kube-static-egress-controller"),
];

/// The configuration of the Go controller.
pub struct GoStack<'a> {
    pub name: &'a str,
    /// The letters of the zones, in the order of its flags.
    pub zones: &'a [&'a str],
    pub cidrs: &'a [&'a str],
    pub more_tags: &'a [(&'a str, &'a str)],
    pub protected: bool,
    /// Whether the stack lacks the ownership tags, as stacks of the oldest version do.
    pub untagged: bool,
}

impl Default for GoStack<'_> {
    fn default() -> Self {
        Self {
            name: "egress-static-nat-suite-6f1c9a52-0b8e-4c3d-9d0a-5a1f0e2b7c41",
            zones: &["a", "b", "c"],
            cidrs: &["192.112.0.0/21", "8.8.8.8/32"],
            more_tags: &[],
            protected: false,
            untagged: false,
        }
    }
}

fn resource(kind: &str, properties: Value) -> Value {
    json!({ "Type": format!("AWS::EC2::{kind}"), "Properties": properties })
}

fn zone(number: usize, letter: &str, resources: &mut Map<String, Value>) {
    let tags = json!([{ "Key": "Name", "Value": format!("nat-{REGION}{letter}") }]);
    let vpc = json!({ "Ref": "VPCIDParameter" });
    let table = json!({ "Ref": format!("NATSubnetRouteTable{number}") });
    let subnet = json!({ "Ref": format!("NATSubnet{number}") });
    let parts = [
        ("EIP", "EIP", json!({ "Domain": "vpc" })),
        (
            "NATSubnet",
            "Subnet",
            json!({ "AvailabilityZone": format!("{REGION}{letter}"), "CidrBlock": nat_cidr(letter),
                    "Tags": tags, "VpcId": vpc }),
        ),
        (
            "NATGateway",
            "NatGateway",
            json!({ "AllocationId": { "Fn::GetAtt": [format!("EIP{number}"), "AllocationId"] },
                    "SubnetId": subnet }),
        ),
        (
            "NATSubnetRouteTable",
            "RouteTable",
            json!({ "Tags": tags, "VpcId": vpc }),
        ),
        (
            "NATSubnetRoute",
            "Route",
            json!({ "DestinationCidrBlock": "0.0.0.0/0", "RouteTableId": table,
                    "GatewayId": { "Ref": "InternetGatewayIDParameter" } }),
        ),
        (
            "NATSubnetRouteTableAssociation",
            "SubnetRouteTableAssociation",
            json!({ "RouteTableId": table, "SubnetId": subnet }),
        ),
    ];
    for (name, kind, properties) in parts {
        resources.insert(format!("{name}{number}"), resource(kind, properties));
    }
}

impl GoStack<'_> {
    /// Returns the worker route tables in the order of the Go controller: by the zones of its flags.
    fn tables(&self, stage: &Stage) -> Vec<(String, String)> {
        let mut tables: Vec<(String, String)> = stage.aws.routes().into_keys().collect();
        let position = |zone: &str| self.zones.iter().position(|letter| zone.ends_with(letter));
        tables.sort_by_key(|(id, zone)| (position(zone), id.clone()));
        tables
    }

    /// Creates the stack with the tests' own credentials, and waits until it exists.
    pub async fn make(&self, stage: &Stage) {
        let protected = self.protected.to_string();
        self.send(
            stage,
            "CreateStack",
            &[("EnableTerminationProtection", &protected)],
        );
        wait::until("the Go controller's stack is there", || {
            let stacks = stage.aws.stacks();
            let made = stacks
                .get(self.name)
                .is_some_and(|status| status == "CREATE_COMPLETE");
            wait::check(made, || format!("{stacks:?}"))
        })
        .await;
    }

    /// Sends a call with this stack's template, parameters and tags.
    pub fn send(&self, stage: &Stage, action: &str, more: &[(&str, &str)]) {
        let (template, parameters) = self.template(stage);
        let mut fields = vec![
            ("StackName".to_owned(), self.name),
            ("TemplateBody".to_owned(), template.as_str()),
        ];
        for (index, (name, value)) in parameters.iter().enumerate() {
            let field = format!("Parameters.member.{}.Parameter", index + 1);
            fields.push((format!("{field}Key"), name));
            fields.push((format!("{field}Value"), value));
        }
        let own = if self.untagged { &[][..] } else { &TAGS };
        for (index, (key, value)) in own.iter().chain(self.more_tags).enumerate() {
            fields.push((format!("Tags.member.{}.Key", index + 1), key));
            fields.push((format!("Tags.member.{}.Value", index + 1), value));
        }
        let fields: Vec<(&str, &str)> = fields
            .iter()
            .map(|(key, value)| (key.as_str(), *value))
            .chain(more.iter().copied())
            .collect();
        stage.aws.call("cloudformation", action, &fields);
    }

    /// Returns the template and its parameters.
    fn template(&self, stage: &Stage) -> (String, Vec<(String, String)>) {
        let (mut resources, mut outputs) = (Map::new(), Map::new());
        let state = stage.aws.state();
        let gateway = state["internet_gateways"][0]["id"]
            .as_str()
            .unwrap()
            .to_owned();
        let mut parameters = vec![
            ("VPCIDParameter".to_owned(), stage.vpc.clone()),
            ("InternetGatewayIDParameter".to_owned(), gateway),
        ];
        for (index, letter) in self.zones.iter().enumerate() {
            zone(index + 1, letter, &mut resources);
            let eip = format!("EIP{}", index + 1);
            let output =
                json!({ "Description": "external IP of the NATGateway", "Value": { "Ref": eip } });
            outputs.insert(eip, output);
        }
        for (index, (id, zone)) in self.tables(stage).into_iter().enumerate() {
            let number = index + 1;
            let parameter = format!("AZ{number}RouteTableIDParameter");
            parameters.push((parameter.clone(), id));
            let Some(gateway) = self.zones.iter().position(|letter| zone.ends_with(letter)) else {
                continue;
            };
            for cidr in self.cidrs {
                let name = cidr.replace('.', "x").replace('/', "y");
                let properties = json!({
                    "DestinationCidrBlock": cidr,
                    "NatGatewayId": { "Ref": format!("NATGateway{}", gateway + 1) },
                    "RouteTableId": { "Ref": parameter },
                });
                resources.insert(
                    format!("RouteToNAT{number}z{name}"),
                    resource("Route", properties),
                );
            }
        }
        let declared: Map<String, Value> = parameters
            .iter()
            .map(|(name, _)| {
                (
                    name.clone(),
                    json!({ "Type": "String", "Description": name }),
                )
            })
            .collect();
        let template = json!({
            "AWSTemplateFormatVersion": "2010-09-09", "Description": "Static Egress Stack",
            "Parameters": declared, "Resources": resources, "Outputs": outputs,
        });
        (template.to_string(), parameters)
    }
}
