"""Drift: the stack's resources compared with what is really there in EC2."""

import json

from moto.moto_api._internal import mock_random

from . import resources, rights
from .answers import paged
from .errors import ResourceFailure, ValidationError

DETECTABLE = (
    "CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "UPDATE_ROLLBACK_FAILED",
    "IMPORT_COMPLETE", "IMPORT_ROLLBACK_COMPLETE",
)


def actual_properties(stack, resource):
    kind = resources.TYPES[resource.type]
    return kind.read(stack.region.ec2, resource.physical_id)


def expected_shape(expected, actual):
    """Of the actual properties those that the template sets: nothing else is compared."""
    return {key: _in_order(expected[key], actual[key]) for key in expected if key in actual}


def _in_order(expected, actual):
    """EC2 tells the entries of a list in its own order, which is no drift."""
    if not isinstance(expected, list):
        return actual
    listed = [json.dumps(item, sort_keys=True) for item in expected]
    return expected if sorted(listed) == sorted(json.dumps(item, sort_keys=True) for item in actual) else actual


def live_tags(stack, resource):
    kind = resources.TYPES[resource.type]
    tags = resources.actual_tags(stack.region.ec2, kind, resource.physical_id)
    return dict(tags)


def _foreign_tags(stack, resource, expected):
    own = {tag["Key"] for tag in expected.get("Tags", [])}
    stack_level = set(stack.spec.tags) - own
    return {
        key: value
        for key, value in live_tags(stack, resource).items()
        if not key.startswith("aws:") and key not in stack_level
    }


def compare(stack, resource):
    """One entry as DescribeStackResourceDrifts shows it."""
    entry = {
        "StackId": stack.id,
        "LogicalResourceId": resource.logical_id,
        "PhysicalResourceId": resource.physical_id,
        "ResourceType": resource.type,
        "Timestamp": stack.clock.stamp(),
    }
    if resource.type in stack.region.standin.settings.drift_unsupported_types:
        return {**entry, "StackResourceDriftStatus": "UNSUPPORTED"}
    expected = dict(resource.properties)
    actual = actual_properties(stack, resource)
    if actual is None:
        return {
            **entry,
            "StackResourceDriftStatus": "DELETED",
            "ExpectedProperties": json.dumps(expected),
        }
    shown = expected_shape(expected, actual)
    if "Tags" in expected:
        live = _foreign_tags(stack, resource, expected)
        shown["Tags"] = [{"Key": key, "Value": value} for key, value in sorted(live.items())]
        expected["Tags"] = sorted(expected["Tags"], key=lambda tag: tag["Key"])
    differences = _differences(expected, shown)
    return {
        **entry,
        "StackResourceDriftStatus": "MODIFIED" if differences else "IN_SYNC",
        "ExpectedProperties": json.dumps(expected),
        "ActualProperties": json.dumps(shown),
        "PropertyDifferences": differences,
    }


def _differences(expected, actual):
    from .plan import same

    found = []
    for key in expected:
        if key == "Tags":
            found += _tag_differences(expected["Tags"], actual["Tags"])
        elif key not in actual:
            found.append(_difference(f"/{key}", expected[key], None, "REMOVE"))
        elif not same(expected[key], actual[key]):
            found.append(_difference(f"/{key}", expected[key], actual[key], "NOT_EQUAL"))
    return found


def _tag_differences(expected, actual):
    wanted = {tag["Key"]: str(tag["Value"]) for tag in expected}
    have = {tag["Key"]: tag["Value"] for tag in actual}
    found = []
    for number, (key, value) in enumerate(wanted.items()):
        if key not in have:
            found.append(_difference(f"/Tags/{number}", {"Key": key, "Value": value}, None, "REMOVE"))
        elif have[key] != value:
            found.append(_difference(f"/Tags/{number}/Value", value, have[key], "NOT_EQUAL"))
    for number, key in enumerate(have):
        if key not in wanted:
            found.append(_difference(f"/Tags/{number}", None, {"Key": key, "Value": have[key]}, "ADD"))
    return found


