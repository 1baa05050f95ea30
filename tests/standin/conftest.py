"""Starts the stand-in once, and resets it for every test."""

import json
import os
import pathlib
import subprocess
import sys
import time
import urllib.error
import urllib.request

import boto3
import pytest
from botocore.config import Config

HERE = pathlib.Path(__file__).resolve().parent
ZONES = ["eu-central-1a", "eu-central-1b", "eu-central-1c"]


class Standin:
    """A client of the control API, and of AWS as one replica with its own access key."""

    def __init__(self, port):
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def control(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/_standin/{path}", data=data, method=method)
        try:
            with urllib.request.urlopen(request) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise ValueError(json.load(error)["error"]) from None

    def post(self, path, body=None):
        return self.control("POST", path, {} if body is None else body)

    def get(self, path):
        return self.control("GET", path)

    def client(self, service, key="AKIAREPLICAAAAAAAAAA", region="eu-central-1"):
        config = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}, region_name=region)
        return boto3.client(
            service, endpoint_url=self.url, aws_access_key_id=key, aws_secret_access_key="secret", config=config
        )

    def settings(self, **values):
        return self.post("settings", values)

    def fault(self, **values):
        return self.post("faults", [values])

    def state(self):
        return self.get("state")

    def log(self, **wanted):
        entries = self.get("log")["entries"]
        return [e for e in entries if all(e[key] == value for key, value in wanted.items())]

    def wait(self, stack, *statuses, seconds=10):
        """Follows a stack until it has one of the statuses, or has come to rest."""
        client, end = self.client("cloudformation", "AKIAWATCHERAAAAAAAAA"), time.monotonic() + seconds
        while True:
            status = client.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"]
            if status in statuses or (not statuses and not status.endswith("_IN_PROGRESS")):
                return status
            assert time.monotonic() < end, f"{stack} is still {status}, not {statuses}"
            time.sleep(0.02)


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    errors = open(tmp_path_factory.mktemp("standin") / "stderr", "w+")
    process = subprocess.Popen(
        [sys.executable, "-m", "standin", "--port", "0"], stdout=subprocess.PIPE, stderr=errors, env=environment, cwd=HERE.parent
    )
    line = process.stdout.readline()
    assert line, f"the stand-in did not start: {pathlib.Path(errors.name).read_text()}"
    yield Standin(json.loads(line)["port"])
    process.terminate()
    process.wait(10)
    errors.seek(0)
    # A traceback in the server is a failure, even where the client's test was content.
    assert "Traceback" not in errors.read()


@pytest.fixture
def standin(server):
    server.post("reset", {"seed": 1})
    return server


@pytest.fixture
def world(standin):
    return standin.post("world", {"zones": ZONES})


@pytest.fixture
def cfn(standin):
    return standin.client("cloudformation")


@pytest.fixture
def ec2(standin):
    return standin.client("ec2")
