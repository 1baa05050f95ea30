"""The calls that change stacks."""

from . import engine, plan, rights, update
from .errors import AlreadyExists, ValidationError
from .intake import (
    check_name, check_updatable, common_attributes, new_stack, policy_of, remember, repeated, spec_of,
)


def create_stack(region, params):
    name = params["StackName"]
    check_name(name)
    known = region.live(name)
    if known is not None:
        answer = repeated(known, "CreateStack", params)
        if answer is not None:
            return answer
        raise AlreadyExists(f"Stack [{name}] already exists")
    if "DisableRollback" in params and "OnFailure" in params:
        raise ValidationError("You can specify either DisableRollback or OnFailure, but not both.")
    spec = spec_of(region, params, None)
    stack_policy = policy_of(region, params)
    rights.check_role(region.standin, params.get("RoleARN"), f"{region.arn}:stack/{name}/new")
    stack = new_stack(region, name)
    common_attributes(stack, params)
    stack.spec, stack.policy = spec, stack_policy
    stack.protected = bool(params.get("EnableTerminationProtection"))
    on_failure = "DO_NOTHING" if params.get("DisableRollback") else params.get("OnFailure", "ROLLBACK")
    stack.disable_rollback = on_failure == "DO_NOTHING"
    stack.begin("CREATE_STACK", params.get("ClientRequestToken"))
    answer = {"StackId": stack.id, "OperationId": stack.operation_id}
    remember(stack, "CreateStack", params, answer)
    options = engine.Options(on_failure=on_failure)
    engine.start(stack, engine.create(stack, spec, options), len(spec.template.resources) + 2)
    return answer


def update_stack(region, params):
    stack = region.find(params["StackName"])
    if stack is None or stack.status == "DELETE_COMPLETE":
        raise ValidationError(f"Stack [{params['StackName']}] does not exist")
    answer = repeated(stack, "UpdateStack", params)
    if answer is not None:
        return answer
    check_updatable(stack)
    spec = spec_of(region, params, stack.spec)
    stack_policy = policy_of(region, params)
    override = policy_of(region, params, "StackPolicyDuringUpdate")
    rights.check_role(region.standin, params.get("RoleARN"), stack.id)
    found = plan.changes(stack, spec)
    if plan.nothing_to_do(stack, spec, found):
        raise ValidationError("No updates are to be performed.")
    common_attributes(stack, params)
    stack.policy = stack_policy or stack.policy
    stack.disable_rollback = bool(params.get("DisableRollback"))
    stack.begin("UPDATE_STACK", params.get("ClientRequestToken"))
    answer = {"StackId": stack.id, "OperationId": stack.operation_id}
    remember(stack, "UpdateStack", params, answer)
    options = engine.Options(
        on_failure="DO_NOTHING" if stack.disable_rollback else "ROLLBACK", policy_override=override
    )
    engine.start(stack, update.update(stack, spec, options), len(found) + 3)
    return answer


def delete_stack(region, params):
    stack = region.find(params["StackName"])
    if stack is None or stack.status in ("DELETE_COMPLETE", "DELETE_IN_PROGRESS"):
        return {}
    if repeated(stack, "DeleteStack", params) is not None:
        return {}
    if stack.protected:
        raise ValidationError(f"Stack [{stack.name}] cannot be deleted while TerminationProtection is enabled")
    # A creation can be broken off by deleting; everything else has to end first.
    if stack.in_progress and stack.status != "CREATE_IN_PROGRESS":
        raise ValidationError(f"Stack [{stack.id}] cannot be deleted while in status {stack.status}")
    retain = tuple(params.get("RetainResources", ()))
    if retain and stack.status != "DELETE_FAILED":
        raise ValidationError(
            f"Invalid operation on stack [{stack.id}]. When you delete a stack, specify which resources to retain "
            "only when the stack is in the DELETE_FAILED state."
        )
    mode = params.get("DeletionMode")
    if mode == "FORCE_DELETE_STACK" and stack.status != "DELETE_FAILED":
        raise ValidationError(f"Stack [{stack.id}] must be in DELETE_FAILED state to be force deleted")
    stack.deletion_mode = mode
    _take_role(stack, params)
    stack.begin("DELETE_STACK", params.get("ClientRequestToken"))
    remember(stack, "DeleteStack", params, {})
    if stack.spec is None:
        stack.deleted = stack.clock.now()
        stack.become("DELETE_COMPLETE", "User Initiated")
        return {}
    options = engine.Options(retain=retain, force=mode == "FORCE_DELETE_STACK")
    engine.start(stack, engine.delete(stack, options), len(stack.resources) + 2)
    return {}


