"""What CloudFormation's handlers need in EC2, checked with the rights that an operation has: its role's, or its caller's."""

from moto.moto_api._internal import mock_random

from . import iam
from .errors import ResourceFailure, ValidationError

VIA = {"aws:CalledVia": ["cloudformation.amazonaws.com"]}
# An address is associated at its creation only for an instance, which the resource types here never name.
NOT_CALLED = {("create", "ec2:AssociateAddress")}


class Actor:
    """On whose behalf an operation acts; `statements` is None where all is allowed."""

    def __init__(self, statements, context, who):
        self.statements, self.context, self.who = statements, context, who

    def may(self, action, resource, tags):
        tagged = {f"aws:ResourceTag/{key}": [value] for key, value in tags.items()}
        tagged |= {f"ec2:ResourceTag/{key}": [value] for key, value in tags.items()}
        return self.statements is None or iam.allowed(self.statements, action, resource, {**self.context, **tagged})


def actor(standin, role_arn):
    if role_arn:
        return Actor(iam.of_role(standin.settings, role_arn), {}, f"{role_arn.rpartition('/')[2]}/AWSCloudFormation")
    return Actor(iam.of_key(standin.settings, standin.caller), VIA, "controller/AWSCloudFormation")


def check_role(standin, role_arn, stack_arn):
    """Refuses an operation whose role CloudFormation may not take."""
    if role_arn and not iam.trusts(standin.settings, role_arn, stack_arn):
        raise ValidationError(f"Role {role_arn} is invalid or cannot be assumed")


def check(stack, kind, handler, physical_id=None, properties=None, actor=None):
    """Raises ResourceFailure when a right is missing that this handler of the resource type may use."""
    acting = actor or stack.actor
    gone = handler == "delete" and kind.read(stack.region.ec2, physical_id) is None
    if acting is None or acting.statements is None or gone:
        return
    for named in iam.KNOWN["types"][kind.name].get(handler, ()):
        # Some schemas write the service in capitals, which IAM never shows.
        action = "ec2:" + named.partition(":")[2]
        if action in iam.KNOWN["not_granted"] or (handler, action) in NOT_CALLED:
            continue
        for resource, tags in _resources(stack, kind, action, physical_id, properties or {}):
            if not acting.may(action, resource, tags):
                raise _failure(iam.refusal(action, resource, acting.who))


def _failure(text):
    request, token = mock_random.uuid4(), mock_random.uuid4()
    return ResourceFailure(
        f'Resource handler returned message: "You are not authorized to perform this operation. {text} '
        f'(Service: Ec2, Status Code: 403, Request ID: {request})" (RequestToken: {token}, HandlerErrorCode: AccessDenied)'
    )


KINDS = {
    "eipalloc": "elastic-ip", "nat": "natgateway", "pl": "prefix-list", "rtb": "route-table", "subnet": "subnet", "vpc": "vpc",
}
MADE = {
    "EIP": "elastic-ip", "NatGateway": "natgateway", "PrefixList": "prefix-list", "RouteTable": "route-table", "Subnet": "subnet",
}


def _resources(stack, kind, action, physical_id, properties):
    """The resources that IAM asks about, with their tags. What is about to be made has none."""
    verb = action.partition(":")[2]
    if verb.startswith("Describe"):
        return [("*", {})]
    ec2, region = stack.region.ec2, stack.region
    place = f"arn:{iam.partition(region.name)}:ec2:{region.name}:{region.account}:"

    def known(resource_id):
        found = KINDS[resource_id.partition("-")[0]]
        return f"{place}{found}/{resource_id}", dict(ec2.tags.get(resource_id, {}))

    own = kind.tag_id(ec2, physical_id) if physical_id and kind.taggable else None
    made = [known(own)] if own else [(f"{place}{MADE[kind.name.rpartition(':')[2]]}/*", {})] if kind.taggable else []
    given = [str(properties[key]) for key in ("VpcId", "SubnetId", "RouteTableId", "AllocationId") if properties.get(key)]
    if verb in ("CreateSubnet", "CreateRouteTable", "CreateNatGateway"):
        return made + [known(resource_id) for resource_id in given]
    if not kind.taggable:
        return [known(resource_id) for resource_id in given]
    return made
