"""Sends a recording's requests to another implementation, and says where its answers differ from the recorded ones."""

import json
import re
import time
from urllib.parse import urlencode

import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from .account import Failed
from .recorder import READ_ONLY, parse, service_model
from .redact import ACCOUNT, Redactor

# A request id, a token.
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# What the recorder put in place of ids; in another account each stands for something else.
SUBSTITUTE = re.compile(
    r"\b[a-z]{2,10}(?:-[a-z]{2,6}){0,2}-0{8}\d{9}\b|\b00000000-0000-4000-8000-\d{12}\b|(?<![\d.])192\.0\.2\.\d{1,2}(?![\d./])|PRINCIPAL"
)
UNSETTLED = re.compile(r'_IN_PROGRESS"|_PENDING"|"(?:pending|deleting|creating|attaching|detaching|modifying|[a-z]+-in-progress)"')
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
# Of the request, of the moment, or of what others have.
NOT_COMPARED = re.compile(r"OfOthers$|^NextToken$|^Timestamp$|^EventId$|^StackDriftDetectionId$|Token$|^Expiration$")
# How long a read may differ from the recorded one, and how long one of which nothing is expected.
PATIENCE, SOFT_PATIENCE = 5.0, 0.3


class Mine(Redactor):
    """Leaves out what others have, and replaces nothing."""

    def text(self, text):
        return text


class Replay:
    def __init__(self, session, endpoint, region):
        self.session, self.endpoint, self.region = session, endpoint, region
        self.known, self.differences = {}, set()
        self.mine, self.pool = Mine("RUN", ACCOUNT), urllib3.PoolManager(retries=False)

    def go(self, lines):
        for line, firm in settled(lines):
            read = line["action"].startswith(READ_ONLY)
            # An answer that names what is not known yet is waited for: later requests will name it.
            new = set(SUBSTITUTE.findall(json.dumps(line["answer"]))) - set(self.known)
            deadline = time.monotonic() + (PATIENCE if firm or new else SOFT_PATIENCE)
            while True:
                status, answer = self._send(line)
                trial = dict(self.known)
                found = self._compare(line, status, answer, trial)
                if not found or not read or time.monotonic() > deadline:
                    break
                time.sleep(0.05)
            if firm or not found:
                self.known = trial
            if firm:
                self.differences.update(found)
        return self.differences

    def _send(self, line):
        service = line["service"]
        model = service_model(self.session, service)
        parameters = {key: self.actual(value) for key, value in line["parameters"].items()}
        headers = {}
        if set(parameters) == {"body"}:
            body = parameters["body"]
            headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": f"{model.metadata['targetPrefix']}.{line['action']}"}
        else:
            body = urlencode({"Action": line["action"], "Version": model.api_version, **parameters})
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
        request = AWSRequest("POST", self.endpoint.rstrip("/") + "/", headers=headers, data=body)
        SigV4Auth(self.session.get_credentials().get_frozen_credentials(), service, self.region).add_auth(request)
        answer = self.pool.request("POST", request.url, body=body, headers=dict(request.prepare().headers))
        parsed = parse(self.session, service, line["action"], answer.status, dict(answer.headers), answer.data)
        return answer.status, self.mine.answer(parsed)

    def actual(self, text):
        return SUBSTITUTE.sub(lambda found: self.known.get(found.group(), found.group()), text)

    def _compare(self, line, status, answer, known):
        where = f"{line['service']} {line['action']}"
        recorded = line["answer"]
        if (line["status"] >= 400) != (status >= 400):
            return [f"{where}: {_outcome(recorded)} recorded, {_outcome(answer)} here"]
        return [f"{where}: {text}" for text in differences(recorded, answer, "", known)]


def _outcome(answer):
    error = answer.get("Error")
    return f"{error.get('Code')}: {error.get('Message')}" if error else "success"


