"""The policies of deploy/ as they are shipped: enough from the first stack to the last, and nothing beyond."""

import itertools
import json
import pathlib

import botocore.session
import pytest
from botocore.exceptions import ClientError

from . import iam
from .shapes import parameters, template
from .test_prefix_lists import CIDRS, with_list

DEPLOY = pathlib.Path(__file__).parents[2] / "deploy"
ACCOUNT, STACK, ROLE = "123456789012", "egress-static-nat-one", "arn:aws:iam::123456789012:role/cloudformation"
KEY, OTHER = "AKIAREPLICAAAAAAAAAA", "AKIAOTHERAAAAAAAAAAA"
REGIONS = {
    "aws": "eu-central-1", "aws-cn": "cn-north-1", "aws-us-gov": "us-gov-west-1", "aws-eusc": "eusc-de-east-1", "aws-iso": "us-iso-east-1",
    "aws-iso-b": "us-isob-east-1", "aws-iso-e": "eu-isoe-west-1", "aws-iso-f": "us-isof-south-1",
}


def shipped(name, partition="aws"):
    text = (DEPLOY / f"{name}.json").read_text().replace("arn:aws:", f"arn:{partition}:")
    given = {
        "ACCOUNT-ID": ACCOUNT, "REGION": REGIONS[partition], "STACK-NAME": STACK, "CFN-SERVICE-ROLE": "cloudformation",
        "TEMPLATE-BUCKET": "templates",
    }
    for placeholder, value in given.items():
        text = text.replace(placeholder, value)
    return json.loads(text)


class Account:
    """One account with the shipped policies, and the controller's calls with them."""

    def __init__(self, standin, partition, separate):
        self.standin, self.region = standin, REGIONS[partition]
        zones = [self.region + letter for letter in "ab"]
        self.world = standin.post("world", {"zones": zones, "region": self.region})
        self.role = ROLE.replace("arn:aws:", f"arn:{partition}:") if separate else None
        policy = shipped("iam-policy-with-cfn-role" if separate else "iam-policy", partition)
        role = {"policy": shipped("cfn-service-role", partition), "trust": shipped("cfn-service-role-trust", partition)}
        standin.settings(policies={KEY: policy}, roles={self.role: role} if separate else {})
        self.given = {"RoleARN": self.role} if separate else {}
        self.cfn = standin.client("cloudformation", KEY, self.region)
        self.ec2 = standin.client("ec2", OTHER, self.region)
        self.numbers = itertools.count()

    def body(self, *cidrs):
        return {"TemplateBody": template(self.world, cidrs), "Parameters": parameters(self.world)}

    def create(self, *cidrs, name=STACK, **more):
        tags = [{"Key": "kubernetes:application", "Value": "kube-static-egress-controller"}]
        self.cfn.create_stack(StackName=name, Tags=tags, **self.body(*cidrs), **{**self.given, **more})
        return self.rest()

    def change(self, *cidrs, **more):
        return self.execute({**self.body(*cidrs), **more})

    def execute(self, what):
        name = f"c{next(self.numbers)}"
        self.cfn.create_change_set(StackName=STACK, ChangeSetName=name, **self.given, **what)
        self.standin.post("finish")
        self.cfn.execute_change_set(StackName=STACK, ChangeSetName=name)
        return self.rest()

    def rest(self):
        self.standin.post("finish")
        return self.cfn.describe_stacks(StackName=STACK)["Stacks"][0]["StackStatus"]

    def reasons(self):
        events = self.cfn.describe_stack_events(StackName=STACK)["StackEvents"]
        return " ".join(event.get("ResourceStatusReason") or "" for event in events)

    def state(self):
        return self.standin.get(f"state?region={self.region}")


@pytest.fixture(params=[(p, s) for p in REGIONS for s in (True, False)], ids=lambda it: f"{it[0]}-{'two' if it[1] else 'one'}")
def account(standin, request):
    return Account(standin, *request.param)


