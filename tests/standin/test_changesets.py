"""Change sets: what they say, when they may be executed, and what invalidates them."""

import json
import time

import pytest
from botocore.exceptions import ClientError

from .shapes import parameters, routes, template
from .test_stacks import NAME, code, events, make, update

EMPTY = "The submitted information didn't contain changes. Submit different information to create a change set."


def propose(cfn, world, body=None, name="change-1", zones=None, **more):
    answer = cfn.create_change_set(
        StackName=NAME, ChangeSetName=name, TemplateBody=body or template(world),
        Parameters=parameters(world, zones), **more,
    )
    return answer["Id"]


def settled(cfn, arn, **more):
    for _ in range(200):
        found = cfn.describe_change_set(ChangeSetName=arn, **more)
        if found["Status"] not in ("CREATE_PENDING", "CREATE_IN_PROGRESS"):
            return found
        time.sleep(0.01)
    raise AssertionError("the change set never settled")


def changes(found):
    return {c["ResourceChange"]["LogicalResourceId"]: c["ResourceChange"] for c in found["Changes"]}


@pytest.fixture
def stack(standin, world, cfn):
    arn = make(cfn, world)
    standin.wait(NAME)
    return arn


def test_added_and_removed_routes(standin, world, cfn, stack):
    standin.settings(changeset_ms=600)
    arn = propose(cfn, world, template(world, ("1.1.1.1/32",)))
    assert cfn.describe_change_set(ChangeSetName=arn)["Status"] == "CREATE_PENDING"
    found = settled(cfn, arn)
    assert (found["Status"], found["ExecutionStatus"]) == ("CREATE_COMPLETE", "AVAILABLE")
    listed = changes(found)
    assert {i: c["Action"] for i, c in listed.items()} == {
        **{f"RouteToNAT{n}z1x1x1x1y32": "Add" for n in (1, 2, 3)},
        **{f"RouteToNAT{n}z8x8x8x8y32": "Remove" for n in (1, 2, 3)},
    }
    assert listed["RouteToNAT1z8x8x8x8y32"]["PolicyAction"] == "Delete"
    before = standin.state()
    cfn.execute_change_set(ChangeSetName=arn, ClientRequestToken="run-1")
    assert standin.wait(NAME) == "UPDATE_COMPLETE"
    after = standin.state()
    assert after["addresses"] == before["addresses"] and after["nat_gateways"] == before["nat_gateways"]
    for table in world["tables"].values():
        assert "1.1.1.1/32" in routes(after, table[0]) and "8.8.8.8/32" not in routes(after, table[0])
    assert events(cfn)[-1]["ClientRequestToken"] == "run-1"
    assert cfn.describe_stacks(StackName=NAME)["Stacks"][0]["ChangeSetId"] == arn


def test_replacement_true_conditional_and_false(world, cfn, stack):
    body = template(world).replace("172.31.64.0/28", "172.31.65.0/28")
    listed = changes(settled(cfn, propose(cfn, world, body)))
    assert {i: c.get("Replacement") for i, c in listed.items()} == {
        "NATSubnet1": "True",
        "NATGateway1": "Conditional",
        "NATSubnetRouteTableAssociation1": "Conditional",
        "RouteToNAT1z8x8x8x8y32": "False",
    }
    detail = listed["NATGateway1"]["Details"][0]
    assert detail["Evaluation"] == "Dynamic" and detail["ChangeSource"] == "ResourceReference"
    assert detail["CausingEntity"] == "NATSubnet1"
    assert detail["Target"]["RequiresRecreation"] == "Always" and detail["Target"]["Name"] == "SubnetId"
    assert listed["RouteToNAT1z8x8x8x8y32"]["Details"][0]["Target"]["RequiresRecreation"] == "Never"