def _difference(path, expected, actual, kind):
    def text(value):
        return "null" if value is None else value if isinstance(value, str) else json.dumps(value)

    return {
        "PropertyPath": path,
        "ExpectedValue": text(expected),
        "ActualValue": text(actual),
        "DifferenceType": kind,
    }


def _check(stack, resource):
    resource.drift = compare(stack, resource)
    return resource.drift["StackResourceDriftStatus"]


def detect_stack_drift(region, params):
    stack = region.get(params["StackName"])
    if stack.status not in DETECTABLE:
        raise ValidationError(f"Drift detection cannot be performed on stack [{stack.id}] while it is in {stack.status} state")
    if stack.detection and stack.detection["DetectionStatus"] == "DETECTION_IN_PROGRESS":
        raise ValidationError(f"Drift detection is already in progress for stack [{stack.id}]")
    detection = {
        "StackId": stack.id,
        "StackDriftDetectionId": str(mock_random.uuid4()),
        "DetectionStatus": "DETECTION_IN_PROGRESS",
        "Timestamp": stack.clock.stamp(),
    }
    region.detections[detection["StackDriftDetectionId"]] = stack.detection = detection
    chosen = params.get("LogicalResourceIds")
    caller = rights.actor(region.standin, None)
    region.standin.jobs.start(_detect(stack, detection, chosen, caller), 2, region.standin.settings.drift_ms)
    return {"StackDriftDetectionId": detection["StackDriftDetectionId"]}


def _detect(stack, detection, chosen, caller):
    """Reads the resources with the rights of who asked for it, not with the stack's role."""
    yield
    looked_at = [
        resource
        for resource in stack.resources.values()
        if resource.physical_id and (not chosen or resource.logical_id in chosen)
    ]
    try:
        for resource in looked_at:
            kind = resources.TYPES[resource.type]
            rights.check(stack, kind, "read", resource.physical_id, resource.properties, actor=caller)
    except ResourceFailure as error:
        detection.update(DetectionStatus="DETECTION_FAILED", DetectionStatusReason=str(error), Timestamp=stack.clock.stamp())
        return
    statuses = [_check(stack, resource) for resource in looked_at]
    drifted = sum(status in ("MODIFIED", "DELETED") for status in statuses)
    stack.drift_status = "DRIFTED" if drifted else "IN_SYNC"
    stack.drift_checked = stack.clock.now()
    detection.update(
        DetectionStatus="DETECTION_COMPLETE",
        StackDriftStatus=stack.drift_status,
        DriftedStackResourceCount=drifted,
        Timestamp=stack.clock.stamp(),
    )
    stack.remember_view()


def describe_stack_drift_detection_status(region, params):
    detection = region.detections.get(params["StackDriftDetectionId"])
    if detection is None:
        raise ValidationError(f"StackDriftDetectionId {params['StackDriftDetectionId']} does not exist")
    return dict(detection)


def describe_stack_resource_drifts(region, params):
    stack = region.get(params["StackName"])
    wanted = params.get("StackResourceDriftStatusFilters")
    entries = [
        resource.drift
        for _, resource in sorted(stack.resources.items())
        if resource.drift
        and resource.drift["StackResourceDriftStatus"] != "UNSUPPORTED"
        and (not wanted or resource.drift["StackResourceDriftStatus"] in wanted)
    ]
    length = params.get("MaxResults") or region.standin.settings.page_size
    return paged("StackResourceDrifts", entries, params.get("NextToken"), length)


def detect_stack_resource_drift(region, params):
    stack = region.get(params["StackName"])
    resource = stack.resources.get(params["LogicalResourceId"])
    if resource is None:
        raise ValidationError(f"Resource {params['LogicalResourceId']} does not exist for stack {stack.name}")
    _check(stack, resource)
    return {"StackResourceDrift": resource.drift}
