"""The policies of deploy/, exactly as they are shipped, in roles of this run."""

import json
import pathlib
import time

from botocore.credentials import Credentials

from .account import SCRIPT_KEY

DEPLOY = pathlib.Path(__file__).parents[2] / "deploy"


class Roles:
    def __init__(self, account, number, partition):
        self.account, self.iam, self.number, self.partition = account, account.iam, number, partition
        self.session, self.until = None, 0

    def document(self, name):
        text = (DEPLOY / f"{name}.json").read_text()
        for placeholder, value in {
            "ACCOUNT-ID": self.number, "REGION": self.account.region, "STACK-NAME": self.account.stack,
            "CFN-SERVICE-ROLE": self.account.name("cloudformation"), "TEMPLATE-BUCKET": self.account.name("no-bucket"),
            "arn:aws:": f"arn:{self.partition}:",
        }.items():
            text = text.replace(placeholder, value)
        return json.dumps(json.loads(text))

    def arn(self, what):
        return f"arn:{self.partition}:iam::{self.number}:role/{self.account.name(what)}"

    def make(self):
        here = {"Effect": "Allow", "Principal": {"AWS": f"arn:{self.partition}:iam::{self.number}:root"}, "Action": "sts:AssumeRole"}
        trust = {"Version": "2012-10-17", "Statement": [here]}
        self._role("controller", json.dumps(trust), "iam-policy")
        self._role("cloudformation", self.document("cfn-service-role-trust"), "cfn-service-role")

    def _role(self, what, trust, policy):
        name = self.account.name(what)
        self.iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust, Tags=self.account.tags)
        self.give(what, policy)

    def give(self, what, policy):
        """Replaces what a role may do."""
        name = self.account.name(what)
        self.iam.put_role_policy(RoleName=name, PolicyName="shipped", PolicyDocument=self.document(policy))

    def credentials(self):
        """Those of the controller's role, which are for an hour."""
        if time.monotonic() > self.until:
            answer = self.account.eventually(
                "the controller's role can be assumed",
                lambda: self.account.sts.assume_role(RoleArn=self.arn("controller"), RoleSessionName=self.account.run),
                "AccessDenied",
            )
            given = answer["Credentials"]
            self.session = (given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
            self.until = time.monotonic() + 2400
        return Credentials(*self.session)


def script_caller(session):
    return {SCRIPT_KEY: ("script", lambda: session.get_credentials().get_frozen_credentials())}
