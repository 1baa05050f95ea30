"""Parses a template and checks what CloudFormation checks before it accepts it."""

import dataclasses
import json
import re

import yaml

from .errors import ValidationError

MAX_INLINE, MAX_S3 = 51_200, 1_000_000
MAX_RESOURCES, MAX_PARAMETERS, MAX_OUTPUTS = 500, 200, 200
SECTIONS = {
    "AWSTemplateFormatVersion", "Description", "Metadata", "Parameters", "Mappings", "Conditions",
    "Resources", "Outputs", "Transform", "Rules", "Hooks",
}
RESOURCE_KEYS = {
    "Type", "Properties", "DependsOn", "Metadata", "DeletionPolicy", "UpdateReplacePolicy", "Condition",
    "CreationPolicy", "UpdatePolicy",
}
UNSUPPORTED_SECTIONS = ("Mappings", "Conditions", "Transform", "Rules", "Hooks")
PSEUDO = {
    "AWS::AccountId", "AWS::Region", "AWS::StackId", "AWS::StackName", "AWS::Partition",
    "AWS::URLSuffix", "AWS::NoValue", "AWS::NotificationARNs",
}
# DeletionPolicy: what keeps a resource when its stack lets it go.
RETAINS = ("Retain", "RetainExceptOnCreate")
DELETION_POLICIES = {"DeletionPolicy": (*RETAINS, "Delete", "Snapshot"), "UpdateReplacePolicy": ("Retain", "Delete", "Snapshot")}
ALPHANUMERIC = re.compile(r"[a-zA-Z0-9]+\Z")
SUB_NAME = re.compile(r"\$\{([^!}][^}]*)\}")


class CfnLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """YAML with CloudFormation's short tags, and dates left as text."""


def _short_tag(loader, suffix, node):
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
        value = value.split(".", 1) if suffix == "GetAtt" else value
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


CfnLoader.add_multi_constructor("!", _short_tag)
CfnLoader.add_constructor("tag:yaml.org,2002:timestamp", yaml.SafeLoader.construct_yaml_str)


@dataclasses.dataclass
class Template:
    data: dict

    @property
    def parameters(self):
        return self.data.get("Parameters") or {}

    @property
    def resources(self):
        return self.data["Resources"]

    @property
    def outputs(self):
        return self.data.get("Outputs") or {}

    @property
    def description(self):
        return self.data.get("Description")


def parse(text):
    data = _load(text)
    if not isinstance(data, dict):
        raise ValidationError("Template format error: unsupported structure.")
    wrong = sorted(set(map(str, data)) - SECTIONS)
    if wrong:
        raise ValidationError(f"Invalid template property or properties [{', '.join(wrong)}]")
    for section in UNSUPPORTED_SECTIONS:
        if data.get(section):
            raise ValidationError(f"Template error: the stand-in does not support the section {section}")
    if not isinstance(data.get("Resources"), dict) or not data["Resources"]:
        raise ValidationError("Template format error: At least one Resources member must be defined.")
    template = Template(data)
    _check_counts(template)
    _check_names(template)
    _check_resources(template)
    _check_references(template)
    order(template)
    return template


def _load(text):
    # JSON is YAML too, but reading it as such takes a hundred times longer.
    try:
        return json.loads(text) if text.lstrip().startswith("{") else yaml.load(text, Loader=CfnLoader)
    except json.JSONDecodeError as error:
        raise ValidationError(
            f"Template format error: JSON not well-formed. (line {error.lineno}, column {error.colno})"
        ) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise ValidationError(f"Template format error: YAML not well-formed.{place}") from None


def _check_counts(template):
    for noun, number, most in (
        ("resources", len(template.resources), MAX_RESOURCES),
        ("parameters", len(template.parameters), MAX_PARAMETERS),
        ("outputs", len(template.outputs), MAX_OUTPUTS),
    ):
        if number > most:
            raise ValidationError(
                f"Template format error: Number of {noun}, {number}, is greater than maximum allowed, {most}"
            )


def _check_names(template):
    for section, noun in (("Resources", "Resource"), ("Parameters", "Parameter"), ("Outputs", "Output")):
        for name in template.data.get(section) or {}:
            if not ALPHANUMERIC.match(str(name)) or len(name) > 255:
                raise ValidationError(f"Template format error: {noun} name {name} is non alphanumeric.")


def _check_resources(template):
    from .resources import TYPES

    unknown = set()
    for logical_id, resource in template.resources.items():
        if not isinstance(resource, dict):
            raise ValidationError("Template format error: Any Resources member must be an object.")
        if not resource.get("Type"):
            raise ValidationError(
                f"Template format error: [/Resources/{logical_id}] Every Resources object must contain a Type member."
            )
        wrong = sorted(set(resource) - RESOURCE_KEYS)
        if wrong:
            raise ValidationError(f"Invalid template resource property '{wrong[0]}'")
        if not isinstance(resource.get("Properties", {}), dict):
            raise ValidationError(
                f"Template format error: [/Resources/{logical_id}/Properties] Properties must be an object."
            )
        for key, allowed in DELETION_POLICIES.items():
            if key in resource and resource[key] not in allowed:
                raise ValidationError(f"Template format error: Unrecognized {key} {resource[key]} for resource {logical_id}")
        if resource["Type"] not in TYPES:
            unknown.add(resource["Type"])
    if unknown:
        raise ValidationError(f"Template format error: Unrecognized resource types: [{', '.join(sorted(unknown))}]")


