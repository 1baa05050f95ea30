"""Managed prefix lists: what EC2 refuses, how CloudFormation makes and changes them, and what traffic does."""

import json

import pytest

from .shapes import parameters, resource, routes, template
from .test_changesets import changes, propose, settled
from .test_drift import detect, drifts, revert
from .test_ec2 import gateway, refused, table  # noqa: F401
from .test_stacks import NAME, events, make, update

LIST, CIDRS = "NetworkList01", ("8.8.8.8/32", "9.9.9.0/24")


def entries(cidrs):
    return [{"Cidr": cidr} for cidr in cidrs]


def numbered(count, first=0):
    return [f"20.{n // 256}.{n % 256}.0/24" for n in range(first, first + count)]


def listing(cidrs=CIDRS, most=100, name="egress-01", **more):
    properties = {"PrefixListName": name, "AddressFamily": "IPv4", "MaxEntries": most, "Entries": entries(cidrs)}
    return resource("PrefixList", **{**properties, **more})


def list_routes(world, number=1):
    return {
        f"RouteToNAT{n}zNetworkList{number:02}": resource(
            "Route",
            RouteTableId={"Ref": f"AZ{n}RouteTableIDParameter"},
            DestinationPrefixListId={"Ref": f"NetworkList{number:02}"},
            NatGatewayId={"Ref": f"NATGateway{n}"},
        )
        for n in range(1, len(world["tables"]) + 1)
    }


def with_list(world, cidrs=CIDRS, direct=(), **more):
    return template(world, direct, **{LIST: listing(cidrs, **more), **list_routes(world)})


def only_list(standin):
    found, = standin.state()["prefix_lists"]
    return found


@pytest.fixture
def listed(ec2):
    made = ec2.create_managed_prefix_list(
        PrefixListName="mine", MaxEntries=100, AddressFamily="IPv4", Entries=entries(CIDRS),
        TagSpecifications=[{"ResourceType": "prefix-list", "Tags": [{"Key": "team", "Value": "a"}]}],
    )
    return made["PrefixList"]["PrefixListId"]


@pytest.fixture
def stack(standin, world, cfn):
    cfn.create_stack(StackName=NAME, TemplateBody=with_list(world), Parameters=parameters(world))
    assert standin.wait(NAME) == "CREATE_COMPLETE", events(cfn)
    return only_list(standin)["id"]


def found_entries(ec2, list_id, **more):
    return [entry["Cidr"] for entry in ec2.get_managed_prefix_list_entries(PrefixListId=list_id, **more)["Entries"]]


def test_versions_and_entries(world, ec2, listed):
    shown, = ec2.describe_managed_prefix_lists(PrefixListIds=[listed])["PrefixLists"]
    assert (shown["State"], shown["Version"], shown["MaxEntries"], shown["OwnerId"]) == ("create-complete", 1, 100, "123456789012")
    assert shown["Tags"] == [{"Key": "team", "Value": "a"}]
    change = {"AddEntries": entries(["1.1.1.7/24"]), "RemoveEntries": entries([CIDRS[0]])}
    ec2.modify_managed_prefix_list(PrefixListId=listed, CurrentVersion=1, **change)
    assert sorted(found_entries(ec2, listed)) == ["1.1.1.0/24", "9.9.9.0/24"], "EC2 keeps the canonical form"
    assert sorted(found_entries(ec2, listed, TargetVersion=1)) == sorted(CIDRS)
    assert refused(ec2.modify_managed_prefix_list, PrefixListId=listed, CurrentVersion=1, **change) == "PrefixListVersionMismatch"
    ec2.modify_managed_prefix_list(PrefixListId=listed, PrefixListName="other")
    shown, = ec2.describe_managed_prefix_lists(Filters=[{"Name": "prefix-list-name", "Values": ["other"]}])["PrefixLists"]
    assert (shown["PrefixListId"], shown["Version"]) == (listed, 2), "a name is no version"
    owned = ec2.describe_managed_prefix_lists(Filters=[{"Name": "owner-id", "Values": ["123456789012"]}])["PrefixLists"]
    assert [one["PrefixListId"] for one in owned] == [listed]
    by_id = ec2.describe_managed_prefix_lists(Filters=[{"Name": "prefix-list-id", "Values": [listed, "pl-0"]}])["PrefixLists"]
    assert len(by_id) == 1


