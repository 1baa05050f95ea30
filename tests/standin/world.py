"""Lays out the network that tests start from, and shows what EC2 and CloudFormation hold."""

import ipaddress

from moto.core import DEFAULT_ACCOUNT_ID
from moto.moto_api._internal import mock_random

from . import prefixlists, template
from .ec2nat import gateway_of
from .hub import STANDIN
from .stacks import Spec, Stack

REGION = "eu-central-1"


def region_of(request):
    return STANDIN.region(request.get("account", DEFAULT_ACCOUNT_ID), request.get("region", REGION))


def _clear(ec2):
    """Takes moto's default VPC, and all else there is, out of the account."""
    for store in (ec2.vpcs, ec2.subnets, ec2.route_tables, ec2.internet_gateways, ec2.network_acls,
                  ec2.groups, ec2.enis, ec2.nat_gateways, ec2.tags):
        store.clear()
    for one in prefixlists.of_customers(ec2):
        prefixlists.forget(ec2, one)
    ec2.addresses.clear()


def build(request):
    known = {"zones", "vpc_cidr", "default", "tables_per_zone", "tags", "internet_gateway", "region",
             "account", "keep", "worker_prefix"}
    wrong = set(request) - known
    if wrong:
        raise ValueError(f"a world has no {', '.join(sorted(wrong))}; it has {', '.join(sorted(known))}")
    ec2 = region_of(request).ec2
    if not request.get("keep"):
        _clear(ec2)
    zones = request.get("zones") or [f"{ec2.region_name}{letter}" for letter in "abc"]
    network = ipaddress.ip_network(request.get("vpc_cidr", "172.31.0.0/16"))
    vpc = ec2.create_vpc(str(network), is_default=bool(request.get("default", True)))
    gateway = None
    if request.get("internet_gateway", True):
        gateway = ec2.create_internet_gateway()
        ec2.attach_internet_gateway(gateway.id, vpc.id)
    tables, subnets = {}, {}
    # Workers take the low half of the VPC, so that tests find room for NAT subnets in the high one.
    prefix = request.get("worker_prefix", min(network.prefixlen + 4, 26))
    blocks = network.subnets(new_prefix=prefix)
    for zone in zones:
        tables[zone] = [
            _table(ec2, vpc, gateway, zone, request.get("tags", {})) for _ in range(request.get("tables_per_zone", 1))
        ]
        subnet = ec2.create_subnet(vpc.id, str(next(blocks)), availability_zone=zone)
        ec2.create_tags([subnet.id], {"Name": f"dmz-{zone}"})
        subnets[zone] = subnet.id
        if tables[zone]:
            ec2.associate_route_table(tables[zone][0], subnet_id=subnet.id)
    return {"vpc_id": vpc.id, "igw_id": gateway and gateway.id, "tables": tables, "subnets": subnets}


def _table(ec2, vpc, gateway, zone, extra):
    table = ec2.create_route_table(vpc.id)
    ec2.create_tags([table.id], {"AvailabilityZone": zone, "Name": f"dmz-{zone}", "Type": "dmz", **extra})
    if gateway:
        ec2.create_route(table.id, "0.0.0.0/0", gateway_id=gateway.id)
    return table.id


def foreign_stacks(request):
    """Many stacks of other people at once, without resources in EC2."""
    region = region_of(request)
    text = '{"Resources": {"Table": {"Type": "AWS::EC2::RouteTable", "Properties": {"VpcId": "vpc-0"}}}}'
    parsed = template.parse(text)
    made = []
    # An account that holds so many has been granted them.
    STANDIN.settings.stack_quota += request.get("count", 1)
    for number in range(request.get("count", 1)):
        stack = Stack(region, f"{request.get('prefix', 'foreign')}-{number}", region.standin.clock)
        stack.spec = Spec(text, parsed, {}, dict(request.get("tags", {})))
        stack.become(request.get("status", "CREATE_COMPLETE"))
        region.stacks.append(stack)
        made.append(stack.id)
    return {"count": len(made), "first": made[0] if made else None}


