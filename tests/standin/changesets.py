"""Change sets: made beside the stack, executed at most once, worthless once the stack has moved on."""

from moto.moto_api._internal import mock_random

from . import engine, plan, rights, update
from .answers import _present, paged, tag_list
from .errors import AlreadyExists, ChangeSetNotFound, InvalidChangeSetStatus, ResourceFailure, ValidationError
from .intake import (
    check_updatable, common_attributes, must_not_be_busy, new_stack, remember, repeated, spec_of,
)

NO_CHANGES = (
    "The submitted information didn't contain changes. Submit different information to create a change set."
)

# The reason of a change set that validation refuses names no resource: DescribeEvents tells the cause.
NOT_VALID = (
    "The following hook(s)/validation failed: [AWS::EarlyValidation::PropertyValidation]. To troubleshoot Early Validation "
    "errors, use the DescribeEvents API for detailed failure information."
)


class ChangeSet:
    def __init__(self, stack, name, params, spec):
        region = stack.region
        self.stack, self.name, self.params, self.spec = stack, name, params, spec
        self.id = f"{region.arn}:changeSet/{name}/{mock_random.uuid4()}"
        self.kind = params.get("ChangeSetType", "UPDATE")
        self.revert = params.get("DeploymentMode") == "REVERT_DRIFT"
        self.created = stack.clock.stamp()
        self.operation = str(mock_random.uuid4())
        self.status, self.reason, self.execution = "CREATE_PENDING", None, "UNAVAILABLE"
        self.changes = []
        # What validation found, by logical id.
        self.invalid = {}
        self.drift_status = None
        self.revision = stack.revision

    def stack_changed(self):
        if self.execution in ("AVAILABLE", "UNAVAILABLE") and self.status != "FAILED":
            self.execution = "OBSOLETE"

    def summary(self):
        return _present(
            {
                "StackId": self.stack.id,
                "StackName": self.stack.name,
                "ChangeSetId": self.id,
                "ChangeSetName": self.name,
                "ExecutionStatus": self.execution,
                "Status": self.status,
                "StatusReason": self.reason,
                "CreationTime": self.created,
                "Description": self.params.get("Description"),
                "IncludeNestedStacks": False,
            }
        )

    def fail(self, reason):
        self.status, self.reason, self.execution = "FAILED", reason, "UNAVAILABLE"


def create_change_set(region, params):
    name, stack_name = params["ChangeSetName"], params["StackName"]
    stack = region.find(stack_name)
    kind = params.get("ChangeSetType", "UPDATE")
    if kind == "IMPORT" or params.get("ResourcesToImport"):
        raise ValidationError("The stand-in does not import resources")
    known = stack and stack.change_sets.get(name)
    if known:
        token = params.get("ClientToken")
        if token and token == known.params.get("ClientToken") and known.params == params:
            return {"Id": known.id, "StackId": stack.id}
        raise AlreadyExists(f"ChangeSet {name} already exists")
    mode = region.standin.settings.revert_drift
    if params.get("DeploymentMode") and (kind != "UPDATE" or mode == "unsupported"):
        raise ValidationError(f"DeploymentMode {params['DeploymentMode']} is not supported for this change set")
    if kind == "CREATE":
        stack = _stack_in_review(region, stack, params)
    else:
        if stack is None or stack.status == "DELETE_COMPLETE":
            raise ValidationError(f"Stack [{stack_name}] does not exist")
        if stack.status == "REVIEW_IN_PROGRESS":
            raise ValidationError(f"Stack:{stack.id} is in REVIEW_IN_PROGRESS state and can not be updated.")
        check_updatable(stack)
    rights.check_role(region.standin, params.get("RoleARN"), stack.id)
    spec = spec_of(region, params, None if kind == "CREATE" else stack.spec)
    change_set = ChangeSet(stack, name, params, spec)
    stack.change_sets[name] = change_set
    region.standin.jobs.start(_compute(change_set), 3, region.standin.settings.changeset_ms)
    return {"Id": change_set.id, "StackId": stack.id}


def _stack_in_review(region, stack, params):
    if stack is not None and stack.status not in ("REVIEW_IN_PROGRESS", "DELETE_COMPLETE"):
        raise ValidationError(
            f"Stack [{stack.name}] already exists and cannot be created again with the changeSet [{params['ChangeSetName']}]."
        )
    if stack is not None and stack.status == "REVIEW_IN_PROGRESS":
        return stack
    # A template that is refused must not leave an empty stack behind.
    spec_of(region, params, None)
    stack = new_stack(region, params["StackName"])
    stack.begin("CREATE_CHANGESET", None)
    stack.become("REVIEW_IN_PROGRESS", "User Initiated")
    return stack


