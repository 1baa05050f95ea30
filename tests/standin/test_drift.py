"""Drift as CloudFormation reports it, and REVERT_DRIFT, against what was really done in EC2."""

import json
import time

import pytest
from botocore.exceptions import ClientError

from .shapes import routes
from .test_changesets import changes, propose, settled
from .test_stacks import NAME, code, make

ROUTE = "RouteToNAT1z8x8x8x8y32"


@pytest.fixture
def table(standin, world, cfn):
    make(cfn, world)
    standin.wait(NAME)
    return world["tables"]["eu-central-1a"][0]


def detect(cfn):
    detection = cfn.detect_stack_drift(StackName=NAME)["StackDriftDetectionId"]
    for _ in range(200):
        found = cfn.describe_stack_drift_detection_status(StackDriftDetectionId=detection)
        if found["DetectionStatus"] != "DETECTION_IN_PROGRESS":
            return found
        time.sleep(0.01)
    raise AssertionError("the detection never ended")


def drifts(cfn, *statuses):
    wanted = {"StackResourceDriftStatusFilters": list(statuses)} if statuses else {}
    found, token = [], {}
    while True:
        answer = cfn.describe_stack_resource_drifts(StackName=NAME, **wanted, **token)
        found += answer["StackResourceDrifts"]
        if "NextToken" not in answer:
            return {entry["LogicalResourceId"]: entry for entry in found}
        token = {"NextToken": answer["NextToken"]}


def revert(cfn, world):
    return settled(cfn, propose(cfn, world, name="revert", DeploymentMode="REVERT_DRIFT"))


def test_in_sync(standin, table, cfn):
    found = detect(cfn)
    assert (found["StackDriftStatus"], found["DriftedStackResourceCount"]) == ("IN_SYNC", 0)
    assert {entry["StackResourceDriftStatus"] for entry in drifts(cfn).values()} == {"IN_SYNC"}
    info = cfn.describe_stacks(StackName=NAME)["Stacks"][0]["DriftInformation"]
    assert info["StackDriftStatus"] == "IN_SYNC" and "LastCheckTimestamp" in info


def test_removed_and_retargeted_routes_and_tags(standin, world, table, cfn, ec2):
    other = next(g["id"] for g in standin.state()["nat_gateways"] if g["az"] == "eu-central-1c")
    ec2.delete_route(RouteTableId=table, DestinationCidrBlock="8.8.8.8/32")
    second = world["tables"]["eu-central-1b"][0]
    ec2.replace_route(RouteTableId=second, DestinationCidrBlock="8.8.8.8/32", NatGatewayId=other)
    subnet = next(s["id"] for s in standin.state()["subnets"] if s["cidr"] == "172.31.64.0/28")
    ec2.create_tags(Resources=[subnet], Tags=[{"Key": "Name", "Value": "mine"}, {"Key": "extra", "Value": "1"}])
    assert detect(cfn)["DriftedStackResourceCount"] == 3
    found = drifts(cfn, "MODIFIED", "DELETED")
    assert {i: e["StackResourceDriftStatus"] for i, e in found.items()} == {
        ROUTE: "DELETED", "RouteToNAT2z8x8x8x8y32": "MODIFIED", "NATSubnet1": "MODIFIED",
    }
    difference, = found["RouteToNAT2z8x8x8x8y32"]["PropertyDifferences"]
    assert (difference["PropertyPath"], difference["ActualValue"]) == ("/NatGatewayId", other)
    assert {d["DifferenceType"] for d in found["NATSubnet1"]["PropertyDifferences"]} == {"NOT_EQUAL", "ADD"}
    assert json.loads(found["NATSubnet1"]["ExpectedProperties"])["CidrBlock"] == "172.31.64.0/28"


def test_detached_association_and_lost_gateway(standin, table, cfn, ec2):
    standin.settings(drift_unsupported_types=[])
    nat_table = next(t for t in standin.state()["route_tables"] if t["tags"].get("Name") == "nat-eu-central-1a")
    ec2.disassociate_route_table(AssociationId=nat_table["associations"][0]["id"])
    gateway = next(g["id"] for g in standin.state()["nat_gateways"] if g["az"] == "eu-central-1b")
    ec2.delete_nat_gateway(NatGatewayId=gateway)
    detect(cfn)
    assert set(drifts(cfn, "DELETED")) == {"NATGateway2", "NATSubnetRouteTableAssociation1"}