@pytest.fixture(params=[True, False], ids=["two", "one"])
def ours(standin, request):
    return Account(standin, "aws", request.param)


def code(call, *arguments, **named):
    with pytest.raises(ClientError) as raised:
        call(*arguments, **named)
    error = raised.value.response["Error"]
    return error["Code"], error["Message"]


def test_the_shipped_policies_take_a_stack_from_nothing_to_nothing(account):
    assert account.cfn.describe_stacks()["Stacks"] == []
    assert account.create("8.8.8.8/32") == "CREATE_COMPLETE", account.reasons()
    assert account.change("8.8.8.8/32", "192.112.0.0/21", Tags=[{"Key": "team", "Value": "a"}]) == "UPDATE_COMPLETE", account.reasons()
    assert account.change("192.112.0.0/21") == "UPDATE_COMPLETE", account.reasons()
    found = account.cfn.detect_stack_drift(StackName=STACK)["StackDriftDetectionId"]
    account.standin.post("finish")
    told = account.cfn.describe_stack_drift_detection_status(StackDriftDetectionId=found)
    assert told["DetectionStatus"] == "DETECTION_COMPLETE", told
    account.cfn.update_termination_protection(StackName=STACK, EnableTerminationProtection=False)
    account.cfn.delete_stack(StackName=STACK, **account.given)
    account.standin.post("finish")
    state = account.state()
    assert state["addresses"] == [] and {g["state"] for g in state["nat_gateways"]} == {"deleted"}
    assert [stack["status"] for stack in state["stacks"]] == ["DELETE_COMPLETE"]


def listed(ours, *cidrs):
    return {"TemplateBody": with_list(ours.world, cidrs), "Parameters": parameters(ours.world)}


def test_the_shipped_policies_take_prefix_lists_from_nothing_to_nothing(account):
    account.create("8.8.8.8/32")
    assert account.execute(listed(account, *CIDRS)) == "UPDATE_COMPLETE", account.reasons()
    assert account.execute({**listed(account, "1.1.1.1/32"), "Tags": [{"Key": "team", "Value": "a"}]}) == "UPDATE_COMPLETE", account.reasons()
    made, = account.state()["prefix_lists"]
    assert made["entries"] == ["1.1.1.1/32"] and made["tags"]["team"] == "a"
    ec2 = account.standin.client("ec2", KEY, account.region)
    assert len(ec2.get_managed_prefix_list_entries(PrefixListId=made["id"])["Entries"]) == 1
    change = dict(PrefixListId=made["id"], CurrentVersion=made["version"], RemoveEntries=[{"Cidr": "1.1.1.1/32"}])
    assert code(ec2.modify_managed_prefix_list, **change)[0] == "UnauthorizedOperation"
    assert account.change("8.8.8.8/32") == "UPDATE_COMPLETE", account.reasons()
    assert account.state()["prefix_lists"] == []


def test_a_list_without_the_tag_of_the_stack_is_not_changed(ours):
    ours.create("8.8.8.8/32")
    assert ours.execute(listed(ours, *CIDRS)) == "UPDATE_COMPLETE", ours.reasons()
    made, = ours.state()["prefix_lists"]
    ours.ec2.delete_tags(Resources=[made["id"]], Tags=[{"Key": "aws:cloudformation:stack-name"}])
    ours.execute(listed(ours, "1.1.1.1/32"))
    assert f"ec2:ModifyManagedPrefixList on resource: arn:aws:ec2:eu-central-1:123456789012:prefix-list/{made['id']}" in ours.reasons()
    assert ours.state()["prefix_lists"][0]["entries"] == sorted(CIDRS)


def test_a_creation_that_fails_leaves_no_address_behind(ours):
    ours.standin.fault(kind="resource_fails", logical_id="NATGateway1")
    assert ours.create("8.8.8.8/32") == "ROLLBACK_COMPLETE", ours.reasons()
    assert ours.state()["addresses"] == []


