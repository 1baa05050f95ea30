"""Routes that a VPN gateway propagates: rows of their own in a table, beside static ones to the same destination."""

from moto.core.responses import ActionResult, EmptyResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.vpcs import VPCBackend
from moto.ec2.models.vpn_connections import VPNConnection
from moto.ec2.responses import EC2Response

from .ec2nat import _wrap
from .ec2rules import canonical

# A propagated route as DescribeRouteTables shows it.
ORIGIN = "EnableVgwRoutePropagation"


def install():
    EC2Response.enable_vgw_route_propagation = _enable
    EC2Response.disable_vgw_route_propagation = _disable
    EC2Response.create_vpn_connection_route = _create_route
    original = EC2Response.describe_route_tables
    EC2Response.describe_route_tables = lambda self: _with_propagated(self.ec2_backend, original(self))
    _wrap(VPCBackend, "delete_vpc", _delete_vpc)


def _enable(self):
    table, gateway = self.ec2_backend.get_route_table(self._get_param("RouteTableId")), self._get_param("GatewayId")
    known = self.ec2_backend.vpn_gateways.get(gateway)
    if known is None:
        raise EC2ClientError("InvalidGatewayID.NotFound", f"The gateway ID '{gateway}' does not exist")
    if not any(one.vpc_id == table.vpc_id and one.state == "attached" for one in known.attachments.values()):
        raise EC2ClientError("Gateway.NotAttached", f"{gateway} is not attached to {table.vpc_id}")
    table._propagating = {*_propagating(table), gateway}
    return EmptyResult()


def _disable(self):
    table = self.ec2_backend.get_route_table(self._get_param("RouteTableId"))
    table._propagating = _propagating(table) - {self._get_param("GatewayId")}
    return EmptyResult()


def _create_route(self):
    one = self._get_param("VpnConnectionId")
    connection = self.ec2_backend.describe_vpn_connections(vpn_connection_ids=[one])[0]
    connection._static_routes = {*_static_routes(connection), canonical(self._get_param("DestinationCidrBlock"))}
    return EmptyResult()


def _propagating(table):
    return getattr(table, "_propagating", set())


def _static_routes(connection: VPNConnection):
    return getattr(connection, "_static_routes", set())


class Propagated:
    """What moto's serializer reads of a route."""

    origin = ORIGIN
    state = "active"

    def __init__(self, cidr, gateway):
        self.destination_cidr_block, self.gateway_id = cidr, gateway


class Shown:
    """A table with the rows that are propagated into it, and otherwise as it is."""

    def __init__(self, table, routes):
        self._table, self._more = table, routes
        self.propagating_vgws = [{"GatewayId": gateway} for gateway in sorted(_propagating(table))]

    @property
    def routes(self):
        return [*self._table.routes, *self._more]

    def __getattr__(self, name):
        return getattr(self._table, name)


def _with_propagated(ec2, answer):
    tables = []
    for table in answer.result["RouteTables"]:
        gateways = _propagating(table)
        alive = [c for c in ec2.vpn_connections.values() if c.vpn_gateway_id in gateways and c.state == "available"]
        rows = [Propagated(cidr, c.vpn_gateway_id) for c in alive for cidr in sorted(_static_routes(c))]
        tables.append(Shown(table, rows) if gateways else table)
    return ActionResult({**answer.result, "RouteTables": tables})


def _delete_vpc(original, ec2, vpc_id):
    """The main table goes with its VPC; an attached internet gateway keeps both."""
    if any(gateway.vpc is not None and gateway.vpc.id == vpc_id for gateway in ec2.internet_gateways.values()):
        raise EC2ClientError("DependencyViolation", f"The vpc '{vpc_id}' has dependencies and cannot be deleted.")
    tables = [table for table in ec2.route_tables.values() if table.vpc_id == vpc_id]
    main = tables[0].main_association_id if len(tables) == 1 else None
    if main:
        tables[0].main_association_id = None
    try:
        return original(ec2, vpc_id)
    finally:
        if main and tables[0].id in ec2.route_tables:
            tables[0].main_association_id = main
