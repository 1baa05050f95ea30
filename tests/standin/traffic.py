"""Which networks each worker table sends to a NAT gateway of its own zone: the longest prefix wins, and of two equal ones the static route.

Propagated routes, which come last of equal ones, are left out.
"""

import functools
import ipaddress

from . import prefixlists


@functools.cache
def _parsed(cidr):
    network = ipaddress.IPv4Network(cidr)
    return int(network.network_address), network.prefixlen


def _wider(network):
    """The network, then all that contain it, from the longest prefix to the shortest."""
    address, length = network
    for shorter in range(length, -1, -1):
        yield address >> (32 - shorter) << (32 - shorter), shorter


class Table:
    """The routes of a table, by the networks to which they lead."""

    def __init__(self, table, entries, zone_of):
        self.fixed, self.listed, self.networks = {}, {}, set()
        zone = table.ec2_backend.tags.get(table.id, {}).get("AvailabilityZone")
        for route in table.routes:
            serves = bool(route.nat_gateway_id) and route.state == "active" and zone in (None, zone_of(route.nat_gateway_id))
            if route.destination_cidr_block:
                self._take(self.fixed, route.destination_cidr_block, serves)
            elif route.destination_prefix_list is not None:
                for cidr in entries(route.destination_prefix_list_id):
                    self._take(self.listed, cidr, serves)

    def _take(self, routes, cidr, serves):
        if ":" in cidr:
            return
        network = _parsed(cidr)
        # Which of two lists with the same entry wins is not defined, so both have to serve.
        routes[network] = routes.get(network, True) and serves
        if serves:
            self.networks.add(cidr)

    def serves(self, cidr):
        for network in _wider(_parsed(cidr)):
            for routes in (self.fixed, self.listed):
                if network in routes:
                    return routes[network]
        return False


def tables(ec2_backends):
    """By id, what each table serves at this moment."""
    found = {}
    for ec2 in ec2_backends:
        entries = functools.cache(lambda list_id, ec2=ec2: tuple(prefixlists.entries(ec2.managed_prefix_lists[list_id])))
        zone_of = functools.cache(functools.partial(_zone, ec2))
        found |= {table.id: Table(table, entries, zone_of) for table in ec2.route_tables.values()}
    return found


def _zone(ec2, gateway_id):
    subnet_id = ec2.nat_gateways[gateway_id].subnet_id
    return next((zone[subnet_id].availability_zone for zone in ec2.subnets.values() if subnet_id in zone), None)
