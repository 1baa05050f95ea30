"""Limits, templates, S3, pages, tokens, and what is not there."""

import json

import pytest
from botocore.exceptions import ClientError

from .shapes import only, parameters, resource, template
from .test_ec2 import refused
from .test_stacks import NAME, code, events, make, update

TABLE = resource("RouteTable", VpcId="vpc-0")


def message(call, **arguments):
    with pytest.raises(ClientError) as raised:
        call(**arguments)
    assert code(raised)[0] == "ValidationError"
    return code(raised)[1]


def padded(size):
    text = only(A=resource("EIP", Domain="vpc"))
    return text + " " * (size - len(text))


@pytest.fixture
def bucket(standin):
    s3 = standin.client("s3")
    s3.create_bucket(Bucket="templates", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    return s3


def test_inline_size(standin, cfn):
    assert "less than or equal to 51200" in message(cfn.create_stack, StackName=NAME, TemplateBody=padded(51_201))
    cfn.create_stack(StackName=NAME, TemplateBody=padded(51_200))
    assert standin.wait(NAME) == "CREATE_COMPLETE"


@pytest.mark.parametrize(
    "url",
    [
        "https://templates.s3.eu-central-1.amazonaws.com/a/b.json",
        "https://templates.s3.amazonaws.com/a/b.json",
        "https://s3.eu-central-1.amazonaws.com/templates/a/b.json",
        "http://127.0.0.1:{port}/templates/a/b.json",
    ],
)
def test_template_from_s3(url, standin, cfn, bucket):
    bucket.put_object(Bucket="templates", Key="a/b.json", Body=padded(1_000_000).encode())
    cfn.create_stack(StackName=NAME, TemplateURL=url.format(port=standin.port))
    assert standin.wait(NAME) == "CREATE_COMPLETE"
    assert cfn.get_template(StackName=NAME)["TemplateBody"]["Resources"] == {"A": resource("EIP", Domain="vpc")}


def test_refusals_from_s3(standin, cfn, bucket):
    base = "https://templates.s3.eu-central-1.amazonaws.com/"
    bucket.put_object(Bucket="templates", Key="big", Body=padded(1_000_001).encode())
    assert "may not exceed 1000000 bytes" in message(cfn.create_stack, StackName=NAME, TemplateURL=base + "big")
    assert "key does not exist" in message(cfn.create_stack, StackName=NAME, TemplateURL=base + "none")
    other = base.replace("templates", "nothing")
    assert "bucket does not exist" in message(cfn.create_stack, StackName=NAME, TemplateURL=other + "x")
    assert message(cfn.create_stack, StackName=NAME, TemplateURL="https://example.com/x")
    assert message(cfn.create_stack, StackName=NAME)
    standin.fault(kind="access_denied", action="TemplateURL")
    assert "Access Denied" in message(cfn.create_stack, StackName=NAME, TemplateURL=base + "big")


def test_counts(standin, cfn):
    many = {f"T{n}": TABLE for n in range(501)}
    text = "Number of resources, 501, is greater than maximum allowed, 500"
    assert text in message(cfn.create_stack, StackName=NAME, TemplateBody=only(**many))
    names = {f"P{n}": {"Type": "String", "Default": "x"} for n in range(201)}
    body = json.dumps({"Parameters": names, "Resources": {"T": TABLE}})
    assert "Number of parameters, 201" in message(cfn.create_stack, StackName=NAME, TemplateBody=body)
    tags = [{"Key": f"k{n}", "Value": "v"} for n in range(51)]
    assert "50" in message(cfn.create_stack, StackName=NAME, TemplateBody=only(T=TABLE), Tags=tags)
    assert "128" in message(cfn.create_stack, StackName="a" * 129, TemplateBody=only(T=TABLE))
    assert "pattern" in message(cfn.create_stack, StackName="1abc", TemplateBody=only(T=TABLE))
    assert "128" in message(
        cfn.create_stack, StackName=NAME, TemplateBody=only(T=TABLE), ClientRequestToken="a" * 129)
    assert "aws:" in message(
        cfn.create_stack, StackName=NAME, TemplateBody=only(T=TABLE), Tags=[{"Key": "aws:x", "Value": "v"}])
    cfn.create_stack(StackName="a" * 128, TemplateBody=only(E=resource("EIP")), Tags=tags[:50], ClientRequestToken="t" * 128)
    assert standin.wait("a" * 128) == "CREATE_COMPLETE"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("{", "JSON not well-formed"),
        ("a: [", "YAML not well-formed"),
        ("{}", "At least one Resources member must be defined"),
        ('{"Resources": {"A": {}}}', "must contain a Type member"),
        ('{"Resources": {"A": {"Type": "AWS::EC2::Nothing"}}}', "Unrecognized resource types: [AWS::EC2::Nothing]"),
        ('{"Resources": {"A-b": {"Type": "AWS::EC2::EIP"}}}', "non alphanumeric"),
        ('{"Resources": {"A": {"Type": "AWS::EC2::EIP"}}, "Extra": 1}', "Invalid template property or properties [Extra]"),
        (only(A=resource("RouteTable", VpcId={"Ref": "No"})), "Unresolved resource dependencies [No] in the Resources block"),
        (
            only(A=resource("Route", RouteTableId={"Ref": "B"}), B=resource("RouteTable", VpcId={"Ref": "A"})),
            "Circular dependency",
        ),
        (
            only(A=resource("EIP"), B=resource("RouteTable", VpcId={"Fn::GetAtt": ["A", "Colour"]})),
            "does not support attribute type",
        ),
    ],
)
def test_bad_templates(body, text, cfn):
    assert text in message(cfn.create_stack, StackName=NAME, TemplateBody=body)
    assert text in message(cfn.validate_template, TemplateBody=body)
    assert cfn.describe_stacks()["Stacks"] == []


