"""Turns a template's values into plain ones, or into what can be known of them beforehand."""

import dataclasses
import json

from .errors import ResourceFailure, ValidationError
from .template import SUB_NAME, getatt

DROP = object()


@dataclasses.dataclass(frozen=True)
class Unknown:
    """A value that only the running operation will learn: which entity it hangs on, and how."""

    entity: str
    source: str

    def __str__(self):
        return "{{changeSet:KNOWN_AFTER_APPLY}}"


class Scope:
    """Where names get their values: parameters, pseudo parameters, and the stack's live resources."""

    def __init__(self, stack, spec, resources, unknown=None):
        self.stack, self.spec, self.resources = stack, spec, resources
        self.unknown = unknown or (lambda name, attribute: False)

    def ref(self, name):
        if name in self.spec.parameters:
            return self._parameter(name)
        if name in self.spec.template.resources:
            if self.unknown(name, None):
                return Unknown(name, "ResourceReference")
            return self._resource(name).physical_id
        region = self.stack.region
        pseudo = {
            "AWS::AccountId": region.account,
            "AWS::Region": region.name,
            "AWS::StackId": self.stack.id,
            "AWS::StackName": self.stack.name,
            "AWS::Partition": "aws",
            "AWS::URLSuffix": "amazonaws.com",
            "AWS::NotificationARNs": self.stack.notification_arns,
            "AWS::NoValue": DROP,
        }
        return pseudo[name]

    def _parameter(self, name):
        value = self.spec.parameters[name]
        kind = self.spec.template.parameters.get(name, {}).get("Type", "String")
        if kind == "CommaDelimitedList" or kind.startswith("List<"):
            return [item.strip() for item in value.split(",")]
        return value

    def _resource(self, name):
        resource = self.resources.get(name)
        if resource is None or not resource.physical_id:
            raise ResourceFailure(f"Resource {name} has no physical id yet")
        return resource

    def getatt(self, name, attribute):
        if self.unknown(name, attribute):
            return Unknown(f"{name}.{attribute}", "ResourceAttribute")
        return self._resource(name).attributes[attribute]


def resolve(value, scope):
    if isinstance(value, list):
        items = [resolve(item, scope) for item in value]
        return [item for item in items if item is not DROP]
    if isinstance(value, dict):
        if len(value) == 1:
            (key, argument), = value.items()
            if key == "Ref":
                return scope.ref(argument)
            if key.startswith("Fn::"):
                return _function(key, argument, scope)
        items = {key: resolve(item, scope) for key, item in value.items()}
        return {key: item for key, item in items.items() if item is not DROP}
    # Registry types see JSON, in which a template's number or boolean is as good as its text.
    return value


def _function(key, argument, scope):
    if key == "Fn::GetAtt":
        return scope.getatt(*getatt(argument))
    if key == "Fn::Sub":
        return _sub(argument, scope)
    if key == "Fn::Join":
        separator, items = argument
        items = resolve(items, scope)
        return _first_unknown(items) or separator.join(_text(item) for item in items)
    if key == "Fn::Select":
        index, items = resolve(argument, scope)
        return items if isinstance(items, Unknown) else items[int(index)]
    if key == "Fn::Split":
        separator, text = resolve(argument, scope)
        return text if isinstance(text, Unknown) else text.split(separator)
    if key == "Fn::GetAZs":
        return [zone.name for zone in scope.stack.region.ec2.describe_availability_zones()]
    raise ValidationError(f"Template error: the stand-in does not support the function {key}")


def _sub(argument, scope):
    text, given = argument if isinstance(argument, list) else (argument, {})
    given = resolve(given, scope)
    pieces, position = [], 0
    for match in SUB_NAME.finditer(text):
        name = match.group(1)
        if name in given:
            piece = given[name]
        elif "." in name:
            piece = scope.getatt(*name.split(".", 1))
        else:
            piece = scope.ref(name)
        if isinstance(piece, Unknown):
            return piece
        pieces += [text[position : match.start()], _text(piece)]
        position = match.end()
    return ("".join(pieces) + text[position:]).replace("${!", "${")


def _first_unknown(items):
    return next((item for item in items if isinstance(item, Unknown)), None)


def _text(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(value)


def unknowns(value):
    """All unknown parts of a resolved value."""
    if isinstance(value, Unknown):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from unknowns(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from unknowns(item)


def outputs(stack, spec):
    scope = Scope(stack, spec, stack.resources)
    made = []
    for key, declared in spec.template.outputs.items():
        entry = {"OutputKey": key, "OutputValue": _text(resolve(declared["Value"], scope))}
        if declared.get("Description"):
            entry["Description"] = declared["Description"]
        made.append(entry)
    return made
