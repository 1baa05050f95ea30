"""Creating and deleting stacks, and the single resource that all operations share."""

import dataclasses

from . import resources, rights
from .errors import ResourceFailure
from .plan import effective_tags
from .resolve import DROP, Scope, outputs, resolve
from .resources import TYPES, guarded
from .stacks import Resource
from .template import RETAINS, dependencies, order


@dataclasses.dataclass
class Options:
    """How an operation behaves when something fails."""

    on_failure: str = "ROLLBACK"
    revert_drift: bool = False
    policy_override: str | None = None
    retain: tuple = ()
    force: bool = False
    skip: tuple = ()


def start(stack, steps, count):
    standin = stack.region.standin
    if stack.job:
        standin.jobs.stop(stack.job)
    stack.job = standin.jobs.start(steps, count, standin.settings.operation_ms)


def fault(stack, kind, logical_id):
    message = stack.region.standin.faults.for_resource(kind, stack.name, logical_id)
    if message:
        raise ResourceFailure(message)


def properties_of(stack, spec, logical_id):
    raw = spec.template.resources[logical_id].get("Properties", {})
    resolved = resolve(raw, Scope(stack, spec, stack.resources))
    return {key: value for key, value in resolved.items() if value is not DROP}


def invalid(logical_id, wrong):
    return f"Properties validation failed for resource {logical_id} with message:\n" + "\n".join(wrong)


def invalid_properties(stack, spec, ids):
    """What the check before provisioning finds: properties that no value could make right."""
    found = {}
    for logical_id in ids:
        definition = spec.template.resources[logical_id]
        raw = definition.get("Properties", {})
        wrong = [text for text in TYPES[definition["Type"]].check(raw) if "expected type" not in text]
        message = stack.region.standin.faults.for_resource("validation_fails", stack.name, logical_id)
        if message:
            wrong.append(message)
        if wrong:
            found[logical_id] = invalid(logical_id, wrong)
    return found


def refuse_invalid(stack, found, verb):
    """Shows what the check found; nothing has been provisioned at that point."""
    for logical_id, reason in found.items():
        known = stack.resources.get(logical_id)
        definition = stack.spec.template.resources[logical_id]
        resource = known or Resource(logical_id, definition["Type"], definition)
        if known is None:
            stack.resources[logical_id] = resource
        stack.resource_event(resource, f"{'UPDATE' if known else verb}_FAILED", reason, "VALIDATION_FAILED")
    stack.detailed_status = "VALIDATION_FAILED"


def provision(stack, spec, resource, verb="CREATE"):
    """Makes one resource; `resource` is filled in as it comes to be, so that a failure leaves its traces."""
    kind, ec2 = TYPES[resource.type], stack.region.ec2
    stack.resource_event(resource, f"{verb}_IN_PROGRESS")
    resource.properties = properties_of(stack, spec, resource.logical_id)
    wrong = kind.check(resource.properties)
    if wrong:
        raise ResourceFailure(invalid(resource.logical_id, wrong))
    fault(stack, "resource_fails", resource.logical_id)
    rights.check(stack, kind, "create", properties=resource.properties)
    resource.physical_id = guarded(kind.create, ec2, resource.properties)
    resource.tags = effective_tags(stack, spec, resource.logical_id, resource.properties) if kind.taggable else {}
    guarded(resources.set_tags, ec2, kind, resource.physical_id, resource.tags)
    stack.resource_event(resource, f"{verb}_IN_PROGRESS", "Resource creation Initiated")
    while not kind.settled(ec2, resource.physical_id):
        yield
    rights.check(stack, kind, "read", resource.physical_id, resource.properties)
    resource.attributes = kind.values(ec2, resource.physical_id)


def remove(stack, resource):
    """Takes one resource away; True when it is gone, False when it could not be."""
    kind, ec2 = TYPES[resource.type], stack.region.ec2
    stack.resource_event(resource, "DELETE_IN_PROGRESS")
    try:
        if resource.physical_id:
            fault(stack, "delete_fails", resource.logical_id)
            rights.check(stack, kind, "delete", resource.physical_id, resource.properties)
            note_release(stack, kind, resource)
            guarded(kind.delete, ec2, resource.physical_id)
            while not kind.gone(ec2, resource.physical_id):
                yield
            stack.region.standin.settle(ec2)
    except ResourceFailure as error:
        stack.resource_event(resource, "DELETE_FAILED", str(error))
        return False
    stack.resource_event(resource, "DELETE_COMPLETE")
    return True


