"""Updating stacks: create before delete, a journal of what was done, and the way back."""

import dataclasses

from . import drift, engine, resources, rights
from .errors import ResourceFailure
from .plan import effective_tags, same
from .policy import refusal
from .resolve import outputs
from .resources import TYPES, guarded
from .stacks import Resource
from .template import RETAINS, order


@dataclasses.dataclass
class Done:
    """One change that was made, with what is needed to undo it."""

    what: str
    logical_id: str
    old: Resource | None
    new: Resource | None


@dataclasses.dataclass
class Rollback:
    """What a rollback restores and what it has yet to do; it outlives a rollback that failed."""

    spec: object
    outputs: list
    journal: list
    discard: list


def update(stack, spec, options):
    # After an update that failed and was left so, the way back still leads to the last good state.
    if stack.status != "UPDATE_FAILED" or stack.rollback is None:
        stack.rollback = Rollback(stack.spec, stack.outputs, [], [])
    back, previous = stack.rollback, stack.spec
    stack.spec, stack.updated = spec, stack.clock.now()
    stack.become("UPDATE_IN_PROGRESS", "User Initiated")
    yield
    discard = []
    failed = yield from _apply(stack, spec, options, back, discard)
    if failed:
        yield from _failed(stack, failed, options)
        return
    stack.outputs = outputs(stack, spec)
    stack.become("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS")
    yield
    yield from _clean_up(stack, spec, discard, previous)
    stack.become("UPDATE_COMPLETE")


def _apply(stack, spec, options, back, discard):
    """Makes and changes resources; returns why it had to stop, or None."""
    sequence = order(spec.template)
    found = engine.invalid_properties(stack, spec, [i for i in sequence if _touched(stack, spec, i)])
    if found:
        engine.refuse_invalid(stack, found, "CREATE")
        return f"The following resource(s) failed validation: [{', '.join(found)}]. "
    for number, logical_id in enumerate(sequence):
        if stack.cancelled:
            return "Stack update cancelled. "
        known = stack.resources.get(logical_id)
        exists = known is not None and bool(known.physical_id)
        try:
            changed = yield from _one(stack, spec, logical_id, options, back, discard)
        except ResourceFailure as error:
            verb = "UPDATE" if exists else "CREATE"
            engine.fail(stack, stack.resources[logical_id], verb, error)
            engine.cancel_next(stack, spec, logical_id, sequence[number + 1 :])
            return f"The following resource(s) failed to {verb.lower()}: [{logical_id}]. "
        if changed:
            yield
    return _removals_refused(stack, spec, options, back)


def _touched(stack, spec, logical_id):
    known = stack.resources.get(logical_id)
    return known is None or not same(known.definition, spec.template.resources[logical_id])


def _removals_refused(stack, spec, options, back):
    for logical_id, resource in stack.resources.items():
        if logical_id not in spec.template.resources and resource.physical_id:
            reason = refusal(options.policy_override or stack.policy, "Update:Delete", logical_id, resource.type)
            if reason:
                stack.resource_event(resource, "UPDATE_FAILED", reason)
                back.journal.append(Done("untouched", logical_id, resource, resource))
                return f"The following resource(s) failed to update: [{logical_id}]. "
    return None


def _one(stack, spec, logical_id, options, back, discard):
    definition = spec.template.resources[logical_id]
    old = stack.resources.get(logical_id)
    if old is None or not old.physical_id:
        new = stack.resources[logical_id] = Resource(logical_id, definition["Type"], definition)
        back.journal.append(Done("created", logical_id, None, new))
        yield from engine.provision(stack, spec, new)
        stack.resource_event(new, "CREATE_COMPLETE")
        return True
    kind = TYPES[old.type]
    wanted = engine.properties_of(stack, spec, logical_id)
    changed, gone = _changed(stack, spec, old, wanted, options)
    if not changed:
        old.definition = definition
        if options.revert_drift:
            # EC2 has what is wanted: what was noted of it is brought up to date.
            old.properties, old.drift = wanted, None
        return False
    replace = gone or any(key in kind.create_only for key in changed)
    action = "Update:Replace" if replace else "Update:Modify"
    # Making again what somebody else has removed replaces nothing.
    reason = None if gone else refusal(options.policy_override or stack.policy, action, logical_id, old.type)
    if reason:
        back.journal.append(Done("untouched", logical_id, old, old))
        raise ResourceFailure(reason)
    if replace:
        yield from _replace(stack, spec, old, definition, back, discard)
    else:
        yield from _change(stack, spec, old, definition, wanted, back)
    stack.resource_event(stack.resources[logical_id], "UPDATE_COMPLETE")
    return True