def test_parameters(world, cfn):
    body = template(world)
    assert "must have values" in message(cfn.create_stack, StackName=NAME, TemplateBody=body)
    extra = parameters(world) + [{"ParameterKey": "Other", "ParameterValue": "x"}]
    text = "Parameters: [Other] do not exist in the template"
    assert message(cfn.create_stack, StackName=NAME, TemplateBody=body, Parameters=extra) == text
    found = cfn.validate_template(TemplateBody=body)
    assert {p["ParameterKey"] for p in found["Parameters"]} >= {"VPCIDParameter"}
    assert len(cfn.get_template_summary(TemplateBody=body)["ResourceTypes"]) == 6


def test_previous_template_and_values(standin, world, cfn):
    make(cfn, world)
    standin.wait(NAME)
    previous = [{"ParameterKey": p["ParameterKey"], "UsePreviousValue": True} for p in parameters(world)]
    cfn.update_stack(
        StackName=NAME, UsePreviousTemplate=True, Parameters=previous, Tags=[{"Key": "a", "Value": "b"}])
    assert standin.wait(NAME) == "UPDATE_COMPLETE"


def test_functions_and_yaml(standin, world, cfn):
    body = f"""
Parameters: {{Zone: {{Type: String, Default: eu-central-1a}}}}
Resources:
  Table:
    Type: AWS::EC2::RouteTable
    Properties:
      VpcId: {world["vpc_id"]}
      Tags:
        - {{Key: Name, Value: !Sub "nat-${{Zone}}"}}
        - {{Key: Full, Value: !Join ["/", [!Ref AWS::StackName, !Ref AWS::Region, !Select [1, [a, b]]]]}}
        - {{Key: Id, Value: !Ref AWS::StackId}}
  Other:
    Type: AWS::EC2::RouteTable
    DependsOn: Table
    Properties: {{VpcId: {world["vpc_id"]}, Tags: [{{Key: Name, Value: !GetAtt Table.RouteTableId}}]}}
"""
    arn = cfn.create_stack(StackName=NAME, TemplateBody=body)["StackId"]
    assert standin.wait(NAME) == "CREATE_COMPLETE"
    tables = {t["tags"]["Name"]: t for t in standin.state()["route_tables"] if "Name" in t["tags"]}
    table = tables["nat-eu-central-1a"]
    assert table["tags"]["Full"] == f"{NAME}/eu-central-1/b" and table["tags"]["Id"] == arn
    assert table["id"] in tables


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("describe_stacks", {}), ("describe_stack_events", {}), ("describe_stack_resources", {}),
        ("list_stack_resources", {}), ("get_template", {}), ("list_change_sets", {}),
        ("update_termination_protection", {"EnableTerminationProtection": False}),
        ("update_stack", {"TemplateBody": only(E=resource("EIP"))}), ("cancel_update_stack", {}),
        ("continue_update_rollback", {}), ("set_stack_policy", {"StackPolicyBody": "{}"}),
        ("detect_stack_drift", {}), ("describe_stack_resource_drifts", {}),
    ],
)
def test_what_does_not_exist(name, more, cfn):
    text = message(getattr(cfn, name), StackName="nothing", **more)
    assert "does not exist" in text and "nothing" in text
    cfn.delete_stack(StackName="nothing")


