"""The calls that only read."""

import json

from . import answers, template
from .errors import ValidationError
from .intake import text_of


def describe_stacks(region, params):
    name = params.get("StackName")
    length = region.standin.settings.page_size
    if name:
        stack = region.get(name)
        view = stack.visible()
        # A stack that has gone keeps showing under its ARN only, and one just made may not show yet.
        if view is None or (view["StackStatus"] == "DELETE_COMPLETE" and not name.startswith("arn:")):
            raise ValidationError(f"Stack with id {name} does not exist")
        return {"Stacks": [view]}
    views = [stack.visible() for stack in region.stacks if stack.status != "DELETE_COMPLETE"]
    views = [view for view in views if view is not None]
    return answers.paged("Stacks", views[::-1], params.get("NextToken"), length)


def list_stacks(region, params):
    wanted = params.get("StackStatusFilter")
    shown = [s for s in region.stacks if not wanted or s.status in wanted]
    found, following = answers.page(shown[::-1], params.get("NextToken"), region.standin.settings.page_size)
    answer = {"StackSummaries": [answers.stack_summary(stack) for stack in found]}
    return {**answer, "NextToken": following} if following else answer


def list_stack_resources(region, params):
    stack = region.get(params["StackName"])
    shown = [answers.resource_summary(stack, r) for _, r in sorted(stack.resources.items())]
    return answers.paged("StackResourceSummaries", shown, params.get("NextToken"), region.standin.settings.page_size)


def describe_stack_resources(region, params):
    physical_id, logical_id = params.get("PhysicalResourceId"), params.get("LogicalResourceId")
    if params.get("StackName"):
        stack = region.get(params["StackName"])
    elif physical_id:
        live = (s for s in region.stacks if s.status != "DELETE_COMPLETE")
        stack = next((s for s in live if any(r.physical_id == physical_id for r in s.resources.values())), None)
        if stack is None:
            raise ValidationError(f"Stack for {physical_id} does not exist")
    else:
        raise ValidationError("Either StackName or PhysicalResourceId must be specified")
    shown = [
        answers.resource_description(stack, resource)
        for _, resource in sorted(stack.resources.items())
        if logical_id in (None, resource.logical_id)
    ]
    # The service has no pages here: what is beyond the hundredth is simply not shown.
    return {"StackResources": shown[:100]}


def describe_stack_resource(region, params):
    stack = region.get(params["StackName"], "Stack '{}' does not exist")
    resource = stack.resources.get(params["LogicalResourceId"])
    if resource is None:
        raise ValidationError(f"Resource {params['LogicalResourceId']} does not exist for stack {stack.name}")
    detail = answers.resource_description(stack, resource)
    detail["LastUpdatedTimestamp"] = detail.pop("Timestamp")
    detail["Metadata"] = json.dumps(resource.definition.get("Metadata", {}))
    return {"StackResourceDetail": detail}


def describe_stack_events(region, params):
    stack = region.get(params["StackName"], "Stack [{}] does not exist")
    settings = region.standin.settings
    horizon = stack.clock.now() - settings.stale_events_ms / 1000
    shown = [answers.event(entry) for entry in reversed(stack.events) if entry["seconds"] <= horizon]
    return answers.paged("StackEvents", shown, params.get("NextToken"), settings.events_page_size)


def get_template(region, params):
    if params.get("ChangeSetName"):
        from .changesets import find

        spec = find(region, params).spec
    else:
        spec = region.get(params.get("StackName") or "").spec
    # Botocore's model types the body as text; it is what was sent, byte for byte.
    return {"TemplateBody": spec.text if spec else "", "StagesAvailable": ["Original", "Processed"]}


def _declared(parsed):
    return [
        {
            "ParameterKey": name,
            "DefaultValue": None if declared.get("Default") is None else str(declared["Default"]),
            "NoEcho": str(declared.get("NoEcho", "")).lower() == "true",
            "Description": declared.get("Description"),
            "ParameterType": declared.get("Type", "String"),
        }
        for name, declared in parsed.parameters.items()
    ]


def validate_template(region, params):
    parsed = template.parse(text_of(region, params))
    return {
        "Parameters": [{k: v for k, v in p.items() if v is not None and k != "ParameterType"} for p in _declared(parsed)],
        "Description": parsed.description or "",
        "Capabilities": [],
    }


def get_template_summary(region, params):
    if params.get("StackName"):
        parsed = region.get(params["StackName"]).spec.template
    else:
        parsed = template.parse(text_of(region, params))
    return {
        "Parameters": [{k: v for k, v in p.items() if v is not None} for p in _declared(parsed)],
        "Description": parsed.description or "",
        "ResourceTypes": sorted({resource["Type"] for resource in parsed.resources.values()}),
        "Version": parsed.data.get("AWSTemplateFormatVersion", "2010-09-09"),
    }
