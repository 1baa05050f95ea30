"""The control API: worlds, clocks, staleness, the log, forced states, and the same ids for the same seed."""

import time

import pytest
from botocore.exceptions import ClientError

from .shapes import parameters, template
from .test_ec2 import refused
from .test_stacks import NAME, code, events, make, update


def status(cfn, name=NAME):
    return cfn.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]


def test_world_is_all_there_is(standin, world):
    state = standin.state()
    assert [v["id"] for v in state["vpcs"]] == [world["vpc_id"]] and state["vpcs"][0]["default"]
    assert len(state["subnets"]) == 3 and len(state["route_tables"]) == 4
    table = next(t for t in state["route_tables"] if t["id"] == world["tables"]["eu-central-1b"][0])
    assert table["tags"] == {"AvailabilityZone": "eu-central-1b", "Name": "dmz-eu-central-1b", "Type": "dmz"}
    assert {"cidr": "0.0.0.0/0", "target": world["igw_id"], "state": "active"} in table["routes"]
    assert table["associations"][0]["subnet"] == world["subnets"]["eu-central-1b"]


def test_other_worlds(standin):
    first = standin.post("world", {
        "zones": ["eu-west-1a"], "region": "eu-west-1", "vpc_cidr": "10.0.0.0/24", "default": False,
        "tables_per_zone": 2, "tags": {"Type": "other", "more": "1"}, "internet_gateway": False})
    assert len(first["tables"]["eu-west-1a"]) == 2 and first["igw_id"] is None
    state = standin.get("state?region=eu-west-1")
    assert state["vpcs"] == [{"id": first["vpc_id"], "cidr": "10.0.0.0/24", "default": False}]
    assert {t["tags"].get("Type") for t in state["route_tables"] if not t["main"]} == {"other"}
    standin.post("world", {"zones": ["eu-west-1b"], "region": "eu-west-1", "vpc_cidr": "10.1.0.0/24", "keep": True})
    assert len(standin.get("state?region=eu-west-1")["vpcs"]) == 2
    with pytest.raises(ValueError):
        standin.post("world", {"colour": "red"})


def test_regions_do_not_see_each_other(standin, world, cfn):
    make(cfn, world)
    other = standin.client("cloudformation", region="eu-west-1")
    assert refused(other.describe_stacks, StackName=NAME) == "ValidationError"


def test_same_seed_same_ids(standin):
    def run():
        standin.post("reset", {"seed": 5})
        standin.settings(clock="virtual")
        world = standin.post("world", {})
        cfn = standin.client("cloudformation")
        make(cfn, world)
        standin.post("clock", {"advance_ms": 1000})
        update(cfn, world, template(world, ("1.1.1.1/32",)))
        standin.post("clock", {"advance_ms": 1000})
        return standin.state(), events(cfn)

    first = run()
    assert first[0]["stacks"][0]["status"] == "UPDATE_COMPLETE"
    assert first == run()


def test_virtual_clock_stands_still(standin, world, cfn):
    standin.settings(clock="virtual", operation_ms=60_000)
    make(cfn, world)
    time.sleep(0.2)
    assert status(cfn) == "CREATE_IN_PROGRESS"
    standin.post("clock", {"advance_ms": 30_000})
    assert status(cfn) == "CREATE_IN_PROGRESS"
    half = len(events(cfn))
    standin.post("clock", {"advance_ms": 60_000})
    assert status(cfn) == "CREATE_COMPLETE" and 5 < half < len(events(cfn))
    story = events(cfn)
    assert 50 < (story[-1]["Timestamp"] - story[0]["Timestamp"]).total_seconds() <= 60
    with pytest.raises(ValueError):
        standin.post("clock", {"advance_ms": -1})


def test_steps_per_request(standin, world, cfn):
    standin.settings(steps_per_request=5)
    make(cfn, world)
    looks = 1
    while status(cfn) == "CREATE_IN_PROGRESS":
        looks += 1
    assert 3 < looks < 10


