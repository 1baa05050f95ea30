"""What EC2 refuses and shows."""

import pytest
from botocore.exceptions import ClientError

from .shapes import only, parameters, resource, routes, template
from .test_stacks import NAME, code, events, make


def refused(call, **arguments):
    with pytest.raises(ClientError) as raised:
        call(**arguments)
    return code(raised)[0]


@pytest.fixture
def table(world):
    return world["tables"]["eu-central-1a"][0]


@pytest.fixture
def gateway(world, ec2):
    subnet = ec2.create_subnet(VpcId=world["vpc_id"], CidrBlock="172.31.64.0/28", AvailabilityZone="eu-central-1a")
    address = ec2.allocate_address(Domain="vpc")
    made = ec2.create_nat_gateway(SubnetId=subnet["Subnet"]["SubnetId"], AllocationId=address["AllocationId"])
    return made["NatGateway"]


@pytest.mark.parametrize(
    ("cidr", "error"),
    [
        ("172.31.0.0/16", "InvalidParameterValue"),
        ("172.31.99.0/24", "InvalidParameterValue"),
        ("169.254.168.0/22", "InvalidParameterValue"),
        ("169.254.169.254/32", "InvalidParameterValue"),
        ("2001:db8::/32", "InvalidParameterValue"),
        ("nonsense", "InvalidParameterValue"),
        ("0.0.0.0/0", "RouteAlreadyExists"),
    ],
)
def test_refused_destinations(cidr, error, table, gateway, ec2):
    found = refused(
        ec2.create_route, RouteTableId=table, DestinationCidrBlock=cidr, NatGatewayId=gateway["NatGatewayId"])
    assert found == error


def test_accepted_destinations(standin, table, gateway, ec2):
    # A whole subnet is accepted and hijacks the traffic to it; a range around a reserved one is accepted too.
    for cidr in ("172.31.64.0/28", "169.254.0.0/16", "172.16.0.0/12", "8.8.8.8/32"):
        ec2.create_route(RouteTableId=table, DestinationCidrBlock=cidr, NatGatewayId=gateway["NatGatewayId"])
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="9.9.9.77/24", NatGatewayId=gateway["NatGatewayId"])
    assert {"172.31.64.0/28", "9.9.9.0/24"} <= set(routes(standin.state(), table))
    again = dict(RouteTableId=table, DestinationCidrBlock="9.9.9.0/24", NatGatewayId=gateway["NatGatewayId"])
    assert refused(ec2.create_route, **again) == "RouteAlreadyExists"


def test_targets_must_exist(table, world, ec2):
    route = dict(RouteTableId=table, DestinationCidrBlock="8.8.8.8/32")
    assert refused(ec2.create_route, **route, NatGatewayId="nat-0123456789abcdef0") == "InvalidNatGatewayID.NotFound"
    assert refused(ec2.create_route, **route) == "MissingParameter"
    lonely = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    assert refused(ec2.create_route, **route, GatewayId=lonely) == "InvalidParameterValue"
    assert refused(ec2.replace_route, **route, GatewayId=world["igw_id"]) == "InvalidParameterValue"
    assert refused(ec2.delete_route, **route) == "InvalidRoute.NotFound"
    assert refused(ec2.delete_route, RouteTableId=table, DestinationCidrBlock="172.31.0.0/16") == "InvalidParameterValue"


def test_what_is_asked_for_by_its_id_is_shown_or_denied(gateway, ec2):
    lists = [
        (ec2.describe_addresses, "PublicIps", "203.0.113.7", "InvalidAddress.NotFound"),
        (ec2.describe_addresses, "AllocationIds", "eipalloc-0123456789abcdef0", "InvalidAllocationID.NotFound"),
        (ec2.describe_nat_gateways, "NatGatewayIds", "nat-0123456789abcdef0", "NatGatewayNotFound"),
        (ec2.describe_subnets, "SubnetIds", "subnet-0123456789abcdef0", "InvalidSubnetID.NotFound"),
        (ec2.describe_route_tables, "RouteTableIds", "rtb-0123456789abcdef0", "InvalidRouteTableID.NotFound"),
    ]
    for ask, name, unknown, error in lists:
        assert refused(ask, **{name: [unknown]}) == error
    address = gateway["NatGatewayAddresses"][0]
    for ask, name, known in (
        (ec2.describe_addresses, "AllocationIds", address["AllocationId"]),
        (ec2.describe_nat_gateways, "NatGatewayIds", gateway["NatGatewayId"]),
        (ec2.describe_subnets, "SubnetIds", gateway["SubnetId"]),
    ):
        ask(**{name: [known]})
    # A filter denies nothing: it only leaves out.
    unknown = [{"Name": "public-ip", "Values": ["203.0.113.7"]}]
    assert ec2.describe_addresses(Filters=unknown)["Addresses"] == []


