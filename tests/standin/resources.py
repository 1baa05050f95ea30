"""The seven EC2 resource types, carried out on moto's EC2 backend."""

from moto.core.exceptions import ServiceException
from moto.ec2.exceptions import EC2ClientError
from moto.moto_api._internal import mock_random

from . import prefixlists
from .ec2nat import associate, disassociate, group_of
from .errors import ResourceFailure

HANDLER_CODES = (
    ("NotFound", "NotFound"),
    ("AlreadyExists", "AlreadyExists"),
    ("AlreadyAssociated", "AlreadyExists"),
    ("LimitExceeded", "ServiceLimitExceeded"),
    ("InUse", "ResourceConflict"),
    ("DependencyViolation", "ResourceConflict"),
    ("Invalid", "InvalidRequest"),
    ("Missing", "InvalidRequest"),
)


def handler_failure(error):
    """An EC2 error as a resource handler reports it in an event."""
    kind = next((name for part, name in HANDLER_CODES if part in error.code), "GeneralServiceException")
    request, token = mock_random.uuid4(), mock_random.uuid4()
    return ResourceFailure(
        f'Resource handler returned message: "{error.message} (Service: Ec2, Status Code: 400, '
        f'Error Code: {error.code}, Request ID: {request})" (RequestToken: {token}, HandlerErrorCode: {kind})'
    )


class Kind:
    name = ""
    required = ()
    properties = ()
    create_only = ()
    attributes = ()
    # Properties that are lists whose order says nothing.
    lists = ()
    taggable = True
    # Some types cannot exist twice at the same place, so their old one goes before the new one comes.
    delete_first = False

    def check(self, properties):
        """What is wrong with the properties themselves, before anything is provisioned."""
        wrong = [f"#: required key [{key}] not found" for key in self.required if key not in properties]
        wrong += [f"#: extraneous key [{key}] is not permitted" for key in properties if key not in self.properties]
        wrong += [
            f"#/{key}: expected type: String, found: {type(value).__name__}"
            for key, value in properties.items()
            if key not in ("Tags", "MapPublicIpOnLaunch", *self.lists) and isinstance(value, (list, dict))
        ]
        return wrong

    def create(self, ec2, properties):
        raise NotImplementedError

    def update(self, ec2, physical_id, old, new):
        """In place; most types have nothing but tags that can change so. Returns whether EC2 takes its time for it."""

    def delete(self, ec2, physical_id):
        raise NotImplementedError

    def read(self, ec2, physical_id):
        """The properties as they are in EC2, without tags, or None when there is nothing any more."""
        raise NotImplementedError

    def tag_id(self, ec2, physical_id):
        return physical_id

    def values(self, ec2, physical_id):
        return {}

    def settled(self, ec2, physical_id):
        """Whether EC2 has done what it takes its time for."""
        return True

    def gone(self, ec2, physical_id):
        return True


class Eip(Kind):
    name = "AWS::EC2::EIP"
    properties = ("Domain", "NetworkBorderGroup", "Address", "Tags")
    create_only = ("Domain", "NetworkBorderGroup", "Address")
    attributes = ("AllocationId", "PublicIp")

    def find(self, ec2, physical_id):
        return next((a for a in ec2.addresses if a.public_ip == physical_id), None)

    def create(self, ec2, properties):
        made = ec2.allocate_address(domain=properties.get("Domain", "vpc"), address=properties.get("Address"))
        made._border_group = properties.get("NetworkBorderGroup")
        return made.public_ip

    def delete(self, ec2, physical_id):
        address = self.find(ec2, physical_id)
        if address:
            ec2.release_address(allocation_id=address.allocation_id)

    def read(self, ec2, physical_id):
        address = self.find(ec2, physical_id)
        if address is None:
            return None
        return {"Domain": address.domain, "NetworkBorderGroup": group_of(ec2, address), "Address": address.public_ip}

    def tag_id(self, ec2, physical_id):
        address = self.find(ec2, physical_id)
        return address and address.allocation_id

    def values(self, ec2, physical_id):
        address = self.find(ec2, physical_id)
        return {"AllocationId": address.allocation_id, "PublicIp": address.public_ip}


