"""Creating, updating and deleting: asynchronous, with events, and with a way back."""

import json

import pytest
from botocore.exceptions import ClientError
from .shapes import only, parameters, resource, routes, template

NAME = "egress-static-nat-test"


def make(cfn, world, cidrs=("8.8.8.8/32",), **more):
    return cfn.create_stack(
        StackName=NAME, TemplateBody=template(world, cidrs), Parameters=parameters(world), **more
    )["StackId"]


def update(cfn, world, body, **more):
    return cfn.update_stack(StackName=NAME, TemplateBody=body, Parameters=parameters(world), **more)


def events(cfn, stack=NAME):
    pages = cfn.get_paginator("describe_stack_events").paginate(StackName=stack)
    return [event for page in pages for event in page["StackEvents"]][::-1]


def code(raised):
    return raised.value.response["Error"]["Code"], raised.value.response["Error"]["Message"]


def test_create_is_asynchronous_and_builds_everything(standin, world, cfn):
    arn = make(cfn, world, ClientRequestToken="token-1")
    assert cfn.describe_stacks(StackName=NAME)["Stacks"][0]["StackStatus"] == "CREATE_IN_PROGRESS"
    assert standin.wait(NAME) == "CREATE_COMPLETE"
    state = standin.state()
    assert len(state["nat_gateways"]) == len(state["addresses"]) == 3
    for zone, (table,) in world["tables"].items():
        route = routes(state, table)["8.8.8.8/32"]
        gateway = next(g for g in state["nat_gateways"] if g["id"] == route["target"])
        assert gateway["az"] == zone and route["state"] == "active"
    nat_tables = [t for t in state["route_tables"] if t["tags"].get("Name") == "nat-eu-central-1a"]
    assert len(nat_tables) == 1 and len(nat_tables[0]["associations"]) == 1
    stack = cfn.describe_stacks(StackName=arn)["Stacks"][0]
    assert {o["OutputValue"] for o in stack["Outputs"]} == {a["public_ip"] for a in state["addresses"]}


def test_events_tell_the_story_under_the_token(standin, world, cfn):
    make(cfn, world, ClientRequestToken="token-1")
    standin.wait(NAME)
    story = events(cfn)
    assert {event["ClientRequestToken"] for event in story} == {"token-1"}
    assert (story[0]["ResourceType"], story[0]["ResourceStatus"]) == ("AWS::CloudFormation::Stack", "CREATE_IN_PROGRESS")
    assert (story[-1]["LogicalResourceId"], story[-1]["ResourceStatus"]) == (NAME, "CREATE_COMPLETE")
    of_gateway = [e["ResourceStatus"] for e in story if e["LogicalResourceId"] == "NATGateway1"]
    assert of_gateway == ["CREATE_IN_PROGRESS", "CREATE_IN_PROGRESS", "CREATE_COMPLETE"]
    place = {(e["LogicalResourceId"], e["ResourceStatus"]): n for n, e in enumerate(story)}
    assert place["EIP1", "CREATE_COMPLETE"] < place["NATGateway1", "CREATE_IN_PROGRESS"]
    assert [e["Timestamp"] for e in story] == sorted(e["Timestamp"] for e in story)


def test_update_adds_and_removes_routes_only(standin, world, cfn):
    standin.settings(note_gaps="true")
    make(cfn, world, ("8.8.8.8/32", "192.112.0.0/21"))
    standin.wait(NAME)
    before = standin.state()
    update(cfn, world, template(world, ("192.112.0.0/21", "1.1.1.1/32")), ClientRequestToken="token-2")
    assert standin.wait(NAME) == "UPDATE_COMPLETE"
    after = standin.state()
    for table in world["tables"].values():
        assert set(routes(after, table[0])) == {"0.0.0.0/0", "192.112.0.0/21", "1.1.1.1/32"}
    assert sorted(after["gaps"]) == sorted([table[0], "8.8.8.8/32"] for table in world["tables"].values())
    for key in ("addresses", "nat_gateways", "subnets"):
        assert after[key] == before[key]
    mine = [e for e in events(cfn) if e.get("ClientRequestToken") == "token-2"]
    statuses = [e["ResourceStatus"] for e in mine if e["LogicalResourceId"] == NAME]
    assert statuses == ["UPDATE_IN_PROGRESS", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "UPDATE_COMPLETE"]