def test_types_that_are_not_covered(standin, table, cfn, ec2):
    standin.settings(drift_unsupported_types=["AWS::EC2::Route"])
    ec2.delete_route(RouteTableId=table, DestinationCidrBlock="8.8.8.8/32")
    assert detect(cfn)["StackDriftStatus"] == "IN_SYNC"
    assert ROUTE not in drifts(cfn)


def test_an_association_is_a_type_that_is_not_covered(standin, world, table, cfn, ec2):
    nat_table = next(t for t in standin.state()["route_tables"] if t["tags"].get("Name") == "nat-eu-central-1a")
    ec2.disassociate_route_table(AssociationId=nat_table["associations"][0]["id"])
    ec2.delete_route(RouteTableId=table, DestinationCidrBlock="8.8.8.8/32")
    described = revert(cfn, world)
    assert [change["ResourceChange"]["LogicalResourceId"] for change in described["Changes"]] == [ROUTE]


def test_what_was_put_back_by_hand_is_only_noted(standin, world, table, cfn, ec2):
    ec2.delete_route(RouteTableId=table, DestinationCidrBlock="8.8.8.8/32")
    detect(cfn)
    gateway = next(g["id"] for g in standin.state()["nat_gateways"] if g["az"] == "eu-central-1a")
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="8.8.8.8/32", NatGatewayId=gateway)
    described = revert(cfn, world)
    changes = [change["ResourceChange"] for change in described["Changes"]]
    assert [(change["LogicalResourceId"], change["Action"]) for change in changes] == [(ROUTE, "SyncWithActual")]
    cfn.execute_change_set(ChangeSetName=described["ChangeSetId"])
    assert standin.wait(NAME) == "UPDATE_COMPLETE"
    again = settled(cfn, propose(cfn, world, name="again", DeploymentMode="REVERT_DRIFT"))
    assert again["Status"] == "FAILED", "nothing is left to be noted"


def test_pages_and_refusals(standin, table, cfn):
    standin.settings(steps_per_request=0)
    cfn.detect_stack_drift(StackName=NAME)
    with pytest.raises(ClientError) as raised:
        cfn.detect_stack_drift(StackName=NAME)
    assert code(raised)[0] == "ValidationError"
    standin.post("finish")
    answer = cfn.describe_stack_resource_drifts(StackName=NAME, MaxResults=4)
    assert len(answer["StackResourceDrifts"]) == 4 and "NextToken" in answer
    standin.post("stack-status", {"stack": NAME, "status": "UPDATE_IN_PROGRESS"})
    with pytest.raises(ClientError):
        cfn.detect_stack_drift(StackName=NAME)


def test_one_resource_alone(table, cfn, ec2):
    ec2.delete_route(RouteTableId=table, DestinationCidrBlock="8.8.8.8/32")
    found = cfn.detect_stack_resource_drift(StackName=NAME, LogicalResourceId=ROUTE)["StackResourceDrift"]
    assert found["StackResourceDriftStatus"] == "DELETED"


def test_an_ordinary_change_set_sees_no_drift(standin, world, table, cfn, ec2):
    ec2.delete_route(RouteTableId=table, DestinationCidrBlock="8.8.8.8/32")
    assert settled(cfn, propose(cfn, world))["Status"] == "FAILED"


def test_revert_drift_makes_a_lost_route_again(standin, world, table, cfn, ec2):
    before = standin.state()
    ec2.delete_route(RouteTableId=table, DestinationCidrBlock="8.8.8.8/32")
    found = revert(cfn, world)
    assert found["DeploymentMode"] == "REVERT_DRIFT" and found["StackDriftStatus"] == "DRIFTED"
    change = changes(found)[ROUTE]
    assert (change["Action"], change["ResourceDriftStatus"]) == ("Add", "DELETED")
    assert set(changes(found)) == {ROUTE}
    cfn.execute_change_set(StackName=NAME, ChangeSetName="revert")
    assert standin.wait(NAME) == "UPDATE_COMPLETE"
    assert routes(standin.state(), table) == routes(before, table)
    assert detect(cfn)["StackDriftStatus"] == "IN_SYNC"