class Subnet(Kind):
    name = "AWS::EC2::Subnet"
    required = ("VpcId",)
    properties = ("VpcId", "CidrBlock", "AvailabilityZone", "MapPublicIpOnLaunch", "Tags")
    create_only = ("VpcId", "CidrBlock", "AvailabilityZone")
    attributes = ("SubnetId", "AvailabilityZone", "VpcId", "CidrBlock")

    def find(self, ec2, physical_id):
        return next((s[physical_id] for s in ec2.subnets.values() if physical_id in s), None)

    def create(self, ec2, properties):
        zone = properties.get("AvailabilityZone") or ec2.describe_availability_zones()[0].name
        subnet = ec2.create_subnet(properties["VpcId"], properties.get("CidrBlock"), availability_zone=zone)
        subnet.map_public_ip_on_launch = _flag(properties)
        return subnet.id

    def update(self, ec2, physical_id, old, new):
        ec2.get_subnet(physical_id).map_public_ip_on_launch = _flag(new)

    def delete(self, ec2, physical_id):
        if self.find(ec2, physical_id):
            ec2.delete_subnet(physical_id)

    def read(self, ec2, physical_id):
        subnet = self.find(ec2, physical_id)
        return subnet and {
            "VpcId": subnet.vpc_id,
            "CidrBlock": subnet.cidr_block,
            "AvailabilityZone": subnet.availability_zone,
            "MapPublicIpOnLaunch": subnet.map_public_ip_on_launch,
        }

    def values(self, ec2, physical_id):
        actual = self.read(ec2, physical_id)
        return {"SubnetId": physical_id, **{key: actual[key] for key in self.attributes[1:]}}


def _flag(properties):
    return str(properties.get("MapPublicIpOnLaunch", False)).lower() == "true"


class NatGateway(Kind):
    name = "AWS::EC2::NatGateway"
    required = ("SubnetId",)
    properties = ("SubnetId", "AllocationId", "ConnectivityType", "SecondaryAllocationIds", "Tags")
    create_only = ("SubnetId", "AllocationId", "ConnectivityType")
    attributes = ("NatGatewayId",)
    lists = ("SecondaryAllocationIds",)

    def find(self, ec2, physical_id):
        gateway = ec2.nat_gateways.get(physical_id)
        return None if gateway is None or gateway.state in ("deleting", "deleted", "failed") else gateway

    def create(self, ec2, properties):
        kind = properties.get("ConnectivityType", "public")
        made = ec2.create_nat_gateway(properties["SubnetId"], properties.get("AllocationId"), None, kind)
        if properties.get("SecondaryAllocationIds"):
            associate(ec2, made, properties["SecondaryAllocationIds"], at_creation=True)
        return made.id

    def update(self, ec2, physical_id, old, new):
        gateway = ec2.nat_gateways[physical_id]
        before, wanted = (it.get("SecondaryAllocationIds", []) for it in (old, new))
        # EC2 is asked to end associations, so one that somebody else has ended is left out.
        has = [it["allocationId"] for it in gateway.address_set[1:]]
        disassociate(ec2, gateway, [it for it in before if it not in wanted and it in has])
        associate(ec2, gateway, [it for it in wanted if it not in before])

    def settled(self, ec2, physical_id):
        gateway = ec2.nat_gateways.get(physical_id)
        if gateway is None or gateway.state == "failed":
            raise ResourceFailure(
                f'Resource handler returned message: "NAT gateway {physical_id} is in state failed and hence failed to '
                f'stabilize. Detailed failure message: {getattr(gateway, "failure_message", "it is gone")}" '
                f"(RequestToken: {mock_random.uuid4()}, HandlerErrorCode: NotStabilized)"
            )
        return gateway.state == "available"

    def delete(self, ec2, physical_id):
        gateway = ec2.nat_gateways.get(physical_id)
        if gateway and gateway.state not in ("deleting", "deleted"):
            ec2.delete_nat_gateway(physical_id)

    def gone(self, ec2, physical_id):
        gateway = ec2.nat_gateways.get(physical_id)
        return gateway is None or gateway.state == "deleted"

    def read(self, ec2, physical_id):
        gateway = self.find(ec2, physical_id)
        return gateway and {
            "SubnetId": gateway.subnet_id,
            "AllocationId": gateway.address_set[0].get("allocationId"),
            "ConnectivityType": gateway.connectivity_type,
            "SecondaryAllocationIds": [it["allocationId"] for it in gateway.address_set[1:]],
        }

    def values(self, ec2, physical_id):
        return {"NatGatewayId": physical_id}


