"""Stack policies: what an update may do to which resource."""

import fnmatch
import json

from .errors import ValidationError


def parse(text):
    try:
        policy = json.loads(text)
        statements = policy["Statement"]
        statements = [statements] if isinstance(statements, dict) else statements
        for statement in statements:
            if statement["Effect"] not in ("Allow", "Deny"):
                raise ValueError
            if not ({"Action", "NotAction"} & set(statement)) or not ({"Resource", "NotResource"} & set(statement)):
                raise ValueError
            if statement.get("Principal") != "*":
                raise ValueError
            for action in _listed(statement.get("Action", [])) + _listed(statement.get("NotAction", [])):
                if not action.startswith("Update:"):
                    raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValidationError("Error validating stack policy: Invalid stack policy") from None
    return policy


def _listed(value):
    return [value] if isinstance(value, str) else list(value)


def _any(patterns, text):
    return any(fnmatch.fnmatchcase(text, pattern) for pattern in _listed(patterns))


def _applies(statement, action, target, kind):
    if "Action" in statement and not _any(statement["Action"], action):
        return False
    if "NotAction" in statement and _any(statement["NotAction"], action):
        return False
    if "Resource" in statement and not _any(statement["Resource"], target):
        return False
    if "NotResource" in statement and _any(statement["NotResource"], target):
        return False
    for operator, tests in statement.get("Condition", {}).items():
        wanted = _listed(tests.get("ResourceType", []))
        if operator == "StringEquals" and kind not in wanted:
            return False
        if operator == "StringLike" and not _any(wanted, kind):
            return False
    return True


def refusal(text, action, logical_id, kind):
    """Why the policy does not let this happen, or None when it does."""
    if not text:
        return None
    policy = json.loads(text)
    statements = policy["Statement"]
    statements = [statements] if isinstance(statements, dict) else statements
    target = f"LogicalResourceId/{logical_id}"
    applying = [(n, s) for n, s in enumerate(statements, 1) if _applies(s, action, target, kind)]
    for number, statement in applying:
        if statement["Effect"] == "Deny":
            return f"Action denied by stack policy: Statement [#{number}] does not allow [{action}] for resource [{target}]"
    if any(statement["Effect"] == "Allow" for _, statement in applying):
        return None
    return f"Action denied by stack policy: no statement allows [{action}] for resource [{target}]"
