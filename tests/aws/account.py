"""One account for one run: clients, names, tags, waiting, and what was found out."""

import sys
import threading
import time

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

TAG = "egress-test-run"
SCRIPT_KEY, CONTROLLER_KEY = "AKIAEGRESSTESTSCRIPT", "AKIAEGRESSTESTCONTRL"


class Failed(Exception):
    """The account does not do what the controller relies on, or the controller does not do what it promises."""


def code(error):
    return error.response.get("Error", {}).get("Code", "")


class Account:
    def __init__(self, run, session, region, endpoint, patience, pace):
        self.run, self.session, self.region, self.endpoint = run, session, region, endpoint
        self.patience, self.pace = patience, pace
        self.findings, self.signal = [], None
        # One behind the recorder has its key instead of the caller's, and never sees the real one.
        self.through = boto3.Session(SCRIPT_KEY, "none", region_name=region) if endpoint else session
        self.ec2, self.cfn, self.iam, self.sts = (self.client(name) for name in ("ec2", "cloudformation", "iam", "sts"))

    def client(self, name):
        config = Config(retries={"mode": "adaptive", "max_attempts": 8}, connect_timeout=10, read_timeout=120)
        # IAM is one for the partition, and is signed for one region of it.
        of_iam = {
            "cn": "cn-north-1", "us-gov": "us-gov-west-1", "eusc-de": "eusc-de-east-1", "us-iso": "us-iso-east-1",
            "us-isob": "us-isob-east-1", "eu-isoe": "eu-isoe-west-1", "us-isof": "us-isof-south-1",
        }.get(self.region.rsplit("-", 2)[0], "us-east-1")
        region = of_iam if name == "iam" else self.region
        return self.through.client(name, region_name=region, endpoint_url=self.endpoint, config=config)

    # Names

    @property
    def stack(self):
        return f"egress-static-nat-{self.run}"

    def name(self, what):
        return f"{self.run}-{what}"

    @property
    def tags(self):
        return [{"Key": TAG, "Value": self.run}]

    def tagged(self, kind, what, more=()):
        """TagSpecifications: tags and thing are made by one call, so that nothing is ever without them."""
        tags = [*self.tags, {"Key": "Name", "Value": self.name(what)}, *more]
        return [{"ResourceType": kind, "Tags": tags}]

    @property
    def mine(self):
        """The filter for what this run has made."""
        return [{"Name": f"tag:{TAG}", "Values": [self.run]}]

    def own(self, items):
        """Those that have the run's tag. AWS has looked at it already; what answers in its place may not have."""
        return [item for item in items if any(tag in item.get("Tags", []) for tag in self.tags)]

    # Waiting

    def until(self, what, look, patience=None):
        """Waits until `look` returns something true, and returns it."""
        deadline = time.monotonic() + (patience or self.patience)
        while True:
            found = look()
            if found:
                return found
            if time.monotonic() > deadline:
                raise Failed(f"not within {patience or self.patience:.0f} s: {what}")
            self.rest()

    def rest(self):
        threading.Event().wait(self.pace)
        self.end_by_signal()

    def end_by_signal(self):
        """Ends the script if a signal has arrived, with the exit code of a shell."""
        if self.signal:
            raise SystemExit(128 + self.signal)

    def eventually(self, what, call, *codes):
        """Repeats a call that AWS refuses for a while with one of these codes, for what was just made is not known everywhere."""
        def attempt():
            try:
                return [call()]
            except ClientError as error:
                if code(error) not in codes:
                    raise
                return None
        return self.until(what, attempt, max(60, self.pace * 10))[0]

    # Stacks

    def stack_status(self, name):
        """The status of a stack; None where there is none."""
        try:
            return self.cfn.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]
        except ClientError as error:
            if "does not exist" in str(error):
                return None
            raise

    def stack_rests(self, name, patience=None):
        """Waits until no operation is under way, and returns the status."""
        def rests():
            status = self.stack_status(name)
            return [status] if status is None or not status.endswith("_IN_PROGRESS") else None
        return self.until(f"stack {name} is at rest", rests, patience)[0]

    # What was found out

    def say(self, text):
        print(f"tests/aws: {text}", file=sys.stderr, flush=True)

    def expect(self, holds, text):
        if not holds:
            raise Failed(text)