def test_a_lost_gateway_is_replaced(ours):
    ours.create("8.8.8.8/32")
    gateway = ours.state()["nat_gateways"][0]["id"]
    ours.ec2.delete_nat_gateway(NatGatewayId=gateway)
    ours.standin.post("finish")
    previous = [{"ParameterKey": p["ParameterKey"], "UsePreviousValue": True} for p in parameters(ours.world)]
    revert = {"UsePreviousTemplate": True, "Parameters": previous, "DeploymentMode": "REVERT_DRIFT"}
    assert ours.execute(revert) == "UPDATE_COMPLETE", ours.reasons()


@pytest.mark.parametrize("right", [
    "ec2:AllocateAddress", "ec2:DescribeNetworkAcls", "ec2:DescribeNetworkInterfaces", "ec2:CreateTags", "ec2:ReplaceRouteTableAssociation",
])
def test_a_right_that_a_handler_lacks_fails_the_stack(standin, right):
    ours = Account(standin, "aws", True)
    role = standin.get("settings")["roles"][ROLE]
    for statement in role["policy"]["Statement"]:
        statement["Action"] = [action for action in statement["Action"] if action != right] or ["ec2:DescribeVpcs"]
    standin.settings(roles={ROLE: role})
    assert ours.create("8.8.8.8/32") == "ROLLBACK_COMPLETE"
    assert f"is not authorized to perform: {right}" in ours.reasons()


def test_a_search_needs_the_right_to_list(standin):
    ours = Account(standin, "aws", True)
    policy = standin.get("settings")["policies"][KEY]
    policy["Statement"][0]["Action"].remove("cloudformation:ListStacks")
    standin.settings(policies={KEY: policy})
    found, text = code(ours.cfn.describe_stacks)
    assert found == "AccessDenied" and "cloudformation:ListStacks on resource: " in text
    assert code(ours.cfn.describe_stacks, StackName=STACK)[0] == "ValidationError"


@pytest.mark.parametrize("name", ["egress-static-nat-two", "egress-static-nat", "egress-static-nat-one-more", "other"])
def test_no_other_stack_can_be_touched(ours, name):
    assert code(ours.create, "8.8.8.8/32", name=name)[0] == "AccessDenied"
    other = ours.standin.client("cloudformation", OTHER)
    other.create_stack(StackName=name, **ours.body("8.8.8.8/32"))
    ours.standin.post("finish")
    cfn = ours.cfn
    for call in (
        lambda: cfn.delete_stack(StackName=name, **ours.given),
        lambda: cfn.create_change_set(StackName=name, ChangeSetName="c", **ours.given, **ours.body("1.1.1.1/32")),
        lambda: cfn.execute_change_set(StackName=name, ChangeSetName="c"),
        lambda: cfn.update_termination_protection(StackName=name, EnableTerminationProtection=False),
        lambda: cfn.set_stack_policy(StackName=name, StackPolicyBody="{}"),
        lambda: cfn.get_template(StackName=name),
        lambda: cfn.continue_update_rollback(StackName=name, **ours.given),
    ):
        assert code(call)[0] == "AccessDenied"
    elsewhere = ours.standin.client("cloudformation", KEY, "eu-west-1")
    assert code(elsewhere.create_stack, StackName=STACK, TemplateBody="{}", **ours.given)[0] == "AccessDenied"


def test_nothing_is_imported(ours):
    ours.create("8.8.8.8/32")
    foreign = ours.ec2.allocate_address(Domain="vpc")
    identifier = {"PublicIp": foreign["PublicIp"], "AllocationId": foreign["AllocationId"]}
    found, text = code(
        ours.cfn.create_change_set, StackName=STACK, ChangeSetName="c", ChangeSetType="IMPORT", **ours.given,
        ResourcesToImport=[{"ResourceType": "AWS::EC2::EIP", "LogicalResourceId": "Theirs", "ResourceIdentifier": identifier}],
        **ours.body("8.8.8.8/32"),
    )
    assert found == "AccessDenied" and "cloudformation:CreateChangeSet" in text


