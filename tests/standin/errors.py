"""CloudFormation's errors, under the codes its clients know."""

from moto.core.exceptions import ServiceException


class CfnError(ServiceException):
    pass


class ValidationError(CfnError):
    code = "ValidationError"


class AlreadyExists(CfnError):
    code = "AlreadyExistsException"


class TokenAlreadyExists(CfnError):
    code = "TokenAlreadyExistsException"


class LimitExceeded(CfnError):
    code = "LimitExceededException"


class ChangeSetNotFound(CfnError):
    code = "ChangeSetNotFound"


class InvalidChangeSetStatus(CfnError):
    code = "InvalidChangeSetStatus"


class ResourceFailure(Exception):
    """A resource of a running operation that could not be made, changed or removed."""