def test_delete_leaves_nothing_but_deleted_gateways(standin, world, cfn):
    before = standin.state()
    arn = make(cfn, world)
    standin.wait(NAME)
    cfn.delete_stack(StackName=NAME)
    assert cfn.describe_stacks(StackName=NAME)["Stacks"][0]["StackStatus"] == "DELETE_IN_PROGRESS"
    assert standin.wait(arn) == "DELETE_COMPLETE"
    after = standin.state()
    assert {g["state"] for g in after["nat_gateways"]} == {"deleted"}
    for key in ("addresses", "subnets", "route_tables"):
        assert after[key] == before[key]
    with pytest.raises(ClientError) as raised:
        cfn.describe_stacks(StackName=NAME)
    assert code(raised) == ("ValidationError", f"Stack with id {NAME} does not exist")
    assert all(s["StackName"] != NAME for s in cfn.describe_stacks()["Stacks"])
    statuses = {r["ResourceStatus"] for r in cfn.list_stack_resources(StackName=arn)["StackResourceSummaries"]}
    assert statuses == {"DELETE_COMPLETE"}
    cfn.delete_stack(StackName=NAME)
    make(cfn, world)
    assert standin.wait(NAME) == "CREATE_COMPLETE"


def test_failed_create_rolls_back_and_only_delete_is_left(standin, world, cfn):
    before = standin.state()
    standin.fault(kind="resource_fails", logical_id="NATGateway2", message="no capacity", times=1)
    arn = make(cfn, world)
    assert standin.wait(NAME) == "ROLLBACK_COMPLETE"
    after = standin.state()
    for key in ("addresses", "subnets", "route_tables"):
        assert after[key] == before[key]
    first = next(e for e in events(cfn) if e["ResourceStatus"] == "CREATE_FAILED")
    assert (first["LogicalResourceId"], first["ResourceStatusReason"]) == ("NATGateway2", "no capacity")
    assert any("cancelled" in e.get("ResourceStatusReason", "") for e in events(cfn))
    with pytest.raises(ClientError) as raised:
        update(cfn, world, template(world, ("1.1.1.1/32",)))
    assert code(raised) == ("ValidationError", f"Stack:{arn} is in ROLLBACK_COMPLETE state and can not be updated.")
    with pytest.raises(ClientError) as raised:
        make(cfn, world)
    assert code(raised) == ("AlreadyExistsException", f"Stack [{NAME}] already exists")
    cfn.delete_stack(StackName=NAME)
    assert standin.wait(arn) == "DELETE_COMPLETE"


def test_creation_options_on_failure(standin, world, cfn):
    standin.fault(kind="resource_fails", logical_id="NATGateway1")
    make(cfn, world, OnFailure="DO_NOTHING")
    assert standin.wait(NAME) == "CREATE_FAILED"
    assert standin.state()["addresses"]
    cfn.rollback_stack(StackName=NAME)
    assert standin.wait(NAME) == "ROLLBACK_COMPLETE"
    assert not standin.state()["addresses"]
    arn = cfn.create_stack(
        StackName="other", TemplateBody=template(world), Parameters=parameters(world), OnFailure="DELETE"
    )["StackId"]
    assert standin.wait(arn) == "DELETE_COMPLETE"


def test_failed_update_restores_ec2(standin, world, cfn):
    make(cfn, world, ("8.8.8.8/32", "192.112.0.0/21"))
    standin.wait(NAME)
    before, old = standin.state(), cfn.get_template(StackName=NAME)["TemplateBody"]
    bad = resource("Route", RouteTableId=world["tables"]["eu-central-1c"][0], DestinationCidrBlock="9.9.9.9/32",
                   NatGatewayId="nat-00000000000000000")
    body = template(world, ("8.8.8.8/32", "1.1.1.1/32"), RouteBad=bad)
    update(cfn, world, body, ClientRequestToken="bad")
    assert standin.wait(NAME) == "UPDATE_ROLLBACK_COMPLETE"
    after = standin.state()
    for key in ("addresses", "nat_gateways", "subnets"):
        assert after[key] == before[key]
    for table in world["tables"].values():
        assert routes(after, table[0]) == routes(before, table[0])
    assert cfn.get_template(StackName=NAME)["TemplateBody"] == old
    failed = [e for e in events(cfn) if e["ResourceStatus"] == "CREATE_FAILED"][0]
    assert failed["LogicalResourceId"] == "RouteBad" and "InvalidNatGatewayID.NotFound" in failed["ResourceStatusReason"]
    update(cfn, world, template(world, ("1.1.1.1/32",)))
    assert standin.wait(NAME) == "UPDATE_COMPLETE"