def test_revert_drift_turns_a_route_back(standin, world, table, cfn, ec2):
    before = standin.state()
    other = next(g["id"] for g in before["nat_gateways"] if g["az"] == "eu-central-1c")
    ec2.replace_route(RouteTableId=table, DestinationCidrBlock="8.8.8.8/32", NatGatewayId=other)
    change = changes(revert(cfn, world))[ROUTE]
    assert (change["Action"], change["Replacement"], change["ResourceDriftStatus"]) == ("Modify", "False", "MODIFIED")
    target = change["Details"][0]["Target"]
    assert target["Drift"]["ActualValue"] == other and target["BeforeValueFrom"] == "ACTUAL_STATE"
    cfn.execute_change_set(StackName=NAME, ChangeSetName="revert")
    assert standin.wait(NAME) == "UPDATE_COMPLETE"
    assert routes(standin.state(), table) == routes(before, table)


def test_revert_drift_replaces_a_lost_gateway_and_its_routes(standin, world, table, cfn, ec2):
    gateway = next(g for g in standin.state()["nat_gateways"] if g["az"] == "eu-central-1a")
    ec2.delete_nat_gateway(NatGatewayId=gateway["id"])
    assert routes(standin.state(), table)["8.8.8.8/32"]["state"] == "blackhole"
    listed = changes(revert(cfn, world))
    assert listed["NATGateway1"]["Action"] == "Add"
    assert listed[ROUTE]["Details"][0]["CausingEntity"] == "NATGateway1"
    cfn.execute_change_set(StackName=NAME, ChangeSetName="revert")
    assert standin.wait(NAME) == "UPDATE_COMPLETE"
    state = standin.state()
    live = next(g for g in state["nat_gateways"] if g["az"] == "eu-central-1a" and g["state"] == "available")
    assert live["allocation_id"] == gateway["allocation_id"]
    assert routes(state, table)["8.8.8.8/32"] == {"cidr": "8.8.8.8/32", "target": live["id"], "state": "active"}


def test_revert_drift_without_drift_is_empty(world, table, cfn):
    assert revert(cfn, world)["Status"] == "FAILED"


@pytest.mark.parametrize("mode", ["unsupported", "fails", "no_effect", "phantom"])
def test_revert_drift_in_its_bad_moods(mode, standin, world, table, cfn, ec2):
    standin.settings(revert_drift=mode)
    if mode != "phantom":
        ec2.delete_route(RouteTableId=table, DestinationCidrBlock="8.8.8.8/32")
    if mode == "unsupported":
        with pytest.raises(ClientError) as raised:
            revert(cfn, world)
        assert code(raised)[0] == "ValidationError"
        return
    found = revert(cfn, world)
    if mode == "fails":
        assert found["Status"] == "FAILED"
        return
    assert found["ExecutionStatus"] == "AVAILABLE" and len(found["Changes"]) == 1
    before = standin.state()
    cfn.execute_change_set(StackName=NAME, ChangeSetName="revert")
    assert standin.wait(NAME) == "UPDATE_COMPLETE"
    after = standin.state()
    assert after["route_tables"] == before["route_tables"]


def test_tampering(standin, world, table, cfn):
    address = standin.state()["addresses"][0]
    standin.post("tamper", {"action": "release_address", "allocation_id": address["allocation_id"]})
    gateway = standin.state()["nat_gateways"][1]["id"]
    standin.post("tamper", {"action": "fail_nat_gateway", "nat_gateway_id": gateway})
    state = standin.state()
    assert len(state["addresses"]) == 2
    assert [g["state"] for g in state["nat_gateways"]].count("failed") == 1
    detect(cfn)
    assert len(drifts(cfn, "DELETED")) == 2
    with pytest.raises(ValueError):
        standin.post("tamper", {"action": "nonsense"})
    with pytest.raises(ValueError):
        standin.post("tamper", {"action": "fail_nat_gateway", "nat_gateway_id": "nat-0"})
