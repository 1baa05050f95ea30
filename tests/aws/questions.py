"""What AWS's documents leave open, asked with stacks and things of this run that the controller never sees."""

import json

from botocore.exceptions import ClientError

from .account import Failed, code
from .main_job import ONE

NOWHERE = "nat-00000000000000000"
ROUTED = "198.18.7.0/24"


def address(walk):
    """A static IP is released; can it be had back, by hand and as `Address` of AWS::EC2::EIP? (A4)"""
    account, ec2, cfn = walk.account, walk.account.ec2, walk.account.cfn
    made = ec2.allocate_address(Domain="vpc", TagSpecifications=account.tagged("elastic-ip", "address"))
    ip = made["PublicIp"]
    ec2.release_address(AllocationId=made["AllocationId"])
    again = _asked(lambda: ec2.allocate_address(Domain="vpc", Address=ip, TagSpecifications=account.tagged("elastic-ip", "address")))
    walk.found("a released address is had back by AllocateAddress", again.get("PublicIp") == ip or again)
    if "AllocationId" in again:
        ec2.release_address(AllocationId=again["AllocationId"])
    template = {"Resources": {"Address": {"Type": "AWS::EC2::EIP", "Properties": {"Domain": "vpc", "Address": ip}}},
                "Outputs": {"Ip": {"Value": {"Ref": "Address"}}}}
    name = account.name("address")
    cfn.create_stack(StackName=name, TemplateBody=json.dumps(template), Tags=account.tags)
    status = account.stack_rests(name)
    got = None
    if status == "CREATE_COMPLETE":
        got = cfn.describe_stacks(StackName=name)["Stacks"][0]["Outputs"][0]["OutputValue"]
    walk.found("a released address is had back by AWS::EC2::EIP", got == ip or {"status": status, "reasons": _reasons(walk, name)})
    _gone(walk, name)


def failed_creation(walk):
    """A creation under the stack's own name fails after its EIP was made: the shipped role releases it (A2)."""
    account, network, name = walk.account, walk.network, walk.account.stack
    kept = {"DeletionPolicy": "RetainExceptOnCreate", "UpdateReplacePolicy": "Retain"}
    broken = _route(network.tables[network.zones[0]], ROUTED, NatGatewayId=NOWHERE)
    template = {"Resources": {
        "Address": {"Type": "AWS::EC2::EIP", "Properties": {"Domain": "vpc"}, **kept}, "Broken": {**broken, "DependsOn": "Address"},
    }}
    role = {"RoleARN": walk.roles.arn("cloudformation")} if walk.roles else {}
    # A role that was just made cannot be used everywhere.
    account.eventually(
        "a stack can be made with the role",
        lambda: account.cfn.create_stack(StackName=name, TemplateBody=json.dumps(template), Tags=account.tags, **role),
        "AccessDenied", "ValidationError",
    )
    status = account.stack_rests(name)
    made = any(event["LogicalResourceId"] == "Address" and event["ResourceStatus"] == "CREATE_COMPLETE" for event in walk.events(name))
    walk.found("for the reasons", _reasons(walk, name))
    walk.found("a creation that fails after its EIP was made ends", status)
    released = made and status == "ROLLBACK_COMPLETE" and not network.addresses()
    walk.found("the shipped role releases the EIP of a failed creation", released)
    account.expect(released, f"the EIP of a failed creation is not released: {status}")
    _gone(walk, name)


def same_token(walk):
    """A change set is discarded and made again with the same name and token (A9)."""
    account, cfn, name = walk.account, walk.account.cfn, _probe(walk, {})
    asked = {"StackName": name, "ChangeSetName": "again", "ClientToken": "again", "ChangeSetType": "UPDATE",
             "TemplateBody": json.dumps(_template(walk, {"More": _table(walk)})), "Tags": account.tags}
    first = cfn.create_change_set(**asked)["Id"]
    _made(walk, first)
    cfn.delete_change_set(StackName=name, ChangeSetName=first)

    def is_gone():
        try:
            return cfn.describe_change_set(StackName=name, ChangeSetName=first)["Status"] == "DELETE_COMPLETE"
        except ClientError as error:
            return code(error) in ("ChangeSetNotFound", "ChangeSetNotFoundException")

    account.until("the change set is discarded", is_gone)
    second = _asked(lambda: cfn.create_change_set(**asked))
    walk.found("the same token after the change set was discarded gives", "a new one" if second.get("Id") not in (None, first) else second)
    if "Id" in second:
        walk.found("and it becomes", _made(walk, second["Id"]))
    _gone(walk, name)