def test_retargeted_route_is_changed_in_place(standin, world, cfn, stack):
    body = template(world).replace('"NatGatewayId": {"Ref": "NATGateway1"}', '"NatGatewayId": {"Ref": "NATGateway2"}')
    found = settled(cfn, propose(cfn, world, body), IncludePropertyValues=True)
    change = changes(found)["RouteToNAT1z8x8x8x8y32"]
    assert (change["Action"], change["Replacement"], change["Scope"]) == ("Modify", "False", ["Properties"])
    assert change["Details"][0]["Evaluation"] == "Static"
    assert change["Details"][0]["ChangeSource"] == "DirectModification"
    assert change["Details"][0]["Target"]["BeforeValue"].startswith("nat-")
    cfn.execute_change_set(StackName=NAME, ChangeSetName="change-1")
    assert standin.wait(NAME) == "UPDATE_COMPLETE"
    state = standin.state()
    second = next(g["id"] for g in state["nat_gateways"] if g["az"] == "eu-central-1b")
    assert routes(state, world["tables"]["eu-central-1a"][0])["8.8.8.8/32"]["target"] == second


def test_moved_parameter_replaces_the_route(world, cfn, stack):
    values = parameters(world)
    values[2]["ParameterValue"] = world["tables"]["eu-central-1b"][0]
    arn = cfn.create_change_set(
        StackName=NAME, ChangeSetName="c", TemplateBody=template(world), Parameters=values)["Id"]
    change = changes(settled(cfn, arn))["RouteToNAT1z8x8x8x8y32"]
    assert change["Replacement"] == "True" and change["PolicyAction"] == "ReplaceAndDelete"
    assert change["Details"][0]["ChangeSource"] == "ParameterReference"


def test_removed_zone_shows_removed_addresses(world, cfn, stack):
    zones = list(world["tables"])[:2]
    listed = changes(settled(cfn, propose(cfn, world, template(world, zones=zones), zones=zones)))
    assert listed["EIP3"]["Action"] == listed["NATGateway3"]["Action"] == "Remove"
    assert listed["EIP3"]["PhysicalResourceId"].count(".") == 3


def test_empty_one_fails_with_the_known_reason(world, cfn, stack):
    found = settled(cfn, propose(cfn, world))
    assert (found["Status"], found["StatusReason"], found["ExecutionStatus"]) == ("FAILED", EMPTY, "UNAVAILABLE")
    with pytest.raises(ClientError) as raised:
        cfn.execute_change_set(StackName=NAME, ChangeSetName="change-1")
    assert code(raised)[0] == "InvalidChangeSetStatus" and "[FAILED]" in code(raised)[1]


def test_tags_alone_are_a_change_that_replaces_nothing(world, cfn, stack):
    found = settled(cfn, propose(cfn, world, Tags=[{"Key": "team", "Value": "net"}]))
    listed = changes(found)
    assert {c["Replacement"] for c in listed.values()} == {"False"}
    assert {tuple(c["Scope"]) for c in listed.values()} == {("Tags",)}
    assert "EIP1" in listed and "RouteToNAT1z8x8x8x8y32" not in listed


def test_what_validation_refuses_is_told_by_events_alone(standin, world, cfn, stack):
    good = propose(cfn, world, template(world, ("1.1.1.1/32",)), "good")
    assert settled(cfn, good)["Status"] == "CREATE_COMPLETE"
    only_failed = {"FailedEvents": True}
    assert cfn.describe_events(ChangeSetName=good, Filters=only_failed)["OperationEvents"] == []
    assert cfn.describe_events(ChangeSetName=good)["OperationEvents"][0]["OperationStatus"] == "SUCCEEDED"

    standin.fault(kind="validation_fails", logical_id="*9x9x9x9*", message="no such table")
    bad = propose(cfn, world, template(world, ("9.9.9.9/32",)), "bad")
    found = settled(cfn, bad)
    assert (found["Status"], found["ExecutionStatus"]) == ("FAILED", "UNAVAILABLE")
    assert "use the DescribeEvents API" in found["StatusReason"] and "9x9" not in found["StatusReason"]
    events = cfn.describe_events(StackName=NAME, ChangeSetName="bad", Filters=only_failed)["OperationEvents"]
    assert [event["EventType"] for event in events].count("STACK_EVENT") == 1
    told = [event for event in events if event["EventType"] == "VALIDATION_ERROR"]
    assert {event["ValidationStatus"] for event in told} == {"FAILED"}
    assert all("no such table" in event["ValidationStatusReason"] for event in told)
    assert {event["LogicalResourceId"] for event in told} == {f"RouteToNAT{n}z9x9x9x9y32" for n in range(1, len(told) + 1)}
    with pytest.raises(ClientError) as raised:
        cfn.describe_events()
    assert code(raised) == ("ValidationError", "One of ChangeSetName, OperationId or StackName must be specified")


