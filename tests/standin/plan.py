"""What an update would do to each resource: the content of a change set, and whether there is one at all."""

import dataclasses
import json

from . import drift
from .resolve import DROP, Scope, Unknown, outputs, resolve, unknowns
from .resources import TYPES
from .template import RETAINS, order


@dataclasses.dataclass
class Change:
    action: str
    logical_id: str
    type: str
    physical_id: str = ""
    replacement: str | None = None
    scope: list = dataclasses.field(default_factory=list)
    details: list = dataclasses.field(default_factory=list)
    policy_action: str | None = None
    drift_status: str | None = None
    before: dict | None = None
    after: dict | None = None

    def shown(self, with_values):
        entry = {
            "Action": self.action,
            "LogicalResourceId": self.logical_id,
            "PhysicalResourceId": self.physical_id or None,
            "ResourceType": self.type,
            "Replacement": self.replacement,
            "Scope": self.scope,
            "Details": [_detail(detail, with_values or bool(self.drift_status)) for detail in self.details],
            "PolicyAction": self.policy_action,
            "ResourceDriftStatus": self.drift_status,
        }
        if with_values:
            entry["BeforeContext"] = _context(self.before)
            entry["AfterContext"] = _context(self.after)
        return {"Type": "Resource", "ResourceChange": {k: v for k, v in entry.items() if v is not None}}


VALUE_KEYS = ("Path", "BeforeValue", "AfterValue", "AttributeChangeType")


def _detail(detail, with_values):
    target = {k: v for k, v in detail["Target"].items() if with_values or k not in VALUE_KEYS}
    return {**detail, "Target": target}


def _context(properties):
    return None if properties is None else json.dumps({"Properties": _plain(properties)}, sort_keys=True)


