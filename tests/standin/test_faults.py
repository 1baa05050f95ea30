"""Faults on request, and what each service's client sees of them."""

import concurrent.futures
import time

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError
from botocore.parsers import ResponseParserError

from . import identity
from .shapes import template
from .test_ec2 import refused
from .test_stacks import NAME, code, make

BROKEN = (ConnectionClosedError, EndpointConnectionError)
# What botocore makes of a page.
UNREADABLE = (ClientError, KeyError, ResponseParserError)
CODES = {
    "throttle": ("Throttling", "RequestLimitExceeded", "SlowDown"),
    "error500": ("InternalFailure", "InternalError", "InternalError"),
    "access_denied": ("AccessDenied", "UnauthorizedOperation", "AccessDenied"),
    "expired_token": ("ExpiredToken", "RequestExpired", "ExpiredToken"),
    "invalid_credentials": ("InvalidClientTokenId", "AuthFailure", "InvalidAccessKeyId"),
}


@pytest.mark.parametrize("kind", CODES)
def test_each_service_has_its_own_words(kind, standin):
    standin.fault(kind=kind)
    found = (
        refused(standin.client("cloudformation").list_stacks),
        refused(standin.client("ec2").describe_vpcs),
        refused(standin.client("s3").list_buckets),
    )
    assert found == CODES[kind]
    assert {entry["fault"] for entry in standin.log()} == {kind}
    standin.control("DELETE", "faults")
    standin.client("cloudformation").list_stacks()


def test_a_policy_denies_what_it_does_not_allow(standin, world):
    statement = {"Effect": "Allow", "Action": ["ec2:DescribeVpcs", "ec2:CreateVpc"], "Resource": "*"}
    via = {**statement, "Action": "ec2:DescribeSubnets", "Condition": {"StringEquals": {"aws:CalledVia": ["x"]}}}
    stacks = "arn:aws:cloudformation:*:*:stack/mine*/*"
    create = {"Effect": "Allow", "Action": "cloudformation:CreateStack", "Resource": stacks}
    standin.settings(policies={"AKIAREPLICA": {"Statement": [statement, via, create]}})
    ec2, cfn = standin.client("ec2"), standin.client("cloudformation")
    ec2.describe_vpcs()
    assert refused(ec2.describe_subnets) == "UnauthorizedOperation"

    def create_stack(**parameters):
        return refused(lambda: cfn.create_stack(TemplateBody="no template", **parameters))

    assert create_stack(StackName="mine-1") == "ValidationError"
    assert create_stack(StackName="other") == "AccessDenied"
    assert create_stack(StackName="mine-2", RoleARN="arn:aws:iam::123456789012:role/r") == "AccessDenied"
    standin.client("ec2", "AKIAOTHERAAAAAAAAAAA").describe_subnets()


def test_limits_on_action_key_stack_and_times(standin, world, cfn):
    standin.fault(kind="throttle", action="Describe*", access_key="AKIAREPLICA*", times=2)
    standin.fault(kind="throttle", action="CreateStack", stack="other")
    other = standin.client("cloudformation", "AKIAOTHERAAAAAAAAAAA")
    other.describe_stacks()
    for _ in range(2):
        assert refused(cfn.describe_stacks) == "Throttling"
    cfn.describe_stacks()
    make(cfn, world)
    assert refused(cfn.create_stack, StackName="other", TemplateBody=template(world)) == "Throttling"
    hits = {fault["action"]: fault["hits"] for fault in standin.get("faults")["faults"]}
    assert hits == {"Describe*": 2, "CreateStack": 1}


def test_lists_of_ec2_that_leave_everything_out(standin, world, ec2):
    ip = ec2.allocate_address(Domain="vpc")["PublicIp"]
    standin.fault(kind="empty", service="ec2", action="DescribeAddresses")
    for answer in (ec2.describe_addresses(), ec2.describe_addresses(PublicIps=[ip])):
        assert answer.get("Addresses", []) == []
    assert len(ec2.describe_subnets()["Subnets"]) == 3
    standin.control("DELETE", "faults")
    assert [address["PublicIp"] for address in ec2.describe_addresses()["Addresses"]] == [ip]
    for wrong in ({"service": "ec2", "action": "CreateRoute"}, {"action": "DescribeStacks"}, {}):
        with pytest.raises(ValueError):
            standin.fault(kind="empty", **wrong)


