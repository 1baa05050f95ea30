"""Turns what the stand-in remembers into the structures of CloudFormation's answers."""

import base64

from .errors import ValidationError


def _present(entry):
    return {key: value for key, value in entry.items() if value is not None}


def stack_view(stack):
    stamp = stack.clock.stamp
    spec = stack.spec
    drift = {"StackDriftStatus": stack.drift_status}
    if stack.drift_checked:
        drift["LastCheckTimestamp"] = stamp(stack.drift_checked)
    return _present(
        {
            "StackId": stack.id,
            "StackName": stack.name,
            "ChangeSetId": stack.change_set_id,
            "Description": spec.template.description if spec else None,
            "Parameters": [
                {"ParameterKey": key, "ParameterValue": _masked(spec, key, value)}
                for key, value in (spec.parameters if spec else {}).items()
            ],
            "CreationTime": stamp(stack.created),
            "DeletionTime": stack.deleted and stamp(stack.deleted),
            "LastUpdatedTime": stack.updated and stamp(stack.updated),
            "RollbackConfiguration": stack.rollback_configuration or {},
            "StackStatus": stack.status,
            "StackStatusReason": stack.reason,
            "DisableRollback": stack.disable_rollback,
            "NotificationARNs": stack.notification_arns,
            "TimeoutInMinutes": stack.timeout_minutes,
            "Capabilities": stack.capabilities,
            "Outputs": list(stack.outputs),
            "RoleARN": stack.role_arn,
            "Tags": tag_list(spec.tags if spec else {}),
            "EnableTerminationProtection": stack.protected,
            "DriftInformation": drift,
            "RetainExceptOnCreate": stack.retain_except_on_create or None,
            "DeletionMode": stack.deletion_mode,
            "DetailedStatus": stack.detailed_status,
            "LastOperations": list(stack.last_operations),
        }
    )


def _masked(spec, key, value):
    hidden = str(spec.template.parameters.get(key, {}).get("NoEcho", "")).lower() == "true"
    return "****" if hidden else value


def tag_list(tags):
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def stack_summary(stack):
    view = stack.views[-1][1]
    keys = ("StackId", "StackName", "CreationTime", "LastUpdatedTime", "DeletionTime", "StackStatus", "StackStatusReason")
    summary = {key: view[key] for key in keys if key in view}
    summary["DriftInformation"] = view["DriftInformation"]
    if stack.spec and stack.spec.template.description:
        summary["TemplateDescription"] = stack.spec.template.description
    return summary


def _drift_information(resource, stamp):
    if not resource.drift:
        return {"StackResourceDriftStatus": "NOT_CHECKED"}
    return {
        "StackResourceDriftStatus": resource.drift["StackResourceDriftStatus"],
        "LastCheckTimestamp": resource.drift["Timestamp"],
    }


def resource_summary(stack, resource):
    stamp = stack.clock.stamp
    return _present(
        {
            "LogicalResourceId": resource.logical_id,
            "PhysicalResourceId": resource.physical_id or None,
            "ResourceType": resource.type,
            "LastUpdatedTimestamp": stamp(resource.updated),
            "ResourceStatus": resource.status,
            "ResourceStatusReason": resource.reason,
            "DriftInformation": _drift_information(resource, stamp),
        }
    )


def resource_description(stack, resource):
    summary = resource_summary(stack, resource)
    summary["Timestamp"] = summary.pop("LastUpdatedTimestamp")
    return {"StackName": stack.name, "StackId": stack.id, **summary}


def event(entry):
    return _present({key: value for key, value in entry.items() if key != "seconds"})


def page(items, token, length):
    """One page of `items` and the token of the next one, if there is one."""
    start = 0
    if token:
        try:
            start = int(base64.urlsafe_b64decode(token.encode()).decode().removeprefix("page:"))
        except ValueError:
            raise ValidationError("Invalid pagination token") from None
    end = start + length
    following = base64.urlsafe_b64encode(f"page:{end}".encode()).decode() if end < len(items) else None
    return items[start:end], following


def paged(key, items, token, length):
    shown, following = page(items, token, length)
    answer = {key: shown}
    if following:
        answer["NextToken"] = following
    return answer
