"""What the calls on stacks have in common: the template, the parameters, repeated tokens, states."""

import hashlib
import json
import re
from urllib.parse import unquote, urlsplit

from moto.s3.exceptions import MissingBucket
from moto.s3.models import s3_backends

from . import policy, template
from .errors import LimitExceeded, TokenAlreadyExists, ValidationError
from .stacks import NAME, Spec, Stack

UPDATABLE = (
    "CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE",
    "IMPORT_ROLLBACK_COMPLETE", "UPDATE_FAILED",
)
HOSTED = re.compile(r"(?P<bucket>.+)\.s3[.-](?:[a-z0-9-]+\.)?amazonaws\.com\Z")
REGIONAL = re.compile(r"s3[.-](?:[a-z0-9-]+\.)?amazonaws\.com\Z")
LOOPBACK = ("127.0.0.1", "localhost")


def check_name(name):
    if len(name) > 128:
        raise ValidationError(
            f"1 validation error detected: Value '{name}' at 'stackName' failed to satisfy constraint: "
            "Member must have length less than or equal to 128"
        )
    if not NAME.match(name):
        raise ValidationError(
            f"1 validation error detected: Value '{name}' at 'stackName' failed to satisfy constraint: "
            "Member must satisfy regular expression pattern: [a-zA-Z][-a-zA-Z0-9]*"
        )


def new_stack(region, name):
    check_name(name)
    if sum(stack.status != "DELETE_COMPLETE" for stack in region.stacks) >= region.standin.settings.stack_quota:
        raise LimitExceeded("Limit for stack has been exceeded")
    stack = Stack(region, name, region.standin.clock)
    region.stacks.append(stack)
    return stack


def _from_s3(region, url):
    """The text behind a URL of any of S3's forms, out of moto's S3."""
    parts = urlsplit(url)
    host, path = parts.hostname or "", unquote(parts.path.lstrip("/"))
    hosted = HOSTED.match(host)
    if hosted:
        bucket, key = hosted["bucket"], path
    elif REGIONAL.match(host) or host in LOOPBACK:
        bucket, _, key = path.partition("/")
    elif host.endswith(".localhost"):
        bucket, key = host.removesuffix(".localhost"), path
    else:
        bucket = key = ""
    if parts.scheme not in ("http", "https") or not bucket or not key:
        raise ValidationError("TemplateURL must be a supported URL.")
    fault = region.standin.template_fault()
    if fault:
        raise ValidationError(f"S3 error: {fault}\nFor more information check the S3 documentation.")
    try:
        found = s3_backends[region.account]["aws"].get_object(bucket, key)
    except MissingBucket:
        raise ValidationError("S3 error: The specified bucket does not exist") from None
    if found is None:
        raise ValidationError("S3 error: The specified key does not exist.")
    if len(found.value) > template.MAX_S3:
        raise ValidationError(
            f"Template may not exceed {template.MAX_S3} bytes in size."
        )
    return found.value.decode("utf-8")


def text_of(region, params, previous=None):
    body, url = params.get("TemplateBody"), params.get("TemplateURL")
    if params.get("UsePreviousTemplate"):
        if body or url:
            raise ValidationError("Either Template URL or Template Body or UsePreviousTemplate must be specified.")
        if previous is None:
            raise ValidationError("UsePreviousTemplate cannot be used without a previous template.")
        return previous.text
    if bool(body) == bool(url):
        raise ValidationError("Either Template URL or Template Body must be specified.")
    if body and len(body.encode()) > template.MAX_INLINE:
        raise ValidationError(
            "1 validation error detected: Value at 'templateBody' failed to satisfy constraint: "
            f"Member must have length less than or equal to {template.MAX_INLINE}"
        )
    return body or _from_s3(region, url)


def tags_of(params, previous):
    if "Tags" not in params:
        return dict(previous.tags) if previous else {}
    tags = {}
    for tag in params["Tags"]:
        if tag["Key"].startswith("aws:"):
            raise ValidationError("aws: prefixed tag key names are not allowed for external use.")
        if tag["Key"] in tags:
            raise ValidationError(f"Duplicate tag key: {tag['Key']}")
        tags[tag["Key"]] = tag["Value"]
    if len(tags) > 50:
        raise ValidationError("Number of tags must not be greater than 50")
    return tags


def spec_of(region, params, previous):
    text = text_of(region, params, previous)
    parsed = previous.template if previous and text == previous.text else template.parse(text)
    given = {}
    for parameter in params.get("Parameters", []):
        key = parameter["ParameterKey"]
        if key in given:
            raise ValidationError(f"Duplicate parameter key: {key}")
        given[key] = parameter if parameter.get("UsePreviousValue") else parameter.get("ParameterValue", "")
    values = template.parameter_values(parsed, given, previous.parameters if previous else {})
    return Spec(text, parsed, values, tags_of(params, previous))


def policy_of(region, params, name="StackPolicy"):
    body, url = params.get(f"{name}Body"), params.get(f"{name}URL")
    if body and url:
        raise ValidationError(f"You cannot specify both {name}Body and {name}URL")
    text = body or (url and _from_s3(region, url))
    if text:
        policy.parse(text)
    return text


def common_attributes(stack, params):
    stack.capabilities = params.get("Capabilities", stack.capabilities)
    stack.notification_arns = params.get("NotificationARNs", stack.notification_arns)
    stack.role_arn = params.get("RoleARN", stack.role_arn)
    stack.rollback_configuration = params.get("RollbackConfiguration", stack.rollback_configuration)
    stack.timeout_minutes = params.get("TimeoutInMinutes", stack.timeout_minutes)
    stack.retain_except_on_create = bool(params.get("RetainExceptOnCreate"))


def must_not_be_busy(stack):
    if stack.in_progress:
        raise ValidationError(f"Stack:{stack.id} is in {stack.status} state and can not be updated.")


def check_updatable(stack):
    allowed = stack.status in UPDATABLE or (stack.status == "CREATE_FAILED" and stack.disable_rollback)
    if not allowed:
        raise ValidationError(f"Stack:{stack.id} is in {stack.status} state and can not be updated.")


def _fingerprint(params):
    return hashlib.sha256(json.dumps(params, sort_keys=True, default=str).encode()).hexdigest()


def repeated(stack, action, params):
    """The first answer, when this very request has been carried out before."""
    token = params.get("ClientRequestToken")
    known = stack.tokens.get(token) if token else None
    if known is None:
        return None
    if known[:2] != (action, _fingerprint(params)):
        raise TokenAlreadyExists(f"Client request token {token} already exists")
    return known[2]


def remember(stack, action, params, answer):
    token = params.get("ClientRequestToken")
    if token:
        stack.tokens[token] = (action, _fingerprint(params), answer)
