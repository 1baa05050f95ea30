"""A VPC of its own: two zones, each with a worker subnet and a worker table, and an internet gateway."""

VPC_CIDR = "172.31.0.0/16"
NAT_CIDRS = ("172.31.255.224/28", "172.31.255.240/28")


class Network:
    def __init__(self, account):
        self.account, self.ec2 = account, account.ec2
        self.tables, self.subnets = {}, {}

    def make(self):
        ec2, tagged = self.ec2, self.account.tagged
        zones = ec2.describe_availability_zones(Filters=[
            {"Name": "state", "Values": ["available"]}, {"Name": "zone-type", "Values": ["availability-zone"]},
        ])["AvailabilityZones"]
        self.zones = sorted(zone["ZoneName"] for zone in zones)[:2]
        self.vpc = ec2.create_vpc(CidrBlock=VPC_CIDR, TagSpecifications=tagged("vpc", "vpc"))["Vpc"]["VpcId"]
        self.account.until("the VPC is available", self._vpc_available)
        gateway = ec2.create_internet_gateway(TagSpecifications=tagged("internet-gateway", "igw"))
        self.gateway = gateway["InternetGateway"]["InternetGatewayId"]
        ec2.attach_internet_gateway(InternetGatewayId=self.gateway, VpcId=self.vpc)
        for number, zone in enumerate(self.zones):
            subnet = ec2.create_subnet(
                VpcId=self.vpc, AvailabilityZone=zone, CidrBlock=f"172.31.{number}.0/24",
                TagSpecifications=tagged("subnet", f"workers-{zone}"),
            )
            self.subnets[zone] = subnet["Subnet"]["SubnetId"]
            self.tables[zone] = self.table(f"workers-{zone}", [{"Key": "AvailabilityZone", "Value": zone}])
            ec2.associate_route_table(RouteTableId=self.tables[zone], SubnetId=self.subnets[zone])
            ec2.create_route(RouteTableId=self.tables[zone], DestinationCidrBlock="0.0.0.0/0", GatewayId=self.gateway)

    def table(self, what, more=()):
        made = self.ec2.create_route_table(
            VpcId=self.vpc, TagSpecifications=self.account.tagged("route-table", what, more)
        )
        return made["RouteTable"]["RouteTableId"]

    def _vpc_available(self):
        return self.ec2.describe_vpcs(VpcIds=[self.vpc])["Vpcs"][0]["State"] == "available"

    @property
    def _here(self):
        return [{"Name": "vpc-id", "Values": [self.vpc]}]

    def exits(self):
        """The working NAT gateways of the controller's stack, by zone."""
        subnets = self.ec2.describe_subnets(Filters=self._here)["Subnets"]
        zone_of = {subnet["SubnetId"]: subnet["AvailabilityZone"] for subnet in subnets}
        gateways = self.ec2.describe_nat_gateways(Filters=[*self._here, {"Name": "state", "Values": ["available"]}])
        return {
            zone_of[gateway["SubnetId"]]: gateway for gateway in gateways["NatGateways"]
            if gateway["SubnetId"] in zone_of and gateway.get("ConnectivityType", "public") == "public"
        }

    def ips(self):
        return {zone: _address(gateway).get("PublicIp") for zone, gateway in self.exits().items()}

    def routes(self, zone):
        """Destination and target of the worker table's routes, but for the VPC's own and the default route."""
        table = self.ec2.describe_route_tables(RouteTableIds=[self.tables[zone]])["RouteTables"][0]
        return {
            route.get("DestinationCidrBlock", "?"): route.get("NatGatewayId")
            if route.get("State") == "active" else f"{route.get('NatGatewayId')} is {route.get('State')}"
            for route in table["Routes"]
            if route.get("GatewayId") not in ("local", self.gateway)
            and route.get("Origin") != "EnableVgwRoutePropagation" and "DestinationPrefixListId" not in route
        }

    def addresses(self):
        """The static IPs that have the run's tag."""
        found = self.account.own(self.ec2.describe_addresses(Filters=self.account.mine)["Addresses"])
        return {address["PublicIp"]: address for address in found}


def _address(gateway):
    addresses = gateway.get("NatGatewayAddresses") or [{}]
    return next((address for address in addresses if address.get("IsPrimary")), addresses[0])