def test_execution_invalidates_the_others(standin, world, cfn, stack):
    first = propose(cfn, world, template(world, ("1.1.1.1/32",)), "first")
    second = propose(cfn, world, template(world, ("9.9.9.9/32",)), "second")
    settled(cfn, first), settled(cfn, second)
    standin.settings(steps_per_request=0)
    cfn.execute_change_set(ChangeSetName=first)
    assert cfn.describe_change_set(ChangeSetName=second)["ExecutionStatus"] == "OBSOLETE"
    with pytest.raises(ClientError) as raised:
        cfn.execute_change_set(ChangeSetName=second)
    assert code(raised)[0] == "InvalidChangeSetStatus"
    standin.post("finish")
    with pytest.raises(ClientError) as raised:
        cfn.execute_change_set(ChangeSetName=second)
    assert code(raised) == ("ChangeSetNotFound", f"ChangeSet [{second}] does not exist")
    assert cfn.list_change_sets(StackName=NAME)["Summaries"] == []


def test_a_changed_stack_makes_it_obsolete(standin, world, cfn, stack):
    arn = propose(cfn, world, template(world, ("1.1.1.1/32",)))
    settled(cfn, arn)
    update(cfn, world, template(world, ("9.9.9.9/32",)))
    standin.wait(NAME)
    assert cfn.describe_change_set(ChangeSetName=arn)["ExecutionStatus"] == "OBSOLETE"
    with pytest.raises(ClientError) as raised:
        cfn.execute_change_set(ChangeSetName=arn)
    assert code(raised)[0] == "InvalidChangeSetStatus" and "OBSOLETE" in code(raised)[1]


def test_executing_twice_with_one_token_is_one_execution(standin, world, cfn, stack):
    arn = propose(cfn, world, template(world, ("1.1.1.1/32",)))
    settled(cfn, arn)
    cfn.execute_change_set(ChangeSetName=arn, ClientRequestToken="once")
    cfn.execute_change_set(ChangeSetName=arn, ClientRequestToken="once")
    standin.wait(NAME)
    cfn.execute_change_set(ChangeSetName=arn, ClientRequestToken="once")
    starts = [e for e in events(cfn) if e["LogicalResourceId"] == NAME and e["ResourceStatus"] == "UPDATE_IN_PROGRESS"]
    assert len(starts) == 1
    with pytest.raises(ClientError) as raised:
        cfn.execute_change_set(ChangeSetName=arn, ClientRequestToken="other")
    assert code(raised)[0] == "InvalidChangeSetStatus"


def test_names_are_taken_and_tokens_repeat(world, cfn, stack):
    body = template(world, ("1.1.1.1/32",))
    first = propose(cfn, world, body, ClientToken="t-1")
    assert propose(cfn, world, body, ClientToken="t-1") == first
    with pytest.raises(ClientError) as raised:
        propose(cfn, world, body, ClientToken="t-2")
    assert code(raised)[0] == "AlreadyExistsException"
    cfn.delete_change_set(ChangeSetName=first)
    cfn.delete_change_set(StackName=NAME, ChangeSetName="change-1")
    with pytest.raises(ClientError) as raised:
        cfn.describe_change_set(StackName=NAME, ChangeSetName="change-1")
    assert code(raised)[0] == "ChangeSetNotFound"


def test_the_default_type_is_update(world, cfn):
    with pytest.raises(ClientError) as raised:
        propose(cfn, world)
    assert code(raised) == ("ValidationError", f"Stack [{NAME}] does not exist")


def test_type_create_leaves_a_stack_in_review(standin, world, cfn):
    arn = propose(cfn, world, ChangeSetType="CREATE")
    assert {c["Action"] for c in changes(settled(cfn, arn)).values()} == {"Add"}
    assert cfn.describe_stacks(StackName=NAME)["Stacks"][0]["StackStatus"] == "REVIEW_IN_PROGRESS"
    assert not standin.state()["addresses"]
    with pytest.raises(ClientError) as raised:
        make(cfn, world)
    assert code(raised)[0] == "AlreadyExistsException"
    with pytest.raises(ClientError) as raised:
        propose(cfn, world, name="u")
    assert "REVIEW_IN_PROGRESS state and can not be updated" in code(raised)[1]
    cfn.execute_change_set(ChangeSetName=arn)
    assert standin.wait(NAME) == "CREATE_COMPLETE"
    with pytest.raises(ClientError) as raised:
        propose(cfn, world, name="again", ChangeSetType="CREATE")
    assert code(raised)[0] == "ValidationError" and "already exists" in code(raised)[1]


