"""Elastic IPs and NAT gateways as EC2 has them: quotas, states over time, and what stays visible."""

import fnmatch

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError, InvalidAllocationIdError
from moto.ec2.models import elastic_ip_addresses
from moto.ec2.models.elastic_ip_addresses import ElasticAddressBackend
from moto.ec2.models.nat_gateways import NatGateway, NatGatewayBackend
from moto.ec2.responses.account_attributes import AccountAttributes
from moto.ec2.responses.elastic_ip_addresses import ElasticIPAddresses
from moto.ec2.responses.nat_gateways import NatGateways
from moto.ec2.utils import random_eip_association_id, random_private_ip
from moto.moto_api._internal import mock_random

from .hub import STANDIN

GONE = ("deleting", "deleted", "failed")


def install():
    elastic_ip_addresses.random_ip = _random_ip
    _wrap(ElasticAddressBackend, "allocate_address", _allocate_address)
    _wrap(ElasticIPAddresses, "allocate_address", _allocate_in_group)
    elastic_ip_addresses.ElasticAddress.network_border_group = property(lambda self: group_of(self.ec2_backend, self))
    _wrap(AccountAttributes, "describe_account_attributes", _describe_account_attributes)
    _wrap(ElasticAddressBackend, "release_address", _release_address)
    _wrap(ElasticAddressBackend, "disassociate_address", _disassociate_address)
    _wrap(ElasticAddressBackend, "associate_address", _associate_address)
    _wrap(NatGatewayBackend, "create_nat_gateway", _create_nat_gateway)
    NatGatewayBackend.delete_nat_gateway = _delete_nat_gateway
    NatGatewayBackend.describe_nat_gateways = _describe_nat_gateways
    NatGateways.associate_nat_gateway_address = _associate_nat_gateway_address
    NatGateways.disassociate_nat_gateway_address = _disassociate_nat_gateway_address
    NatGateway.state = property(_state, lambda self, value: None)
    NatGateway.failure_code = property(lambda self: _failure(self)[0])
    NatGateway.failure_message = property(lambda self: _failure(self)[1])
    NatGateway.delete_time = property(_delete_time)


def _wrap(owner, name, function):
    original = getattr(owner, name)

    def wrapped(self, *arguments, **named):
        return function(original, self, *arguments, **named)

    setattr(owner, name, wrapped)


def _random_ip():
    # moto hands out loopback addresses; a public one must not look like what no router forwards.
    return "3." + ".".join(str(mock_random.randint(1, 254)) for _ in range(3))


def _state(gateway):
    now, settings = STANDIN.clock.now(), STANDIN.settings
    if getattr(gateway, "_deleted_at", None) is not None:
        return "deleting" if now < gateway._deleted_at + settings.nat_deleting_ms / 1000 else "deleted"
    if now < getattr(gateway, "_ready_at", 0):
        return "pending"
    return "failed" if getattr(gateway, "_failure", None) else "available"


def _failure(gateway):
    return getattr(gateway, "_failure", None) or (None, None)


def _delete_time(gateway):
    moment = getattr(gateway, "_deleted_at", None)
    return None if moment is None else STANDIN.clock.stamp(moment)


def gateway_of(ec2, address):
    gateways = (g for g in ec2.nat_gateways.values() if address.eni is not None and g._eni is address.eni)
    return next((g for g in gateways if g.state not in ("deleted", "failed")), None)


def _describe_account_attributes(original, response):
    answer = original(response)
    for attribute in answer.result["AccountAttributes"]:
        if attribute["AttributeName"] == "vpc-max-elastic-ips":
            attribute["AttributeValues"] = [{"AttributeValue": str(STANDIN.settings.eip_quota)}]
    return answer


def border_group(ec2, zone):
    """A Local Zone, such as eu-central-1-ham-1a, has one of its own; else it is the region."""
    return ec2.region_name if zone.count("-") < 4 else zone.rstrip("abcdefghijklmnopqrstuvwxyz")


def group_of(ec2, address):
    return getattr(address, "_border_group", None) or ec2.region_name


def _allocate_in_group(original, response):
    ec2, group = response.ec2_backend, response._get_param("NetworkBorderGroup")
    region = ec2.region_name
    if group and group != region and not group.startswith(region + "-"):
        raise EC2ClientError("InvalidParameterValue", f"Invalid network border group {group}")
    answer = original(response)
    made = next(a for a in ec2.addresses if a.allocation_id == answer.result["AllocationId"])
    made._border_group = group
    answer.result["NetworkBorderGroup"] = group_of(ec2, made)
    return answer


def given_away(ec2):
    """Addresses that were released here, and that another account has since."""
    if not hasattr(ec2, "_given_away"):
        ec2._given_away = set()
    return ec2._given_away