def test_route_quota(standin, table, gateway, ec2):
    # With the route to `local`; IPv6 has a quota of its own.
    standin.settings(route_quota=4)
    ec2.create_route(RouteTableId=table, DestinationIpv6CidrBlock="2001:db8::/32", NatGatewayId=gateway["NatGatewayId"])
    for n in (1, 2):
        ec2.create_route(RouteTableId=table, DestinationCidrBlock=f"9.9.9.{n}/32", NatGatewayId=gateway["NatGatewayId"])
    full = dict(RouteTableId=table, DestinationCidrBlock="9.9.9.3/32", NatGatewayId=gateway["NatGatewayId"])
    assert refused(ec2.create_route, **full) == "RouteLimitExceeded"


def test_deleted_gateway_stays_visible_and_its_routes_are_blackholes(standin, table, gateway, ec2):
    nat = gateway["NatGatewayId"]
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="8.8.8.8/32", NatGatewayId=nat)
    ec2.delete_nat_gateway(NatGatewayId=nat)
    shown = ec2.describe_nat_gateways(NatGatewayIds=[nat])["NatGateways"][0]
    assert shown["State"] == "deleted" and "DeleteTime" in shown
    route = [r for r in ec2.describe_route_tables(RouteTableIds=[table])["RouteTables"][0]["Routes"]
             if r["DestinationCidrBlock"] == "8.8.8.8/32"]
    assert route[0]["State"] == "blackhole" and route[0]["NatGatewayId"] == nat
    assert "AssociationId" not in ec2.describe_addresses()["Addresses"][0]
    assert refused(ec2.replace_route, RouteTableId=table, DestinationCidrBlock="8.8.8.8/32",
                   NatGatewayId=nat) == "InvalidNatGatewayID.NotFound"
    assert ec2.describe_nat_gateways(Filters=[{"Name": "state", "Values": ["available"]}])["NatGateways"] == []
    standin.settings(clock="virtual", deleted_nat_visible_ms=0)
    standin.post("clock", {"advance_ms": 10 * 365 * 86_400_000})
    assert ec2.describe_nat_gateways()["NatGateways"] == []
    assert refused(ec2.describe_nat_gateways, NatGatewayIds=[nat]) == "NatGatewayNotFound"


def test_gateways_take_their_time(standin, world, ec2):
    standin.settings(clock="virtual", nat_pending_ms=1000, nat_deleting_ms=2000)
    subnet = ec2.create_subnet(VpcId=world["vpc_id"], CidrBlock="172.31.64.0/28", AvailabilityZone="eu-central-1a")
    allocation = ec2.allocate_address(Domain="vpc")["AllocationId"]
    nat = ec2.create_nat_gateway(SubnetId=subnet["Subnet"]["SubnetId"], AllocationId=allocation)["NatGateway"]
    states = []
    for step in (0, 1001, 0, 2001):
        standin.post("clock", {"advance_ms": step})
        states.append(ec2.describe_nat_gateways()["NatGateways"][0]["State"])
        if step == 1001:
            ec2.delete_nat_gateway(NatGatewayId=nat["NatGatewayId"])
    assert states == ["pending", "available", "deleting", "deleted"]


def test_address_in_use_is_kept(gateway, ec2):
    address = ec2.describe_addresses()["Addresses"][0]
    assert address["NetworkInterfaceId"] and address["AssociationId"]
    assert refused(ec2.release_address, AllocationId=address["AllocationId"]) == "InvalidIPAddress.InUse"
    assert refused(ec2.disassociate_address, AssociationId=address["AssociationId"]) == "AuthFailure"
    ec2.delete_nat_gateway(NatGatewayId=gateway["NatGatewayId"])
    ec2.release_address(AllocationId=address["AllocationId"])
    assert ec2.describe_addresses()["Addresses"] == []