def test_tokens_make_one_operation(standin, world, cfn):
    first = make(cfn, world, ClientRequestToken="t-1")
    assert make(cfn, world, ClientRequestToken="t-1") == first
    standin.wait(NAME)
    assert make(cfn, world, ClientRequestToken="t-1") == first
    assert refused(cfn.delete_stack, StackName=NAME, ClientRequestToken="t-1") == "TokenAlreadyExistsException"
    body = template(world, ("1.1.1.1/32",))
    for _ in range(2):
        update(cfn, world, body, ClientRequestToken="t-2")
    standin.wait(NAME)
    update(cfn, world, body, ClientRequestToken="t-2")
    assert standin.wait(NAME) == "UPDATE_COMPLETE"
    starts = [e for e in events(cfn) if e["ResourceStatus"] == "UPDATE_IN_PROGRESS" and e["LogicalResourceId"] == NAME]
    assert len(starts) == 1


def test_pages(standin, world, cfn):
    make(cfn, world, tuple(f"8.8.{n}.0/24" for n in range(40)))
    standin.wait(NAME)
    first = cfn.list_stack_resources(StackName=NAME)
    assert len(first["StackResourceSummaries"]) == 100 and "NextToken" in first
    pages = cfn.get_paginator("list_stack_resources").paginate(StackName=NAME)
    everything = [r["LogicalResourceId"] for page in pages for r in page["StackResourceSummaries"]]
    assert len(everything) == len(set(everything)) == 138
    assert len(cfn.describe_stack_resources(StackName=NAME)["StackResources"]) == 100
    one = cfn.describe_stack_resources(StackName=NAME, LogicalResourceId="EIP1")["StackResources"]
    assert one[0]["PhysicalResourceId"].count(".") == 3
    shown = cfn.describe_stack_events(StackName=NAME)
    assert len(shown["StackEvents"]) == 100 and "NextToken" in shown
    assert shown["StackEvents"][0]["ResourceStatus"] == "CREATE_COMPLETE"
    assert len(events(cfn)) == 2 + 3 * 138


def test_many_foreign_stacks(standin, cfn):
    standin.post("foreign-stacks", {"count": 250, "prefix": "other", "tags": {"team": "x"}})
    pages = list(cfn.get_paginator("describe_stacks").paginate())
    assert [len(page["Stacks"]) for page in pages] == [100, 100, 50]
    assert pages[0]["Stacks"][0]["Tags"] == [{"Key": "team", "Value": "x"}]
    listed = cfn.get_paginator("list_stacks").paginate(StackStatusFilter=["CREATE_COMPLETE"])
    assert len([s for page in listed for s in page["StackSummaries"]]) == 250
    assert cfn.list_stacks(StackStatusFilter=["DELETE_COMPLETE"])["StackSummaries"] == []
