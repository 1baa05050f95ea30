"""The main job, step by step: what the controller promises, on whatever answers as AWS."""

from botocore.exceptions import ClientError


ONE, TWO, THREE, FOUR = "203.0.113.0/24", "198.51.100.0/25", "198.51.100.128/25", "192.0.2.77/32"


def one_role(walk):
    """Install and deletion with the policy for one role; the static IP outlives the stack (A1, A2, A13.4)."""
    controller, account = walk.controller, walk.account
    if walk.roles:
        walk.roles.give("controller", "iam-policy")
    controller.ask(ONE)
    controller.start(walk.network.zones[:1], on_empty="delete")
    ips = set(controller.routed().values())
    controller.ask()
    account.until("the stack is deleted", lambda: account.stack_status(account.stack) is None)
    _kept(walk, ips, "the stack of one role")
    walk.found("what the shipped policy for one role does not allow", _refused(walk))
    controller.stop()


def install(walk):
    """Install with a role for the controller and one for CloudFormation, in two zones."""
    more = {}
    if walk.roles:
        walk.roles.give("controller", "iam-policy-with-cfn-role")
        more = {"aws_cfn_role_arn": walk.roles.arn("cloudformation")}
    walk.controller.ask(ONE, TWO)
    walk.controller.start(walk.network.zones, on_empty="keep", **more)
    walk.ips = walk.controller.routed()
    walk.found("what the shipped policies for two roles do not allow", _refused(walk))


def _refused(walk):
    """Actions that the controller was refused, after the rights had had time to be known everywhere."""
    refused = ("AccessDenied", "UnauthorizedOperation", "AccessDeniedException")
    calls = walk.recorder.since(walk.mark, "controller")
    granted = {call.action for call in calls if call.error not in refused}
    failed = sorted({call.action for call in calls if call.error in refused} - granted)
    walk.account.expect(not failed, f"the shipped policies do not allow {failed}")
    reasons = [event.get("ResourceStatusReason", "") for event in walk.events(walk.account.stack)]
    return failed + [reason for reason in reasons if "not authorized" in reason]


def edits(walk):
    """Networks are added, changed and taken away, and the program is started again; static IPs stay."""
    for cidrs in ((ONE, TWO, THREE), (ONE, FOUR), (ONE,), (ONE, TWO)):
        walk.controller.ask(*cidrs)
        if {TWO, THREE} <= set(cidrs):
            # Neighbours become one route.
            walk.controller.cidrs = [ONE, "198.51.100.0/24"]
        walk.keeps_ips(walk.controller.routed())
    walk.controller.start(walk.controller.zones)
    walk.keeps_ips(walk.controller.routed())
    writes = walk.controller.rests()
    walk.account.expect(not writes, f"at rest the program made changes: {writes}")


def stack_tags(walk):
    """A tag of the stack is added, changed and taken away: does that move a static IP? (A5)"""
    account, seen = walk.account, []
    for value in ("one", "two", None):
        mark = walk.recorder.mark()
        walk.controller.start(walk.controller.zones, [] if value is None else [f"egress-test-tag={value}"])

        def done():
            # Each look is a chance to see an address that hangs on nothing.
            associations = {ip: address.get("AssociationId") for ip, address in walk.network.addresses().items()}
            seen.append(tuple(sorted(associations.items())))
            stack = account.cfn.describe_stacks(StackName=account.stack)["Stacks"][0]
            tags = {tag["Key"]: tag["Value"] for tag in stack["Tags"]}
            return tags.get("egress-test-tag") == value and stack["StackStatus"].endswith("_COMPLETE")

        account.until(f"the stack's tag is {value}", done)
        walk.keeps_ips(walk.controller.routed())
        walk.found(f"calls for the tag {value}", [call.action for call in walk.recorder.since(mark, "controller", mutating=True)])
    different = sorted(set(seen), key=seen.index)
    walk.found("associations of the static IPs during changes of tags stayed", len(different) == 1)


def drift(walk):
    """Somebody deletes a route, an association and a NAT gateway outside of CloudFormation (A7)."""
    network, account, ec2 = walk.network, walk.account, walk.account.ec2
    zone = network.zones[0]

    def route():
        ec2.delete_route(RouteTableId=network.tables[zone], DestinationCidrBlock=ONE)

    def association():
        subnet = network.exits()[zone]["SubnetId"]
        tables = ec2.describe_route_tables(Filters=[{"Name": "association.subnet-id", "Values": [subnet]}])["RouteTables"]
        for one in tables[0]["Associations"]:
            if one.get("SubnetId") == subnet:
                ec2.disassociate_route_table(AssociationId=one["RouteTableAssociationId"])
        return lambda: ec2.describe_route_tables(Filters=[{"Name": "association.subnet-id", "Values": [subnet]}])["RouteTables"]

    def gateway():
        old = network.exits()[zone]["NatGatewayId"]
        ec2.delete_nat_gateway(NatGatewayId=old)
        return lambda: network.exits().get(zone, {}).get("NatGatewayId") not in (None, old)

    for what in (route, association, gateway):
        mark = walk.recorder.mark()
        repaired = what()
        if repaired:
            account.until(f"the {what.__name__} is repaired", repaired)
        walk.keeps_ips(walk.controller.routed())
        calls = walk.recorder.since(mark, "controller", mutating=True)
        walk.found(f"changes that repaired the {what.__name__}", [call.action for call in calls])
    writes = walk.controller.rests()
    account.expect(not writes, f"after the repairs the program made more changes: {writes}")


def remove_zone(walk):
    """A zone is taken away, and its static IP stays in the account; the other zone keeps its own (A2)."""
    keep, drop = walk.network.zones
    gone = walk.ips[drop]
    walk.controller.start([keep], remove_zone=drop)
    walk.account.until("the zone is gone", lambda: drop not in walk.network.exits())
    _kept(walk, {gone}, "a removed zone")
    walk.ips = {keep: walk.ips[keep]}
    walk.keeps_ips(walk.controller.routed())
    walk.controller.flags.pop("remove-zone")


def delete(walk):
    """Nothing is asked for any more: the stack goes, and its static IPs stay in the account (A2)."""
    account, ips = walk.account, set(walk.ips.values())
    walk.controller.start(walk.controller.zones, on_empty="delete")
    walk.controller.ask()
    account.until("the stack is deleted", lambda: account.stack_status(account.stack) is None)
    walk.controller.stop()
    left = [event for event in walk.events(account.stack) if event["ResourceStatus"] == "DELETE_FAILED"]
    walk.found("resources that were not deleted", [event["LogicalResourceId"] for event in left])
    account.expect(not walk.network.exits(), "a NAT gateway has outlived the stack")
    _kept(walk, ips, "a deleted stack")


def _kept(walk, ips, what):
    """The static IPs outlive what used them; here they are released at last."""

    def kept():
        return {ip: address for ip, address in walk.network.addresses().items() if ip in ips}

    walk.found(f"the static IPs of {what} are kept", set(kept()) == ips)
    walk.account.until("its static IPs are free", lambda: not any(it.get("AssociationId") for it in kept().values()))
    for address in kept().values():
        walk.network.ec2.release_address(AllocationId=address["AllocationId"])


def events_of(account, stack):
    """All events of a stack, also of one that is gone where its ARN is known."""
    try:
        pages = account.cfn.get_paginator("describe_stack_events").paginate(StackName=stack)
        return [event for page in pages for event in page["StackEvents"]]
    except ClientError:
        return []