def test_second_gateway_on_one_address_fails(gateway, ec2):
    made = ec2.create_nat_gateway(
        SubnetId=gateway["SubnetId"], AllocationId=gateway["NatGatewayAddresses"][0]["AllocationId"])["NatGateway"]
    shown = ec2.describe_nat_gateways(NatGatewayIds=[made["NatGatewayId"]])["NatGateways"][0]
    assert (shown["State"], shown["FailureCode"]) == ("failed", "Resource.AlreadyAssociated")
    assert refused(ec2.create_nat_gateway, SubnetId=gateway["SubnetId"],
                   AllocationId="eipalloc-0123456789abcdef0") == "InvalidAllocationID.NotFound"


def test_address_quota(standin, world, ec2, cfn):
    for _ in range(3):
        ec2.allocate_address(Domain="vpc")
    arn = make(cfn, world)
    assert standin.wait(NAME) == "ROLLBACK_COMPLETE"
    assert len(standin.state()["addresses"]) == 3
    reasons = [e["ResourceStatusReason"] for e in events(cfn) if e["ResourceStatus"] == "CREATE_FAILED"]
    assert "AddressLimitExceeded" in reasons[0] and "ServiceLimitExceeded" in reasons[0]
    standin.settings(eip_quota=6)
    told = {a["AttributeName"]: a["AttributeValues"] for a in ec2.describe_account_attributes()["AccountAttributes"]}
    assert told["vpc-max-elastic-ips"] == [{"AttributeValue": "6"}]
    cfn.delete_stack(StackName=NAME)
    assert standin.wait(arn) == "DELETE_COMPLETE"
    make(cfn, world)
    assert standin.wait(NAME) == "CREATE_COMPLETE"
    assert refused(ec2.allocate_address, Domain="vpc") == "AddressLimitExceeded"


def test_gateway_quota_counts_the_zone(standin, world, cfn):
    standin.settings(nat_quota_per_zone=0)
    make(cfn, world)
    assert standin.wait(NAME) == "ROLLBACK_COMPLETE"
    assert any("NatGatewayLimitExceeded" in e.get("ResourceStatusReason", "") for e in events(cfn))


def test_service_quotas_tells_the_gateway_quota(standin):
    quotas = standin.client("service-quotas")
    standin.settings(nat_quota_per_zone=7)
    told = quotas.get_service_quota(ServiceCode="vpc", QuotaCode="L-FE5A380F")["Quota"]
    assert (told["Value"], told["QuotaName"]) == (7.0, "NAT gateways per Availability Zone")
    standin.settings(route_quota=90)
    told = quotas.get_service_quota(ServiceCode="vpc", QuotaCode="L-93826ACB")["Quota"]
    assert (told["Value"], told["QuotaName"]) == (90.0, "Routes per route table")
    assert refused(quotas.get_service_quota, ServiceCode="vpc", QuotaCode="L-none") == "NoSuchResourceException"
    standin.fault(kind="access_denied", service="servicequotas")
    assert refused(quotas.get_service_quota, ServiceCode="vpc", QuotaCode="L-FE5A380F") == "AccessDeniedException"
    results = [(e["action"], e["result"], e["mutating"]) for e in standin.log(service="servicequotas")]
    assert results == [("GetServiceQuota", result, False) for result in ("ok", "ok", "NoSuchResourceException", "AccessDeniedException")]


def test_a_gateway_that_is_being_deleted_counts(standin, gateway, ec2):
    standin.settings(nat_quota_per_zone=1, nat_deleting_ms=3_600_000)
    ec2.delete_nat_gateway(NatGatewayId=gateway["NatGatewayId"])
    address = ec2.allocate_address(Domain="vpc")["AllocationId"]
    wanted = {"SubnetId": gateway["SubnetId"], "AllocationId": address}
    assert refused(ec2.create_nat_gateway, **wanted) == "NatGatewayLimitExceeded"


@pytest.mark.parametrize(
    ("cidr", "zone", "error"),
    [
        ("172.31.0.0/28", "eu-central-1a", "InvalidSubnet.Conflict"),
        ("10.0.0.0/28", "eu-central-1a", "InvalidSubnet.Range"),
        ("172.31.64.0/29", "eu-central-1a", "InvalidSubnet.Range"),
        ("172.31.64.0/28", "eu-central-1x", "InvalidParameterValue"),
        ("nonsense", "eu-central-1a", "InvalidParameterValue"),
    ],
)
def test_refused_subnets(cidr, zone, error, world, ec2):
    assert refused(ec2.create_subnet, VpcId=world["vpc_id"], CidrBlock=cidr, AvailabilityZone=zone) == error