def test_refusals_of_calls(world, ec2, listed):
    new = {"PrefixListName": "n", "MaxEntries": 1, "AddressFamily": "IPv4"}
    create = ec2.create_managed_prefix_list
    assert refused(create, **{**new, "Entries": entries(CIDRS)}) == "PrefixListMaxEntriesExceeded"
    assert refused(create, **{**new, "MaxEntries": 1001}) == "InvalidParameterValue"
    assert refused(create, **{**new, "MaxEntries": 200, "Entries": entries(numbered(101))}) == "InvalidParameterValue"
    assert refused(create, **{**new, "PrefixListName": "com.amazonaws.x"}) == "InvalidParameterValue"
    assert refused(create, **{**new, "Entries": entries(["2001:db8::/32"])}) == "InvalidParameterValue"
    modify = {"PrefixListId": listed, "CurrentVersion": 1}
    change = ec2.modify_managed_prefix_list
    assert refused(change, **modify, AddEntries=entries(["1.1.1.1/32"]), MaxEntries=50) == "InvalidParameterCombination"
    assert refused(change, **modify, MaxEntries=1) == "InvalidParameterValue", "fewer than there are entries"
    assert refused(change, **modify, AddEntries=entries(numbered(101))) == "InvalidParameterValue"
    assert refused(change, **modify, AddEntries=entries(numbered(99))) == "PrefixListMaxEntriesExceeded"
    assert refused(change, **modify, RemoveEntries=entries(["1.1.1.1/32"])) == "InvalidPrefixListModification"
    both = {"AddEntries": entries(CIDRS), "RemoveEntries": entries(CIDRS)}
    assert refused(change, **modify, **both) == "InvalidParameterValue"
    aws, = ec2.describe_managed_prefix_lists(Filters=[{"Name": "prefix-list-name", "Values": ["com.amazonaws.*.s3"]}])["PrefixLists"]
    assert refused(change, PrefixListId=aws["PrefixListId"], PrefixListName="x") == "UnauthorizedOperation"
    for call in (ec2.delete_managed_prefix_list, ec2.get_managed_prefix_list_entries):
        assert refused(call, PrefixListId="pl-0123456789abcdef0") == "InvalidPrefixListID.NotFound"
    unknown = {"PrefixListIds": ["pl-0123456789abcdef0"]}
    assert refused(ec2.describe_managed_prefix_lists, **unknown) == "InvalidPrefixListID.NotFound"


def test_the_quota_of_lists(standin, world, ec2, listed):
    standin.settings(prefix_list_quota=1)
    new = {"PrefixListName": "n", "MaxEntries": 1, "AddressFamily": "IPv4"}
    assert refused(ec2.create_managed_prefix_list, **new) == "PrefixListLimitExceeded"
    ec2.delete_managed_prefix_list(PrefixListId=listed)
    ec2.create_managed_prefix_list(**new)


def test_a_list_takes_its_size_of_a_table(standin, table, gateway, ec2, listed):  # noqa: F811
    route = {"RouteTableId": table, "NatGatewayId": gateway["NatGatewayId"]}
    # Two routes are there: `local` and the default route.
    standin.settings(route_quota=101)
    assert refused(ec2.create_route, **route, DestinationPrefixListId=listed) == "RouteLimitExceeded"
    standin.settings(route_quota=102)
    ec2.create_route(**route, DestinationPrefixListId=listed)
    assert refused(ec2.create_route, **route, DestinationPrefixListId=listed) == "RouteAlreadyExists"
    assert refused(ec2.create_route, **route, DestinationCidrBlock="1.1.1.1/32") == "RouteLimitExceeded"
    shown, = ec2.describe_route_tables(RouteTableIds=[table])["RouteTables"]
    shown = next(one for one in shown["Routes"] if one.get("DestinationPrefixListId") == listed)
    assert (shown["NatGatewayId"], shown["State"], shown["Origin"]) == (gateway["NatGatewayId"], "active", "CreateRoute")
    assert refused(ec2.delete_managed_prefix_list, PrefixListId=listed) == "DependencyViolation"

    ec2.modify_managed_prefix_list(PrefixListId=listed, MaxEntries=101)
    failed = only_list(standin)
    assert (failed["state"], failed["max_entries"]) == ("modify-failed", 100) and table in failed["message"]
    ec2.modify_managed_prefix_list(PrefixListId=listed, MaxEntries=50)
    assert (only_list(standin)["state"], only_list(standin)["max_entries"]) == ("modify-complete", 50)
    ec2.delete_nat_gateway(NatGatewayId=gateway["NatGatewayId"])
    assert routes(standin.state(), table)[listed]["state"] == "blackhole"
    ec2.delete_route(RouteTableId=table, DestinationPrefixListId=listed)
    ec2.delete_managed_prefix_list(PrefixListId=listed)
    assert standin.state()["prefix_lists"] == []


