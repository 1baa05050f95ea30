"""What EC2 refuses and shows about routes, route tables, subnets and gateways, where moto does not."""

import ipaddress

from moto.ec2.exceptions import (
    DependencyViolationError,
    EC2ClientError,
    InvalidCIDRBlockParameterError,
    InvalidDestinationCIDRBlockParameterError,
)
from moto.ec2.models.availability_zones_and_regions import Zone
from moto.ec2.models.core import TaggedEC2Resource
from moto.ec2.models.internet_gateways import InternetGatewayBackend
from moto.ec2.models.route_tables import Route, RouteBackend
from moto.ec2.models.subnets import SubnetBackend

from . import prefixlists
from .ec2nat import GONE, _wrap
from .hub import STANDIN

RESERVED = ipaddress.ip_network("169.254.168.0/22")
# moto knows none.
LOCAL_ZONES = ("eu-central-1-ham-1a", "us-west-2-lax-1a")
TARGETS = (
    "gateway_id", "instance_id", "nat_gateway_id", "egress_only_igw_id", "transit_gateway_id",
    "interface_id", "vpc_peering_connection_id", "carrier_gateway_id", "vpc_endpoint_id",
)


def install():
    _wrap(RouteBackend, "create_route", _create_route)
    _wrap(RouteBackend, "replace_route", _replace_route)
    _wrap(RouteBackend, "delete_route", _delete_route)
    _wrap(RouteBackend, "delete_route_table", _delete_route_table)
    _wrap(RouteBackend, "associate_route_table", _associate_route_table)
    _wrap(SubnetBackend, "create_subnet", _create_subnet)
    _wrap(SubnetBackend, "delete_subnet", _delete_subnet)
    _wrap(InternetGatewayBackend, "detach_internet_gateway", _detach_internet_gateway)
    Route.state = property(_route_state)
    # moto matches every tag of the account against a pattern, for each resource it shows.
    TaggedEC2Resource.get_tags = _get_tags


def _get_tags(resource):
    found = resource.ec2_backend.tags.get(resource.id, {}) if resource.id else {}
    return [{"key": key, "value": value, "resource_id": resource.id} for key, value in found.items()]


def _invalid(message):
    return EC2ClientError("InvalidParameterValue", message)


def canonical(cidr):
    """The CIDR as EC2 stores it: host bits are dropped without a word."""
    try:
        return str(ipaddress.IPv4Network(str(cidr), strict=False))
    except ValueError:
        raise InvalidDestinationCIDRBlockParameterError(cidr) from None


def vpc_networks(ec2, vpc_id):
    blocks = ec2.get_vpc(vpc_id).get_cidr_block_association_set()
    return [ipaddress.ip_network(block["cidr_block"], strict=False) for block in blocks]


def _check_destination(ec2, table, cidr, targets):
    network = ipaddress.ip_network(cidr)
    if network.subnet_of(RESERVED):
        raise _invalid(f"The destination CIDR block {cidr} is reserved: it lies in {RESERVED}.")
    if any(network == other for other in vpc_networks(ec2, table.vpc_id)):
        raise _invalid(f"The destination CIDR block {cidr} is the same as one of this VPC's CIDR blocks.")
    if not any(network.subnet_of(other) for other in vpc_networks(ec2, table.vpc_id)):
        return
    # More specific than the VPC's own route: only for exactly one subnet, and only to some targets.
    subnets = [s for s in ec2.describe_subnets(filters={"vpc-id": [table.vpc_id]}) if s.cidr == network]
    if not subnets or not ({"nat_gateway_id", "interface_id", "instance_id", "vpc_endpoint_id"} & set(targets)):
        raise _invalid(
            f"The destination CIDR block {cidr} is equal to or more specific than one of this VPC's CIDR blocks. "
            "This route can target only an interface or an instance."
        )


def _check_targets(ec2, table, targets):
    if len(targets) != 1:
        names = "gatewayId, natGatewayId, networkInterfaceId, vpcPeeringConnectionId, instanceId, transitGatewayId"
        raise EC2ClientError("MissingParameter", f"The request must contain exactly one of: {names}")
    (kind, target), = targets.items()
    if kind == "nat_gateway_id":
        gateway = ec2.nat_gateways.get(target)
        if gateway is None or gateway.state in GONE:
            raise EC2ClientError("InvalidNatGatewayID.NotFound", f"The natGateway ID '{target}' does not exist")
        if gateway.vpc_id != table.vpc_id:
            raise _invalid(f"route table {table.id} and network gateway {target} belong to different networks")
    if kind == "gateway_id" and target.startswith("igw-"):
        gateway = ec2.get_internet_gateway(target)
        if gateway.vpc is None or gateway.vpc.id != table.vpc_id:
            raise _invalid(f"route table {table.id} and network gateway {target} belong to different networks")