def test_dependencies_block_deletion(standin, world, gateway, ec2):
    assert refused(ec2.delete_subnet, SubnetId=gateway["SubnetId"]) == "DependencyViolation"
    assert refused(ec2.detach_internet_gateway, InternetGatewayId=world["igw_id"],
                   VpcId=world["vpc_id"]) == "DependencyViolation"
    own = ec2.create_route_table(VpcId=world["vpc_id"])["RouteTable"]["RouteTableId"]
    ec2.associate_route_table(RouteTableId=own, SubnetId=gateway["SubnetId"])
    assert refused(ec2.delete_route_table, RouteTableId=own) == "DependencyViolation"
    other = world["tables"]["eu-central-1a"][0]
    assert refused(ec2.associate_route_table, RouteTableId=other,
                   SubnetId=gateway["SubnetId"]) == "Resource.AlreadyAssociated"
    main = next(t["id"] for t in standin.state()["route_tables"] if t["main"])
    assert refused(ec2.delete_route_table, RouteTableId=main) == "DependencyViolation"
    ec2.delete_nat_gateway(NatGatewayId=gateway["NatGatewayId"])
    ec2.delete_subnet(SubnetId=gateway["SubnetId"])
    ec2.delete_route_table(RouteTableId=own)


def test_no_internet_gateway_fails_the_nat_gateway(standin, cfn):
    bare = standin.post("world", {"zones": ["eu-central-1a"], "internet_gateway": False})
    assert bare["igw_id"] is None
    body = only(
        E=resource("EIP", Domain="vpc"),
        S=resource("Subnet", VpcId=bare["vpc_id"], CidrBlock="172.31.64.0/28", AvailabilityZone="eu-central-1a"),
        N=resource("NatGateway", SubnetId={"Ref": "S"}, AllocationId={"Fn::GetAtt": ["E", "AllocationId"]}),
    )
    cfn.create_stack(StackName=NAME, TemplateBody=body)
    assert standin.wait(NAME) == "ROLLBACK_COMPLETE"
    assert any("has no Internet gateway attached" in e.get("ResourceStatusReason", "") for e in events(cfn))
    state = standin.state()
    assert state["addresses"] == [] and state["nat_gateways"][0]["state"] in ("failed", "deleted")


def test_detached_internet_gateway_makes_blackholes(standin, world, table, ec2):
    ec2.detach_internet_gateway(InternetGatewayId=world["igw_id"], VpcId=world["vpc_id"])
    assert routes(standin.state(), table)["0.0.0.0/0"]["state"] == "blackhole"
    ec2.delete_internet_gateway(InternetGatewayId=world["igw_id"])
    assert ec2.describe_internet_gateways()["InternetGateways"] == []


def test_pages(standin, world, ec2):
    standin.settings(routes_per_page=4)
    first = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [world["vpc_id"]]}])
    assert "NextToken" in first
    pages = ec2.get_paginator("describe_route_tables").paginate()
    assert len([t for page in pages for t in page["RouteTables"]]) == 4
    standin.settings(ec2_page_size=1)
    assert len(ec2.describe_subnets()["Subnets"]) == 1
    found = [s for page in ec2.get_paginator("describe_subnets").paginate() for s in page["Subnets"]]
    assert len({s["SubnetId"] for s in found}) == 3
    assert refused(ec2.describe_route_tables, MaxResults=101) == "InvalidParameterValue"


def test_filters(world, ec2):
    tagged = [{"Name": "vpc-id", "Values": [world["vpc_id"]]}, {"Name": "tag-key", "Values": ["AvailabilityZone"]}]
    assert len(ec2.describe_route_tables(Filters=tagged)["RouteTables"]) == 3
    typed = [{"Name": "tag:Type", "Values": ["other"]}]
    assert ec2.describe_route_tables(Filters=typed)["RouteTables"] == []
    attached = [{"Name": "attachment.vpc-id", "Values": [world["vpc_id"]]}]
    assert ec2.describe_internet_gateways(Filters=attached)["InternetGateways"][0]["InternetGatewayId"] == world["igw_id"]
    vpcs = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    assert [v["VpcId"] for v in vpcs] == [world["vpc_id"]]
    assert vpcs[0]["CidrBlockAssociationSet"][0]["CidrBlock"] == "172.31.0.0/16"