def failing_change_set(walk):
    """A change set whose execution fails, executed without DisableRollback (A12)."""
    name = _probe(walk, {})
    broken = _route(walk.network.tables[walk.network.zones[0]], "198.18.8.0/24", NatGatewayId=NOWHERE)
    asked = {"StackName": name, "ChangeSetName": "fails", "ChangeSetType": "UPDATE", "Tags": walk.account.tags,
             "TemplateBody": json.dumps(_template(walk, {"Broken": broken}))}
    change_set = walk.account.cfn.create_change_set(**asked)["Id"]
    walk.found("a change set with a target that is not there becomes", _made(walk, change_set))
    walk.account.cfn.execute_change_set(ChangeSetName=change_set)
    walk.account.until("the change has begun", lambda: walk.account.stack_status(name) != "CREATE_COMPLETE")
    walk.found("a failed change without DisableRollback ends", walk.account.stack_rests(name))
    walk.found("for the reasons", _reasons(walk, name))
    _gone(walk, name)


def rollback_failed(walk):
    """A route table is deleted during an update that fails: UPDATE_ROLLBACK_FAILED, continued, and then skipped (A8)."""
    account, cfn, network = walk.account, walk.account.cfn, walk.network
    table, zone = network.table("rollback"), network.zones[0]
    name = _probe(walk, {"Route": _route(table, ROUTED, GatewayId=network.gateway)})
    slow = {"Type": "AWS::EC2::NatGateway", "DependsOn": "Route",
            "Properties": {"ConnectivityType": "private", "SubnetId": network.subnets[zone]}}
    changed = {
        "Route": _route(table, ROUTED, NatGatewayId=network.exits()[zone]["NatGatewayId"]), "Slow": slow,
        "Broken": {**_route(network.tables[zone], "198.18.8.0/24", NatGatewayId=NOWHERE), "DependsOn": "Slow"},
    }
    cfn.update_stack(StackName=name, TemplateBody=json.dumps(_template(walk, changed)), Tags=account.tags)

    def changed_already():
        routes = account.ec2.describe_route_tables(RouteTableIds=[table])["RouteTables"][0]["Routes"]
        return any(route.get("NatGatewayId") for route in routes)

    account.until("the route is changed", changed_already)
    account.ec2.delete_route_table(RouteTableId=table)
    status = account.stack_rests(name)
    walk.found("a table deleted during an update that fails leaves", status)
    if status == "UPDATE_ROLLBACK_FAILED":
        cfn.continue_update_rollback(StackName=name)
        walk.found("continued, the rollback ends", account.stack_rests(name))
        failed = sorted({
            event["LogicalResourceId"] for event in walk.events(name)
            if event["ResourceStatus"] == "UPDATE_FAILED" and event["ResourceType"] == "AWS::EC2::Route"
        } - {"Broken"})
        if account.stack_status(name) == "UPDATE_ROLLBACK_FAILED":
            skipped = _asked(lambda: cfn.continue_update_rollback(StackName=name, ResourcesToSkip=failed))
            walk.found(f"with ResourcesToSkip={failed} it ends", account.stack_rests(name) if "Error" not in skipped else skipped)
    walk.found("for the reasons", _reasons(walk, name))
    _gone(walk, name)


def propagation(walk):
    """A VPN gateway propagates a network that is routed already (A3). Where the tunnels have to be up first, nothing is seen."""
    account, ec2, network = walk.account, walk.account.ec2, walk.network
    zone = network.zones[0]
    gateway = ec2.create_vpn_gateway(Type="ipsec.1", TagSpecifications=account.tagged("vpn-gateway", "vpn"))["VpnGateway"]["VpnGatewayId"]
    ec2.attach_vpn_gateway(VpnGatewayId=gateway, VpcId=network.vpc)

    def attached():
        found = ec2.describe_vpn_gateways(VpnGatewayIds=[gateway])["VpnGateways"][0]["VpcAttachments"]
        return any(one["State"] == "attached" for one in found)

    account.until("the VPN gateway is attached", attached)
    ec2.enable_vgw_route_propagation(GatewayId=gateway, RouteTableId=network.tables[zone])
    customer = ec2.create_customer_gateway(
        Type="ipsec.1", BgpAsn=65000, PublicIp=walk.ips[zone], TagSpecifications=account.tagged("customer-gateway", "customer"),
    )["CustomerGateway"]["CustomerGatewayId"]
    connection = ec2.create_vpn_connection(
        Type="ipsec.1", CustomerGatewayId=customer, VpnGatewayId=gateway, Options={"StaticRoutesOnly": True},
        TagSpecifications=account.tagged("vpn-connection", "vpn"),
    )["VpnConnection"]["VpnConnectionId"]

    def available():
        return ec2.describe_vpn_connections(VpnConnectionIds=[connection])["VpnConnections"][0]["State"] == "available"

    account.until("the VPN connection is available", available)
    ec2.create_vpn_connection_route(VpnConnectionId=connection, DestinationCidrBlock=ONE)

    def rows():
        routes = ec2.describe_route_tables(RouteTableIds=[network.tables[zone]])["RouteTables"][0]["Routes"]
        same = [route for route in routes if route.get("DestinationCidrBlock") == ONE]
        return same if len(same) > 1 else None

    try:
        both = account.until("the propagated route shows", rows, walk.account.patience / 6)
    except Failed:
        walk.found("the propagated route stands beside the static one", "not seen: the tunnels may have to be up")
        return
    walk.found("the propagated route stands beside the static one", [(route.get("Origin"), route.get("State")) for route in both])
    changed = walk.controller.rests()
    walk.found("changes that the program made about it", changed)
    account.expect(not changed, f"the program leaves a propagated route alone, and not: {changed}")
    ec2.delete_vpn_connection(VpnConnectionId=connection)