def test_replacing_a_subnet_replaces_its_gateway_and_cleans_up(standin, world, cfn):
    make(cfn, world)
    standin.wait(NAME)
    before = standin.state()
    body = template(world).replace("172.31.64.0/28", "172.31.65.0/28")
    # The new gateway would need the address that the old one still holds: create before delete fails.
    update(cfn, world, body)
    assert standin.wait(NAME) == "UPDATE_ROLLBACK_COMPLETE"
    after = standin.state()
    assert after["subnets"] == before["subnets"] and after["addresses"] == before["addresses"]
    live = [g for g in after["nat_gateways"] if g["state"] == "available"]
    assert live == before["nat_gateways"]


def test_renaming_a_route_collides_with_itself(standin, world, cfn):
    make(cfn, world)
    standin.wait(NAME)
    body = template(world).replace("RouteToNAT1z8x8x8x8y32", "Renamed")
    update(cfn, world, body)
    assert standin.wait(NAME) == "UPDATE_ROLLBACK_COMPLETE"
    reasons = [e.get("ResourceStatusReason", "") for e in events(cfn) if e["ResourceStatus"] == "CREATE_FAILED"]
    assert "RouteAlreadyExists" in reasons[0]
    assert "8.8.8.8/32" in routes(standin.state(), world["tables"]["eu-central-1a"][0])


def test_association_is_deleted_before_it_is_made_again(standin, world, cfn):
    make(cfn, world)
    standin.wait(NAME)
    body = template(world).replace('{"RouteTableId": {"Ref": "NATSubnetRouteTable1"}, "SubnetId"',
                                   '{"RouteTableId": {"Ref": "NATSubnetRouteTable2"}, "SubnetId"')
    update(cfn, world, body)
    assert standin.wait(NAME) == "UPDATE_COMPLETE"
    tables = {t["tags"].get("Name"): len(t["associations"]) for t in standin.state()["route_tables"]}
    assert tables["nat-eu-central-1b"] == 2 and tables["nat-eu-central-1a"] == 0


def test_one_operation_at_a_time(standin, world, cfn):
    standin.settings(steps_per_request=0)
    arn = make(cfn, world)
    with pytest.raises(ClientError) as raised:
        update(cfn, world, template(world, ("1.1.1.1/32",)))
    assert code(raised) == ("ValidationError", f"Stack:{arn} is in CREATE_IN_PROGRESS state and can not be updated.")
    standin.post("finish")
    update(cfn, world, template(world, ("1.1.1.1/32",)))
    for call in (
        lambda: update(cfn, world, template(world)),
        lambda: cfn.create_change_set(StackName=NAME, ChangeSetName="c", TemplateBody=template(world)),
    ):
        with pytest.raises(ClientError) as raised:
            call()
        assert code(raised) == ("ValidationError", f"Stack:{arn} is in UPDATE_IN_PROGRESS state and can not be updated.")
    with pytest.raises(ClientError) as raised:
        cfn.delete_stack(StackName=NAME)
    assert "cannot be deleted while in status UPDATE_IN_PROGRESS" in code(raised)[1]
    standin.post("finish")
    assert standin.wait(NAME) == "UPDATE_COMPLETE"


def test_a_creation_can_be_broken_off_by_deleting(standin, world, cfn):
    standin.settings(steps_per_request=1)
    arn = make(cfn, world)
    for _ in range(5):
        cfn.describe_stacks(StackName=arn)
    cfn.delete_stack(StackName=NAME)
    standin.post("finish")
    assert standin.wait(arn) == "DELETE_COMPLETE"
    assert not standin.state()["addresses"]


def test_nothing_to_update(standin, world, cfn):
    make(cfn, world)
    standin.wait(NAME)
    with pytest.raises(ClientError) as raised:
        update(cfn, world, template(world))
    assert code(raised) == ("ValidationError", "No updates are to be performed.")
    with pytest.raises(ClientError) as raised:
        update(cfn, world, template(world).replace("Static Egress Stack", "Other words"))
    assert code(raised)[1] == "No updates are to be performed."
    update(cfn, world, template(world), Tags=[{"Key": "owner", "Value": "x"}])
    assert standin.wait(NAME) == "UPDATE_COMPLETE"
    assert standin.state()["nat_gateways"][0]["tags"]["owner"] == "x"


