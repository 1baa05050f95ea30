"""tests/aws/run: see README.md."""

import argparse
import json
import os
import pathlib
import re
import secrets
import shutil
import signal
import sys

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from .account import CONTROLLER_KEY, Account, Failed
from .cleanup import CleanUp
from .recorder import Recorder
from .redact import Redactor
from .roles import Roles, script_caller
from .walk import STEPS, Walk, chosen

ROOT = pathlib.Path(__file__).parents[2]
SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
COST = """It makes a VPC of its own with two zones, up to three NAT gateways and static IPs, a VPN connection for some minutes and two
IAM roles, and deletes them at the end. That takes about an hour and costs about 2 USD. It needs rights to make all of these (as an
administrator has them), room for 3 Elastic IP addresses and for one VPC, and touches nothing that it has not made."""


def arguments():
    parser = argparse.ArgumentParser(prog="tests/aws/run", description="Walks one AWS account through what the documents leave open.")
    parser.add_argument("--run", help="name of this run; part of all names and in the tag egress-test-run (default: invented)")
    parser.add_argument("--yes", action="store_true", help="does not ask before it starts")
    parser.add_argument("--steps", help=f"only these and what they need, separated by commas: {', '.join(STEPS)}")
    parser.add_argument("--no-roles", action="store_true", help="without IAM: everything with the caller's own rights")
    parser.add_argument("--output", help="directory for the recording (default: aws-RUN, in the current one)")
    parser.add_argument("--program", help="the controller (default: the newest one in target/)")
    parser.add_argument("--patience", type=float, help="seconds that one thing may take (default: 1800; on loopback 60)")
    parser.add_argument("--clean-up", metavar="RUN", help="removes what this run has left behind, and does nothing else")
    parser.add_argument("--replay", metavar="FILE", help="sends a recording to AWS_ENDPOINT_URL and says where answers differ")
    return parser.parse_args()


def program(given):
    candidates = [given] if given else [
        *ROOT.glob("target/*/kube-static-egress-controller"), shutil.which("kube-static-egress-controller")]
    found = [pathlib.Path(path) for path in candidates if path and os.access(path, os.X_OK)]
    if not found:
        raise Failed("no program: build it with `cargo build --release`, or give --program")
    return str(max(found, key=lambda path: path.stat().st_mtime).resolve())


def main():
    given = arguments()
    run = given.clean_up or given.run or f"ksec{secrets.token_hex(3)}"
    if not re.fullmatch(r"[a-z][a-z0-9-]{2,30}", run):
        raise Failed(f"the run's name {run!r} has other characters than a-z, 0-9 and -, or is too short or long")
    session = boto3.Session(region_name=os.environ.get("AWS_REGION"))
    region = session.region_name
    if not region:
        raise Failed("no region: set AWS_REGION, or `region` in the profile")
    upstream = os.environ.get("AWS_ENDPOINT_URL")
    local = bool(upstream and re.match(r"http://(127\.0\.0\.1|localhost)[:/]", upstream + "/"))
    if given.replay:
        from .replay import replay

        return replay(session, given.replay, upstream, local)
    patience, pace = given.patience or (60 if local else 1800), 0.1 if local else 5
    if given.clean_up:
        CleanUp(Account(run, session, region, upstream, patience, pace)).all()
        return 0
    return walk(given, run, session, region, upstream, patience, pace)


def agreed():
    try:
        return input("Start? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        # Nobody is there to answer.
        return False


def walk(given, run, session, region, upstream, patience, pace):
    names, binary = chosen(given.steps), program(given.program)
    caller = session.client("sts", region_name=region, endpoint_url=upstream).get_caller_identity()
    number, partition = caller["Account"], caller["Arn"].split(":")[1]
    print(f"Run {run} in account {number}, {region}{f', at {upstream}' if upstream else ''}: {', '.join(names)}.\n{COST}", file=sys.stderr)
    print(f"Whatever happens, `tests/aws/run --clean-up {run}` removes what is left.", file=sys.stderr)
    if not given.yes and not agreed():
        raise Failed("nothing was started: answer y, or give --yes")
    directory = pathlib.Path(given.output or f"aws-{run}")
    directory.mkdir(mode=0o700)
    with open(directory / "recording.jsonl", "w") as file:
        recorder = Recorder(session, region, upstream, file, Redactor(run, number))
        account = Account(run, session, region, recorder.start(), patience, pace)
        recorder.callers.update(script_caller(session))
        roles = None if given.no_roles else Roles(account, number, partition)
        own = recorder.callers[next(iter(recorder.callers))][1]
        recorder.callers[CONTROLLER_KEY] = ("controller", roles.credentials if roles else own)
        # A signal ends the walk as an error does, and the clean-up runs. An exception from the handler could leave a lock locked.
        for number in SIGNALS:
            signal.signal(number, lambda number, _: setattr(account, "signal", number))
        try:
            Walk(account, recorder, roles, binary, directory).go(names)
        finally:
            for number in SIGNALS:
                signal.signal(number, signal.SIG_IGN)
            account.signal = None
            (directory / "findings.json").write_text(json.dumps(account.findings, indent=2, default=str) + "\n")
            account.say(f"recording and findings are in {directory}")
            recorder.step = "clean-up"
            account.say("cleans up")
            CleanUp(account).all()
    return 0


try:
    sys.exit(main())
except (Failed, ValueError, BotoCoreError, ClientError) as failed:
    print(f"tests/aws: error: {failed}", file=sys.stderr)
    sys.exit(1)
