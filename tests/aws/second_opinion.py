"""ministack, an implementation of AWS that is not ours, with the least that the walk needs and it lacks.

    python -m aws.second_opinion        listens on a free port of loopback and prints {"port": N}

What is grafted on: the types AWS::EC2::EIP and AWS::EC2::NatGateway; the addresses of NAT gateways and what an address hangs
on; blackholes; change sets by their stack's ARN, and gone once they are executed. Everything else is its own.
"""

import asyncio
import json
import os
import random
import re
import socket

os.environ.update(BIND_HOST="127.0.0.1", LOG_LEVEL="WARNING", MINISTACK_ACCOUNT_ID="123456789012")

from hypercorn.asyncio import serve
from hypercorn.config import Config
from ministack.services import ec2
from ministack.services.cloudformation import _change_sets, handlers, provisioners

NO_ADDRESSES = re.compile(r"(<natGatewayId>(nat-\w+)</natGatewayId>.*?)<natGatewayAddressSet/>", re.DOTALL)
ADDRESS = re.compile(r"(<allocationId>(eipalloc-\w+)</allocationId>.*?</domain>)", re.DOTALL)


def _id(kind):
    return f"{kind}-{random.getrandbits(68):017x}"


def _value(answer, name):
    body = answer[2] if isinstance(answer[2], str) else answer[2].decode()
    return re.search(f"<{name}>([^<]*)</{name}>", body).group(1)


def _eip_create(logical_id, properties, stack):
    answer = ec2._allocate_address({"Domain": ["vpc"]})
    allocation, ip = _value(answer, "allocationId"), _value(answer, "publicIp")
    provisioners._ec2_apply_tags(allocation, properties)
    return ip, {"AllocationId": allocation, "PublicIp": ip}


def _allocation(ip):
    return next((one for one, address in ec2._addresses.items() if address["PublicIp"] == ip), None)


def _eip_update(ip, old, new, stack, logical_id=None):
    allocation = _allocation(ip)
    provisioners._ec2_apply_tags(allocation, new, old)
    return ip, {"AllocationId": allocation, "PublicIp": ip}


def _eip_delete(ip, properties):
    allocation = _allocation(ip)
    if allocation and ec2._addresses[allocation]["AssociationId"]:
        raise ValueError(f"InvalidIPAddress.InUse: Address {ip} is in use.")
    ec2._addresses.pop(allocation, None)
    ec2._tags.pop(allocation, None)


def _nat_create(logical_id, properties, stack):
    allocation = properties.get("AllocationId")
    if allocation not in ec2._addresses:
        raise ValueError(f"InvalidAllocationID.NotFound: The allocation ID '{allocation}' does not exist")
    answer = ec2._create_nat_gateway({"SubnetId": [properties["SubnetId"]], "AllocationId": [allocation]})
    gateway = _value(answer, "natGatewayId")
    ec2._addresses[allocation].update(AssociationId=_id("eipassoc"), NetworkInterfaceId=_id("eni"))
    provisioners._ec2_apply_tags(gateway, properties)
    return gateway, {"NatGatewayId": gateway}


def _nat_update(gateway, old, new, stack, logical_id=None):
    if any(old.get(key) != new.get(key) for key in ("SubnetId", "AllocationId")):
        created = _nat_create(logical_id, new, stack)
        _nat_delete(gateway, old)
        return created
    provisioners._ec2_apply_tags(gateway, new, old)
    return gateway, {"NatGatewayId": gateway}


def _nat_delete(gateway, properties):
    if gateway in ec2._nat_gateways:
        _delete_nat_gateway({"NatGatewayId": [gateway]})


def _delete_nat_gateway(parameters):
    """The address is free again, and the routes lead nowhere."""
    gateway = ec2._p(parameters, "NatGatewayId")
    address = ec2._addresses.get(ec2._nat_gateways.get(gateway, {}).get("AllocationId"))
    if address and ec2._nat_gateways[gateway]["State"] != "deleted":
        address.update(AssociationId=None, NetworkInterfaceId=None)
    for table in ec2._route_tables.values():
        for route in table["Routes"]:
            if route.get("NatGatewayId") == gateway:
                route["State"] = "blackhole"
    return _original_delete(parameters)