def test_termination_protection(standin, world, cfn):
    make(cfn, world, EnableTerminationProtection=True)
    standin.wait(NAME)
    with pytest.raises(ClientError) as raised:
        cfn.delete_stack(StackName=NAME)
    assert code(raised) == (
        "ValidationError", f"Stack [{NAME}] cannot be deleted while TerminationProtection is enabled")
    cfn.update_termination_protection(StackName=NAME, EnableTerminationProtection=False)
    assert not cfn.describe_stacks(StackName=NAME)["Stacks"][0]["EnableTerminationProtection"]
    cfn.delete_stack(StackName=NAME)


def test_stack_policy_denies_replacing_and_removing(standin, world, cfn):
    policy = (
        '{"Statement": [{"Effect": "Allow", "Action": "Update:*", "Principal": "*", "Resource": "*"},'
        '{"Effect": "Deny", "Action": ["Update:Replace", "Update:Delete"], "Principal": "*", "Resource": "*",'
        '"Condition": {"StringEquals": {"ResourceType": ["AWS::EC2::EIP", "AWS::EC2::NatGateway"]}}}]}'
    )
    make(cfn, world)
    standin.wait(NAME)
    with pytest.raises(ClientError) as raised:
        cfn.set_stack_policy(StackName=NAME, StackPolicyBody='{"Statement": []')
    assert code(raised)[0] == "ValidationError"
    cfn.set_stack_policy(StackName=NAME, StackPolicyBody=policy)
    assert cfn.get_stack_policy(StackName=NAME)["StackPolicyBody"] == policy
    before = standin.state()
    zones = list(world["tables"])[:2]
    cfn.update_stack(StackName=NAME, TemplateBody=template(world, zones=zones), Parameters=parameters(world, zones))
    assert standin.wait(NAME) == "UPDATE_ROLLBACK_COMPLETE"
    reasons = [e.get("ResourceStatusReason", "") for e in events(cfn) if e["ResourceStatus"] == "UPDATE_FAILED"]
    assert reasons[0].startswith("Action denied by stack policy: Statement [#2] does not allow [Update:Delete]")
    assert standin.state()["addresses"] == before["addresses"]
    update(cfn, world, template(world, ("1.1.1.1/32",)))
    assert standin.wait(NAME) == "UPDATE_COMPLETE"


def test_rollback_fails_and_is_continued(standin, world, cfn):
    make(cfn, world)
    standin.wait(NAME)
    before = standin.state()
    standin.fault(kind="resource_fails", logical_id="RouteToNAT3z1x1x1x1y32", times=1)
    standin.fault(kind="rollback_fails", logical_id="RouteToNAT1z1x1x1x1y32", message="stuck", times=1)
    update(cfn, world, template(world, ("8.8.8.8/32", "1.1.1.1/32")))
    assert standin.wait(NAME) == "UPDATE_ROLLBACK_FAILED"
    with pytest.raises(ClientError) as raised:
        update(cfn, world, template(world))
    assert "UPDATE_ROLLBACK_FAILED state and can not be updated" in code(raised)[1]
    with pytest.raises(ClientError) as raised:
        cfn.continue_update_rollback(StackName=NAME, ResourcesToSkip=["EIP1"])
    assert code(raised)[0] == "ValidationError"
    cfn.continue_update_rollback(StackName=NAME, ClientRequestToken="again")
    assert standin.wait(NAME) == "UPDATE_ROLLBACK_COMPLETE"
    for table in world["tables"].values():
        assert routes(standin.state(), table[0]) == routes(before, table[0])
    with pytest.raises(ClientError):
        cfn.continue_update_rollback(StackName=NAME)


def test_update_of_what_is_gone_cannot_be_rolled_back_until_skipped(standin, world, cfn, ec2):
    make(cfn, world)
    standin.wait(NAME)
    table = world["tables"]["eu-central-1a"][0]
    ec2.delete_route(RouteTableId=table, DestinationCidrBlock="8.8.8.8/32")
    body = template(world).replace('"NatGatewayId": {"Ref": "NATGateway1"}', '"NatGatewayId": {"Ref": "NATGateway2"}')
    update(cfn, world, body)
    assert standin.wait(NAME) == "UPDATE_ROLLBACK_FAILED"
    cfn.continue_update_rollback(StackName=NAME, ResourcesToSkip=["RouteToNAT1z8x8x8x8y32"])
    assert standin.wait(NAME) == "UPDATE_ROLLBACK_COMPLETE"