def _changed(stack, spec, old, wanted, options):
    """Which properties differ from what the stack holds, or from what EC2 holds when drift is to be reverted."""
    kind = TYPES[old.type]
    base, tags, gone = old.properties, old.tags, False
    if options.revert_drift and old.type not in stack.region.standin.settings.drift_unsupported_types:
        actual = drift.actual_properties(stack, old)
        gone = actual is None
        base = old.properties if gone else drift.expected_shape(old.properties, actual)
        live = drift.live_tags(stack, old)
        tags = {key: live[key] for key in live if key in old.tags}
    changed = [key for key in set(base) | set(wanted) if key != "Tags" and not same(base.get(key), wanted.get(key))]
    if gone and not changed:
        changed = ["*"]
    if kind.taggable and tags != effective_tags(stack, spec, old.logical_id, wanted):
        changed.append("Tags")
    return changed, gone


def _replace(stack, spec, old, definition, back, discard):
    logical_id = old.logical_id
    before = old.copy()
    stack.resource_event(
        old, "UPDATE_IN_PROGRESS",
        "Requested update requires the creation of a new physical resource; hence creating one.",
    )
    if TYPES[old.type].delete_first:
        rights.check(stack, TYPES[old.type], "delete", old.physical_id, old.properties)
        guarded(TYPES[old.type].delete, stack.region.ec2, old.physical_id)
        done = Done("swapped", logical_id, before, None)
    else:
        done = Done("replaced", logical_id, before, None)
        discard.append(before)
    back.journal.append(done)
    new = Resource(logical_id, old.type, definition)
    done.new = new
    try:
        yield from engine.provision(stack, spec, new, "UPDATE")
    except ResourceFailure:
        if before in discard:
            discard.remove(before)
        raise
    stack.resources[logical_id] = new
    if new.physical_id == before.physical_id:
        # A route made again stands where the lost one stood: cleaning up the old one would remove the new one.
        discard.remove(before)


def _change(stack, spec, old, definition, wanted, back):
    kind = TYPES[old.type]
    before = old.copy()
    stack.resource_event(old, "UPDATE_IN_PROGRESS")
    # Entered before the attempt: a rollback also has to restore what failed halfway.
    back.journal.append(Done("changed", old.logical_id, before, old))
    wrong = kind.check(wanted)
    if wrong:
        raise ResourceFailure(engine.invalid(old.logical_id, wrong))
    engine.fault(stack, "resource_fails", old.logical_id)
    _must_exist(stack, old)
    yield from _set(stack, spec, old, wanted)
    old.definition = definition
    yield


def _must_exist(stack, resource):
    if TYPES[resource.type].read(stack.region.ec2, resource.physical_id) is None:
        raise ResourceFailure(
            f"Resource handler returned message: \"Resource of type '{resource.type}' with identifier "
            f"'{resource.physical_id}' was not found.\" (HandlerErrorCode: NotFound)"
        )


def _set(stack, spec, resource, wanted):
    """Brings one live resource to the properties and tags it is to have, in place."""
    ec2, kind = stack.region.ec2, TYPES[resource.type]
    rights.check(stack, kind, "update", resource.physical_id, wanted)
    takes_time = guarded(kind.update, ec2, resource.physical_id, resource.properties, wanted)
    while takes_time and not kind.settled(ec2, resource.physical_id):
        yield
    if kind.taggable:
        tags = effective_tags(stack, spec, resource.logical_id, wanted)
        rights.check(stack, kind, "tagging", resource.physical_id)
        resources.drop_tags(ec2, kind, resource.physical_id, set(resource.tags) - set(tags))
        guarded(resources.set_tags, ec2, kind, resource.physical_id, tags)
        resource.tags = tags
    resource.properties = wanted
    resource.attributes = kind.values(ec2, resource.physical_id)


