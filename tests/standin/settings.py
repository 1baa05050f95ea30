"""Everything about the stand-in's behaviour that a test may set, with its default."""

import dataclasses
import types
import typing

from . import iam


@dataclasses.dataclass
class Settings:
    # Pace. An operation takes operation_ms, spread evenly over its steps, unless step_ms or
    # steps_per_request is given; steps_per_request ignores time altogether.
    clock: str = "wall"
    operation_ms: float = 150
    step_ms: float | None = None
    steps_per_request: int | None = None
    changeset_ms: float = 30
    drift_ms: float = 60
    nat_pending_ms: float = 0
    nat_deleting_ms: float = 0
    deleted_nat_visible_ms: float = 3_600_000
    prefix_list_pending_ms: float = 0

    # Eventual consistency.
    stale_describe_ms: float = 0
    stale_describe_reads: int = 0
    stale_events_ms: float = 0

    # Whether routes to NAT gateways that cease to be active are noted after each step of an operation.
    note_gaps: str = "false"

    # Quotas of the account.
    eip_quota: int = 5
    nat_quota_per_zone: int = 5
    nat_address_quota: int = 2
    route_quota: int = 500
    prefix_list_quota: int = 100
    stack_quota: int = 2000

    # Page lengths.
    page_size: int = 100
    events_page_size: int = 100
    ec2_page_size: int | None = None
    routes_per_page: int = 125

    # Where the real service is not certain, or differs between accounts.
    revert_drift: str = "works"
    drift_unsupported_types: list = dataclasses.field(default_factory=lambda: ["AWS::EC2::SubnetRouteTableAssociation"])
    dynamic_dependents: str = "modified"
    disable_rollback_default: str = "false"
    listed_change_sets: str = "all"
    known_access_keys: list | None = None
    policies: dict = dataclasses.field(default_factory=dict)
    roles: dict = dataclasses.field(default_factory=dict)

    CHOICES = {
        "clock": ("wall", "virtual"),
        "revert_drift": ("works", "unsupported", "fails", "no_effect", "phantom"),
        "listed_change_sets": ("all", "available"),
        "dynamic_dependents": ("replaced", "modified", "any"),
        "disable_rollback_default": ("false", "true"),
        "note_gaps": ("false", "true"),
    }

    def update(self, changes):
        """Sets all of `changes` or, if one is wrong, none of them."""
        fields = typing.get_type_hints(type(self))
        for name, value in changes.items():
            if name not in {field.name for field in dataclasses.fields(self)}:
                raise ValueError(f"there is no setting {name!r}")
            self._check(name, value, fields[name])
        for name, value in changes.items():
            setattr(self, name, value)

    def _check(self, name, value, hint):
        kinds = hint.__args__ if isinstance(hint, types.UnionType) else (hint,)
        if float in kinds:
            kinds = (*kinds, int)
        if isinstance(value, bool) or not isinstance(value, kinds):
            raise ValueError(f"setting {name!r} cannot be {value!r}")
        if isinstance(value, (int, float)) and value < 0:
            raise ValueError(f"setting {name!r} cannot be negative")
        if "page" in name and value is not None and value < 1:
            raise ValueError(f"setting {name!r} must be at least 1")
        if name in ("policies", "roles"):
            for known in value.values():
                iam.check(known if name == "policies" else known["policy"])
                if name == "roles":
                    iam.check(known["trust"], trust=True)
        if name in self.CHOICES and value not in self.CHOICES[name]:
            raise ValueError(f"setting {name!r} must be one of {self.CHOICES[name]}")

    def as_dict(self):
        return dataclasses.asdict(self)
