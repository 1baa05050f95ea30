"""Reads from a raw HTTP request which AWS call it is, and keeps the log of such calls."""

import hashlib
import re
from urllib.parse import parse_qsl, urlsplit

CREDENTIAL = re.compile(r"Credential=([^/,\s]+)/\d{8}/([^/]+)/([^/]+)/aws4_request")
READ_ONLY = ("Describe", "List", "Get", "Head", "Detect", "Validate", "Estimate", "Search", "Lookup")
NOT_SHOWN = ("Action", "Version", "TemplateBody", "StackPolicyBody", "StackPolicyDuringUpdateBody")
STS = ("AssumeRole", "AssumeRoleWithWebIdentity", "GetCallerIdentity", "GetSessionToken")
ERROR_CODE = re.compile(rb'(?:<Code>|"__type": ?")([^<"]+)')


class Call:
    """One request of a client, as far as faults and the log need to know it."""

    def __init__(self, environ, body):
        self.user_agent = environ.get("HTTP_USER_AGENT", "")
        self.method = environ.get("REQUEST_METHOD", "GET")
        self.path = environ.get("PATH_INFO", "/")
        match = CREDENTIAL.search(environ.get("HTTP_AUTHORIZATION", ""))
        self.access_key, self.region, self.service = match.groups() if match else (None, None, None)
        self.form = {}
        if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
            self.form = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
        query = dict(parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True))
        if "Action" in query:
            self.form = {**query, **self.form}
        # Services that speak JSON name the action in a header.
        target = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
        self.action = self.form.get("Action") or target or self._s3_action(query, environ)
        if self.service is None:
            self.service = "sts" if self.action in STS else "s3"

    def _s3_action(self, query, environ):
        host = environ.get("HTTP_HOST", "")
        in_bucket = bool(re.match(r"[^.]+\.(localhost|s3[.-])", host))
        parts = [part for part in self.path.split("/", 2 if not in_bucket else 1) if part]
        depth = len(parts) + (1 if in_bucket else 0)
        if self.service not in (None, "s3"):
            return self.method
        if depth == 0:
            return "ListBuckets"
        noun = "Object" if depth > 1 else "Bucket"
        if self.method == "GET" and depth == 1:
            return "ListObjectsV2" if query.get("list-type") == "2" else "GetBucket"
        names = {"PUT": "Put" if depth > 1 else "Create", "GET": "Get", "HEAD": "Head", "POST": "Post"}
        return names.get(self.method, self.method.capitalize()) + noun

    @property
    def mutating(self):
        return self.service != "sts" and not self.action.startswith(READ_ONLY)

    def first(self, *names):
        return next((self.form[name] for name in names if name in self.form), None)

    @property
    def stack(self):
        return self.first("StackName")

    def shown_params(self):
        """The parameters without the long ones, of which only size and digest are kept."""
        params = {key: value for key, value in self.form.items() if key not in NOT_SHOWN}
        for key in NOT_SHOWN[2:]:
            if key in self.form:
                text = self.form[key].encode()
                params[key] = {"bytes": len(text), "sha256": hashlib.sha256(text).hexdigest()}
        if self.service == "s3":
            params["path"] = urlsplit(self.path).path
        return params


class RequestLog:
    def __init__(self):
        self.entries = []

    def reset(self):
        self.entries = []

    def open(self, call, seconds):
        entry = {
            "n": len(self.entries) + 1,
            "t": int(seconds * 1000),
            "service": call.service,
            "region": call.region,
            "action": call.action,
            "access_key": call.access_key,
            "user_agent": call.user_agent,
            "mutating": call.mutating,
            "stack": call.stack,
            "change_set": call.first("ChangeSetName"),
            "token": call.first("ClientRequestToken", "ClientToken"),
            "params": call.shown_params(),
            "pod": None,
            "issued": None,
            "result": None,
            "fault": None,
        }
        self.entries.append(entry)
        return entry

    def since(self, number):
        return self.entries[number:]


def result_of(status, body):
    if int(status.split()[0]) < 400:
        return "ok"
    match = ERROR_CODE.search(body)
    return match.group(1).decode() if match else status