def references(value):
    """All (name, attribute or None) that a value refers to."""
    if isinstance(value, list):
        for item in value:
            yield from references(item)
    elif isinstance(value, dict):
        if set(value) == {"Ref"}:
            yield value["Ref"], None
        elif set(value) == {"Fn::GetAtt"}:
            name, attribute = getatt(value["Fn::GetAtt"])
            yield name, attribute
        elif set(value) == {"Fn::Sub"}:
            yield from _sub_references(value["Fn::Sub"])
        else:
            for item in value.values():
                yield from references(item)


def _sub_references(argument):
    text, given = argument if isinstance(argument, list) else (argument, {})
    yield from references(list(given.values()))
    for name in SUB_NAME.findall(text):
        if name not in given:
            name, _, attribute = name.partition(".")
            yield name, attribute or None


def getatt(argument):
    if isinstance(argument, str):
        argument = argument.split(".", 1)
    if not isinstance(argument, list) or len(argument) != 2 or not all(isinstance(a, str) for a in argument):
        raise ValidationError("Template error: every Fn::GetAtt object requires two non-empty parameters")
    return argument


def dependencies(template, logical_id):
    resource = template.resources[logical_id]
    explicit = resource.get("DependsOn", [])
    explicit = [explicit] if isinstance(explicit, str) else explicit
    found = [name for name, _ in references(resource.get("Properties", {})) if name in template.resources]
    return set(found) | set(explicit)


def _check_references(template):
    from .resources import TYPES

    known = set(template.parameters) | set(template.resources) | PSEUDO
    for section in ("Resources", "Outputs"):
        missing = []
        for name, attribute in references(template.data.get(section) or {}):
            if attribute is None and name not in known and not name.startswith("AWS::"):
                missing.append(name)
            elif attribute is not None and name not in template.resources:
                raise ValidationError(
                    f"Template error: instance of Fn::GetAtt references undefined resource {name}"
                )
            elif attribute is not None and attribute not in TYPES[template.resources[name]["Type"]].attributes:
                kind = template.resources[name]["Type"]
                raise ValidationError(
                    f"Template error: resource {name} does not support attribute type {attribute} in Fn::GetAtt ({kind})"
                )
            elif name.startswith("AWS::") and name not in PSEUDO:
                missing.append(name)
        for resource in template.resources.values() if section == "Resources" else ():
            explicit = resource.get("DependsOn", [])
            explicit = [explicit] if isinstance(explicit, str) else explicit
            missing.extend(name for name in explicit if name not in template.resources)
        if missing:
            names = ", ".join(dict.fromkeys(missing))
            raise ValidationError(
                f"Template format error: Unresolved resource dependencies [{names}] in the {section} block of the template"
            )


def order(template):
    """Logical ids so that each comes after what it needs; else in the template's own order."""
    waiting = {logical_id: dependencies(template, logical_id) for logical_id in template.resources}
    done = []
    while waiting:
        ready = [logical_id for logical_id, needs in waiting.items() if not needs]
        if not ready:
            raise ValidationError(f"Circular dependency between resources: [{', '.join(waiting)}]")
        done.extend(ready)
        for logical_id in ready:
            del waiting[logical_id]
        gone = set(ready)
        for needs in waiting.values():
            needs -= gone
    return done


def parameter_values(template, given, previous):
    """The value of every parameter, from the request, the stack as it is, or the default."""
    unknown = [key for key in given if key not in template.parameters]
    if unknown:
        raise ValidationError(f"Parameters: [{', '.join(unknown)}] do not exist in the template")
    values, missing = {}, []
    for name, declared in template.parameters.items():
        value = given.get(name)
        if isinstance(value, dict):
            value = previous.get(name) if value.get("UsePreviousValue") else None
            if value is None:
                raise ValidationError(
                    f"Invalid input for parameter key {name}. Cannot specify usePreviousValue as true for a "
                    "parameter key not in the previous template"
                )
        if value is None:
            value = declared.get("Default")
        if value is None:
            missing.append(name)
            continue
        values[name] = _checked(name, str(value), declared)
    if missing:
        raise ValidationError(f"Parameters: [{', '.join(missing)}] must have values")
    return values


def _checked(name, value, declared):
    if len(value) > 4096:
        raise ValidationError(f"Parameter '{name}' must be at most 4096 characters long")
    allowed = declared.get("AllowedValues")
    if allowed and value not in [str(item) for item in allowed]:
        raise ValidationError(f"Parameter '{name}' must be one of AllowedValues")
    pattern = declared.get("AllowedPattern")
    if pattern and not re.fullmatch(pattern, value):
        raise ValidationError(f"Parameter '{name}' must match pattern {pattern}")
    if declared.get("Type") == "Number" and not re.fullmatch(r"-?\d+(\.\d+)?", value):
        raise ValidationError(f"Parameter '{name}' must be a number")
    return value