def test_cloudformation_acts_with_its_own_role_and_no_other(standin):
    ours = Account(standin, "aws", True)
    for role in ({}, {"RoleARN": "arn:aws:iam::123456789012:role/admin"}):
        ours.given = role
        assert code(ours.create, "8.8.8.8/32")[0] == "AccessDenied"
    ours.given = {"RoleARN": ROLE}
    ours.create("8.8.8.8/32")
    assert code(ours.cfn.delete_stack, StackName=STACK)[0] == "AccessDenied"
    ours = Account(standin, "aws", False)
    assert code(ours.create, "8.8.8.8/32", name="egress-static-nat-one", RoleARN=ROLE)[0] == "AccessDenied"


def test_the_role_is_for_our_stack_alone(standin):
    ours = Account(standin, "aws", True)
    other = standin.client("cloudformation", OTHER)
    found, text = code(other.create_stack, StackName="other", RoleARN=ROLE, **ours.body("8.8.8.8/32"))
    assert found == "ValidationError" and "cannot be assumed" in text


def test_routes_are_made_in_worker_tables_only(ours):
    table = ours.world["tables"][ours.region + "a"][0]
    ours.ec2.delete_tags(Resources=[table], Tags=[{"Key": "AvailabilityZone"}])
    assert ours.create("8.8.8.8/32") == "ROLLBACK_COMPLETE"
    assert f"ec2:CreateRoute on resource: arn:aws:ec2:eu-central-1:123456789012:route-table/{table}" in ours.reasons()


def test_routes_of_a_table_that_lost_its_tag_can_still_be_changed_and_removed(ours):
    ours.create("8.8.8.8/32", "1.1.1.1/32")
    for tables in ours.world["tables"].values():
        ours.ec2.delete_tags(Resources=tables, Tags=[{"Key": "AvailabilityZone"}])
    assert ours.change("1.1.1.1/32") == "UPDATE_COMPLETE", ours.reasons()


@pytest.mark.parametrize("kind", ["address", "gateway"])
def test_what_does_not_bear_the_tag_of_the_stack_is_not_deleted(ours, kind):
    ours.create("8.8.8.8/32")
    state = ours.state()
    address, gateway = state["addresses"][0]["allocation_id"], state["nat_gateways"][0]["id"]
    # Only AWS can take the tag away; here it stands for a resource of somebody else.
    ours.ec2.delete_tags(
        Resources=[address if kind == "address" else gateway], Tags=[{"Key": "aws:cloudformation:stack-name"}]
    )
    ours.cfn.delete_stack(StackName=STACK, **ours.given)
    assert ours.rest() == "DELETE_FAILED"
    left = ours.state()
    assert address in [a["allocation_id"] for a in left["addresses"]]
    if kind == "gateway":
        assert gateway in [g["id"] for g in left["nat_gateways"] if g["state"] == "available"]


def test_the_caller_has_no_right_of_its_own_to_write(ours):
    ec2 = ours.standin.client("ec2", KEY, ours.region)
    ours.create("8.8.8.8/32")
    table = ours.world["tables"][ours.region + "a"][0]
    address = ours.state()["addresses"][0]["allocation_id"]
    for call in (
        lambda: ec2.release_address(AllocationId=address),
        lambda: ec2.delete_route(RouteTableId=table, DestinationCidrBlock="8.8.8.8/32"),
        lambda: ec2.allocate_address(Domain="vpc"),
        lambda: ec2.create_tags(Resources=[table], Tags=[{"Key": "a", "Value": "b"}]),
    ):
        assert code(call)[0] == "UnauthorizedOperation"
    ec2.describe_route_tables()


def test_every_partition_that_botocore_knows_is_tested():
    session = botocore.session.get_session()
    assert set(REGIONS) == set(session.get_available_partitions())
    for name, region in REGIONS.items():
        assert session.get_partition_for_region(region) == iam.partition(region) == name