def settled(lines):
    """The requests that a replay has to send, each with whether its answer has to be the recorded one.

    Of what is asked again and again it is only the last. What was asked while something was under way need not be the same."""
    def flush():
        last = max((number for number, line in enumerate(reads) if _unsettled(line)), default=-1)
        latest = {_asked(line): number for number, line in enumerate(reads)}
        return [
            (line, number > last) for number, line in enumerate(reads)
            if latest[_asked(line)] == number and not _unsettled(line)
        ]

    reads = []
    for line in lines:
        if line["action"].startswith(READ_ONLY):
            reads.append(line)
        else:
            yield from flush()
            reads = []
            yield line, True
    yield from flush()


def _unsettled(line):
    # Events tell of everything that ever was under way.
    return line["action"] != "DescribeStackEvents" and bool(UNSETTLED.search(json.dumps(line["answer"])))


def _asked(line):
    return (line["service"], line["action"], json.dumps(line["parameters"], sort_keys=True))


def differences(recorded, actual, path, known):
    """Where two answers differ; substitutes that are met for the first time are learnt into `known`."""
    if isinstance(recorded, dict) and isinstance(actual, dict):
        found = []
        for key in sorted({*recorded, *actual}):
            place = f"{path}.{key}".lstrip(".")
            if NOT_COMPARED.search(key):
                continue
            if key not in actual:
                found += [] if _empty(recorded[key]) else [f"{place} is missing"]
            elif key not in recorded:
                found += [] if _empty(actual[key]) else [f"{place} is not in the recording"]
            else:
                found += differences(recorded[key], actual[key], place, known)
        return found
    if isinstance(recorded, list) and isinstance(actual, list):
        return _of_lists(recorded, list(actual), path, known)
    if isinstance(recorded, str) and isinstance(actual, str):
        if _same_text(recorded, actual, known):
            return []
        return [f"{path}: {_stable(recorded)!r} recorded, {_stable(actual)!r} here"]
    return [] if recorded == actual else [f"{path}: {recorded!r} recorded, {actual!r} here"]


def _stable(text):
    """The text without what differs each time, so that a known difference is found again."""
    return UUID.sub("(an id)", text)


def _of_lists(recorded, rest, path, known):
    """Order says nothing: each item is held against the one that is most like it."""
    found = []
    for item in recorded:
        best = None
        for number, other in enumerate(rest):
            trial = dict(known)
            differ = differences(item, other, f"{path}[]", trial)
            if best is None or len(differ) < len(best[0]):
                best = (differ, number, trial)
            if not differ:
                break
        if best is None:
            found.append(f"{path} has fewer items")
            continue
        rest.pop(best[1])
        known.update(best[2])
        found += best[0]
    return found + [f"{path} has more items"] * bool(rest)


def _empty(value):
    return value in ("", None, [], {}, False)


def _same_text(recorded, actual, known):
    if TIME.match(recorded) and TIME.match(actual):
        return True
    expected = SUBSTITUTE.sub(lambda found: known.get(found.group(), found.group()), recorded)
    if expected == actual:
        return True
    # What is not known yet may stand for anything of its kind.
    unknown, pattern, end = [], "", 0
    for found in SUBSTITUTE.finditer(recorded):
        pattern += re.escape(recorded[end:found.start()])
        end = found.end()
        if found.group() in known:
            pattern += re.escape(known[found.group()])
        else:
            unknown.append(found.group())
            pattern += r"([\w.-]+)"
    fits = re.fullmatch(pattern + re.escape(recorded[end:]), actual) if unknown else None
    if fits:
        known.update(zip(unknown, fits.groups()))
    return bool(fits)


def replay(session, file, endpoint, local):
    """Prints the differences that the file of known ones beside the recording does not name; 2 where there are any."""
    if not local:
        raise Failed("--replay makes and deletes what the recording did: set AWS_ENDPOINT_URL to an implementation on loopback")
    with open(file) as recording:
        lines = [json.loads(line) for line in recording]
    try:
        with open(f"{file}.known") as known:
            expected = {line.rstrip("\n") for line in known}
    except FileNotFoundError:
        expected = set()
    found = Replay(session, endpoint, session.region_name).go(lines)
    for text in sorted(found):
        print(f"{'known: ' if text in expected else ''}{text}")
    return 2 if set(found) - expected else 0