def test_stale_by_time(standin, world, cfn):
    standin.settings(clock="virtual", stale_describe_ms=5_000, stale_events_ms=2_000)
    make(cfn, world)
    assert refused(cfn.describe_stacks, StackName=NAME) == "ValidationError"
    standin.post("clock", {"advance_ms": 5_001})
    assert status(cfn) == "CREATE_IN_PROGRESS"
    standin.post("clock", {"advance_ms": 1_000})
    assert status(cfn) == "CREATE_COMPLETE"
    update(cfn, world, template(world, ("1.1.1.1/32",)))
    standin.post("clock", {"advance_ms": 1_000})
    assert standin.state()["stacks"][0]["status"] == "UPDATE_COMPLETE"
    assert status(cfn) == "CREATE_COMPLETE" and events(cfn)[-1]["ResourceStatus"] == "CREATE_COMPLETE"
    standin.post("clock", {"advance_ms": 1_500})
    assert events(cfn)[-1]["ResourceStatus"] == "UPDATE_COMPLETE" and status(cfn) == "CREATE_COMPLETE"
    standin.post("clock", {"advance_ms": 5_000})
    assert status(cfn) == "UPDATE_COMPLETE"


def test_stale_by_reads(standin, world, cfn):
    make(cfn, world)
    standin.wait(NAME)
    standin.settings(stale_describe_reads=2)
    update(cfn, world, template(world, ("1.1.1.1/32",)))
    assert [status(cfn), status(cfn)] == ["CREATE_COMPLETE"] * 2
    assert status(cfn).startswith("UPDATE_")
    assert standin.wait(NAME) == "UPDATE_COMPLETE"


ALL = [
    "CREATE_IN_PROGRESS", "CREATE_FAILED", "CREATE_COMPLETE", "ROLLBACK_IN_PROGRESS", "ROLLBACK_FAILED",
    "ROLLBACK_COMPLETE", "DELETE_IN_PROGRESS", "DELETE_FAILED", "UPDATE_IN_PROGRESS",
    "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "UPDATE_COMPLETE", "UPDATE_FAILED", "UPDATE_ROLLBACK_IN_PROGRESS",
    "UPDATE_ROLLBACK_FAILED", "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS", "UPDATE_ROLLBACK_COMPLETE",
    "REVIEW_IN_PROGRESS", "IMPORT_IN_PROGRESS", "IMPORT_COMPLETE", "IMPORT_ROLLBACK_IN_PROGRESS",
    "IMPORT_ROLLBACK_FAILED", "IMPORT_ROLLBACK_COMPLETE", "FUTURE_STATE_X",
]
UPDATABLE = {"CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "UPDATE_FAILED",
             "IMPORT_COMPLETE", "IMPORT_ROLLBACK_COMPLETE"}


def test_every_state_can_be_entered(standin, world, cfn):
    make(cfn, world)
    standin.wait(NAME)
    for forced in ALL:
        standin.post("stack-status", {"stack": NAME, "status": forced, "reason": "because"})
        shown = cfn.describe_stacks(StackName=NAME)["Stacks"][0]
        assert (shown["StackStatus"], shown["StackStatusReason"]) == (forced, "because")
        if forced not in UPDATABLE:
            assert refused(
                cfn.update_stack, StackName=NAME, TemplateBody=template(world, ("1.1.1.1/32",)),
                Parameters=parameters(world)) == "ValidationError"
    standin.post("stack-status", {"stack": NAME, "status": "UPDATE_ROLLBACK_FAILED"})
    cfn.continue_update_rollback(StackName=NAME)
    assert standin.wait(NAME) == "UPDATE_ROLLBACK_COMPLETE"
    standin.post("stack-status", {"stack": NAME, "status": "DELETE_COMPLETE"})
    assert refused(cfn.describe_stacks, StackName=NAME) == "ValidationError"
    with pytest.raises(ValueError):
        standin.post("stack-status", {"stack": "nothing", "status": "CREATE_COMPLETE"})


