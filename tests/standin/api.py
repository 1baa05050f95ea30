"""CloudFormation's API: checks each request against botocore's model and hands it on."""

import re

from moto.core.responses import ActionResult, BaseResponse
from moto.core.utils import camelcase_to_underscores, get_service_model

from . import changesets, drift, operations, queries
from .errors import ValidationError
from .hub import STANDIN

ACTIONS = {
    "CancelUpdateStack": operations.cancel_update_stack,
    "ContinueUpdateRollback": operations.continue_update_rollback,
    "CreateChangeSet": changesets.create_change_set,
    "CreateStack": operations.create_stack,
    "DeleteChangeSet": changesets.delete_change_set,
    "DeleteStack": operations.delete_stack,
    "DescribeChangeSet": changesets.describe_change_set,
    "DescribeEvents": changesets.describe_events,
    "DescribeStackDriftDetectionStatus": drift.describe_stack_drift_detection_status,
    "DescribeStackEvents": queries.describe_stack_events,
    "DescribeStackResource": queries.describe_stack_resource,
    "DescribeStackResourceDrifts": drift.describe_stack_resource_drifts,
    "DescribeStackResources": queries.describe_stack_resources,
    "DescribeStacks": queries.describe_stacks,
    "DetectStackDrift": drift.detect_stack_drift,
    "DetectStackResourceDrift": drift.detect_stack_resource_drift,
    "ExecuteChangeSet": changesets.execute_change_set,
    "GetStackPolicy": operations.get_stack_policy,
    "GetTemplate": queries.get_template,
    "GetTemplateSummary": queries.get_template_summary,
    "ListChangeSets": changesets.list_change_sets,
    "ListStackResources": queries.list_stack_resources,
    "ListStacks": queries.list_stacks,
    "RollbackStack": operations.rollback_stack,
    "SetStackPolicy": operations.set_stack_policy,
    "UpdateStack": operations.update_stack,
    "UpdateTerminationProtection": operations.update_termination_protection,
    "ValidateTemplate": queries.validate_template,
}


class CloudFormationApi(BaseResponse):
    def __init__(self):
        super().__init__(service_name="cloudformation")
        self.automated_parameter_parsing = True

    def _answer(self, action, function):
        params = {key: value for key, value in self.params.items() if value is not None}
        shape = get_service_model("cloudformation").operation_model(action).input_shape
        problems = list(_problems(shape, params, ""))
        if problems:
            noun = "error" if len(problems) == 1 else "errors"
            raise ValidationError(f"{len(problems)} validation {noun} detected: {'; '.join(problems)}")
        return ActionResult(function(STANDIN.region(self.current_account, self.region), params))


def _add(action, function):
    def method(self):
        return self._answer(action, function)

    # moto finds an action's method by the name in its own spelling.
    method.__name__ = camelcase_to_underscores(action)
    setattr(CloudFormationApi, method.__name__, method)


for _action, _function in ACTIONS.items():
    _add(_action, _function)


def _problems(shape, value, path):
    """What the model's own constraints say against a value, in the service's words."""
    if shape.type_name == "structure":
        for name in shape.metadata.get("required", []):
            if name not in value:
                yield f"Value null at '{_path(path, name)}' failed to satisfy constraint: Member must not be null"
        for name, member in shape.members.items():
            if value.get(name) is not None:
                yield from _problems(member, value[name], _path(path, name))
    elif shape.type_name == "list":
        yield from _length(shape, value, path)
        for number, item in enumerate(value, 1):
            yield from _problems(shape.member, item, f"{path}.{number}.member")
    elif shape.type_name == "string":
        yield from _length(shape, value, path)
        pattern, choices = shape.metadata.get("pattern"), shape.metadata.get("enum")
        if pattern and not re.fullmatch(pattern, value):
            yield _problem(value, path, f"Member must satisfy regular expression pattern: {pattern}")
        if choices and value not in choices:
            yield _problem(value, path, f"Member must satisfy enum value set: [{', '.join(choices)}]")


def _length(shape, value, path):
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if most is not None and len(value) > most:
        yield _problem(value, path, f"Member must have length less than or equal to {most}")
    if least is not None and len(value) < least:
        yield _problem(value, path, f"Member must have length greater than or equal to {least}")


def _problem(value, path, text):
    shown = value if isinstance(value, str) and len(value) < 200 else "..."
    return f"Value '{shown}' at '{path}' failed to satisfy constraint: {text}"


def _path(path, name):
    name = name[0].lower() + name[1:]
    return f"{path}.{name}" if path else name