def _described(handler, pattern, more):
    """The handler's answer with what `more` says of each thing in it."""
    def described(parameters):
        status, headers, body = handler(parameters)
        text = body if isinstance(body, str) else body.decode()
        text = pattern.sub(lambda found: found.group(1) + more(found.group(2)), text)
        return status, headers, text if isinstance(body, str) else text.encode()
    return described


def _of_gateway(gateway):
    record = ec2._nat_gateways[gateway]
    address = ec2._addresses.get(record["AllocationId"])
    if address is None:
        return "<natGatewayAddressSet/>"
    return (
        f"<natGatewayAddressSet><item><allocationId>{address['AllocationId']}</allocationId><publicIp>{address['PublicIp']}"
        f"</publicIp><networkInterfaceId>{address['NetworkInterfaceId'] or ''}</networkInterfaceId><isPrimary>true</isPrimary>"
        f"<status>succeeded</status></item></natGatewayAddressSet>"
    )


def _of_address(allocation):
    interface = ec2._addresses[allocation]["NetworkInterfaceId"]
    return f"<networkInterfaceId>{interface}</networkInterfaceId>" if interface else ""


def _by_name(handler):
    """For calls about change sets, which take a stack's ARN as well as its name."""
    def by_name(parameters):
        stack = _parameter(parameters, "StackName")
        if stack and stack.startswith("arn:"):
            name = stack.split("/")[1]
            parameters = {**parameters, "StackName": [name] if isinstance(parameters["StackName"], list) else name}
        return handler(parameters)
    return by_name


def _list_change_sets(parameters):
    executed = [one for one, change_set in _change_sets.items() if change_set["ExecutionStatus"] == "EXECUTE_COMPLETE"]
    for one in executed:
        del _change_sets[one]
    return _original_list(parameters)


def _parameter(parameters, key):
    value = parameters.get(key, "")
    return value[0] if isinstance(value, list) and value else value


_original_delete = ec2._ACTION_MAP["DeleteNatGateway"]
_original_list = handlers._ACTION_HANDLERS["ListChangeSets"]


def graft():
    types = provisioners._RESOURCE_HANDLERS
    types["AWS::EC2::EIP"] = {"create": _eip_create, "update": _eip_update, "update_with_logical_id": True, "delete": _eip_delete}
    types["AWS::EC2::NatGateway"] = {
        "create": _nat_create, "update": _nat_update, "update_with_logical_id": True, "delete": _nat_delete,
    }
    # The stack's tags go to both, as to every type that has tags.
    for name in ("AWS::EC2::EIP", "AWS::EC2::NatGateway"):
        provisioners._STACK_TAG_PROPERTY[name] = ("Tags", "list")
    actions = ec2._ACTION_MAP
    actions["DeleteNatGateway"] = _delete_nat_gateway
    actions["DescribeNatGateways"] = _described(actions["DescribeNatGateways"], NO_ADDRESSES, _of_gateway)
    actions["DescribeAddresses"] = _described(actions["DescribeAddresses"], ADDRESS, _of_address)
    handlers._ACTION_HANDLERS["ListChangeSets"] = _list_change_sets
    for action in ("CreateChangeSet", "DescribeChangeSet", "ExecuteChangeSet", "DeleteChangeSet", "ListChangeSets"):
        handlers._ACTION_HANDLERS[action] = _by_name(handlers._ACTION_HANDLERS[action])


if __name__ == "__main__":
    listener = socket.create_server(("127.0.0.1", 0))
    os.environ["GATEWAY_PORT"] = str(listener.getsockname()[1])
    graft()
    from ministack.app import app

    config = Config()
    config.bind, config.loglevel = [f"fd://{listener.detach()}"], "WARNING"
    # Connections wait in the listener's queue until it serves.
    print(json.dumps({"port": int(os.environ["GATEWAY_PORT"])}), flush=True)
    asyncio.run(serve(app, config))
