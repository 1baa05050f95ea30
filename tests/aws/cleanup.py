"""Removes what a run has made, whatever state it left behind: found by its tag and by its names, and nothing else."""

from botocore.exceptions import ClientError

from .account import Failed, code

# It is gone already, or goes with something else.
GONE = ("NotFound", "NoSuchEntity", "NotAttached", "does not exist")


class CleanUp:
    def __init__(self, account, patience=None):
        self.account, self.ec2, self.cfn, self.iam = account, account.ec2, account.cfn, account.iam
        self.patience = patience or max(account.patience, 60)
        self.problems = []

    def all(self):
        """Goes through everything until nothing is left, since one thing keeps the next from being deleted."""
        # Roles come last: the deletion of a stack needs the one that it was made with.
        self._stacks()
        try:
            self.account.until("everything in EC2 is gone", self._pass, self.patience)
        except Failed as failed:
            raise Failed(f"{failed}; left: {self.problems}") from None
        # What was asked for by the last call of a run may have come to be meanwhile.
        self._stacks()
        self._roles()
        if self.problems:
            raise Failed(f"left: {self.problems}")
        self.account.say(f"nothing of {self.account.run} is left")

    def _stacks(self):
        for name in (self.account.stack, self.account.name("probe"), self.account.name("address")):
            self._stack(name)

    def _stack(self, name):
        failures, tries = 0, 0
        while (status := self.account.stack_rests(name, self.patience)) is not None:
            tries += 1
            if tries > 6:
                raise Failed(f"stack {name} is still {status}")
            self._only_ours(name)
            self.account.say(f"deletes stack {name}, which is {status}")
            retained = {}
            if status == "DELETE_FAILED":
                failures += 1
                # What CloudFormation cannot delete is deleted below, by its tag.
                if failures > 1:
                    retained = {"RetainResources": self._undeletable(name)}
            self._try(self.cfn.update_termination_protection, EnableTerminationProtection=False, StackName=name)
            self._try(self.cfn.delete_stack, StackName=name, **retained)
            self.account.rest()

    def _only_ours(self, name):
        """Names are the run's own, and still nothing is deleted that has not its tag, too."""
        stack = self.cfn.describe_stacks(StackName=name)["Stacks"][0]
        if not any(tag in stack.get("Tags", []) for tag in self.account.tags):
            raise Failed(f"stack {name} has not the run's tag, so it is not touched")

    def _undeletable(self, name):
        pages = self.cfn.get_paginator("list_stack_resources").paginate(StackName=name)
        return [
            resource["LogicalResourceId"] for page in pages for resource in page["StackResourceSummaries"]
            if resource["ResourceStatus"] == "DELETE_FAILED"
        ]

    def _pass(self):
        """One attempt at everything; whether nothing was there any more."""
        self.problems, left = [], 0
        for step in (
            self._nat_gateways, self._vpn_connections, self._vpn_gateways, self._customer_gateways, self._route_tables,
            self._prefix_lists, self._subnets, self._addresses, self._internet_gateways, self._vpcs,
        ):
            left += step()
        return left == 0

    def _list(self, call, key, *alive):
        """What has the run's tag and is not just a memory of what was."""
        found = self.account.own(getattr(self.ec2, call)(Filters=self.account.mine)[key])
        return [item for item in found if not alive or item.get("State") in alive]

    def _nat_gateways(self):
        found = self._list("describe_nat_gateways", "NatGateways", "pending", "available", "failed", "deleting")
        for gateway in found:
            if gateway["State"] in ("pending", "available"):
                self._try(self.ec2.delete_nat_gateway, NatGatewayId=gateway["NatGatewayId"])
        return sum(gateway["State"] != "failed" for gateway in found)

    def _vpn_connections(self):
        found = self._list("describe_vpn_connections", "VpnConnections", "pending", "available", "deleting")
        for connection in found:
            if connection["State"] != "deleting":
                self._try(self.ec2.delete_vpn_connection, VpnConnectionId=connection["VpnConnectionId"])
        return len(found)

    def _vpn_gateways(self):
        found = self._list("describe_vpn_gateways", "VpnGateways", "pending", "available", "deleting", None)
        for gateway in found:
            one = gateway["VpnGatewayId"]
            for attachment in gateway.get("VpcAttachments", []):
                if attachment["State"] == "attached":
                    self._try(self.ec2.detach_vpn_gateway, VpnGatewayId=one, VpcId=attachment["VpcId"])
            self._try(self.ec2.delete_vpn_gateway, VpnGatewayId=one)
        return len(found)

    def _customer_gateways(self):
        found = self._list("describe_customer_gateways", "CustomerGateways", "pending", "available", "deleting")
        for gateway in found:
            self._try(self.ec2.delete_customer_gateway, CustomerGatewayId=gateway["CustomerGatewayId"])
        return len(found)

    def _route_tables(self):
        found = self._list("describe_route_tables", "RouteTables")
        for table in found:
            for association in table["Associations"]:
                if not association.get("Main"):
                    one = association["RouteTableAssociationId"]
                    self._try(self.ec2.disassociate_route_table, AssociationId=one)
            self._try(self.ec2.delete_route_table, RouteTableId=table["RouteTableId"])
        return len(found)

    def _prefix_lists(self):
        found = [item for item in self._list("describe_managed_prefix_lists", "PrefixLists") if item.get("State") != "delete-complete"]
        for item in found:
            self._try(self.ec2.delete_managed_prefix_list, PrefixListId=item["PrefixListId"])
        return len(found)

    def _subnets(self):
        found = self._list("describe_subnets", "Subnets")
        for subnet in found:
            self._try(self.ec2.delete_subnet, SubnetId=subnet["SubnetId"])
        return len(found)

    def _addresses(self):
        found = self._list("describe_addresses", "Addresses")
        for address in found:
            self._try(self.ec2.release_address, AllocationId=address["AllocationId"])
        return len(found)

    def _internet_gateways(self):
        found = self._list("describe_internet_gateways", "InternetGateways")
        for gateway in found:
            one = gateway["InternetGatewayId"]
            for attachment in gateway.get("Attachments", []):
                self._try(self.ec2.detach_internet_gateway, InternetGatewayId=one, VpcId=attachment["VpcId"])
            self._try(self.ec2.delete_internet_gateway, InternetGatewayId=one)
        return len(found)

    def _vpcs(self):
        found = self._list("describe_vpcs", "Vpcs")
        for vpc in found:
            self._try(self.ec2.delete_vpc, VpcId=vpc["VpcId"])
        return len(found)

    def _roles(self):
        self.problems = []
        for what in ("controller", "cloudformation"):
            name = self.account.name(what)
            try:
                tags = self.iam.get_role(RoleName=name)["Role"].get("Tags", [])
            except ClientError as error:
                # Without rights in IAM no run has made a role.
                if code(error) not in ("NoSuchEntity", "AccessDenied"):
                    self.problems.append(str(error))
                continue
            if not any(tag in tags for tag in self.account.tags):
                self.problems.append(f"role {name} has not the run's tag, so it is not touched")
                continue
            for policy in self.iam.list_role_policies(RoleName=name)["PolicyNames"]:
                self._try(self.iam.delete_role_policy, RoleName=name, PolicyName=policy)
            self._try(self.iam.delete_role, RoleName=name)

    def _try(self, call, **arguments):
        try:
            call(**arguments)
        except ClientError as error:
            text = f"{error}"
            if not any(part in text for part in GONE):
                self.problems.append(text)
