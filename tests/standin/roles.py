"""Roles that were made in IAM: what a session of one may do, and what CloudFormation may do with one."""

import json
from urllib.parse import unquote

ACCOUNT = "123456789012"


def of_session(access_key):
    """The statements of the role that an access key is a session of; None where it is of none that IAM knows."""
    from moto.sts.models import sts_backends

    found = sts_backends[ACCOUNT]["global"].get_assumed_role_from_access_key(access_key or "")
    return None if found is None else of_arn(found.role_arn)


def of_arn(arn):
    """The statements of a role's own policies; None where there is no such role."""
    role = _role(arn)
    if role is None:
        return None
    documents = [_document(text) for text in role.policies.values()]
    return [statement for document in documents for statement in _listed(document["Statement"])]


def trust(arn):
    role = _role(arn)
    return None if role is None else _document(role.assume_role_policy_document)


def _role(arn):
    from moto.iam.models import iam_backends

    name = arn.rpartition("/")[2]
    roles = iam_backends[ACCOUNT]["aws"].roles.values()
    return next((role for role in roles if role.name == name), None)


def _document(text):
    return json.loads(text if text.lstrip().startswith("{") else unquote(text))


def _listed(value):
    return value if isinstance(value, list) else [value]