def note_release(stack, kind, resource):
    """Records a static IP that an operation of a controller releases although the stack had served with it."""
    is_controller = (stack.caller or "").startswith("AKIAREPLICA")
    if is_controller and resource.physical_id in stack.settled_eips and kind.find(stack.region.ec2, resource.physical_id):
        stack.region.standin.released.append(f"{resource.physical_id} ({resource.logical_id})")


def fail(stack, resource, verb, error):
    stack.resource_event(resource, f"{verb}_FAILED", str(error))


def cancel_next(stack, spec, failed, remaining, verb="CREATE"):
    """CloudFormation works on several resources at once: what runs beside a failure is cancelled."""
    for logical_id in remaining:
        if logical_id not in stack.resources and not (dependencies(spec.template, logical_id) & set(remaining + [failed])):
            definition = spec.template.resources[logical_id]
            resource = Resource(logical_id, definition["Type"], definition)
            stack.resources[logical_id] = resource
            stack.resource_event(resource, f"{verb}_IN_PROGRESS")
            stack.resource_event(resource, f"{verb}_FAILED", "Resource creation cancelled")
            return


def create(stack, spec, options):
    stack.become("CREATE_IN_PROGRESS", "User Initiated")
    yield
    sequence = order(spec.template)
    found = invalid_properties(stack, spec, sequence)
    failed = None
    if found:
        refuse_invalid(stack, found, "CREATE")
        failed = ", ".join(found)
    for number, logical_id in enumerate(sequence if not found else ()):
        definition = spec.template.resources[logical_id]
        resource = stack.resources[logical_id] = Resource(logical_id, definition["Type"], definition)
        try:
            yield from provision(stack, spec, resource)
        except ResourceFailure as error:
            fail(stack, resource, "CREATE", error)
            cancel_next(stack, spec, logical_id, sequence[number + 1 :])
            failed = logical_id
            break
        stack.resource_event(resource, "CREATE_COMPLETE")
        yield
    if failed is None:
        stack.outputs = outputs(stack, spec)
        stack.become("CREATE_COMPLETE")
        return
    yield from create_failed(stack, failed, options)


def create_failed(stack, failed, options):
    reason = f"The following resource(s) failed to create: [{failed}]. "
    if options.on_failure == "DO_NOTHING":
        stack.become("CREATE_FAILED", reason)
    elif options.on_failure == "DELETE":
        stack.become("DELETE_IN_PROGRESS", reason + "Delete requested by user.")
        # What a creation that failed has made stays only by "Retain", and not when it is rolled back.
        yield from delete_all(stack, options, stays=("Retain",))
    else:
        yield from roll_back_creation(stack, reason + "Rollback requested by user.")


def roll_back_creation(stack, reason):
    stack.become("ROLLBACK_IN_PROGRESS", reason)
    yield
    stuck = yield from remove_all(stack, (), ())
    if stuck:
        stack.become("ROLLBACK_FAILED", f"The following resource(s) failed to delete: [{', '.join(stuck)}]. ")
    else:
        stack.become("ROLLBACK_COMPLETE")


def remove_all(stack, retain, stays):
    """Removes in reverse order what nothing that stays behind needs, but for what has one of these deletion policies; returns what would not go."""
    sequence = order(stack.spec.template)
    stuck = []
    for logical_id in [*reversed(sequence), *[key for key in stack.resources if key not in sequence]]:
        resource = stack.resources.get(logical_id)
        if resource is None or resource.status == "DELETE_COMPLETE":
            continue
        needed = any(
            logical_id in dependencies(stack.spec.template, other) for other in stuck if other in sequence
        )
        if needed:
            stuck.append(logical_id)
            continue
        policy = resource.definition.get("DeletionPolicy")
        if logical_id in retain or (policy in stays and resource.physical_id):
            stack.resource_event(resource, "DELETE_SKIPPED")
            continue
        if not (yield from remove(stack, resource)):
            stuck.append(logical_id)
        yield
    return [logical_id for logical_id in stuck if stack.resources[logical_id].status == "DELETE_FAILED"]


def delete(stack, options):
    stack.become("DELETE_IN_PROGRESS", "User Initiated")
    yield
    yield from delete_all(stack, options)


def delete_all(stack, options, stays=RETAINS):
    stuck = yield from remove_all(stack, options.retain, stays)
    if stuck and options.force:
        for logical_id in stuck:
            stack.resource_event(stack.resources[logical_id], "DELETE_SKIPPED")
        stuck = []
    if stuck:
        stack.become("DELETE_FAILED", f"The following resource(s) failed to delete: [{', '.join(stuck)}]. ")
        return
    stack.deleted = stack.clock.now()
    stack.change_sets = {}
    stack.become("DELETE_COMPLETE")
