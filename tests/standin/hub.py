"""The one object that everything hangs on: settings, clock, faults, log, and the regions' stacks."""

import random
import threading

from moto.core.base_backend import BackendDict
from moto.core.model_instances import reset_model_data
from moto.moto_api._internal import mock_random

from .calls import RequestLog
from .clock import Clock
from .faults import Faults
from .jobs import Jobs
from .settings import Settings
from .stacks import Region


class Standin:
    def __init__(self):
        # moto is not made for threads: one request at a time.
        self.lock = threading.RLock()
        self.clock = Clock()
        self.settings = Settings()
        self.faults = Faults()
        self.log = RequestLog()
        self.jobs = Jobs(self.clock, self.settings, self.note_gaps)
        self.regions = {}
        # The access key of the call that is being carried out.
        self.caller = None
        self.reset(1)

    def reset(self, seed):
        BackendDict.reset()
        reset_model_data()
        mock_random.seed(seed)
        self.faults.reset(seed)
        self.log.reset()
        self.jobs.reset()
        self.clock.reset()
        self.settings.__init__()
        self.regions, self.served, self.gaps = {}, set(), set()
        # The static IPs that operations of a controller released, with their logical ids.
        self.released = []
        # For what only the stand-in shows, so that no id depends on how often a client asked.
        self.random = random.Random(seed)

    def region(self, account, name):
        key = (account, name)
        if key not in self.regions:
            self.regions[key] = Region(self, account, name)
        return self.regions[key]

    def stack_of_change_set(self, arn):
        stacks = (stack for region in self.regions.values() for stack in region.stacks)
        return next((stack.id for stack in stacks if any(c.id == arn for c in stack.change_sets.values())), None)

    def tick(self, by_request=False):
        self.jobs.tick(by_request)
        for ec2 in self.ec2_backends():
            self.settle(ec2)

    @staticmethod
    def ec2_backends():
        from moto.ec2.models import ec2_backends

        return [backend for _, _, backend in ec2_backends.iter_backends()]

    def settle(self, ec2):
        from . import ec2nat, prefixlists

        ec2nat.settle(ec2)
        prefixlists.settle(ec2)

    def note_gaps(self):
        """Notes, after a step of an operation, which networks a table no longer sends to its zone's NAT gateway, however soon it does again."""
        if self.settings.note_gaps == "false":
            return
        from . import traffic

        now = traffic.tables(self.ec2_backends())
        lost = {(table, cidr) for table, cidr in self.served if table not in now or not now[table].serves(cidr)}
        self.gaps |= lost
        found = {(table_id, cidr) for table_id, table in now.items() for cidr in table.networks if table.serves(cidr)}
        self.served = (self.served - lost) | found

    def template_fault(self):
        return self.faults.for_template()


STANDIN = Standin()
