"""What a whole account has besides stacks: roles of IAM, VPN gateways, addresses that are had back, VPCs that go."""

import json

import pytest
from botocore.exceptions import ClientError

from .test_changesets import settled

ALLOWED = {"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": ["cloudformation:DescribeStacks", "cloudformation:ListStacks"], "Resource": "*"}]}
TRUST = {"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::123456789012:root"}, "Action": "sts:AssumeRole"}]}


def refused(call, code, **arguments):
    with pytest.raises(ClientError) as error:
        call(**arguments)
    assert error.value.response["Error"]["Code"] == code, error.value


def test_a_session_may_do_what_its_role_may(standin, world):
    iam, sts = standin.client("iam", region="us-east-1"), standin.client("sts")
    made = iam.create_role(RoleName="reader", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
    key = sts.assume_role(RoleArn=made, RoleSessionName="tests")["Credentials"]["AccessKeyId"]
    cfn, ec2 = standin.client("cloudformation", key), standin.client("ec2", key)
    refused(cfn.describe_stacks, "AccessDenied")
    iam.put_role_policy(RoleName="reader", PolicyName="p", PolicyDocument=json.dumps(ALLOWED))
    assert cfn.describe_stacks()["Stacks"] == []
    refused(ec2.describe_vpcs, "UnauthorizedOperation")


def test_cloudformation_takes_only_a_role_that_trusts_it_and_has_its_rights(standin, world, cfn):
    iam = standin.client("iam", region="us-east-1")
    template = json.dumps({"Resources": {"Eip": {"Type": "AWS::EC2::EIP", "Properties": {"Domain": "vpc"}}}})
    arn = iam.create_role(RoleName="maker", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
    refused(cfn.create_stack, "ValidationError", StackName="s", TemplateBody=template, RoleARN=arn)
    trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "cloudformation.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
    iam.update_assume_role_policy(RoleName="maker", PolicyDocument=json.dumps(trust))
    iam.put_role_policy(RoleName="maker", PolicyName="p", PolicyDocument=json.dumps(ALLOWED))
    cfn.create_stack(StackName="s", TemplateBody=template, RoleARN=arn)
    assert standin.wait("s") == "ROLLBACK_COMPLETE"
    reasons = [event.get("ResourceStatusReason", "") for event in cfn.describe_stack_events(StackName="s")["StackEvents"]]
    assert any("not authorized to perform: ec2:AllocateAddress" in reason for reason in reasons), reasons


def test_a_propagated_route_stands_beside_a_static_one(standin, world, ec2):
    vpc, table = world["vpc_id"], world["tables"]["eu-central-1a"][0]
    gateway = ec2.create_vpn_gateway(Type="ipsec.1")["VpnGateway"]["VpnGatewayId"]
    refused(ec2.enable_vgw_route_propagation, "Gateway.NotAttached", GatewayId=gateway, RouteTableId=table)
    ec2.attach_vpn_gateway(VpnGatewayId=gateway, VpcId=vpc)
    ec2.enable_vgw_route_propagation(GatewayId=gateway, RouteTableId=table)
    customer = ec2.create_customer_gateway(Type="ipsec.1", BgpAsn=65000, PublicIp="3.1.2.3")["CustomerGateway"]["CustomerGatewayId"]
    vpn = ec2.create_vpn_connection(Type="ipsec.1", CustomerGatewayId=customer, VpnGatewayId=gateway)["VpnConnection"]["VpnConnectionId"]
    ec2.create_vpn_connection_route(VpnConnectionId=vpn, DestinationCidrBlock="203.0.113.0/24")
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="203.0.113.0/24", GatewayId=world["igw_id"])

    def origins():
        shown = ec2.describe_route_tables(RouteTableIds=[table])["RouteTables"][0]
        return shown["PropagatingVgws"], sorted(
            route["Origin"] for route in shown["Routes"] if route["DestinationCidrBlock"] == "203.0.113.0/24")

    assert origins() == ([{"GatewayId": gateway}], ["CreateRoute", "EnableVgwRoutePropagation"])
    ec2.delete_vpn_connection(VpnConnectionId=vpn)
    assert origins()[1] == ["CreateRoute"]


def test_an_address_is_had_back_while_nobody_has_it(standin, world, ec2, cfn):
    first = ec2.allocate_address(Domain="vpc")
    refused(ec2.allocate_address, "InvalidAddress.NotFound", Domain="vpc", Address=first["PublicIp"])
    ec2.release_address(AllocationId=first["AllocationId"])
    properties = {"Domain": "vpc", "Address": first["PublicIp"]}
    template = json.dumps({"Resources": {"Eip": {"Type": "AWS::EC2::EIP", "Properties": properties}}})
    cfn.create_stack(StackName="back", TemplateBody=template)
    assert standin.wait("back") == "CREATE_COMPLETE"
    assert [one["PublicIp"] for one in ec2.describe_addresses()["Addresses"]] == [first["PublicIp"]]


def recovery(address, **attributes):
    """A stack of one EIP that asks for this address, which may be None."""
    properties = {"Domain": "vpc", **({"Address": address} if address else {})}
    return json.dumps({"Resources": {"Eip": {"Type": "AWS::EC2::EIP", "Properties": properties, **attributes}}})


def test_an_address_that_another_account_has_fails_the_update_that_asks_for_it(standin, world, ec2, cfn):
    lost = ec2.allocate_address(Domain="vpc")
    cfn.create_stack(StackName="s", TemplateBody=recovery(None))
    assert standin.wait("s") == "CREATE_COMPLETE"
    ours = [one["PublicIp"] for one in ec2.describe_addresses()["Addresses"] if one != lost]
    ec2.release_address(AllocationId=lost["AllocationId"])
    standin.post("tamper", {"action": "give_address_away", "public_ip": lost["PublicIp"]})
    refused(ec2.allocate_address, "AuthFailure", Domain="vpc", Address=lost["PublicIp"])
    cfn.update_stack(StackName="s", TemplateBody=recovery(lost["PublicIp"]))
    assert standin.wait("s") == "UPDATE_ROLLBACK_COMPLETE"
    left = [one["PublicIp"] for one in ec2.describe_addresses()["Addresses"]]
    assert left == [ip for ip in ours if ip != lost["PublicIp"]]


def test_another_address_in_the_template_replaces_the_eip(standin, world, ec2, cfn):
    keeps = {"DeletionPolicy": "Retain", "UpdateReplacePolicy": "Retain"}
    ips = [ec2.allocate_address(Domain="vpc") for _ in range(2)]
    for ip in ips:
        ec2.release_address(AllocationId=ip["AllocationId"])
    first, second = (ip["PublicIp"] for ip in ips)
    cfn.create_stack(StackName="s", TemplateBody=recovery(first, **keeps))
    assert standin.wait("s") == "CREATE_COMPLETE"
    for template in (recovery(None, **keeps), recovery(second, **keeps)):
        made = cfn.create_change_set(StackName="s", ChangeSetName=f"c{len(template)}", TemplateBody=template)["Id"]
        change, = settled(cfn, made)["Changes"]
        assert change["ResourceChange"]["Replacement"] == "True", change
    cfn.update_stack(StackName="s", TemplateBody=recovery(second, **keeps))
    assert standin.wait("s") == "UPDATE_COMPLETE"
    assert sorted(one["PublicIp"] for one in ec2.describe_addresses()["Addresses"]) == sorted([first, second])


def test_a_vpc_goes_with_its_main_table_and_not_with_its_gateway(standin, ec2):
    vpc = ec2.create_vpc(CidrBlock="10.7.0.0/16")["Vpc"]["VpcId"]
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    refused(ec2.delete_vpc, "DependencyViolation", VpcId=vpc)
    ec2.detach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    refused(ec2.delete_vpc, "DependencyViolation", VpcId=vpc)
    ec2.delete_route_table(RouteTableId=table)
    ec2.delete_vpc(VpcId=vpc)
    assert not ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["RouteTables"]