def _allocate_address(original, ec2, domain=None, address=None, tags=None):
    if len(ec2.addresses) >= STANDIN.settings.eip_quota:
        raise EC2ClientError("AddressLimitExceeded", "The maximum number of addresses has been reached.")
    if address in given_away(ec2):
        raise EC2ClientError("AuthFailure", f"The address '{address}' does not belong to you.")
    if address and any(other.public_ip == address for other in ec2.addresses):
        raise EC2ClientError("InvalidAddress.NotFound", f"Address '{address}' not found.")
    made = original(ec2, "vpc", address=address)
    while made.public_ip in given_away(ec2) or sum(other.public_ip == made.public_ip for other in ec2.addresses) > 1:
        ec2.addresses.remove(made)
        made = original(ec2, "vpc")
    made.add_tags(tags or {})
    return made


def _release_address(original, ec2, address=None, allocation_id=None):
    found = ec2.address_by_ip([address]) if address else ec2.address_by_allocation([allocation_id])
    if found[0].association_id:
        raise EC2ClientError("InvalidIPAddress.InUse", f"Address {found[0].public_ip} is in use.")
    ec2.tags.pop(found[0].allocation_id, None)
    return original(ec2, address=address, allocation_id=allocation_id)


def _disassociate_address(original, ec2, address=None, association_id=None):
    found = ec2.address_by_ip([address]) if address else ec2.address_by_association([association_id])
    if gateway_of(ec2, found[0]):
        raise EC2ClientError("AuthFailure", "You do not have permission to access the specified resource.")
    return original(ec2, address=address, association_id=association_id)


def _associate_address(original, ec2, instance=None, eni=None, address=None, allocation_id=None, reassociate=False):
    found = ec2.address_by_ip([address]) if address else ec2.address_by_allocation([allocation_id])
    if gateway_of(ec2, found[0]):
        raise EC2ClientError("AuthFailure", "You do not have permission to access the specified resource.")
    return original(ec2, instance, eni, address, allocation_id, reassociate)


def _create_nat_gateway(original, ec2, subnet_id, allocation_id, tags=None, connectivity_type="public"):
    connectivity_type = connectivity_type or "public"
    subnet = ec2.get_subnet(subnet_id)
    zone = subnet.availability_zone
    # One that is being deleted counts.
    in_zone = [
        g for g in ec2.nat_gateways.values()
        if g.state not in ("deleted", "failed") and ec2.get_subnet(g.subnet_id).availability_zone == zone
    ]
    if len(in_zone) >= STANDIN.settings.nat_quota_per_zone:
        raise EC2ClientError(
            "NatGatewayLimitExceeded",
            f"Performing this operation would exceed the limit of {STANDIN.settings.nat_quota_per_zone} NAT gateways",
        )
    failure = None
    if connectivity_type == "public":
        failure = _public_failure(ec2, subnet, allocation_id)
    # A gateway that fails never gets the address, which may well be somebody else's.
    gateway = original(ec2, subnet_id, None if failure else allocation_id, tags, connectivity_type)
    if failure:
        gateway.address_set[0]["allocationId"] = allocation_id
    gateway.address_set[0]["isPrimary"] = True
    gateway._created_at = STANDIN.clock.stamp().replace(tzinfo=None)
    gateway._deleted_at, gateway._failure = None, failure
    gateway._ready_at = STANDIN.clock.now() + STANDIN.settings.nat_pending_ms / 1000
    return gateway


def _public_failure(ec2, subnet, allocation_id):
    """Refuses what EC2 refuses at once; returns what it accepts only to let it fail later."""
    if not allocation_id:
        raise EC2ClientError("MissingParameter", "The request must include the AllocationId parameter.")
    found = [address for address in ec2.addresses if address.allocation_id == allocation_id]
    if not found:
        raise InvalidAllocationIdError(allocation_id)
    wanted, group = border_group(ec2, subnet.availability_zone), group_of(ec2, found[0])
    if group != wanted:
        raise EC2ClientError(
            "InvalidParameter",
            f"The address {allocation_id} is in the network border group {group}, and the subnet {subnet.id} is in {wanted}",
        )
    if found[0].association_id:
        return "Resource.AlreadyAssociated", f"Elastic IP address [{allocation_id}] is already associated"
    attached = any(g.vpc is not None and g.vpc.id == subnet.vpc_id for g in ec2.internet_gateways.values())
    if not attached:
        return "Gateway.NotAttached", f"Network {subnet.vpc_id} has no Internet gateway attached"
    return None