def test_an_entry_that_no_route_can_lead_to(standin, table, gateway, ec2, listed):  # noqa: F811
    ec2.modify_managed_prefix_list(PrefixListId=listed, AddEntries=entries(["172.31.0.0/16"]), CurrentVersion=1)
    route = {"RouteTableId": table, "NatGatewayId": gateway["NatGatewayId"], "DestinationPrefixListId": listed}
    assert refused(ec2.create_route, **route) == "InvalidParameterValue"
    ec2.modify_managed_prefix_list(PrefixListId=listed, RemoveEntries=entries(["172.31.0.0/16"]), CurrentVersion=2)
    ec2.create_route(**route)
    ec2.modify_managed_prefix_list(PrefixListId=listed, AddEntries=entries(["169.254.169.254/32"]), CurrentVersion=3)
    failed = only_list(standin)
    assert (failed["state"], failed["version"]) == ("modify-failed", 3) and "reserved" in failed["message"]


def test_changes_take_time(standin, world, ec2):
    standin.settings(clock="virtual", prefix_list_pending_ms=1000)
    new = {"PrefixListName": "n", "MaxEntries": 2, "AddressFamily": "IPv4"}
    made = ec2.create_managed_prefix_list(**new)["PrefixList"]
    assert made["State"] == "create-in-progress"
    change = {"PrefixListId": made["PrefixListId"], "AddEntries": entries(["1.1.1.1/32"]), "CurrentVersion": 1}
    assert refused(ec2.modify_managed_prefix_list, **change) == "IncorrectState"
    standin.post("clock", {"advance_ms": 1000})
    changed = ec2.modify_managed_prefix_list(**change)["PrefixList"]
    assert (changed["State"], changed["Version"]) == ("modify-in-progress", 1)
    assert found_entries(ec2, made["PrefixListId"]) == []
    standin.post("clock", {"advance_ms": 1000})
    assert (only_list(standin)["state"], only_list(standin)["version"]) == ("modify-complete", 2)
    ec2.delete_managed_prefix_list(PrefixListId=made["PrefixListId"])
    assert only_list(standin)["state"] == "delete-in-progress"
    standin.post("clock", {"advance_ms": 1000})
    assert standin.state()["prefix_lists"] == []


def test_a_stack_makes_lists_and_routes_to_them(standin, world, cfn, stack):
    made = only_list(standin)
    assert (made["name"], made["max_entries"], made["entries"]) == ("egress-01", 100, sorted(CIDRS))
    assert made["tags"]["aws:cloudformation:logical-id"] == LIST
    state = standin.state()
    gateways = {one["id"]: one["az"] for one in state["nat_gateways"]}
    for zone, (one,) in world["tables"].items():
        assert gateways[routes(state, one)[stack]["target"]] == zone
    shown = cfn.describe_stack_resources(StackName=NAME)["StackResources"]
    ids = {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in shown}
    assert ids[LIST] == stack and ids["RouteToNAT1zNetworkList01"] == f"{world['tables']['eu-central-1a'][0]}|{stack}"
    cfn.delete_stack(StackName=NAME)
    standin.post("finish")
    assert standin.state()["prefix_lists"] == []


def test_attributes_of_a_list(standin, world, cfn):
    body = json.loads(with_list(world))
    names = ("PrefixListId", "Arn", "Version", "OwnerId")
    body["Outputs"] = {name: {"Value": {"Fn::GetAtt": [LIST, name]}} for name in names}
    body["Outputs"]["Reference"] = {"Value": {"Ref": LIST}}
    cfn.create_stack(StackName=NAME, TemplateBody=json.dumps(body), Parameters=parameters(world))
    standin.wait(NAME)
    shown = {o["OutputKey"]: o["OutputValue"] for o in cfn.describe_stacks(StackName=NAME)["Stacks"][0]["Outputs"]}
    made = only_list(standin)["id"]
    assert shown["Reference"] == shown["PrefixListId"] == made and shown["Arn"].endswith(f":prefix-list/{made}")
    assert (shown["Version"], shown["OwnerId"]) == ("1", "123456789012")


