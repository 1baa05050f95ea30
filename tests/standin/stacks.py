"""What the stand-in remembers of CloudFormation: stacks, their resources, events and change sets."""

import copy
import dataclasses
import json
import re
from typing import Any

from moto.moto_api._internal import mock_random

from . import iam, rights
from .errors import ValidationError

NAME = re.compile(r"[a-zA-Z][-a-zA-Z0-9]*\Z")
IN_PROGRESS = re.compile(r".*_IN_PROGRESS\Z")
# In these the stack's EIPs may carry traffic.
SERVES = re.compile(r"(CREATE|IMPORT|UPDATE|UPDATE_ROLLBACK)_COMPLETE|UPDATE_ROLLBACK_FAILED")
STACK_TYPE = "AWS::CloudFormation::Stack"


@dataclasses.dataclass
class Resource:
    logical_id: str
    type: str
    definition: dict
    physical_id: str = ""
    properties: dict = dataclasses.field(default_factory=dict)
    tags: dict = dataclasses.field(default_factory=dict)
    attributes: dict = dataclasses.field(default_factory=dict)
    status: str = ""
    reason: str | None = None
    updated: float = 0
    drift: dict | None = None

    def copy(self):
        return copy.deepcopy(self)


@dataclasses.dataclass
class Spec:
    """What a stack is asked to be: the input of one create or update."""

    text: str
    template: Any
    parameters: dict
    tags: dict

    def same_text(self, other):
        return self.template.data == other.template.data


class Stack:
    def __init__(self, region, name, clock):
        self.region, self.name, self.clock = region, name, clock
        self.id = f"{region.arn}:stack/{name}/{mock_random.uuid4()}"
        self.created = clock.now()
        self.updated = self.deleted = None
        self.status, self.reason = "", None
        self.spec = None
        self.resources: dict[str, Resource] = {}
        self.outputs = []
        self.protected = False
        self.policy = None
        self.role_arn = None
        # With whose rights the operation under way acts, and whose call began it.
        self.actor = self.caller = None
        # The physical ids of the EIPs that the stack had when it was last at rest and served.
        self.settled_eips = frozenset()
        self.notification_arns, self.capabilities = [], []
        self.timeout_minutes = None
        self.rollback_configuration = None
        self.disable_rollback = False
        self.retain_except_on_create = False
        self.change_sets = {}
        self.change_set_id = None
        self.tokens = {}
        self.events = []
        self.token = None
        self.operation_id = None
        self.last_operations = []
        self.detailed_status = None
        self.deletion_mode = None
        # Counts the operations, so that a change set knows whether it was made for what is there now.
        self.revision = 0
        self.job = None
        self.cancelled = False
        # What a rollback restores and has yet to undo; kept while one may still be asked for.
        self.rollback = None
        self.drift_status, self.drift_checked = "NOT_CHECKED", None
        self.detection = None
        self.views = []
        self.view_before = None
        self.stale_reads = 0

    @property
    def in_progress(self):
        return self.status != "REVIEW_IN_PROGRESS" and bool(IN_PROGRESS.match(self.status))

    def event(self, logical_id, physical_id, kind, status, reason=None, properties=None, detailed=None):
        self.events.append(
            {
                "StackId": self.id,
                "EventId": str(mock_random.uuid4()),
                "StackName": self.name,
                "OperationId": self.operation_id,
                "LogicalResourceId": logical_id,
                "PhysicalResourceId": physical_id,
                "ResourceType": kind,
                "Timestamp": self.clock.stamp(),
                "ResourceStatus": status,
                "ResourceStatusReason": reason,
                "ResourceProperties": json.dumps(properties) if properties else None,
                "ClientRequestToken": self.token,
                "DetailedStatus": detailed,
                "seconds": self.clock.now(),
            }
        )

    def resource_event(self, resource, status, reason=None, detailed=None):
        resource.status, resource.reason, resource.updated = status, reason, self.clock.now()
        self.event(resource.logical_id, resource.physical_id, resource.type, status, reason, resource.properties, detailed)

    def become(self, status, reason=None):
        self.status, self.reason = status, reason
        self.event(self.name, self.id, STACK_TYPE, status, reason)
        self.remember_view()

    def begin(self, kind, token):
        """A new operation: its token goes into all its events."""
        self.token, self.operation_id = token, str(mock_random.uuid4())
        self.actor = rights.actor(self.region.standin, self.role_arn)
        self.caller = self.region.standin.caller
        if SERVES.fullmatch(self.status):
            eips = (each.physical_id for each in self.resources.values() if each.type == "AWS::EC2::EIP")
            self.settled_eips = frozenset(eips)
        self.last_operations = ([{"OperationType": kind, "OperationId": self.operation_id}] + self.last_operations)[:5]
        self.revision += 1
        self.cancelled = False
        self.detailed_status = None
        self.view_before = self.views[-1][1] if self.views else None
        self.stale_reads = self.region.standin.settings.stale_describe_reads
        for change_set in self.change_sets.values():
            change_set.stack_changed()

    def remember_view(self):
        from .answers import stack_view

        self.views.append((self.clock.now(), stack_view(self)))
        del self.views[:-200]

    def visible(self):
        """The description a reader gets now, which may be an old one; None before the stack shows at all."""
        settings = self.region.standin.settings
        if self.stale_reads > 0:
            self.stale_reads -= 1
            return self.view_before
        if not settings.stale_describe_ms:
            return self.views[-1][1]
        horizon = self.clock.now() - settings.stale_describe_ms / 1000
        return next((view for moment, view in reversed(self.views) if moment <= horizon), None)


class Region:
    """All stacks of one account in one region."""

    def __init__(self, standin, account, name):
        self.standin, self.account, self.name = standin, account, name
        self.arn = f"arn:{iam.partition(name)}:cloudformation:{name}:{account}"
        self.stacks: list[Stack] = []
        self.detections = {}

    @property
    def ec2(self):
        from moto.ec2.models import ec2_backends

        return ec2_backends[self.account][self.name]

    def live(self, name):
        return next((s for s in self.stacks if s.name == name and s.status != "DELETE_COMPLETE"), None)

    def find(self, name_or_id):
        """By name only what is not deleted; by ARN everything."""
        if name_or_id.startswith("arn:"):
            return next((s for s in self.stacks if s.id == name_or_id), None)
        return self.live(name_or_id)

    def get(self, name_or_id, message="Stack with id {} does not exist"):
        stack = self.find(name_or_id)
        if stack is None:
            raise ValidationError(message.format(name_or_id))
        return stack