def test_cancel_update(standin, world, cfn):
    make(cfn, world)
    standin.wait(NAME)
    before = standin.state()
    with pytest.raises(ClientError) as raised:
        cfn.cancel_update_stack(StackName=NAME)
    assert code(raised) == ("ValidationError", "CancelUpdateStack cannot be called from current stack status")
    standin.settings(steps_per_request=1)
    update(cfn, world, template(world, ("1.1.1.1/32",)))
    cfn.describe_stacks(StackName=NAME)
    cfn.cancel_update_stack(StackName=NAME)
    standin.post("finish")
    assert standin.wait(NAME) == "UPDATE_ROLLBACK_COMPLETE"
    assert standin.state()["route_tables"] == before["route_tables"]


def test_delete_fails_and_is_tried_again(standin, world, cfn):
    arn = make(cfn, world)
    standin.wait(NAME)
    standin.fault(kind="delete_fails", logical_id="NATSubnet1", message="in use", times=1)
    cfn.delete_stack(StackName=NAME)
    assert standin.wait(NAME) == "DELETE_FAILED"
    reason = cfn.describe_stacks(StackName=NAME)["Stacks"][0]["StackStatusReason"]
    assert reason == "The following resource(s) failed to delete: [NATSubnet1]. "
    cfn.delete_stack(StackName=NAME, RetainResources=["NATSubnet1"])
    assert standin.wait(arn) == "DELETE_COMPLETE"
    assert "172.31.64.0/28" in {s["cidr"] for s in standin.state()["subnets"]}


def test_static_ips_that_a_controller_releases_are_recorded(standin, world, cfn):
    """Whose call began the operation counts, and whether the stack had served with the IP."""
    other = standin.client("cloudformation", key="AKIAOTHERAAAAAAAAAAA")
    arn = make(cfn, world)
    standin.wait(NAME)
    other.delete_stack(StackName=NAME)
    standin.wait(arn)
    assert standin.state()["released"] == []
    standin.fault(kind="resource_fails", logical_id="NATGateway1", message="no", times=1)
    arn = make(cfn, world)
    standin.wait(NAME)
    cfn.delete_stack(StackName=NAME)
    standin.wait(arn)
    assert standin.state()["released"] == [], "a creation that failed has served nobody"
    arn = make(cfn, world)
    standin.wait(NAME)
    eips = [a["public_ip"] for a in standin.state()["addresses"]]
    standin.fault(kind="delete_fails", logical_id="NATGateway1", message="in use", times=1)
    for _ in range(2):
        cfn.delete_stack(StackName=NAME)
        standin.wait(arn)
    assert sorted(each.split()[0] for each in standin.state()["released"]) == sorted(eips)


def test_a_foreign_thing_in_the_subnet_blocks_its_deletion(standin, world, cfn, ec2):
    arn = make(cfn, world)
    standin.wait(NAME)
    subnet = next(s["id"] for s in standin.state()["subnets"] if s["cidr"] == "172.31.64.0/28")
    eni = ec2.create_network_interface(SubnetId=subnet)["NetworkInterface"]["NetworkInterfaceId"]
    cfn.delete_stack(StackName=NAME)
    assert standin.wait(NAME) == "DELETE_FAILED"
    ec2.delete_network_interface(NetworkInterfaceId=eni)
    cfn.delete_stack(StackName=NAME)
    assert standin.wait(arn) == "DELETE_COMPLETE"


def test_update_failed_without_rollback(standin, world, cfn):
    make(cfn, world)
    standin.wait(NAME)
    before = standin.state()
    standin.fault(kind="resource_fails", logical_id="RouteToNAT3*", times=1)
    update(cfn, world, template(world, ("8.8.8.8/32", "1.1.1.1/32")), DisableRollback=True)
    assert standin.wait(NAME) == "UPDATE_FAILED"
    cfn.rollback_stack(StackName=NAME)
    assert standin.wait(NAME) == "UPDATE_ROLLBACK_COMPLETE"
    assert standin.state()["route_tables"] == before["route_tables"]


def test_validation_before_provisioning(standin, world, cfn):
    body = only(A=resource("EIP", Domain="vpc"), B=resource("RouteTable", VpcId=world["vpc_id"], Colour="red"))
    cfn.create_stack(StackName=NAME, TemplateBody=body)
    assert standin.wait(NAME) == "ROLLBACK_COMPLETE"
    story = events(cfn)
    failed = next(e for e in story if e["ResourceStatus"] == "CREATE_FAILED")
    assert failed["DetailedStatus"] == "VALIDATION_FAILED" and "extraneous key [Colour]" in failed["ResourceStatusReason"]
    assert not any(e["ResourceStatusReason"] == "Resource creation Initiated" for e in story if "ResourceStatusReason" in e)


