"""The steps in their order, and what they have in common."""

from botocore.exceptions import ClientError

from . import main_job, questions
from .account import Failed
from .controller import Controller
from .network import Network

# Step, what it needs to have gone before, and what of AWS it answers.
STEPS = {
    "one-role": (main_job.one_role, ()),
    "failed-creation": (questions.failed_creation, ()),
    "install": (main_job.install, ()),
    "edits": (main_job.edits, ("install",)),
    "tags": (main_job.stack_tags, ("install",)),
    "drift": (main_job.drift, ("install",)),
    "address": (questions.address, ()),
    "same-token": (questions.same_token, ()),
    "failing-change-set": (questions.failing_change_set, ()),
    "rollback-failed": (questions.rollback_failed, ("install",)),
    "propagation": (questions.propagation, ("install",)),
    "prefix-list": (questions.prefix_list, ("install",)),
    "remove-zone": (main_job.remove_zone, ("install",)),
    "delete": (main_job.delete, ("install",)),
}


def chosen(text):
    """The steps of a list, with what they need, in their order."""
    names = text.split(",") if text else list(STEPS)
    unknown = [name for name in names if name not in STEPS]
    if unknown:
        raise ValueError(f"unknown steps {', '.join(unknown)}; known: {', '.join(STEPS)}")
    wanted = {*names, *(need for name in names for need in STEPS[name][1])}
    return [name for name in STEPS if name in wanted]


class Walk:
    def __init__(self, account, recorder, roles, program, directory):
        self.account, self.recorder, self.roles = account, recorder, roles
        self.network = Network(account)
        self.controller = Controller(account, recorder, self.network, program, directory)
        self.ips, self.mark, self.step = {}, 0, "start"
        self.directory = directory

    def go(self, names):
        self._step("network", lambda walk: walk.network.make())
        if self.roles:
            self._step("roles", lambda walk: walk.roles.make())
        try:
            for name in names:
                self._step(name, STEPS[name][0])
        finally:
            self.controller.stop()

    def _step(self, name, action):
        self.account.end_by_signal()
        self.account.say(f"step {name}")
        self.step = self.recorder.step = name
        self.mark = self.recorder.mark()
        try:
            action(self)
        except (Failed, ClientError) as error:
            raise Failed(f"step {name}: {error}") from error

    def found(self, question, answer):
        self.account.findings.append({"step": self.step, "question": question, "answer": answer})
        self.account.say(f"  {question}: {answer}")

    def keeps_ips(self, ips):
        self.account.expect(ips == self.ips, f"static IPs have changed from {self.ips} to {ips}")

    def events(self, stack):
        return main_job.events_of(self.account, stack)