def test_resources_carry_the_tags_of_their_stack(standin, world, cfn, ec2):
    tags = [{"Key": "kubernetes.io/cluster/x", "Value": "owned"}]
    cfn.create_stack(StackName=NAME, TemplateBody=template(world), Parameters=parameters(world), Tags=tags)
    standin.wait(NAME)
    wanted = [{"Name": "tag:aws:cloudformation:logical-id", "Values": ["NATGateway2"]}]
    found = ec2.describe_nat_gateways(Filters=wanted)["NatGateways"]
    assert len(found) == 1
    own = {tag["Key"]: tag["Value"] for tag in found[0]["Tags"]}
    assert own["kubernetes.io/cluster/x"] == "owned" and own["aws:cloudformation:stack-name"] == NAME
    named = ec2.describe_addresses(Filters=[{"Name": "tag:kubernetes.io/cluster/x", "Values": ["owned"]}])
    assert len(named["Addresses"]) == 3


def test_an_address_is_in_the_border_group_that_it_was_asked_for(world, ec2, gateway):
    made = ec2.allocate_address(Domain="vpc", NetworkBorderGroup="eu-central-1-ham-1")
    shown = ec2.describe_addresses()["Addresses"]
    groups = {address["AllocationId"]: address["NetworkBorderGroup"] for address in shown}
    assert groups.pop(made["AllocationId"]) == made["NetworkBorderGroup"] == "eu-central-1-ham-1"
    assert set(groups.values()) == {"eu-central-1"}
    error = refused(ec2.allocate_address, Domain="vpc", NetworkBorderGroup="us-west-2-lax-1")
    assert error == "InvalidParameterValue"
    subnet = gateway["SubnetId"]
    error = refused(ec2.create_nat_gateway, SubnetId=subnet, AllocationId=made["AllocationId"])
    assert error == "InvalidParameter"


def test_a_local_zone_takes_addresses_of_its_own_border_group(world, ec2):
    zone = "eu-central-1-ham-1a"
    subnet = ec2.create_subnet(VpcId=world["vpc_id"], CidrBlock="172.31.64.0/28", AvailabilityZone=zone)["Subnet"]
    assert subnet["AvailabilityZone"] == zone
    of_region = ec2.allocate_address(Domain="vpc")["AllocationId"]
    error = refused(ec2.create_nat_gateway, SubnetId=subnet["SubnetId"], AllocationId=of_region)
    assert error == "InvalidParameter"


def test_a_nat_gateway_takes_more_addresses(standin, gateway, ec2):
    nat, extra = gateway["NatGatewayId"], ec2.allocate_address(Domain="vpc")
    first = gateway["NatGatewayAddresses"][0]["AllocationId"]
    more = {"NatGatewayId": nat, "AllocationIds": [extra["AllocationId"]]}
    for ids, error in (([first], "Resource.AlreadyAssociated"), (["eipalloc-0"], "InvalidAllocationID.NotFound")):
        assert refused(ec2.associate_nat_gateway_address, NatGatewayId=nat, AllocationIds=ids) == error
    standin.settings(nat_address_quota=1)
    assert refused(ec2.associate_nat_gateway_address, **more) == "NatGatewayLimitExceeded"
    standin.settings(nat_address_quota=2)
    ec2.associate_nat_gateway_address(**more)
    shown = ec2.describe_nat_gateways(NatGatewayIds=[nat])["NatGateways"][0]["NatGatewayAddresses"]
    assert [(it["AllocationId"], it["IsPrimary"]) for it in shown] == [(first, True), (extra["AllocationId"], False)]
    assert refused(ec2.release_address, AllocationId=extra["AllocationId"]) == "InvalidIPAddress.InUse"
    assert standin.state()["nat_gateways"][0]["more_eips"] == [extra["PublicIp"]]
    association = [{"NatGatewayId": nat, "AssociationIds": [it["AssociationId"]]} for it in shown]
    assert refused(ec2.disassociate_nat_gateway_address, **association[0]) == "InvalidParameter"
    ec2.disassociate_nat_gateway_address(**association[1])
    assert standin.state()["nat_gateways"][0]["more_eips"] == []
    ec2.associate_nat_gateway_address(**more)
    ec2.delete_nat_gateway(NatGatewayId=nat)
    assert standin.state()["nat_gateways"][0]["state"] == "deleted"
    for address in (first, extra["AllocationId"]):
        ec2.release_address(AllocationId=address)
