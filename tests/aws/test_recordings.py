"""Recordings tell nothing of the account, and two answers are compared by what they mean."""

import json

from .redact import Redactor
from .replay import differences, settled

ACCOUNT = "555566667777"


def test_the_same_id_becomes_the_same_substitute_everywhere():
    redactor = Redactor("walk1", ACCOUNT)
    answer = redactor.answer({"Vpc": {"VpcId": "vpc-0123456789abcdef0", "OwnerId": ACCOUNT}, "ResponseMetadata": {"RequestId": "x"}})
    assert answer == {"Vpc": {"VpcId": "vpc-00000000000000001", "OwnerId": "123456789012"}}
    text = redactor.text(f"arn:aws:ec2:eu-west-1:{ACCOUNT}:vpc/vpc-0123456789abcdef0 of walk1-vpc, RouteToNATrtb0123456789abcdef0z")
    assert text.startswith("arn:aws:ec2:eu-west-1:123456789012:vpc/vpc-00000000000000001 of RUN-vpc")


def test_an_id_in_a_name_without_hyphen_is_replaced_once_it_is_known():
    redactor = Redactor("walk1", ACCOUNT)
    redactor.text("rtb-0123456789abcdef0")
    assert redactor.text("RouteToNATrtb0123456789abcdef0z8x8x8x8y32") == "RouteToNATrtb00000000000000001z8x8x8x8y32"


def test_addresses_and_secrets_are_not_kept():
    redactor = Redactor("walk1", ACCOUNT)
    answer = redactor.answer({
        "PublicIp": "3.4.5.6", "Text": "3.4.5.6 and 203.0.113.0/24", "SecretAccessKey": "s",
        "VpnConnection": {"CustomerGatewayConfiguration": "<pre_shared_key>", "Key": "AKIAIOSFODNN7EXAMPLE"},
    })
    assert answer == {
        "PublicIp": "192.0.2.1", "Text": "192.0.2.1 and 203.0.113.0/24", "VpnConnection": {"Key": "PRINCIPAL"}}


def test_what_others_have_is_only_counted():
    redactor = Redactor("walk1", ACCOUNT)
    mine = {"VpcId": "vpc-0123456789abcdef0", "Tags": [{"Key": "egress-test-run", "Value": "walk1"}]}
    answer = redactor.answer({"Vpcs": [{"VpcId": "vpc-0fedcba9876543210", "Tags": [{"Key": "Name", "Value": "secret"}]}, mine]})
    assert answer["VpcsOfOthers"] == 1 and [vpc["VpcId"] for vpc in answer["Vpcs"]] == ["vpc-00000000000000001"]
    # A subnet without a tag is the run's when its VPC is.
    subnets = redactor.answer({"Subnets": [{"SubnetId": "subnet-0123456789abcdef0", "VpcId": "vpc-0123456789abcdef0"}]})
    assert len(subnets["Subnets"]) == 1
    assert "secret" not in json.dumps(answer)


def test_ids_are_learnt_and_lists_have_no_order():
    known = {}
    recorded = {"Subnets": [{"SubnetId": "subnet-00000000000000001", "Zone": "a"}, {"SubnetId": "subnet-00000000000000002", "Zone": "b"}]}
    actual = {"Subnets": [{"SubnetId": "subnet-bbb", "Zone": "b"}, {"SubnetId": "subnet-aaa", "Zone": "a"}]}
    assert differences(recorded, actual, "", known) == []
    assert known == {"subnet-00000000000000001": "subnet-aaa", "subnet-00000000000000002": "subnet-bbb"}
    swapped = {"Subnets": [{"SubnetId": "subnet-bbb", "Zone": "a"}, {"SubnetId": "subnet-aaa", "Zone": "b"}]}
    assert len(differences(recorded, swapped, "", known)) == 2


def test_what_differs_is_named():
    recorded = {"State": "available", "Only": "x", "Many": [1, 2], "At": "2026-01-01T00:00:00Z"}
    actual = {"State": "pending", "More": "y", "Many": [1], "At": "2027-01-01T00:00:00Z"}
    assert sorted(differences(recorded, actual, "", {})) == [
        "Many has fewer items", "More is not in the recording", "Only is missing", "State: 'available' recorded, 'pending' here"]


def test_of_what_is_asked_again_only_the_last_counts():
    def line(action, answer, **parameters):
        return {"service": "ec2", "action": action, "parameters": parameters, "answer": answer}

    lines = [
        line("CreateRoute", {}), line("DescribeVpcs", {"n": 1}), line("DescribeStacks", {"S": "CREATE_IN_PROGRESS"}),
        line("DescribeStacks", {"S": "CREATE_COMPLETE"}), line("DescribeSubnets", {"n": 2}), line("DeleteRoute", {}),
    ]
    sent = [(one["action"], firm) for one, firm in settled(lines)]
    assert sent == [
        ("CreateRoute", True), ("DescribeVpcs", False), ("DescribeStacks", True), ("DescribeSubnets", True), ("DeleteRoute", True)]