def test_a_stack_in_review_can_be_deleted(cfn, world):
    propose(cfn, world, ChangeSetType="CREATE")
    cfn.delete_stack(StackName=NAME)
    with pytest.raises(ClientError):
        cfn.describe_stacks(StackName=NAME)


def test_a_refused_template_leaves_nothing_behind(cfn, world):
    with pytest.raises(ClientError):
        propose(cfn, world, "{", ChangeSetType="CREATE")
    with pytest.raises(ClientError):
        cfn.describe_stacks(StackName=NAME)


def test_failed_execution(standin, world, cfn, stack):
    arn = propose(cfn, world, template(world, ("1.1.1.1/32",)))
    settled(cfn, arn)
    standin.fault(kind="resource_fails", logical_id="RouteToNAT2*", times=1)
    cfn.execute_change_set(ChangeSetName=arn)
    assert standin.wait(NAME) == "UPDATE_ROLLBACK_COMPLETE"
    assert cfn.describe_change_set(ChangeSetName=arn)["ExecutionStatus"] == "EXECUTE_FAILED"


def test_what_fails_is_rolled_back_unless_the_call_leaves_it_open(standin, world, cfn, stack):
    body = template(world, ("8.8.8.8/32", "1.1.1.1/32"))
    standin.settings(disable_rollback_default="true")
    for told, expected in (({"DisableRollback": False}, "UPDATE_ROLLBACK_COMPLETE"), ({}, "UPDATE_FAILED")):
        standin.fault(kind="resource_fails", logical_id="RouteToNAT3*", times=1)
        arn = propose(cfn, world, body, name=f"change-{expected.replace('_', '-')}")
        settled(cfn, arn)
        cfn.execute_change_set(ChangeSetName=arn, **told)
        assert standin.wait(NAME) == expected


def test_changes_are_paged(standin, world, cfn, stack):
    standin.settings(page_size=2)
    arn = propose(cfn, world, template(world, ("1.1.1.1/32",)))
    found = settled(cfn, arn)
    assert len(found["Changes"]) == 2
    following = cfn.describe_change_set(ChangeSetName=arn, NextToken=found["NextToken"])
    assert len(following["Changes"]) == 2 and "NextToken" in following


def test_more_addresses_of_a_nat_gateway_change_in_place(standin, world, cfn, ec2, stack):
    standin.settings(eip_quota=6)
    extra = ec2.allocate_address(Domain="vpc")
    body = json.loads(template(world))
    body["Resources"]["NATGateway1"]["Properties"]["SecondaryAllocationIds"] = [extra["AllocationId"]]
    before = {g["id"]: g["more_eips"] for g in standin.state()["nat_gateways"]}
    assert set(map(len, before.values())) == {0}
    # A gateway that takes no more is left as it was.
    standin.settings(nat_address_quota=1)
    listed = changes(settled(cfn, propose(cfn, world, json.dumps(body))))
    assert {i: (c["Action"], c["Replacement"]) for i, c in listed.items()} == {"NATGateway1": ("Modify", "False")}
    cfn.execute_change_set(StackName=NAME, ChangeSetName="change-1")
    assert standin.wait(NAME) == "UPDATE_ROLLBACK_COMPLETE"
    assert {g["id"]: g["more_eips"] for g in standin.state()["nat_gateways"]} == before
    standin.settings(nat_address_quota=2)
    settled(cfn, propose(cfn, world, json.dumps(body), name="change-2"))
    cfn.execute_change_set(StackName=NAME, ChangeSetName="change-2")
    assert standin.wait(NAME) == "UPDATE_COMPLETE"
    after = {g["id"]: g["more_eips"] for g in standin.state()["nat_gateways"]}
    assert after.keys() == before.keys() and sorted(after.values()) == [[], [], [extra["PublicIp"]]]