def _compute(change_set):
    stack, settings = change_set.stack, change_set.stack.region.standin.settings
    yield
    if change_set.execution == "OBSOLETE":
        return
    change_set.status = "CREATE_IN_PROGRESS"
    yield
    if change_set.execution == "OBSOLETE":
        return
    if change_set.revert and settings.revert_drift == "fails":
        change_set.fail("Drift detection failed for one or more resources of the stack.")
        return
    try:
        _fill(change_set, stack, settings)
    except ResourceFailure as error:
        change_set.fail(str(error))


def _fill(change_set, stack, settings):
    spec = change_set.spec
    wrong = engine.invalid_properties(stack, spec, spec.template.resources)
    if wrong and not change_set.params.get("DisableValidation"):
        change_set.invalid = wrong
        change_set.fail(NOT_VALID)
        return
    change_set.changes = plan.changes(stack, spec, change_set.revert)
    if change_set.revert:
        found = {change.drift_status for change in change_set.changes}
        change_set.drift_status = "DRIFTED" if found & {"MODIFIED", "DELETED"} else "IN_SYNC"
        if settings.revert_drift == "phantom" and not change_set.changes:
            change_set.changes = [_phantom(stack)]
    if stack.spec is not None and plan.nothing_to_do(stack, spec, change_set.changes):
        change_set.fail(NO_CHANGES)
        return
    change_set.status, change_set.execution = "CREATE_COMPLETE", "AVAILABLE"


def _phantom(stack):
    """A change that the service reports although the resource is in sync, and that executing does not make."""
    resource = next(r for r in reversed(stack.resources.values()) if r.physical_id)
    change = plan.Change("Modify", resource.logical_id, resource.type, resource.physical_id, "False", ["Properties"])
    key = next(iter(resource.properties), "Tags")
    change.drift_status = "IN_SYNC"
    change.details = [
        {
            "Target": {"Attribute": "Properties", "Name": key, "RequiresRecreation": "Never"},
            "Evaluation": "Static",
            "ChangeSource": "DirectModification",
        }
    ]
    return change


def find(region, params):
    """By ARN anywhere, by name within its stack."""
    name = params["ChangeSetName"]
    if name.startswith("arn:"):
        every = (c for stack in region.stacks for c in stack.change_sets.values())
        found = next((c for c in every if c.id == name), None)
    else:
        if not params.get("StackName"):
            raise ValidationError("StackName must be specified if ChangeSetName is not specified as an ARN.")
        stack = region.find(params["StackName"])
        if stack is None:
            raise ValidationError(f"Stack [{params['StackName']}] does not exist")
        found = stack.change_sets.get(name)
    if found is None:
        raise ChangeSetNotFound(f"ChangeSet [{name}] does not exist")
    return found


def describe_change_set(region, params):
    change_set = find(region, params)
    stack, spec = change_set.stack, change_set.spec
    values = bool(params.get("IncludePropertyValues"))
    answer = {
        **change_set.summary(),
        "Parameters": [{"ParameterKey": k, "ParameterValue": v} for k, v in spec.parameters.items()],
        "NotificationARNs": change_set.params.get("NotificationARNs", []),
        "RollbackConfiguration": change_set.params.get("RollbackConfiguration", {}),
        "Capabilities": change_set.params.get("Capabilities", []),
        "Tags": tag_list(spec.tags),
        "OnStackFailure": change_set.params.get("OnStackFailure"),
        "DeploymentMode": change_set.params.get("DeploymentMode"),
        "StackDriftStatus": change_set.drift_status,
    }
    shown = [change.shown(values) for change in change_set.changes]
    length = stack.region.standin.settings.page_size
    return _present({**answer, **paged("Changes", shown, params.get("NextToken"), length)})


