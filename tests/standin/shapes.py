"""Templates as the controller makes them, for the tests."""

import json


def template(world, cidrs=("8.8.8.8/32",), zones=None, **changes):
    """One NAT per zone and one route per CIDR and worker table, named as the public controller names them."""
    zones = zones or list(world["tables"])
    resources, outputs = {}, {}
    for n, zone in enumerate(zones, 1):
        resources.update(_zone(n, zone, world))
        outputs[f"EIP{n}"] = {"Value": {"Ref": f"EIP{n}"}}
        for cidr in cidrs:
            resources[f"RouteToNAT{n}z{cidr.replace('.', 'x').replace('/', 'y')}"] = {
                "Type": "AWS::EC2::Route",
                "Properties": {
                    "RouteTableId": {"Ref": f"AZ{n}RouteTableIDParameter"},
                    "DestinationCidrBlock": cidr,
                    "NatGatewayId": {"Ref": f"NATGateway{n}"},
                },
            }
    resources.update(changes)
    names = ["VPCIDParameter", "InternetGatewayIDParameter"]
    names += [f"AZ{n}RouteTableIDParameter" for n in range(1, len(zones) + 1)]
    return json.dumps(
        {
            "AWSTemplateFormatVersion": "2010-09-09",
            "Description": "Static Egress Stack",
            "Parameters": {name: {"Type": "String"} for name in names},
            "Resources": {key: value for key, value in resources.items() if value is not None},
            "Outputs": outputs,
        }
    )


def _zone(n, zone, world, cidr=None):
    tags = [{"Key": "Name", "Value": f"nat-{zone}"}]
    vpc = {"Ref": "VPCIDParameter"}
    cidr = cidr or f"172.31.64.{(n - 1) * 16}/28"
    return {
        f"EIP{n}": {"Type": "AWS::EC2::EIP", "Properties": {"Domain": "vpc"}},
        f"NATSubnet{n}": {
            "Type": "AWS::EC2::Subnet",
            "Properties": {"VpcId": vpc, "CidrBlock": cidr, "AvailabilityZone": zone, "Tags": tags},
        },
        f"NATGateway{n}": {
            "Type": "AWS::EC2::NatGateway",
            "Properties": {
                "SubnetId": {"Ref": f"NATSubnet{n}"},
                "AllocationId": {"Fn::GetAtt": [f"EIP{n}", "AllocationId"]},
            },
        },
        f"NATSubnetRouteTable{n}": {"Type": "AWS::EC2::RouteTable", "Properties": {"VpcId": vpc, "Tags": tags}},
        f"NATSubnetRoute{n}": {
            "Type": "AWS::EC2::Route",
            "Properties": {
                "RouteTableId": {"Ref": f"NATSubnetRouteTable{n}"},
                "DestinationCidrBlock": "0.0.0.0/0",
                "GatewayId": {"Ref": "InternetGatewayIDParameter"},
            },
        },
        f"NATSubnetRouteTableAssociation{n}": {
            "Type": "AWS::EC2::SubnetRouteTableAssociation",
            "Properties": {"RouteTableId": {"Ref": f"NATSubnetRouteTable{n}"}, "SubnetId": {"Ref": f"NATSubnet{n}"}},
        },
    }


def parameters(world, zones=None):
    zones = zones or list(world["tables"])
    values = {"VPCIDParameter": world["vpc_id"], "InternetGatewayIDParameter": world["igw_id"]}
    for n, zone in enumerate(zones, 1):
        values[f"AZ{n}RouteTableIDParameter"] = world["tables"][zone][0]
    return [{"ParameterKey": key, "ParameterValue": value} for key, value in values.items()]


def resource(kind, **properties):
    return {"Type": f"AWS::EC2::{kind}", "Properties": properties}


def only(**resources):
    return json.dumps({"Resources": resources})


def routes(state, table):
    found = next(t for t in state["route_tables"] if t["id"] == table)
    return {r["cidr"]: r for r in found["routes"] if r["target"] != "local"}