class RouteTable(Kind):
    name = "AWS::EC2::RouteTable"
    required = ("VpcId",)
    properties = ("VpcId", "Tags")
    create_only = ("VpcId",)
    attributes = ("RouteTableId",)

    def create(self, ec2, properties):
        return ec2.create_route_table(properties["VpcId"]).id

    def delete(self, ec2, physical_id):
        if physical_id in ec2.route_tables:
            ec2.delete_route_table(physical_id)

    def read(self, ec2, physical_id):
        table = ec2.route_tables.get(physical_id)
        return table and {"VpcId": table.vpc_id}

    def values(self, ec2, physical_id):
        return {"RouteTableId": physical_id}


class Association(Kind):
    name = "AWS::EC2::SubnetRouteTableAssociation"
    required = ("RouteTableId", "SubnetId")
    properties = required
    create_only = required
    attributes = ("Id",)
    taggable = False
    delete_first = True

    def find(self, ec2, physical_id):
        return next((t for t in ec2.route_tables.values() if physical_id in t._associations), None)

    def create(self, ec2, properties):
        return ec2.associate_route_table(properties["RouteTableId"], subnet_id=properties["SubnetId"])

    def delete(self, ec2, physical_id):
        if self.find(ec2, physical_id):
            ec2.disassociate_route_table(physical_id)

    def read(self, ec2, physical_id):
        table = self.find(ec2, physical_id)
        return table and {"RouteTableId": table.id, "SubnetId": table._associations[physical_id]}

    def values(self, ec2, physical_id):
        return {"Id": physical_id}


class Route(Kind):
    name = "AWS::EC2::Route"
    required = ("RouteTableId",)
    targets = {
        "NatGatewayId": "nat_gateway_id",
        "GatewayId": "gateway_id",
        "InstanceId": "instance_id",
        "NetworkInterfaceId": "interface_id",
        "TransitGatewayId": "transit_gateway_id",
        "VpcPeeringConnectionId": "vpc_peering_connection_id",
    }
    destinations = ("DestinationCidrBlock", "DestinationPrefixListId")
    properties = ("RouteTableId", *destinations, *targets)
    create_only = ("RouteTableId", *destinations)
    attributes = ("CidrBlock",)
    taggable = False

    def arguments(self, properties):
        return {name: properties[key] for key, name in self.targets.items() if properties.get(key)}

    def find(self, ec2, physical_id):
        table_id, destination = physical_id.split("|")
        table = ec2.route_tables.get(table_id)
        return table and next((r for r in table.routes if self.destination(r) == destination and not r.local), None)

    @staticmethod
    def destination(route):
        return route.destination_cidr_block or route.destination_prefix_list_id

    @staticmethod
    def place(physical_id):
        """Table, CIDR, IPv6 CIDR and prefix list, as EC2's calls take them."""
        table_id, destination = physical_id.split("|")
        is_list = destination.startswith("pl-")
        return table_id, None if is_list else destination, None, destination if is_list else None

    def create(self, ec2, properties):
        cidr, prefix_list = (properties.get(key) for key in self.destinations)
        route = ec2.create_route(properties["RouteTableId"], cidr, None, prefix_list, **self.arguments(properties))
        return f"{properties['RouteTableId']}|{self.destination(route)}"

    def update(self, ec2, physical_id, old, new):
        ec2.replace_route(*self.place(physical_id), **self.arguments(new))

    def delete(self, ec2, physical_id):
        if self.find(ec2, physical_id):
            ec2.delete_route(*self.place(physical_id))

    def read(self, ec2, physical_id):
        route = self.find(ec2, physical_id)
        if not route:
            return None
        actual = {
            "RouteTableId": route.route_table.id,
            "DestinationCidrBlock": route.destination_cidr_block,
            "DestinationPrefixListId": route.destination_prefix_list_id,
            "NatGatewayId": route.nat_gateway_id,
            "GatewayId": route.gateway_id,
            "InstanceId": route.instance_id,
            "NetworkInterfaceId": route.network_interface_id,
            "TransitGatewayId": route.transit_gateway_id,
            "VpcPeeringConnectionId": route.vpc_peering_connection_id,
        }
        return {key: value for key, value in actual.items() if value}

    def values(self, ec2, physical_id):
        return {"CidrBlock": physical_id.split("|")[1]}


