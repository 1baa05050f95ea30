"""What a client may call, by the IAM policy that it was given."""

import fnmatch


def missing(policies, call):
    """The action that no statement allows to the caller; None when all is well, or nothing is said of its access key."""
    documents = [policy for prefix, policy in policies.items() if (call.access_key or "").startswith(prefix)]
    if not documents or call.service == "sts":
        return None
    statements = [statement for policy in documents for statement in policy["Statement"]]
    needed = [(f"{call.service}:{call.action}", _resource(call))]
    if "RoleARN" in call.form:
        needed.append(("iam:PassRole", call.form["RoleARN"]))
    return next((action for action, resource in needed if not _allowed(statements, action, resource)), None)


def _resource(call):
    """The ARN that a call is about; None for those that IAM knows as "*" only, or that this cannot tell."""
    if call.service == "s3":
        return "arn:aws:s3:::" + call.path.lstrip("/")
    if call.service != "cloudformation" or not call.stack:
        return None
    if call.stack.startswith("arn:"):
        return call.stack
    return f"arn:aws:cloudformation:{call.region}:123456789012:stack/{call.stack}/*"


def _allowed(statements, action, resource):
    return any(_allows(statement, action, resource) for statement in statements)


def _allows(statement, action, resource):
    if statement["Effect"] != "Allow" or not _among(statement["Action"], action):
        return False
    # A direct call is made by nobody on somebody's behalf.
    if "aws:CalledVia" in str(statement.get("Condition", {})):
        return False
    return resource is None or _among(statement["Resource"], resource)


def _among(patterns, text):
    patterns = [patterns] if isinstance(patterns, str) else patterns
    return any(fnmatch.fnmatchcase(text, pattern) for pattern in patterns)