def force_status(request):
    region = region_of(request)
    stack = region.get(request["stack"])
    if stack.job:
        region.standin.jobs.stop(stack.job)
        stack.job = None
    stack.token, stack.operation_id = request.get("token"), str(mock_random.uuid4())
    stack.become(request["status"], request.get("reason"))
    if request["status"] == "DELETE_COMPLETE":
        stack.deleted = stack.clock.now()
    return {"stack": stack.name, "id": stack.id, "status": stack.status}


def state(request):
    region = region_of(request)
    ec2 = region.ec2
    return {
        "vpcs": [
            {"id": v.id, "cidr": v.cidr_block, "default": str(v.is_default).lower() == "true"} for v in ec2.vpcs.values()
        ],
        "internet_gateways": [
            {"id": g.id, "vpc_id": g.vpc.id if g.vpc else None} for g in ec2.internet_gateways.values()
        ],
        "stacks": [
            {"name": s.name, "id": s.id, "status": s.status, "reason": s.reason, "protected": s.protected}
            for s in region.stacks
        ],
        "addresses": [_address(ec2, address) for address in ec2.addresses],
        "nat_gateways": [_gateway(ec2, gateway) for gateway in ec2.nat_gateways.values()],
        "subnets": [_subnet(ec2, subnet) for zone in ec2.subnets.values() for subnet in zone.values()],
        "route_tables": [_route_table(ec2, table) for table in ec2.route_tables.values()],
        "prefix_lists": [_prefix_list(ec2, one) for one in prefixlists.of_customers(ec2)],
        "gaps": sorted(STANDIN.gaps),
        "released": STANDIN.released,
        "quota_left": {"addresses": STANDIN.settings.eip_quota - len(ec2.addresses)},
    }


def _address(ec2, address):
    gateway = gateway_of(ec2, address)
    return {
        "allocation_id": address.allocation_id,
        "public_ip": address.public_ip,
        "association_id": address.association_id,
        "nat_gateway": gateway and gateway.id,
        "tags": dict(ec2.tags.get(address.allocation_id, {})),
    }


def _gateway(ec2, gateway):
    first = gateway.address_set[0]
    subnet = next((s for zone in ec2.subnets.values() for s in zone.values() if s.id == gateway.subnet_id), None)
    return {
        "id": gateway.id,
        "subnet": gateway.subnet_id,
        "az": subnet and subnet.availability_zone,
        "allocation_id": first.get("allocationId"),
        "eip": first.get("publicIp"),
        "more_eips": [it["publicIp"] for it in gateway.address_set[1:]],
        "state": gateway.state,
        "failure": gateway.failure_code,
        "tags": dict(ec2.tags.get(gateway.id, {})),
    }


def _subnet(ec2, subnet):
    return {
        "id": subnet.id,
        "vpc_id": subnet.vpc_id,
        "cidr": subnet.cidr_block,
        "az": subnet.availability_zone,
        "tags": dict(ec2.tags.get(subnet.id, {})),
    }


def _prefix_list(ec2, one):
    return {
        "id": one.id,
        "name": one.prefix_list_name,
        "state": one.state,
        "message": one.state_message,
        "version": one.version,
        "max_entries": int(one.max_entries),
        "entries": sorted(prefixlists.entries(one)),
        "tags": dict(ec2.tags.get(one.id, {})),
    }


def _route_table(ec2, table):
    return {
        "id": table.id,
        "vpc_id": table.vpc_id,
        "main": table.main_association_id is not None,
        "tags": dict(ec2.tags.get(table.id, {})),
        "routes": [
            {
                "cidr": route.destination_cidr_block or route.destination_ipv6_cidr_block or route.destination_prefix_list_id,
                "target": route.gateway_id or route.nat_gateway_id or route.network_interface_id or route.instance_id,
                "state": route.state,
            }
            for route in table.routes
        ],
        "associations": [
            {"id": entry["RouteTableAssociationId"], "subnet": entry.get("SubnetId"), "main": entry["Main"]}
            for entry in table.associations
        ],
    }