def _clean_up(stack, spec, discard, old_spec):
    """Removes what the new template no longer has, dependants first, and what was replaced."""
    positions = {logical_id: n for n, logical_id in enumerate(order(old_spec.template))}
    # Half-made ones of an earlier failure have no physical id, and no place in any template.
    leaving = [r for i, r in stack.resources.items() if i not in spec.template.resources]
    for resource in leaving:
        del stack.resources[resource.logical_id]
    doomed = discard + leaving
    for resource in sorted(doomed, key=lambda r: -positions.get(r.logical_id, len(positions))):
        yield from _discard(stack, resource, _stays(spec, resource))
        yield


def _stays(spec, resource):
    """The template of before says it of what is removed, and the new one of what is replaced."""
    if resource.logical_id in spec.template.resources:
        return spec.template.resources[resource.logical_id].get("UpdateReplacePolicy") == "Retain"
    return resource.definition.get("DeletionPolicy") in RETAINS


def _discard(stack, resource, stays):
    """A removal that fails three times is given up: the resource stays behind, outside the stack."""
    if stays and resource.physical_id:
        stack.resource_event(resource, "DELETE_SKIPPED")
        return
    if not resource.physical_id:
        return
    for _ in range(3):
        if (yield from engine.remove(stack, resource)):
            return
        yield


def _failed(stack, reason, options):
    if options.on_failure == "DO_NOTHING":
        stack.become("UPDATE_FAILED", reason)
        return
    yield from roll_back(stack, reason, options)


def roll_back(stack, reason, options):
    """Undoes the journal backwards; what cannot be undone stays in it for the next attempt."""
    back = stack.rollback
    stack.become("UPDATE_ROLLBACK_IN_PROGRESS", reason)
    yield
    while back.journal:
        done = back.journal[-1]
        if done.logical_id not in options.skip:
            try:
                yield from _undo(stack, back, done)
            except ResourceFailure as error:
                engine.fail(stack, stack.resources[done.logical_id], "UPDATE", error)
                stack.become(
                    "UPDATE_ROLLBACK_FAILED",
                    f"The following resource(s) failed to update: [{done.logical_id}]. ",
                )
                return
        elif done.old is not None:
            stack.resource_event(stack.resources[done.logical_id], "UPDATE_COMPLETE")
        back.journal.pop()
        yield
    stack.spec, stack.outputs = back.spec, back.outputs
    stack.become("UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS")
    yield
    for resource in back.discard:
        yield from _discard(stack, resource, resource.definition.get("DeletionPolicy") == "Retain")
        yield
    back.discard = []
    for logical_id in [i for i in stack.resources if i not in back.spec.template.resources]:
        del stack.resources[logical_id]
    stack.become("UPDATE_ROLLBACK_COMPLETE")


def _undo(stack, back, done):
    current = stack.resources.get(done.logical_id)
    if current is not None and done.what != "created":
        stack.resource_event(current, "UPDATE_IN_PROGRESS")
    engine.fault(stack, "rollback_fails", done.logical_id)
    if done.what == "changed":
        _must_exist(stack, current)
        yield from _set(stack, back.spec, current, done.old.properties)
        current.definition = done.old.definition
    elif done.what == "replaced":
        stack.resources[done.logical_id] = done.old
        back.discard.append(done.new)
    elif done.what == "swapped":
        yield from _swap_back(stack, back, done)
    else:
        back.discard.append(done.new)
        return
    stack.resource_event(stack.resources[done.logical_id], "UPDATE_COMPLETE")


def _swap_back(stack, back, done):
    kind = TYPES[done.old.type]
    if done.new and done.new.physical_id:
        rights.check(stack, kind, "delete", done.new.physical_id, done.new.properties)
        guarded(kind.delete, stack.region.ec2, done.new.physical_id)
    again = done.old.copy()
    again.physical_id = guarded(kind.create, stack.region.ec2, done.old.properties)
    again.attributes = kind.values(stack.region.ec2, again.physical_id)
    stack.resources[done.logical_id] = again
    yield


def resume_rollback(stack, options):
    """ContinueUpdateRollback: goes on where the rollback stopped."""
    if stack.rollback is None:
        stack.rollback = Rollback(stack.spec, stack.outputs, [], [])
    yield from roll_back(stack, "User Initiated", options)
