"""What a caller may do by its IAM policies: actions, resources and conditions, as IAM decides them."""

import fnmatch
import json
import pathlib
import re

from . import roles

KNOWN = json.loads((pathlib.Path(__file__).parent / "handlers.json").read_text())
ACCOUNT = "123456789012"
STACKS_ALL = "stack/*/*"
# By the beginning of a region's name, as in botocore's partitions.json.
PARTITIONS = {
    "cn-": "aws-cn", "us-gov-": "aws-us-gov", "eusc-": "aws-eusc", "us-iso-": "aws-iso", "us-isob-": "aws-iso-b",
    "eu-isoe-": "aws-iso-e", "us-isof-": "aws-iso-f",
}
# What a call has as its resource where IAM knows none for the action.
NO_RESOURCE = ("ListStacks", "BatchDescribeTypeConfigurations", "DescribeStackDriftDetectionStatus")
# Calls that tag what they make need the right to tag besides.
TAGGING = ("CreateStack", "CreateChangeSet", "UpdateStack")
IMPORTED = re.compile(r"ResourcesToImport\.member\.\d+\.ResourceType\Z")


def partition(region):
    return next((name for prefix, name in PARTITIONS.items() if region.startswith(prefix)), "aws")


def denied(settings, call):
    """What AWS would say of the first right that the call lacks; None when it has all, or nothing is said of its access key."""
    statements = of_key(settings, call.access_key)
    if statements is None or call.service == "sts":
        return None
    for action, resource, context in _needed(call):
        if not allowed(statements, action, resource, context):
            return refusal(action, resource)
    return None


def refusal(action, resource, who="controller/session"):
    on = "" if resource == "*" else f" on resource: {resource}"
    return (
        f"User: arn:aws:sts::{ACCOUNT}:assumed-role/{who} is not authorized to perform: {action}{on} "
        f"because no identity-based policy allows the {action} action"
    )


def of_key(settings, access_key):
    """The statements of an access key; None where no policy is known for it, and so everything is allowed."""
    documents = [policy for prefix, policy in settings.policies.items() if (access_key or "").startswith(prefix)]
    named = [statement for policy in documents for statement in _listed(policy["Statement"])]
    return named or roles.of_session(access_key)


def of_role(settings, arn):
    known = settings.roles.get(arn)
    return roles.of_arn(arn) if known is None else _listed(known["policy"]["Statement"])


def trusts(settings, arn, source):
    """Whether the role lets CloudFormation take it for this stack."""
    known = settings.roles.get(arn)
    trust = roles.trust(arn) if known is None else known["trust"]
    if trust is None:
        return True
    context = {"aws:SourceAccount": [source.split(":")[4]], "aws:SourceArn": [source]}
    return any(
        statement["Effect"] == "Allow"
        and "cloudformation.amazonaws.com" in _listed(statement["Principal"].get("Service", []))
        and _among(statement["Action"], "sts:AssumeRole", fold=True)
        and _holds(statement.get("Condition", {}), context)
        for statement in _listed(trust["Statement"])
    )


def allowed(statements, action, resource, context):
    """A statement that denies wins over all that allow."""
    effects = {
        statement["Effect"]
        for statement in statements
        if _among(statement["Action"], action, fold=True)
        and _among(statement["Resource"], resource)
        and _holds(statement.get("Condition", {}), context)
    }
    return effects == {"Allow"}


def _needed(call):
    """(action, resource, context) of everything that one direct call has to be allowed to do."""
    action = f"{call.service}:{call.action}"
    context = {"aws:RequestedRegion": [call.region]}
    if call.service != "cloudformation":
        return [(action, _bucket_object(call) if call.service == "s3" else "*", context)]
    keys = {
        "cloudformation:RoleArn": [call.form["RoleARN"]] if "RoleARN" in call.form else [],
        "cloudformation:TemplateUrl": [call.form["TemplateURL"]] if "TemplateURL" in call.form else [],
        "cloudformation:ChangeSetName": [call.form["ChangeSetName"]] if "ChangeSetName" in call.form else [],
        "cloudformation:ImportResourceTypes": [value for key, value in call.form.items() if IMPORTED.match(key)],
    }
    for key in KNOWN["conditions"].get(action, ()):
        if keys[key]:
            context[key] = keys[key]
    stack = _stack(call)
    needed = [(action, stack, context)]
    if call.action == "DescribeStacks" and stack.endswith(STACKS_ALL):
        needed.append(("cloudformation:ListStacks", stack, context))
    if call.action in TAGGING and any(key.startswith("Tags.member.") for key in call.form):
        needed.append(("cloudformation:TagResource", stack, context))
    if "RoleARN" in call.form:
        passed = {**context, "iam:PassedToService": ["cloudformation.amazonaws.com"]}
        needed.append(("iam:PassRole", call.form["RoleARN"], passed))
    return needed