def prefix_list(walk):
    """A prefix list of 100 with a route to a NAT gateway: half of it is swapped, it is full, it is deleted (Part B)."""
    account, ec2, network = walk.account, walk.account.ec2, walk.network
    entries = [{"Cidr": f"198.19.{number}.0/24", "Description": str(number)} for number in range(151)]
    made = ec2.create_managed_prefix_list(
        PrefixListName=account.name("list"), MaxEntries=100, AddressFamily="IPv4", Entries=entries[:100],
        TagSpecifications=account.tagged("prefix-list", "list"),
    )["PrefixList"]["PrefixListId"]

    def item():
        return ec2.describe_managed_prefix_lists(PrefixListIds=[made])["PrefixLists"][0]

    account.until("the prefix list is made", lambda: item()["State"].endswith("-complete"))
    table = network.table("list")
    target = network.exits()[network.zones[0]]["NatGatewayId"]
    walk.found("a route of a prefix list to a NAT gateway", _asked(
        lambda: ec2.create_route(RouteTableId=table, DestinationPrefixListId=made, NatGatewayId=target)))
    out = [{"Cidr": entry["Cidr"]} for entry in entries[:50]]
    swapped = _asked(lambda: ec2.modify_managed_prefix_list(
        PrefixListId=made, CurrentVersion=item()["Version"], AddEntries=entries[100:150], RemoveEntries=out))
    walk.found("50 added and 50 removed in one call of a full list", swapped.get("Error", {}).get("Code", "accepted"))
    account.until("the swap is done", lambda: not item()["State"].endswith("-in-progress"))
    walk.found("one entry too many", _asked(lambda: ec2.modify_managed_prefix_list(
        PrefixListId=made, CurrentVersion=item()["Version"], AddEntries=entries[150:])).get("Error", "accepted"))
    walk.found("deleted while a route refers to it", _asked(
        lambda: ec2.delete_managed_prefix_list(PrefixListId=made)).get("Error", "accepted"))
    ec2.delete_route_table(RouteTableId=table)


# Small stacks of this run


def _asked(call):
    """The answer, or the error."""
    try:
        answer = call()
    except ClientError as error:
        return {"Error": error.response["Error"]}
    answer.pop("ResponseMetadata", None)
    return answer


def _table(walk):
    return {"Type": "AWS::EC2::RouteTable", "Properties": {"VpcId": walk.network.vpc}}


def _route(table, cidr, **target):
    return {"Type": "AWS::EC2::Route", "Properties": {"RouteTableId": table, "DestinationCidrBlock": cidr, **target}}


def _template(walk, more):
    return {"Resources": {"Table": _table(walk), **more}}


def _probe(walk, more):
    name = walk.account.name("probe")
    walk.account.cfn.create_stack(StackName=name, TemplateBody=json.dumps(_template(walk, more)), Tags=walk.account.tags)
    status = walk.account.stack_rests(name)
    walk.account.expect(status == "CREATE_COMPLETE", f"stack {name} is {status}: {_reasons(walk, name)}")
    return name


def _made(walk, change_set):
    """What a change set becomes once it is made."""
    def look():
        found = walk.account.cfn.describe_change_set(ChangeSetName=change_set)
        done = found["Status"] not in ("CREATE_PENDING", "CREATE_IN_PROGRESS")
        return {key: found.get(key) for key in ("Status", "ExecutionStatus", "StatusReason")} if done else None
    return walk.account.until("the change set is made", look)


def _reasons(walk, name):
    return sorted({
        event["ResourceStatusReason"] for event in walk.events(name)
        if event["ResourceStatus"].endswith("_FAILED") and event.get("ResourceStatusReason")
    })


def _gone(walk, name):
    walk.account.cfn.delete_stack(StackName=name)
    status = walk.account.stack_rests(name)
    walk.account.expect(status is None, f"stack {name} is {status} after its deletion: {_reasons(walk, name)}")