def test_entries_and_name_change_in_place(standin, world, cfn, stack):
    body = with_list(world, ("9.9.9.0/24", "1.1.1.1/32"), name="egress-01-b")
    announced = changes(settled(cfn, propose(cfn, world, body)))
    assert {(key, one["Action"], one["Replacement"]) for key, one in announced.items()} == {(LIST, "Modify", "False")}
    assert {detail["Target"]["Name"] for detail in announced[LIST]["Details"]} == {"Entries", "PrefixListName"}
    cfn.execute_change_set(StackName=NAME, ChangeSetName="change-1")
    assert standin.wait(NAME) == "UPDATE_COMPLETE"
    changed = only_list(standin)
    assert (changed["id"], changed["version"], changed["name"]) == (stack, 2, "egress-01-b")
    assert changed["entries"] == ["1.1.1.1/32", "9.9.9.0/24"]


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"cidrs": numbered(5), "most": 50}, "same request"),
        ({"cidrs": numbered(101), "most": 100}, "more than 100 entry additions or removals"),
        ({"AddressFamily": "IPv6", "cidrs": ()}, "address family"),
        ({"most": 1}, "more entries than 1"),
    ],
    ids=["size-and-entries", "too-many", "family", "too-small"],
)
def test_what_ec2_refuses_is_rolled_back(more, reason, standin, world, cfn, stack):
    update(cfn, world, with_list(world, **more))
    assert standin.wait(NAME) == "UPDATE_ROLLBACK_COMPLETE"
    failed = [e for e in events(cfn) if e["ResourceStatus"] == "UPDATE_FAILED"]
    assert [e["LogicalResourceId"] for e in failed] == [LIST] and reason in failed[0]["ResourceStatusReason"]
    assert only_list(standin)["entries"] == sorted(CIDRS)


def test_a_failed_change_is_known_after_it_has_taken_its_time(standin, world, cfn, stack):
    standin.settings(prefix_list_pending_ms=20, route_quota=150)
    update(cfn, world, with_list(world, most=200))
    assert standin.wait(NAME) == "UPDATE_ROLLBACK_COMPLETE", events(cfn)
    failed = next(e for e in events(cfn) if e["ResourceStatus"] == "UPDATE_FAILED")
    assert "NotStabilized" in failed["ResourceStatusReason"] and "do not support" in failed["ResourceStatusReason"]
    assert only_list(standin)["max_entries"] == 100


def test_a_list_that_others_use_stays_behind(standin, world, cfn, ec2, stack):
    main = next(t for t in standin.state()["route_tables"] if t["main"])
    target = standin.state()["nat_gateways"][0]["id"]
    ec2.create_route(RouteTableId=main["id"], DestinationPrefixListId=stack, NatGatewayId=target)
    cfn.delete_stack(StackName=NAME)
    standin.post("finish")
    assert cfn.describe_stacks(StackName=NAME)["Stacks"][0]["StackStatus"] == "DELETE_FAILED"
    assert only_list(standin)["id"] == stack


def test_drift_of_lists(standin, world, cfn, ec2, stack):
    assert detect(cfn)["StackDriftStatus"] == "IN_SYNC", "EC2 shows the entries in another order"
    ec2.modify_managed_prefix_list(PrefixListId=stack, RemoveEntries=entries([CIDRS[0]]), CurrentVersion=1)
    first, second = world["tables"]["eu-central-1a"][0], world["tables"]["eu-central-1b"][0]
    ec2.delete_route(RouteTableId=first, DestinationPrefixListId=stack)
    other = next(g["id"] for g in standin.state()["nat_gateways"] if g["az"] == "eu-central-1c")
    ec2.replace_route(RouteTableId=second, DestinationPrefixListId=stack, NatGatewayId=other)
    detect(cfn)
    statuses = {i: e["StackResourceDriftStatus"] for i, e in drifts(cfn, "MODIFIED", "DELETED").items()}
    assert statuses == {
        LIST: "MODIFIED", "RouteToNAT1zNetworkList01": "DELETED", "RouteToNAT2zNetworkList01": "MODIFIED",
    }
    assert [d["PropertyPath"] for d in drifts(cfn)[LIST]["PropertyDifferences"]] == ["/Entries"]


def repaired(standin, cfn, world):
    """The names of what a change set that reverts drift announces, and how it ends."""
    arn = propose(cfn, world, with_list(world), name="revert", DeploymentMode="REVERT_DRIFT")
    announced = changes(settled(cfn, arn))
    cfn.execute_change_set(StackName=NAME, ChangeSetName="revert")
    return {key: one["Action"] for key, one in announced.items()}, standin.wait(NAME)


