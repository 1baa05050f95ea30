"""Changes behind everyone's back that EC2's own calls do not allow, yet that AWS itself can bring about."""

from . import prefixlists, world
from .ec2nat import gateway_of, given_away
from .hub import STANDIN


def tamper(request):
    action = ACTIONS.get(request.get("action"))
    if action is None:
        raise ValueError(f"action must be one of {', '.join(sorted(ACTIONS))}")
    action(world.region_of(request).ec2, request)
    return world.state(request)


def _address(ec2, request):
    key = request.get("allocation_id") or request["public_ip"]
    return next(a for a in _existing(ec2.addresses, key, lambda a: key in (a.allocation_id, a.public_ip)))


def _existing(items, key, test):
    found = [item for item in items if test(item)]
    if not found:
        raise ValueError(f"there is no {key}")
    return found


def _release_address(ec2, request):
    """Takes an address away although a NAT gateway uses it: the gateway shows it no longer, as one whose address AWS took back."""
    _detach_address(ec2, request)
    address = _address(ec2, request)
    ec2.addresses.remove(address)
    ec2.tags.pop(address.allocation_id, None)


def _give_address_away(ec2, request):
    """Another account gets an address that was released here."""
    if any(address.public_ip == request["public_ip"] for address in ec2.addresses):
        raise ValueError(f"{request['public_ip']} is not released")
    given_away(ec2).add(request["public_ip"])


def _detach_address(ec2, request):
    address = _address(ec2, request)
    gateway = gateway_of(ec2, address)
    address.eni = address.association_id = None
    if gateway is None:
        return
    first, *more = gateway.address_set
    gateway.address_set[1:] = [it for it in more if it["publicIp"] != address.public_ip]
    if first.get("publicIp") == address.public_ip:
        for key in ("allocationId", "publicIp", "associationId"):
            first.pop(key, None)


def _fail_nat_gateway(ec2, request):
    key = request["nat_gateway_id"]
    gateway = _existing(ec2.nat_gateways.values(), key, lambda g: g.id == key)[0]
    gateway._failure = (
        request.get("code", "InternalError"),
        request.get("message", "Network interface of the NAT gateway could not be reached"),
    )
    gateway._ready_at = 0
    STANDIN.settle(ec2)


def _fail_prefix_list(ec2, request):
    """The last change of a list has failed."""
    message = request.get("message", "The following resources do not support the new maximum size: rtb-0")
    prefixlists.fail(ec2, request["prefix_list_id"], message)


def _delete_prefix_list(ec2, request):
    """A list goes, and first all routes to it, as EC2 asks of whoever deletes one."""
    found = prefixlists.find(ec2, request["prefix_list_id"])
    for route in prefixlists.routes_to(ec2, found):
        del route.route_table._routes[route.id]
    prefixlists.forget(ec2, found)


ACTIONS = {
    "release_address": _release_address,
    "give_address_away": _give_address_away,
    "detach_address": _detach_address,
    "fail_nat_gateway": _fail_nat_gateway,
    "fail_prefix_list": _fail_prefix_list,
    "delete_prefix_list": _delete_prefix_list,
}