def retained(world, cidrs=("8.8.8.8/32",), **attributes):
    """The template, with these attributes on every EIP."""
    body = json.loads(template(world, cidrs))
    for definition in body["Resources"].values():
        if definition["Type"] == "AWS::EC2::EIP":
            definition.update(attributes)
    return body


def test_a_retained_eip_outlives_its_stack_with_its_tags(standin, world, cfn):
    body = retained(world, DeletionPolicy="RetainExceptOnCreate", UpdateReplacePolicy="Retain")
    arn = cfn.create_stack(
        StackName=NAME, TemplateBody=json.dumps(body), Parameters=parameters(world), Tags=[{"Key": "owner", "Value": "me"}]
    )["StackId"]
    assert standin.wait(NAME) == "CREATE_COMPLETE"
    before = {a["public_ip"] for a in standin.state()["addresses"]}
    cfn.delete_stack(StackName=NAME)
    assert standin.wait(arn) == "DELETE_COMPLETE"
    state = standin.state()
    assert {a["public_ip"] for a in state["addresses"]} == before
    assert all(a["tags"]["owner"] == "me" for a in state["addresses"])
    skipped = [e["LogicalResourceId"] for e in events(cfn, arn) if e["ResourceStatus"] == "DELETE_SKIPPED"]
    assert len(skipped) == 3 and all(name.startswith("EIP") for name in skipped)


def test_a_creation_that_is_rolled_back_leaves_no_eip(standin, world, cfn):
    standin.fault(kind="resource_fails", logical_id="NATGateway1", message="no", times=1)
    body = retained(world, DeletionPolicy="RetainExceptOnCreate")
    cfn.create_stack(StackName=NAME, TemplateBody=json.dumps(body), Parameters=parameters(world))
    assert standin.wait(NAME) == "ROLLBACK_COMPLETE"
    assert len(standin.state()["addresses"]) == 0


def test_an_attribute_alone_is_no_change_and_metadata_is(standin, world, cfn):
    arn = make(cfn, world)
    standin.wait(NAME)
    before = {a["public_ip"] for a in standin.state()["addresses"]}
    body = retained(world, DeletionPolicy="RetainExceptOnCreate")
    with pytest.raises(ClientError) as raised:
        update(cfn, world, json.dumps(body))
    assert code(raised) == ("ValidationError", "No updates are to be performed.")
    table = next(d for d in body["Resources"].values() if d["Type"] == "AWS::EC2::RouteTable")
    table["Metadata"] = {"StaticIPs": "retained"}
    update(cfn, world, json.dumps(body))
    assert standin.wait(NAME) == "UPDATE_COMPLETE"
    cfn.delete_stack(StackName=NAME)
    assert standin.wait(arn) == "DELETE_COMPLETE"
    assert {a["public_ip"] for a in standin.state()["addresses"]} == before


def test_the_template_of_before_decides_what_a_removal_keeps(standin, world, cfn):
    make(cfn, world)
    standin.wait(NAME)
    body = retained(world, ("8.8.8.8/32", "9.9.9.9/32"), DeletionPolicy="Retain")
    update(cfn, world, json.dumps(body))
    assert standin.wait(NAME) == "UPDATE_COMPLETE"
    body["Resources"]["EIP9"] = {"Type": "AWS::EC2::EIP", "DeletionPolicy": "RetainExceptOnCreate", "Properties": {"Domain": "vpc"}}
    update(cfn, world, json.dumps(body))
    assert standin.wait(NAME) == "UPDATE_COMPLETE"
    del body["Resources"]["EIP9"]
    update(cfn, world, json.dumps(body))
    assert standin.wait(NAME) == "UPDATE_COMPLETE"
    assert len(standin.state()["addresses"]) == 4


def test_an_unknown_policy_is_refused(world, cfn):
    body = retained(world, UpdateReplacePolicy="RetainExceptOnCreate")
    with pytest.raises(ClientError) as raised:
        cfn.create_stack(StackName=NAME, TemplateBody=json.dumps(body), Parameters=parameters(world))
    assert "Unrecognized UpdateReplacePolicy" in code(raised)[1]