def _take_role(stack, params):
    """A role that is not given is the one of before."""
    rights.check_role(stack.region.standin, params.get("RoleARN"), stack.id)
    stack.role_arn = params.get("RoleARN", stack.role_arn)


def _existing(region, params):
    stack = region.find(params["StackName"])
    if stack is None or stack.status == "DELETE_COMPLETE":
        raise ValidationError(f"Stack [{params['StackName']}] does not exist")
    return stack


def cancel_update_stack(region, params):
    stack = _existing(region, params)
    if repeated(stack, "CancelUpdateStack", params) is not None:
        return {}
    if stack.status != "UPDATE_IN_PROGRESS":
        raise ValidationError("CancelUpdateStack cannot be called from current stack status")
    stack.cancelled = True
    remember(stack, "CancelUpdateStack", params, {})
    return {}


def continue_update_rollback(region, params):
    stack = _existing(region, params)
    if repeated(stack, "ContinueUpdateRollback", params) is not None:
        return {}
    if stack.status != "UPDATE_ROLLBACK_FAILED":
        raise ValidationError(f"Stack:{stack.id} is in {stack.status} state and can not continue rollback.")
    skip = tuple(params.get("ResourcesToSkip", ()))
    for logical_id in skip:
        resource = stack.resources.get(logical_id)
        if resource is None or resource.status != "UPDATE_FAILED":
            raise ValidationError(
                f"ResourcesToSkip: [{logical_id}] is not in UPDATE_FAILED state and cannot be skipped"
            )
    _take_role(stack, params)
    stack.begin("CONTINUE_ROLLBACK", params.get("ClientRequestToken"))
    remember(stack, "ContinueUpdateRollback", params, {})
    engine.start(stack, update.resume_rollback(stack, engine.Options(skip=skip)), _left(stack))
    return {}


def _left(stack):
    return len(stack.rollback.journal) + 3 if stack.rollback else 3


def rollback_stack(region, params):
    stack = _existing(region, params)
    answer = repeated(stack, "RollbackStack", params)
    if answer is not None:
        return answer
    if stack.status not in ("CREATE_FAILED", "UPDATE_FAILED"):
        raise ValidationError(f"Stack:{stack.id} is in {stack.status} state and can not be rolled back.")
    failed_creation = stack.status == "CREATE_FAILED"
    stack.begin("ROLLBACK", params.get("ClientRequestToken"))
    answer = {"StackId": stack.id, "OperationId": stack.operation_id}
    remember(stack, "RollbackStack", params, answer)
    if failed_creation:
        steps = engine.roll_back_creation(stack, "User Initiated")
    else:
        steps = update.resume_rollback(stack, engine.Options())
    engine.start(stack, steps, len(stack.resources) + 2)
    return answer


def update_termination_protection(region, params):
    stack = _existing(region, params)
    stack.protected = params["EnableTerminationProtection"]
    stack.remember_view()
    return {"StackId": stack.id}


def set_stack_policy(region, params):
    stack = _existing(region, params)
    text = policy_of(region, params)
    if not text:
        raise ValidationError("Either StackPolicyBody or StackPolicyURL must be specified")
    stack.policy = text
    return {}


def get_stack_policy(region, params):
    stack = _existing(region, params)
    return {"StackPolicyBody": stack.policy} if stack.policy else {}