def test_chance_repeats_with_the_seed(standin):
    def run():
        standin.post("reset", {"seed": 7})
        standin.fault(kind="throttle", probability=0.3)
        results = []
        client = standin.client("cloudformation")
        for _ in range(60):
            try:
                client.list_stacks()
                results.append(True)
            except ClientError:
                results.append(False)
        return results

    first = run()
    assert first == run() and 5 < first.count(False) < 35


def test_reset_before_leaves_no_trace_and_after_leaves_the_stack(standin, world, cfn):
    standin.fault(kind="reset_before", action="CreateStack", times=1)
    with pytest.raises(BROKEN):
        make(cfn, world, ClientRequestToken="t")
    assert standin.state()["stacks"] == []
    standin.fault(kind="reset_after", action="CreateStack", times=1)
    with pytest.raises(BROKEN):
        make(cfn, world, ClientRequestToken="t")
    assert [s["name"] for s in standin.state()["stacks"]] == [NAME]
    arn = make(cfn, world, ClientRequestToken="t")
    assert standin.wait(arn) == "CREATE_COMPLETE"
    results = [e["result"] for e in standin.log(action="CreateStack")]
    assert results == ["reset", "ok", "ok"]


def test_error_after_execution(standin, world, cfn):
    standin.fault(kind="error500_after", action="CreateStack", times=1)
    with pytest.raises(ClientError) as raised:
        make(cfn, world)
    assert code(raised)[0] == "InternalFailure"
    assert standin.wait(NAME) == "CREATE_COMPLETE"


def test_a_page_in_place_of_an_answer(standin, world, cfn):
    standin.fault(kind="page", action="CreateStack", times=1)
    with pytest.raises(UNREADABLE):
        make(cfn, world)
    assert standin.state()["stacks"] == []
    standin.fault(kind="page_after", action="CreateStack", times=1)
    with pytest.raises(UNREADABLE):
        make(cfn, world)
    assert standin.wait(NAME) == "CREATE_COMPLETE"


def test_delay_holds_up_only_the_one_who_asked(standin, cfn):
    standin.fault(kind="delay", ms=600, access_key="AKIASLOW*")
    slow = standin.client("cloudformation", "AKIASLOWAAAAAAAAAAAA")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        began = time.monotonic()
        waiting = pool.submit(slow.list_stacks)
        time.sleep(0.1)
        cfn.list_stacks()
        assert time.monotonic() - began < 0.5
        waiting.result()
        assert time.monotonic() - began >= 0.6


def test_only_known_keys(standin, cfn):
    standin.settings(known_access_keys=["AKIAREPLICAAAAAAAAAA"])
    cfn.list_stacks()
    rotated = standin.client("cloudformation", "AKIAROTATEDAAAAAAAAA")
    assert refused(rotated.list_stacks) == "InvalidClientTokenId"
    standin.settings(known_access_keys=None)
    rotated.list_stacks()


def assume(standin, token):
    role = "arn:aws:iam::123456789012:role/controller"
    return standin.client("sts").assume_role_with_web_identity(
        RoleArn=role, RoleSessionName="session", WebIdentityToken=token)


def test_role_from_a_web_identity(standin):
    answer = assume(standin, identity.token(name="replica-1"))
    key = answer["Credentials"]["AccessKeyId"]
    standin.client("cloudformation", key).list_stacks()
    assert standin.log(action="ListStacks")[0]["access_key"] == key
    entry = standin.log(action="AssumeRoleWithWebIdentity")[0]
    assert (entry["mutating"], entry["pod"], entry["issued"]) == (False, "replica-1", key)


@pytest.mark.parametrize("token, code", [
    ("token", "InvalidIdentityToken"),
    (identity.token(audience="https://kubernetes.default.svc"), "InvalidIdentityToken"),
    (identity.token(expires=1_700_000_000), "ExpiredTokenException"),
])
def test_a_web_identity_that_sts_refuses(standin, token, code):
    assert refused(lambda: assume(standin, token)) == code


def test_wrong_faults_are_refused(standin):
    for wrong in ({"kind": "nonsense"}, {"kind": "throttle", "colour": 1}, {"kind": "throttle", "probability": 2}, {}):
        with pytest.raises(ValueError):
            standin.fault(**wrong)
    assert standin.get("faults")["faults"] == []


def test_an_action_nobody_knows(standin):
    assert refused(standin.client("cloudformation").list_types) == "InvalidAction"