def test_log_tells_who_wrote(standin, world):
    leader = standin.client("cloudformation", "AKIALEADERAAAAAAAAAA")
    follower = standin.client("cloudformation", "AKIAFOLLOWERAAAAAAAA")
    make(leader, world, ClientRequestToken="tok")
    follower.describe_stacks()
    standin.wait(NAME)
    standin.client("s3", "AKIALEADERAAAAAAAAAA").create_bucket(
        Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    standin.client("s3", "AKIALEADERAAAAAAAAAA").put_object(Bucket="bucket", Key="k/v", Body=b"x")
    entries = standin.log()
    writers = {e["access_key"] for e in entries if e["mutating"]}
    assert writers == {"AKIALEADERAAAAAAAAAA"}
    created = standin.log(action="CreateStack")[0]
    assert (created["stack"], created["token"], created["result"]) == (NAME, "tok", "ok")
    assert created["service"] == "cloudformation" and created["region"] == "eu-central-1"
    assert created["params"]["TemplateBody"]["bytes"] == len(template(world)) and "Boto3" in created["user_agent"]
    assert standin.log(action="PutObject")[0]["params"]["path"] == "/bucket/k/v"
    # What CloudFormation does in EC2 by itself is nobody's request.
    assert not standin.log(service="ec2")
    last = standin.get("log")["last"]
    leader.list_stacks()
    assert [e["action"] for e in standin.get(f"log?since={last}")["entries"]] == ["ListStacks"]
    assert [e["n"] for e in standin.log()] == list(range(1, last + 2))
    assert [e["action"] for e in standin.get("log?mutating=true")["entries"]] == ["CreateStack", "CreateBucket", "PutObject"]


def test_error_codes_in_the_log(standin, cfn):
    refused(cfn.describe_stacks, StackName="nothing")
    assert standin.log()[0]["result"] == "ValidationError"
    refused(standin.client("s3").get_object, Bucket="none", Key="k")
    assert standin.log()[1]["result"] == "NoSuchBucket"


def test_reset_forgets_everything(standin, world, cfn):
    make(cfn, world)
    standin.fault(kind="throttle")
    standin.settings(operation_ms=9, clock="virtual")
    standin.post("reset", {"seed": 1})
    assert standin.get("log") == {"entries": [], "last": 0}
    assert standin.get("faults") == {"faults": []}
    settings = standin.get("settings")
    assert settings["clock"] == "wall" and settings["operation_ms"] == 150
    assert standin.state()["stacks"] == [] and cfn.describe_stacks()["Stacks"] == []


def test_wrong_control_calls(standin):
    for path, body in (("settings", {"colour": 1}), ("settings", {"eip_quota": "x"}), ("settings", {"clock": "sun"}),
                       ("settings", {"revert_drift": "perhaps"}), ("nowhere", {}), ("clock", {"advance_ms": 5})):
        with pytest.raises(ValueError):
            standin.post(path, body)
    assert standin.get("health") == {"ok": True}


def test_role_arn_and_attributes_are_kept(standin, world, cfn):
    role = "arn:aws:iam::123456789012:role/cloudformation"
    make(cfn, world, RoleARN=role, Tags=[{"Key": "a", "Value": "b"}])
    shown = cfn.describe_stacks(StackName=NAME)["Stacks"][0]
    assert shown["RoleARN"] == role and shown["Tags"] == [{"Key": "a", "Value": "b"}]
    assert {p["ParameterKey"] for p in shown["Parameters"]} == {p["ParameterKey"] for p in parameters(world)}
    assert shown["Description"] == "Static Egress Stack"


def test_hundreds_of_routes_are_quick(standin, world, cfn):
    cidrs = tuple(f"9.{n // 256}.{n % 256}.0/24" for n in range(70))
    began = time.monotonic()
    with pytest.raises(ClientError) as raised:
        make(cfn, world, tuple(f"9.0.{n}.0/24" for n in range(161)))
    assert code(raised)[0] == "ValidationError"
    make(cfn, world, cidrs)
    assert standin.wait(NAME) == "CREATE_COMPLETE"
    assert time.monotonic() - began < 5