def _create_route(original, ec2, route_table_id, destination_cidr_block=None, *others, **named):
    if named.get("local"):
        return original(ec2, route_table_id, destination_cidr_block, *others, **named)
    table = ec2.get_route_table(route_table_id)
    ipv6, prefix_list = (list(others) + [None, None])[:2]
    ipv6 = ipv6 or named.get("destination_ipv6_cidr_block")
    prefix_list = prefix_list or named.get("destination_prefix_list_id")
    targets = {name: named[name] for name in TARGETS if named.get(name)}
    if not (destination_cidr_block or ipv6 or prefix_list):
        raise EC2ClientError("MissingParameter", "The request must contain a destination")
    if destination_cidr_block:
        destination_cidr_block = canonical(destination_cidr_block)
        _check_destination(ec2, table, destination_cidr_block, targets)
    _check_targets(ec2, table, targets)
    known = any(r.destination_cidr_block == destination_cidr_block for r in table.routes if not r.local)
    listed = prefixlists.find(ec2, prefix_list) if prefix_list else None
    if listed is not None:
        _check_list(ec2, table, listed)
    is_ipv6 = bool(ipv6) or _is_ipv6(listed)
    if not (known and destination_cidr_block) and counted(table, is_ipv6) + _size(listed) > STANDIN.settings.route_quota:
        raise EC2ClientError("RouteLimitExceeded", "The maximum number of routes has been reached.")
    return original(ec2, route_table_id, destination_cidr_block, *others, **named)


def counted(table, is_ipv6):
    """What the table's routes take of one of its two quotas."""
    return sum(
        _size(route.destination_prefix_list)
        for route in table.routes
        if is_ipv6 == (bool(route.destination_ipv6_cidr_block) or _is_ipv6(route.destination_prefix_list))
    )


def _check_list(ec2, table, listed):
    if any(route.destination_prefix_list is listed for route in table.routes):
        raise EC2ClientError("RouteAlreadyExists", f"The route identified by {listed.id} already exists.")
    if listed.state.startswith("delete"):
        raise EC2ClientError("IncorrectState", f"The prefix list {listed.id} is in the state {listed.state}.")
    for cidr in prefixlists.entries(listed) if listed.address_family == "IPv4" else ():
        reason = list_entry_refused(ec2, table, cidr)
        if reason:
            raise _invalid(reason)


def list_entry_refused(ec2, table, cidr):
    """Why a table cannot have a route to a list with this entry; None where it can."""
    try:
        _check_destination(ec2, table, cidr, {})
    except EC2ClientError as error:
        return str(error.message)
    return None


def _size(prefix_list):
    """What a route takes of its table's quota: one to a prefix list as much as all entries that the list may have.

    No document of AWS says whether routes to `local` count. Here they do, and IPv4 and IPv6 have a quota each.
    """
    return int(prefix_list.max_entries or 1) if prefix_list else 1


def _is_ipv6(prefix_list):
    return prefix_list is not None and prefix_list.address_family == "IPv6"


def _replace_route(original, ec2, route_table_id, destination_cidr_block, *others, **named):
    # The positions after the CIDR, as moto's own request handler passes them.
    places = ("destination_ipv6_cidr_block", "destination_prefix_list_id", "nat_gateway_id",
              "egress_only_igw_id", "transit_gateway_id")
    given = {**dict(zip(places, others)), **named}
    table = ec2.get_route_table(route_table_id)
    if destination_cidr_block:
        destination_cidr_block = canonical(destination_cidr_block)
        if any(r.local and r.destination_cidr_block == destination_cidr_block for r in table.routes):
            raise _invalid(f"cannot replace local route {destination_cidr_block} in route table {route_table_id}")
    _check_targets(ec2, table, {name: given[name] for name in TARGETS if given.get(name)})
    return original(ec2, route_table_id, destination_cidr_block, **given)