def associate(ec2, gateway, allocation_ids, at_creation=False):
    """Gives a NAT gateway more addresses. EC2 refuses all of them, or a gateway that is being made fails."""
    found = []
    for allocation_id in allocation_ids:
        address = next((it for it in ec2.addresses if it.allocation_id == allocation_id), None)
        if address is None:
            raise InvalidAllocationIdError(allocation_id)
        if address.association_id or allocation_ids.count(allocation_id) > 1:
            text = f"Elastic IP address [{allocation_id}] is already associated"
            if at_creation:
                gateway._failure = ("Resource.AlreadyAssociated", text)
                return
            raise EC2ClientError("Resource.AlreadyAssociated", text)
        found.append(address)
    if gateway.state != "available" and not at_creation:
        raise EC2ClientError("NatGatewayNotFound", f"NAT gateway {gateway.id} was not found")
    if len(gateway.address_set) + len(found) > STANDIN.settings.nat_address_quota:
        raise EC2ClientError(
            "NatGatewayLimitExceeded",
            f"Performing this operation would exceed the limit of {STANDIN.settings.nat_address_quota} Elastic IP addresses per "
            "public NAT gateway",
        )
    for address in found:
        address.eni, address.association_id = gateway._eni, random_eip_association_id()
        gateway.address_set.append({
            "allocationId": address.allocation_id,
            "publicIp": address.public_ip,
            "associationId": address.association_id,
            "networkInterfaceId": gateway._eni.id,
            "privateIp": random_private_ip(),
            "isPrimary": False,
            "status": "succeeded",
        })


def disassociate(ec2, gateway, allocation_ids):
    """Takes addresses from a NAT gateway. The first one is its own for life."""
    first, *more = gateway.address_set
    for allocation_id in allocation_ids:
        if allocation_id == first.get("allocationId"):
            raise EC2ClientError("InvalidParameter", f"{allocation_id} is the primary address of {gateway.id}")
        if allocation_id not in [it["allocationId"] for it in more]:
            raise EC2ClientError("InvalidParameter", f"{allocation_id} is not associated with {gateway.id}")
    for address in [it for it in ec2.addresses if it.allocation_id in allocation_ids]:
        address.eni = address.association_id = None
    gateway.address_set[1:] = [it for it in more if it["allocationId"] not in allocation_ids]


def _existing(response):
    wanted = response._get_param("NatGatewayId")
    gateway = response.ec2_backend.nat_gateways.get(wanted)
    if gateway is None:
        raise EC2ClientError("NatGatewayNotFound", f"NAT gateway {wanted} was not found")
    return gateway


def _associate_nat_gateway_address(response):
    gateway = _existing(response)
    associate(response.ec2_backend, gateway, response._get_param("AllocationIds", []))
    return ActionResult({"NatGatewayId": gateway.id, "NatGatewayAddresses": gateway.address_set[1:]})


def _disassociate_nat_gateway_address(response):
    gateway, wanted = _existing(response), response._get_param("AssociationIds", [])
    gone = [it for it in gateway.address_set if it.get("associationId") in wanted]
    disassociate(response.ec2_backend, gateway, [it["allocationId"] for it in gone])
    return ActionResult({"NatGatewayId": gateway.id, "NatGatewayAddresses": gone})


def _delete_nat_gateway(ec2, nat_gateway_id):
    gateway = ec2.nat_gateways.get(nat_gateway_id)
    if gateway is None or gateway.state == "deleted":
        raise EC2ClientError("NatGatewayNotFound", f"The Nat Gateway {nat_gateway_id} was not found")
    if gateway._deleted_at is None:
        gateway._deleted_at = STANDIN.clock.now()
    settle(ec2)
    return gateway


def settle(ec2):
    """What happens by itself with time: a deleted gateway lets go of its address, later it is forgotten."""
    now, visible = STANDIN.clock.now(), STANDIN.settings.deleted_nat_visible_ms / 1000
    for gateway in list(ec2.nat_gateways.values()):
        if gateway.state not in ("deleted", "failed"):
            continue
        for address in [it for it in ec2.addresses if it.eni is not None and it.eni is gateway._eni]:
            address.eni = address.association_id = None
        ec2.enis.pop(gateway._eni.id, None)
        if gateway._deleted_at is not None and now > gateway._deleted_at + visible:
            del ec2.nat_gateways[gateway.id]
            ec2.tags.pop(gateway.id, None)


def _describe_nat_gateways(ec2, filters, nat_gateway_ids):
    shown = list(ec2.nat_gateways.values())
    if nat_gateway_ids:
        for wanted in nat_gateway_ids:
            if wanted not in ec2.nat_gateways:
                raise EC2ClientError("NatGatewayNotFound", f"NAT gateway {wanted} was not found")
        shown = [gateway for gateway in shown if gateway.id in nat_gateway_ids]
    values = {
        "nat-gateway-id": lambda g: [g.id],
        "vpc-id": lambda g: [g.vpc_id],
        "subnet-id": lambda g: [g.subnet_id],
        "state": lambda g: [g.state],
        "tag-key": lambda g: list(ec2.tags.get(g.id, {})),
    }
    for name, wanted in (filters or {}).items():
        if name.startswith("tag:"):
            read = lambda g, key=name[4:]: [ec2.tags.get(g.id, {}).get(key)]  # noqa: E731
        elif name in values:
            read = values[name]
        else:
            raise EC2ClientError("InvalidParameterValue", f"The filter '{name}' is invalid")
        shown = [g for g in shown if any(fnmatch.fnmatchcase(v, p) for v in read(g) if v is not None for p in wanted)]
    return shown