def _plain(value):
    if isinstance(value, Unknown):
        return str(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def same(left, right):
    """Equal as CloudFormation compares: a template's true, "true" and 1 are what they say."""
    return _canonical(left) == _canonical(right)


def _canonical(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    return value


def effective_tags(stack, spec, logical_id, properties):
    """The stack's tags, the resource's own, and those that CloudFormation sets itself."""
    own = {tag["Key"]: str(tag["Value"]) for tag in properties.get("Tags", []) if "Key" in tag}
    return {
        **spec.tags,
        **own,
        "aws:cloudformation:stack-name": stack.name,
        "aws:cloudformation:stack-id": stack.id,
        "aws:cloudformation:logical-id": logical_id,
    }


class Planner:
    def __init__(self, stack, spec, revert=False):
        self.stack, self.spec, self.revert = stack, spec, revert
        self.settings = stack.region.standin.settings
        # How each logical id fares: it decides what others can know of it.
        self.fate = {}

    def unknown(self, name, attribute):
        fate = self.fate.get(name, "same")
        if fate in ("add", "replace", "maybe"):
            return True
        if attribute is None or fate == "same":
            return False
        level = self.settings.dynamic_dependents
        return level == "any" or (level == "modified" and fate == "modify")

    def changes(self):
        found = []
        template = self.spec.template
        for logical_id in order(template):
            change = self._one(logical_id, template.resources[logical_id])
            if change:
                found.append(change)
        for logical_id, resource in self.stack.resources.items():
            if logical_id not in template.resources and resource.physical_id:
                keep = resource.definition.get("DeletionPolicy") in RETAINS
                change = Change("Remove", logical_id, resource.type, resource.physical_id, before=resource.properties)
                change.policy_action = "Retain" if keep else "Delete"
                found.append(self._with_drift(change, resource))
        return found

    def _with_drift(self, change, resource):
        if self.revert:
            change.drift_status = drift.compare(self.stack, resource)["StackResourceDriftStatus"]
        return change

    def _one(self, logical_id, definition):
        scope = Scope(self.stack, self.spec, self.stack.resources, self.unknown)
        resource = self.stack.resources.get(logical_id)
        raw = definition.get("Properties", {})
        if resource is None or not resource.physical_id:
            self.fate[logical_id] = "add"
            return Change("Add", logical_id, definition["Type"], after=resolve(raw, scope))
        new = {key: value for key, value in resolve(raw, scope).items() if value is not DROP}
        change = Change("Modify", logical_id, resource.type, resource.physical_id, before=resource.properties, after=new)
        kind = TYPES[resource.type]
        actual = drift.actual_properties(self.stack, resource) if self.revert else None
        if self.revert:
            self._with_drift(change, resource)
            if actual is None and change.drift_status == "DELETED":
                self.fate[logical_id] = "add"
                change.action, change.before = "Add", None
                return change
        base = resource.properties if actual is None else drift.expected_shape(resource.properties, actual)
        change.details = self._details(kind, resource, base, new, raw)
        change.details += self._tag_details(kind, resource, new, actual)
        change.details += _metadata_details(resource.definition, definition)
        if not change.details:
            self.fate[logical_id] = "same"
            return self._in_sync_again(change, resource, new) if actual is not None else None
        self._judge(change)
        return change

    def _in_sync_again(self, change, resource, new):
        """EC2 has what is wanted, though CloudFormation has noted something else: only its note will change."""
        noted = (resource.drift or {}).get("StackResourceDriftStatus")
        if change.drift_status != "IN_SYNC" or noted not in ("MODIFIED", "DELETED") and same(resource.properties, new):
            return None
        change.action = "SyncWithActual"
        return change

    def _details(self, kind, resource, old, new, raw):
        before = resource.definition.get("Properties", {})
        found = []
        for key in sorted((set(old) | set(new)) - {"Tags"}):
            hidden = next(unknowns(new.get(key)), None)
            if hidden is None and same(old.get(key), new.get(key)):
                continue
            direct = not same(before.get(key), raw.get(key))
            detail = {
                "Target": {
                    "Attribute": "Properties",
                    "Name": key,
                    "RequiresRecreation": "Always" if key in kind.create_only else "Never",
                    **_values(f"/Properties/{key}", old.get(key), new.get(key)),
                },
                "Evaluation": "Dynamic" if hidden and not direct else "Static",
                "ChangeSource": "DirectModification" if direct else hidden.source if hidden else "ParameterReference",
            }
            if hidden and not direct:
                detail["CausingEntity"] = hidden.entity
            if self.revert and not same(resource.properties.get(key), old.get(key)):
                self._mark_drift(detail, resource.properties.get(key), old.get(key), direct)
            found.append(detail)
        return found

    def _mark_drift(self, detail, previous, actual, direct):
        detail["ChangeSource"] = "DirectModification" if direct else "NoModification"
        detail["Target"]["BeforeValueFrom"] = "ACTUAL_STATE"
        detail["Target"]["AfterValueFrom"] = "TEMPLATE"
        detail["Target"]["Drift"] = {
            "PreviousValue": _text(previous),
            "ActualValue": _text(actual),
            "DriftDetectionTimestamp": self.stack.clock.stamp(),
        }

    def _tag_details(self, kind, resource, new, actual):
        if not kind.taggable:
            return []
        wanted = effective_tags(self.stack, self.spec, resource.logical_id, new)
        have = resource.tags
        if actual is not None and "Tags" in new:
            live = drift.live_tags(self.stack, resource)
            have = {key: live[key] for key in live if key in resource.tags or key in wanted}
        if have == wanted:
            return []
        return [
            {
                "Target": {
                    "Attribute": "Tags",
                    "RequiresRecreation": "Never",
                    **_values("/Properties/Tags", _listed(have), _listed(wanted)),
                },
                "Evaluation": "Static",
                "ChangeSource": "DirectModification",
            }
        ]

    def _judge(self, change):
        always = [d for d in change.details if d["Target"]["RequiresRecreation"] == "Always"]
        change.scope = list(dict.fromkeys(d["Target"]["Attribute"] for d in change.details))
        change.replacement = "False"
        self.fate[change.logical_id] = "modify" if "Properties" in change.scope else "tags"
        if any(d["Evaluation"] == "Static" for d in always):
            keep = self.spec.template.resources[change.logical_id].get("UpdateReplacePolicy") == "Retain"
            change.replacement, change.policy_action = "True", "ReplaceAndRetain" if keep else "ReplaceAndDelete"
            self.fate[change.logical_id] = "replace"
        elif always:
            change.replacement = "Conditional"
            self.fate[change.logical_id] = "maybe"


def _metadata_details(before, after):
    """A change of metadata is seen alone, and one of a deletion policy is not."""
    if same(before.get("Metadata"), after.get("Metadata")):
        return []
    return [
        {
            "Target": {"Attribute": "Metadata", "RequiresRecreation": "Never"},
            "Evaluation": "Static",
            "ChangeSource": "DirectModification",
        }
    ]


def _listed(tags):
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items()) if not key.startswith("aws:")]


def _text(value):
    return value if isinstance(value, str) else json.dumps(_plain(value))


def _values(path, old, new):
    values = {"Path": path}
    if old is not None:
        values["BeforeValue"] = _text(old)
    if new is not None:
        values["AfterValue"] = _text(new)
    values["AttributeChangeType"] = "Add" if old is None else "Remove" if new is None else "Modify"
    return values


def changes(stack, spec, revert=False):
    return Planner(stack, spec, revert).changes()


def nothing_to_do(stack, spec, found):
    """True when CloudFormation would refuse: no resource, no output and no tag of the stack changes."""
    if found or spec.tags != stack.spec.tags:
        return False
    return outputs(stack, spec) == stack.outputs and same(spec.template.outputs, stack.spec.template.outputs)
