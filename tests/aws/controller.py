"""The program, as a user would start it, behind the recorder."""

import json
import os
import pathlib
import subprocess

from .account import CONTROLLER_KEY, TAG, Failed
from .network import NAT_CIDRS

# Ends the program when the pipe to its standard input is closed: at the latest when the script is gone.
LEASH = 'exec 3<&0; "$0" "$@" </dev/null 3<&- & pid=$!; (cat <&3 >/dev/null; kill "$pid" 2>/dev/null) & wait "$pid"'
CONFIG_MAP = """apiVersion: v1
kind: ConfigMap
metadata:
  name: egress
  namespace: default
  labels:
    egress: static
data:
"""
WHO = "controller"


class Controller:
    """At most one process at a time, with these flags besides the usual ones."""

    def __init__(self, account, recorder, network, program, directory):
        self.account, self.recorder, self.network, self.program = account, recorder, network, program
        self.manifests, self.log = directory / "manifests", directory / "controller.log"
        self.manifests.mkdir()
        self.process, self.flags, self.zones, self.cidrs = None, {}, [], []

    def ask(self, *cidrs):
        """Writes the ConfigMap that asks for these networks; none at all is an empty directory."""
        self.cidrs = list(cidrs)
        file = self.manifests / "egress.yaml"
        if not cidrs:
            file.unlink(missing_ok=True)
            return
        text = CONFIG_MAP + "".join(f'  n{number}: "{cidr}"\n' for number, cidr in enumerate(cidrs))
        (self.manifests / "egress.new").write_text(text)
        os.replace(self.manifests / "egress.new", file)

    def start(self, zones, tags=(), **flags):
        """Starts, or starts again with other flags; they stay for the next start, and `tags` do not."""
        self.stop()
        self.zones = zones
        self.flags = {**self.flags, **{name.replace("_", "-"): value for name, value in flags.items()}}
        given = {
            "provider": "aws", "manifests": self.manifests, "cluster-id": self.account.run, "vpc-id": self.network.vpc,
            "resync-interval": "10s", "drift-interval": "10s", "max-removal": "100", "empty-grace-period": "0s",
            "address": "127.0.0.1:0", "log-format": "json", "log-level": "debug",
            **{name: value for name, value in self.flags.items() if value is not None},
        }
        arguments = [f"--{name}={value}" for name, value in given.items()]
        arguments += [f"--additional-stack-tags={tag}" for tag in (f"{TAG}={self.account.run}", *tags)]
        for zone in zones:
            cidr = NAT_CIDRS[self.network.zones.index(zone)]
            arguments += [f"--aws-az={zone}", f"--aws-nat-cidr-block={cidr}"]
        # Nothing of the caller's: neither profiles nor credentials, and no settings of the program.
        environment = {
            name: value for name, value in os.environ.items()
            if not name.startswith(("AWS_", "KUBE", "OTEL_")) and name.lower() not in ("http_proxy", "https_proxy")
        }
        environment |= {
            "AWS_ENDPOINT_URL": self.account.endpoint, "AWS_REGION": self.account.region,
            "AWS_ACCESS_KEY_ID": CONTROLLER_KEY, "AWS_SECRET_ACCESS_KEY": "none", "AWS_EC2_METADATA_DISABLED": "true",
        }
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                ["bash", "-c", LEASH, self.program, *arguments],
                env=environment, stdin=subprocess.PIPE, stdout=log, stderr=log,
            )

    def stop(self):
        if self.process:
            self.process.stdin.close()
            self.process.wait()
            self.process = None

    def routed(self, patience=None):
        """Waits until exactly what is asked for is routed, zone by zone, and the stack is at rest; returns the static IPs."""
        last = {}

        def look():
            exits = self.network.exits()
            last.update(exits=sorted(exits), status=self.account.stack_status(self.account.stack))
            if set(exits) != set(self.zones):
                return None
            for zone in self.network.zones:
                gateway = exits.get(zone, {}).get("NatGatewayId")
                wanted = {cidr: gateway for cidr in self.cidrs} if gateway else {}
                last[zone] = self.network.routes(zone)
                if last[zone] != wanted:
                    return None
            done = (last["status"] or "").endswith("_COMPLETE") and "ROLLBACK" not in last["status"]
            return self.network.ips() if done else None

        try:
            self.account.until(f"{self.cidrs} are routed from {self.zones}", lambda: self._alive() and look(), patience)
        except Failed as failed:
            raise Failed(f"{failed}; seen: {last}; the program says: {self._complaints()}") from None
        return self.network.ips()

    def _complaints(self):
        """The last warnings and errors of its log."""
        lines = pathlib.Path(self.log).read_text(errors="replace").splitlines()
        messages = [json.loads(line) for line in lines if line.startswith("{")]
        return [one.get("message") for one in messages if one.get("level") in ("WARN", "ERROR")][-3:]

    def _alive(self):
        lines = pathlib.Path(self.log).read_text(errors="replace").splitlines()[-1:] if self.process else ["it is not started"]
        self.account.expect(self.process and self.process.poll() is None, f"the program has ended: {lines}")
        return True

    def rests(self):
        """Lets the program look at everything twice more, and returns what it changed meanwhile."""
        mark = self.recorder.mark()
        looks = lambda: len(self.recorder.since(mark, WHO, "DescribeNatGateways")) >= 2
        self.account.until("two more looks", looks, max(60, self.account.patience / 4))
        return [call.action for call in self.recorder.since(mark, WHO, mutating=True)]

    def calls(self, mark, action):
        return self.recorder.since(mark, WHO, action)