def _delete_route(original, ec2, route_table_id, destination_cidr_block, *others, **named):
    table = ec2.get_route_table(route_table_id)
    if destination_cidr_block:
        destination_cidr_block = canonical(destination_cidr_block)
        if any(r.local and r.destination_cidr_block == destination_cidr_block for r in table.routes):
            raise _invalid(f"cannot remove local route {destination_cidr_block} in route table {route_table_id}")
    return original(ec2, route_table_id, destination_cidr_block, *others, **named)


def _delete_route_table(original, ec2, route_table_id):
    table = ec2.get_route_table(route_table_id)
    if table.main_association_id:
        raise DependencyViolationError(
            f"The routeTable '{route_table_id}' has dependencies and cannot be deleted."
        )
    original(ec2, route_table_id)
    ec2.tags.pop(route_table_id, None)


def _associate_route_table(original, ec2, route_table_id, gateway_id=None, subnet_id=None):
    table = ec2.get_route_table(route_table_id)
    if subnet_id:
        if ec2.get_subnet(subnet_id).vpc_id != table.vpc_id:
            raise _invalid(f"Route table {route_table_id} and subnet {subnet_id} belong to different networks")
        for other in ec2.route_tables.values():
            if other is not table and subnet_id in other._associations.values():
                raise EC2ClientError(
                    "Resource.AlreadyAssociated",
                    f"The specified association for route table {route_table_id} conflicts with an existing association",
                )
    return original(ec2, route_table_id, gateway_id, subnet_id)


def _create_subnet(original, ec2, vpc_id, cidr_block, *others, **named):
    if cidr_block:
        try:
            network = ipaddress.IPv4Network(str(cidr_block), strict=False)
        except ValueError:
            raise InvalidCIDRBlockParameterError(cidr_block) from None
        if not 16 <= network.prefixlen <= 28:
            raise EC2ClientError("InvalidSubnet.Range", f"The CIDR '{cidr_block}' is invalid.")
        cidr_block = str(network)
    zone = named.get("availability_zone") or (others[1] if len(others) > 1 else None)
    zones = [known.name for known in ec2.describe_availability_zones()]
    local = zone in LOCAL_ZONES and zone.startswith(f"{ec2.region_name}-")
    if local:
        others = [zones[0] if value == zone else value for value in others]
        named = {key: zones[0] if value == zone else value for key, value in named.items()}
    elif zone and zone not in zones:
        raise _invalid(
            f"Value ({zone}) for parameter availabilityZone is invalid. "
            f"Subnets can currently only be created in the following availability zones: {', '.join(zones)}."
        )
    subnet = original(ec2, vpc_id, cidr_block, *others, **named)
    if local:
        subnet._availability_zone = Zone(zone, ec2.region_name, f"{zone}-id", "local-zone")
    if not ec2.get_vpc(vpc_id).is_default:
        subnet.default_for_az = subnet.map_public_ip_on_launch = False
    return subnet


def _delete_subnet(original, ec2, subnet_id):
    ec2.get_subnet(subnet_id)
    in_use = any(eni.subnet.id == subnet_id for eni in ec2.enis.values())
    in_use = in_use or any(g.subnet_id == subnet_id and g.state not in GONE[1:] for g in ec2.nat_gateways.values())
    if in_use:
        raise DependencyViolationError(f"The subnet '{subnet_id}' has dependencies and cannot be deleted.")
    deleted = original(ec2, subnet_id)
    for table in ec2.route_tables.values():
        for association_id in [a for a, target in table._associations.items() if target == subnet_id]:
            del table._associations[association_id]
    ec2.tags.pop(subnet_id, None)
    return deleted


def _detach_internet_gateway(original, ec2, internet_gateway_id, vpc_id):
    mapped = any(
        a.eni is not None and ec2.get_subnet(a.eni.subnet.id).vpc_id == vpc_id for a in ec2.addresses
    )
    if mapped:
        raise DependencyViolationError(
            f"Network {vpc_id} has some mapped public address(es). Please unmap those public address(es) "
            "before detaching the gateway."
        )
    return original(ec2, internet_gateway_id, vpc_id)


def _route_state(route):
    ec2 = route.route_table.ec2_backend
    if route.nat_gateway is not None and route.nat_gateway.state in GONE:
        return "blackhole"
    if route.gateway is not None and route.gateway.id.startswith("igw-"):
        live = ec2.internet_gateways.get(route.gateway.id)
        if live is None or live.vpc is None or live.vpc.id != route.route_table.vpc_id:
            return "blackhole"
    if route.interface is not None and route.interface.id not in ec2.enis:
        return "blackhole"
    return "active"
