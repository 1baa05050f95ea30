"""Faults on request: which call or resource they hit, and what each service says when they do."""

import dataclasses
import fnmatch
import json
import random
from xml.sax.saxutils import escape

ANSWERED = (
    "throttle", "error500", "error500_after", "access_denied", "expired_token", "invalid_credentials", "empty", "page", "page_after",
)
# These hit the answer: the call is carried out.
AFTER = ("reset_after", "error500_after", "page_after")
BROKEN = ("delay", "reset_before", "reset_after")
INSIDE = ("resource_fails", "rollback_fails", "delete_fails", "validation_fails")
KINDS = ANSWERED + BROKEN + INSIDE

# What is said where: (HTTP status, code, message). EC2 and S3 have names of their own for the same thing.
ANSWERS = {
    "throttle": {
        "ec2": (503, "RequestLimitExceeded", "Request limit exceeded."),
        "s3": (503, "SlowDown", "Please reduce your request rate."),
        "servicequotas": (400, "TooManyRequestsException", "Rate exceeded"),
        "": (400, "Throttling", "Rate exceeded"),
    },
    "error500": {
        "ec2": (500, "InternalError", "An internal error has occurred"),
        "s3": (500, "InternalError", "We encountered an internal error. Please try again."),
        "servicequotas": (500, "ServiceException", "Something went wrong."),
        "": (500, "InternalFailure", "The request processing has failed because of an unknown error."),
    },
    "access_denied": {
        "ec2": (403, "UnauthorizedOperation", "You are not authorized to perform this operation."),
        "s3": (403, "AccessDenied", "Access Denied"),
        "servicequotas": (400, "AccessDeniedException", "User: {user} is not authorized to perform: {service}:{action}"),
        "": (403, "AccessDenied", "User: {user} is not authorized to perform: {service}:{action}"),
    },
    "expired_token": {
        "ec2": (400, "RequestExpired", "Request has expired."),
        "s3": (400, "ExpiredToken", "The provided token has expired."),
        "": (403, "ExpiredToken", "The security token included in the request is expired"),
    },
    "invalid_credentials": {
        "ec2": (401, "AuthFailure", "AWS was not able to validate the provided access credentials"),
        "s3": (403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records."),
        "": (403, "InvalidClientTokenId", "The security token included in the request is invalid."),
    },
}
ANSWERS["error500_after"] = ANSWERS["error500"]
# What a proxy says in AWS's place.
PAGE = b"<html><body>Access to this site is restricted</body></html>"
PAGES = {"page": "403 Forbidden", "page_after": "200 OK"}


@dataclasses.dataclass
class Fault:
    kind: str
    action: str = "*"
    service: str = "*"
    stack: str = "*"
    access_key: str = "*"
    logical_id: str = "*"
    times: int | None = None
    probability: float = 1.0
    ms: float = 0
    message: str | None = None
    hits: int = 0

    def __post_init__(self):
        for name in ("action", "service", "stack", "access_key", "logical_id"):
            if not isinstance(getattr(self, name), str):
                raise ValueError(f"{name} must be text, with * for anything")
        if self.kind not in KINDS:
            raise ValueError(f"there is no fault kind {self.kind!r}; there are {', '.join(KINDS)}")
        if self.kind == "empty" and not (self.service == "ec2" and self.action.startswith("Describe")):
            raise ValueError("only lists of EC2 can be empty: name service ec2 and an action Describe…")
        if not 0 <= self.probability <= 1:
            raise ValueError("probability must lie between 0 and 1")

    @property
    def spent(self):
        return self.times is not None and self.hits >= self.times


class Faults:
    def __init__(self):
        self.reset(1)

    def reset(self, seed):
        # A source of chance of its own: faults must not shift the ids that a seed gives.
        self.random = random.Random(seed)
        self.all = []

    def add(self, items):
        known = {field.name for field in dataclasses.fields(Fault)} - {"hits"}
        made = []
        for item in items:
            wrong = set(item) - known
            if wrong:
                raise ValueError(f"a fault has no {', '.join(sorted(wrong))}; it has {', '.join(sorted(known))}")
            if "kind" not in item:
                raise ValueError("a fault needs a kind")
            made.append(Fault(**item))
        self.all.extend(made)

    def clear(self):
        self.all = []

    def _take(self, fault):
        if fault.spent or (fault.probability < 1 and self.random.random() >= fault.probability):
            return False
        fault.hits += 1
        return True

    def for_call(self, call):
        """All that hit this call: any number of delays and at most one of the others."""
        delays, other = [], None
        for fault in self.all:
            if fault.kind in INSIDE or not self._matches_call(fault, call):
                continue
            if fault.kind == "delay":
                if self._take(fault):
                    delays.append(fault)
            elif other is None and self._take(fault):
                other = fault
        return delays, other

    @staticmethod
    def _matches_call(fault, call):
        stack = (call.stack or "").split(":stack/")[-1].split("/")[0]
        return (
            fnmatch.fnmatchcase(call.action, fault.action)
            and fnmatch.fnmatchcase(call.service, fault.service)
            and fnmatch.fnmatchcase(stack, fault.stack)
            and fnmatch.fnmatchcase(call.access_key or "", fault.access_key)
        )

    def for_template(self):
        """What S3 says when CloudFormation itself fetches a template: faults on the action TemplateURL."""
        for fault in self.all:
            if fault.action == "TemplateURL" and self._take(fault):
                return fault.message or ANSWERS[fault.kind]["s3"][2]
        return None

    def for_resource(self, kind, stack_name, logical_id):
        """The message of a fault that hits this resource of a running operation, or None."""
        for fault in self.all:
            if (
                fault.kind == kind
                and fnmatch.fnmatchcase(stack_name, fault.stack)
                and fnmatch.fnmatchcase(logical_id, fault.logical_id)
                and self._take(fault)
            ):
                return fault.message or (
                    'Resource handler returned message: "Internal error" (HandlerErrorCode: InternalFailure)'
                )
        return None


def answer(kind, call, message=None, request_id="00000000-0000-0000-0000-000000000000"):
    """(status line, headers, body) in the wire format of the call's service."""
    if kind == "empty":
        return _empty(call, request_id)
    if kind in PAGES:
        return PAGES[kind], [("Content-Type", "text/html"), ("Content-Length", str(len(PAGE)))], PAGE
    table = ANSWERS[kind]
    status, code, text = table.get(call.service, table[""])
    text = message or text.format(
        user=f"arn:aws:iam::123456789012:user/{call.access_key}", service=call.service, action=call.action
    )
    if call.service == "servicequotas":
        return _json(status, code, text, request_id)
    code, text = escape(code), escape(text)
    if call.service == "ec2":
        inner = f"<Errors><Error><Code>{code}</Code><Message>{text}</Message></Error></Errors>"
        body = f"<Response>{inner}<RequestID>{request_id}</RequestID></Response>"
    elif call.service == "s3":
        body = f"<Error><Code>{code}</Code><Message>{text}</Message><RequestId>{request_id}</RequestId></Error>"
    else:
        side = "Sender" if status < 500 else "Receiver"
        inner = f"<Error><Type>{side}</Type><Code>{code}</Code><Message>{text}</Message></Error>"
        body = f"<ErrorResponse>{inner}<RequestId>{request_id}</RequestId></ErrorResponse>"
    body = b'<?xml version="1.0" encoding="UTF-8"?>\n' + body.encode()
    headers = [("Content-Type", "text/xml"), ("Content-Length", str(len(body))), ("x-amzn-RequestId", request_id)]
    return f"{status} {code}", headers, b"" if call.method == "HEAD" else body


def _empty(call, request_id):
    """A list of EC2 without anything in it, whatever there is and whatever ids were asked for."""
    body = f"<{call.action}Response><requestId>{request_id}</requestId></{call.action}Response>"
    body = b'<?xml version="1.0" encoding="UTF-8"?>\n' + body.encode()
    return "200 OK", [("Content-Type", "text/xml"), ("Content-Length", str(len(body)))], body


def _json(status, code, text, request_id):
    body = json.dumps({"__type": code, "message": text}).encode()
    headers = [("Content-Type", "application/x-amz-json-1.1"), ("Content-Length", str(len(body)))]
    return f"{status} {code}", [*headers, ("x-amzn-RequestId", request_id)], body