def test_drift_of_lists_is_reverted(standin, world, cfn, ec2, stack):
    ec2.modify_managed_prefix_list(PrefixListId=stack, RemoveEntries=entries([CIDRS[0]]), CurrentVersion=1)
    table_id = world["tables"]["eu-central-1a"][0]
    ec2.delete_route(RouteTableId=table_id, DestinationPrefixListId=stack)
    announced, status = repaired(standin, cfn, world)
    assert announced == {LIST: "Modify", "RouteToNAT1zNetworkList01": "Add"} and status == "UPDATE_COMPLETE"
    assert only_list(standin)["entries"] == sorted(CIDRS)
    assert routes(standin.state(), table_id)[stack]["state"] == "active"


def test_a_lost_list_is_made_again_with_its_routes(standin, world, cfn, stack):
    after = standin.post("tamper", {"action": "delete_prefix_list", "prefix_list_id": stack})
    assert after["prefix_lists"] == []
    announced, status = repaired(standin, cfn, world)
    assert announced[LIST] == "Add" and status == "UPDATE_COMPLETE", events(cfn)
    made = only_list(standin)
    assert made["id"] != stack and made["entries"] == sorted(CIDRS)
    for one, in world["tables"].values():
        assert routes(standin.state(), one)[made["id"]]["state"] == "active"


def test_a_list_can_be_made_to_fail(standin, world, ec2, listed):
    standin.post("tamper", {"action": "fail_prefix_list", "prefix_list_id": listed, "message": "no room in rtb-1"})
    shown, = ec2.describe_managed_prefix_lists(PrefixListIds=[listed])["PrefixLists"]
    assert (shown["State"], shown["StateMessage"]) == ("modify-failed", "no room in rtb-1")
    ec2.modify_managed_prefix_list(PrefixListId=listed, AddEntries=entries(["1.1.1.1/32"]), CurrentVersion=1)
    assert only_list(standin)["state"] == "modify-complete"


def gaps(standin):
    return standin.state()["gaps"]


def test_traffic_follows_lists(standin, world, cfn):
    """From direct routes to a list and back, each in steps, no network is ever without its gateway."""
    standin.settings(note_gaps="true")
    make(cfn, world, CIDRS)
    standin.wait(NAME)
    for body in (
        with_list(world, direct=CIDRS), with_list(world), with_list(world, ("9.9.9.0/24", "8.8.8.0/24")),
        with_list(world, direct=CIDRS), template(world, CIDRS),
    ):
        update(cfn, world, body)
        assert standin.wait(NAME) == "UPDATE_COMPLETE", events(cfn)
    assert gaps(standin) == [[one, "8.8.8.0/24"] for one in sorted(one for one, in world["tables"].values())]


def test_what_neither_a_list_nor_a_route_has_any_more_is_a_gap(standin, world, cfn, stack):
    standin.settings(note_gaps="true")
    tables = sorted(one for one, in world["tables"].values())
    update(cfn, world, with_list(world, ("9.9.9.0/24",), direct=("1.1.1.1/32",)))
    assert standin.wait(NAME) == "UPDATE_COMPLETE"
    assert gaps(standin) == [[one, "8.8.8.8/32"] for one in tables]
    update(cfn, world, with_list(world, ("1.1.1.0/24",)))
    assert standin.wait(NAME) == "UPDATE_COMPLETE"
    lost = [[one, cidr] for one in tables for cidr in ("8.8.8.8/32", "9.9.9.0/24")]
    assert gaps(standin) == sorted(lost), "the wider entry is there before the direct route goes"


def test_a_static_route_hides_an_entry_and_a_longer_prefix_a_shorter(standin, world, cfn, ec2, stack):
    """A route to the internet gateway, or to another zone's NAT gateway, is none to the zone's own."""
    standin.settings(note_gaps="true")
    update(cfn, world, with_list(world, direct=("1.1.1.1/32",)))
    standin.wait(NAME)
    first, second = world["tables"]["eu-central-1a"][0], world["tables"]["eu-central-1b"][0]
    ec2.create_route(RouteTableId=first, DestinationCidrBlock="8.8.8.8/32", GatewayId=world["igw_id"])
    other = next(g["id"] for g in standin.state()["nat_gateways"] if g["az"] == "eu-central-1c")
    ec2.create_route(RouteTableId=second, DestinationCidrBlock="9.9.0.0/16", NatGatewayId=other)
    ec2.create_route(RouteTableId=second, DestinationCidrBlock="9.9.9.0/24", NatGatewayId=other)
    update(cfn, world, with_list(world))
    standin.wait(NAME)
    assert [gap for gap in gaps(standin) if gap[1] != "1.1.1.1/32"] == sorted([[first, "8.8.8.8/32"], [second, "9.9.9.0/24"]])