def describe_events(region, params):
    """The events of making a change set: that it is made, or what validation found. Those of a stack are not here."""
    if not any(params.get(key) for key in ("ChangeSetName", "OperationId", "StackName")):
        raise ValidationError("One of ChangeSetName, OperationId or StackName must be specified")
    if not params.get("ChangeSetName"):
        raise ValidationError("The stand-in describes events of change sets only")
    change_set = find(region, params)
    failed = change_set.status == "FAILED"
    common = {
        "StackId": change_set.stack.id,
        "OperationId": change_set.operation,
        "OperationType": "CREATE_CHANGESET",
        "Timestamp": change_set.created,
    }
    whole = {
        "EventId": change_set.operation,
        "EventType": "STACK_EVENT",
        "OperationStatus": "FAILED" if failed else "SUCCEEDED" if change_set.changes else "IN_PROGRESS",
    }
    shown = [_finding(change_set, logical_id, reason) for logical_id, reason in change_set.invalid.items()]
    if failed or not (params.get("Filters") or {}).get("FailedEvents"):
        shown.append(whole)
    shown = [{**common, **event} for event in shown]
    return paged("OperationEvents", shown, params.get("NextToken"), region.standin.settings.events_page_size)


def _finding(change_set, logical_id, reason):
    known = change_set.stack.resources.get(logical_id)
    return _present(
        {
            "EventId": f"{change_set.operation}-{logical_id}",
            "EventType": "VALIDATION_ERROR",
            "LogicalResourceId": logical_id,
            "PhysicalResourceId": known and known.physical_id,
            "ResourceType": change_set.spec.template.resources[logical_id]["Type"],
            "ValidationFailureMode": "FAIL",
            "ValidationName": "PROPERTY_VALIDATION",
            "ValidationStatus": "FAILED",
            "ValidationStatusReason": reason,
            "ValidationPath": f"/Resources/{logical_id}/Properties",
        }
    )


def list_change_sets(region, params):
    stack = region.get(params["StackName"], "Stack [{}] does not exist")
    hidden = {"EXECUTE_COMPLETE"}
    if region.standin.settings.listed_change_sets == "available":
        hidden |= {"UNAVAILABLE"}
    shown = [c.summary() for c in stack.change_sets.values() if c.execution not in hidden]
    return paged("Summaries", shown, params.get("NextToken"), region.standin.settings.page_size)


def delete_change_set(region, params):
    try:
        change_set = find(region, params)
    except ChangeSetNotFound:
        return {}
    if change_set.execution == "EXECUTE_IN_PROGRESS":
        raise InvalidChangeSetStatus(
            f"An operation on ChangeSet [{change_set.id}] is currently in progress."
        )
    del change_set.stack.change_sets[change_set.name]
    return {}


def execute_change_set(region, params):
    change_set = find(region, params)
    stack, standin = change_set.stack, region.standin
    if repeated(stack, "ExecuteChangeSet", params) is not None:
        return {}
    if change_set.status != "CREATE_COMPLETE" or change_set.execution != "AVAILABLE":
        shown = change_set.execution if change_set.status == "CREATE_COMPLETE" else change_set.status
        shown = "OBSOLETE" if change_set.execution == "OBSOLETE" else shown
        raise InvalidChangeSetStatus(
            f"ChangeSet [{change_set.id}] cannot be executed in its current status of [{shown}]"
        )
    must_not_be_busy(stack)
    if change_set.kind == "UPDATE":
        check_updatable(stack)
    remember(stack, "ExecuteChangeSet", params, {})
    change_set.execution = "EXECUTE_IN_PROGRESS"
    common_attributes(stack, change_set.params)
    stack.change_set_id = change_set.id
    on_failure = change_set.params.get("OnStackFailure", "ROLLBACK")
    if params.get("DisableRollback", standin.settings.disable_rollback_default == "true"):
        on_failure = "DO_NOTHING"
    stack.disable_rollback = on_failure == "DO_NOTHING"
    create = change_set.kind == "CREATE"
    stack.begin("CREATE_STACK" if create else "UPDATE_STACK", params.get("ClientRequestToken"))
    options = engine.Options(
        on_failure=on_failure,
        revert_drift=change_set.revert and standin.settings.revert_drift not in ("no_effect", "phantom"),
    )
    if create:
        stack.spec = change_set.spec
    steps = (engine.create if create else update.update)(stack, change_set.spec, options)
    engine.start(stack, _followed(change_set, steps), len(change_set.changes) + 3)
    return {}


def _followed(change_set, steps):
    """Runs the stack's operation, then settles what becomes of its change sets."""
    stack = change_set.stack
    yield from steps
    good = stack.status in ("CREATE_COMPLETE", "UPDATE_COMPLETE")
    change_set.execution = "EXECUTE_COMPLETE" if good else "EXECUTE_FAILED"
    # The others were made for a stack that is no more: they go, all but the one that was executed.
    for name in [name for name, other in stack.change_sets.items() if other.revision < stack.revision]:
        if stack.change_sets[name] is not change_set:
            del stack.change_sets[name]