class PrefixList(Kind):
    """The resource schema has nothing that is create-only: the handler asks EC2 for each change, and EC2 refuses what cannot be."""

    name = "AWS::EC2::PrefixList"
    required = ("PrefixListName", "MaxEntries", "AddressFamily")
    properties = (*required, "Entries", "Tags")
    attributes = ("PrefixListId", "Arn", "Version", "OwnerId")
    lists = ("Entries",)

    def create(self, ec2, properties):
        made = ec2.create_managed_prefix_list(
            address_family=properties["AddressFamily"],
            entry=properties.get("Entries", []),
            max_entries=properties["MaxEntries"],
            prefix_list_name=properties["PrefixListName"],
        )
        return made.id

    def update(self, ec2, physical_id, old, new):
        """One call for all that differs from what EC2 has, entries and size alike, which EC2 then refuses."""
        has = self.read(ec2, physical_id)
        if has["AddressFamily"] != new["AddressFamily"]:
            raise EC2ClientError("InvalidParameterValue", "The address family of a prefix list cannot be changed.")
        listed = {entry["Cidr"]: entry for entry in has["Entries"]}
        wanted = {prefixlists.canonical(entry["Cidr"]): entry for entry in new.get("Entries", [])}
        change = {
            "add": [entry for cidr, entry in wanted.items() if listed.get(cidr) != {**entry, "Cidr": cidr}],
            "remove": [cidr for cidr in listed if cidr not in wanted],
            "max_entries": new["MaxEntries"] if int(new["MaxEntries"]) != has["MaxEntries"] else None,
            "name": new["PrefixListName"] if new["PrefixListName"] != has["PrefixListName"] else None,
        }
        if not any(change.values()):
            return False
        prefixlists.modify(ec2, physical_id, **change)
        return True

    def settled(self, ec2, physical_id):
        found = ec2.managed_prefix_lists.get(physical_id)
        if found is None or found.state.endswith("-failed"):
            state, why = ("gone", "") if found is None else (found.state, found.state_message)
            raise ResourceFailure(
                f'Resource handler returned message: "Prefix list {physical_id} is in state {state}: {why}" '
                f"(RequestToken: {mock_random.uuid4()}, HandlerErrorCode: NotStabilized)"
            )
        return found.state.endswith("-complete")

    def delete(self, ec2, physical_id):
        if physical_id in ec2.managed_prefix_lists:
            ec2.delete_managed_prefix_list(physical_id)

    def gone(self, ec2, physical_id):
        return physical_id not in ec2.managed_prefix_lists

    def read(self, ec2, physical_id):
        found = ec2.managed_prefix_lists.get(physical_id)
        return found and {
            "PrefixListName": found.prefix_list_name,
            "MaxEntries": int(found.max_entries),
            "AddressFamily": found.address_family,
            "Entries": prefixlists.shown_entries(found),
        }

    def values(self, ec2, physical_id):
        found = ec2.managed_prefix_lists[physical_id]
        return {"PrefixListId": found.id, "Arn": found.prefix_list_arn, "Version": found.version, "OwnerId": found.owner_id}


KINDS = (Eip(), Subnet(), NatGateway(), RouteTable(), Association(), Route(), PrefixList())
TYPES = {kind.name: kind for kind in KINDS}


def guarded(action, *arguments):
    """Runs a handler's action; what EC2 refuses becomes the resource's failure."""
    try:
        return action(*arguments)
    except (EC2ClientError, ServiceException) as error:
        raise handler_failure(error) from None


def set_tags(ec2, kind, physical_id, tags):
    """Makes the tags equal to `tags`; those that others have put there under other keys stay."""
    resource_id = kind.tag_id(ec2, physical_id) if kind.taggable else None
    if resource_id:
        ec2.create_tags([resource_id], tags)


def drop_tags(ec2, kind, physical_id, keys):
    resource_id = kind.tag_id(ec2, physical_id) if kind.taggable else None
    if resource_id and keys:
        ec2.delete_tag_keys([resource_id], list(keys))


def actual_tags(ec2, kind, physical_id):
    resource_id = kind.tag_id(ec2, physical_id) if kind.taggable else None
    return dict(ec2.tags.get(resource_id, {})) if resource_id else {}