def _bucket_object(call):
    return f"arn:{partition(call.region)}:s3:::{call.path.lstrip('/')}"


def _stack(call):
    """The ARN of the stack that a call is about, or what stands for one where there is none."""
    if call.action in NO_RESOURCE:
        return "*"
    name = call.stack or ""
    change_set = call.form.get("ChangeSetName", "")
    if not name and change_set.startswith("arn:"):
        from .hub import STANDIN

        name = STANDIN.stack_of_change_set(change_set) or "unknown"
    if name.startswith("arn:"):
        return name
    place = f"arn:{partition(call.region)}:cloudformation:{call.region}:{ACCOUNT}:"
    return place + (f"stack/{name}/00000000" if name else STACKS_ALL)


def _listed(value):
    return value if isinstance(value, list) else [value]


def _among(patterns, text, fold=False):
    patterns = _listed(patterns)
    if fold:
        patterns, text = [pattern.lower() for pattern in patterns], text.lower()
    return any(_like(pattern, text) for pattern in patterns)


def _like(pattern, text):
    # IAM knows * and ? only; fnmatch takes brackets as well.
    return fnmatch.fnmatchcase(text, pattern.replace("[", "[[]"))


def _arn_like(pattern, text):
    """Part by part: a wildcard does not reach over a colon, but in the last part."""
    pattern, text = pattern.split(":", 5), text.split(":", 5)
    return len(pattern) == len(text) and all(map(_like, pattern, text))


COMPARISONS = {
    "StringEquals": lambda wanted, is_: wanted == is_,
    "StringLike": _like,
    "StringEqualsIgnoreCase": lambda wanted, is_: wanted.lower() == is_.lower(),
    "ArnEquals": _arn_like,
    "ArnLike": _arn_like,
    "Bool": lambda wanted, is_: str(wanted).lower() == is_.lower(),
}
NEGATED = {"StringNotEquals": "StringEquals", "StringNotLike": "StringLike", "ArnNotLike": "ArnLike"}


def _holds(conditions, context):
    """All operators and all their keys have to hold."""
    context = {key.lower(): values for key, values in context.items()}
    return all(
        _test(operator, [str(value) for value in _listed(wanted)], context.get(key.lower()))
        for operator, tests in conditions.items()
        for key, wanted in tests.items()
    )


def _test(operator, wanted, values):
    every = operator.startswith("ForAllValues:")
    some = operator.startswith("ForAnyValue:")
    name = operator.rpartition(":")[2]
    if name == "Null":
        return (not values) == (wanted[0].lower() == "true")
    optional = name.endswith("IfExists")
    name = name.removesuffix("IfExists")
    negated = name in NEGATED
    same = COMPARISONS[NEGATED.get(name, name)]
    if not values:
        return optional or every or (negated and not some)
    fits = [any(same(pattern, value) for pattern in wanted) != negated for value in values]
    return all(fits) if every or negated and not some else any(fits)


def check(document, trust=False):
    """Raises ValueError for what IAM would refuse, or this would misread."""
    for statement in _listed(document["Statement"]):
        known = {"Sid", "Effect", "Action", "Condition", "Principal" if trust else "Resource"}
        if set(statement) - known or statement["Effect"] not in ("Allow", "Deny"):
            raise ValueError(f"a statement has {sorted(statement)}")
        for action in _listed(statement["Action"]):
            if ":" not in action:
                raise ValueError(f"{action!r} is no action")
        for resource in [] if trust else _listed(statement["Resource"]):
            if resource != "*" and len(resource.split(":", 5)) != 6:
                raise ValueError(f"{resource!r} is no ARN")
        for operator, tests in statement.get("Condition", {}).items():
            name = operator.rpartition(":")[2].removesuffix("IfExists")
            if name not in {*COMPARISONS, *NEGATED, "Null"}:
                raise ValueError(f"the operator {operator!r} is not known")
            if any("${" in str(value) for wanted in tests.values() for value in _listed(wanted)):
                raise ValueError("policy variables are not known")
