"""Pages for EC2's describe calls, which moto answers in one piece."""

import base64

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.responses import EC2Response

from .hub import STANDIN

# The call's method, its list, and the smallest and largest MaxResults it accepts.
PAGED = {
    "describe_route_tables": ("RouteTables", 5, 100),
    "describe_nat_gateways": ("NatGateways", 5, 1000),
    "describe_subnets": ("Subnets", 5, 1000),
    "describe_vpcs": ("Vpcs", 5, 1000),
    "describe_internet_gateways": ("InternetGateways", 5, 1000),
    "describe_managed_prefix_lists": ("PrefixLists", 1, 100),
    "get_managed_prefix_list_entries": ("Entries", 1, 100),
}


def install():
    for name, (key, least, most) in PAGED.items():
        setattr(EC2Response, name, _paged(getattr(EC2Response, name), key, least, most))


def _paged(original, key, least, most):
    def method(self):
        items = list(original(self).result[key])
        asked = self._get_param("MaxResults")
        if asked is not None and not least <= int(asked) <= most:
            raise EC2ClientError(
                "InvalidParameterValue",
                f"Value ( {asked} ) for parameter maxResults is invalid. Expecting a value between {least} and {most}.",
            )
        start = _start(self._get_param("NextToken"))
        length = int(asked) if asked is not None else STANDIN.settings.ec2_page_size or len(items)
        end = start + min(length, _filled(items[start:], key))
        answer = {key: items[start:end]}
        if end < len(items):
            answer["NextToken"] = base64.urlsafe_b64encode(f"page:{end}".encode()).decode()
        return ActionResult(answer)

    method.__name__ = original.__name__
    return method


def _start(token):
    if not token:
        return 0
    try:
        return int(base64.urlsafe_b64decode(token.encode()).decode().removeprefix("page:"))
    except ValueError:
        raise EC2ClientError("InvalidNextToken", "The token is invalid.") from None


def _filled(items, key):
    """How many items fit by weight: a page of route tables ends after so many routes."""
    if key != "RouteTables":
        return len(items)
    total = 0
    for number, table in enumerate(items):
        total += len(table.routes)
        if total > STANDIN.settings.routes_per_page and number:
            return number
    return len(items)
