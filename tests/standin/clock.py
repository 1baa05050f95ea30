"""The only source of time: the wall, or a virtual clock that stands still until it is told to move."""

import datetime
import time

# A fixed start, so that a virtual run shows the same timestamps every time.
VIRTUAL_START = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc).timestamp()


class Clock:
    def __init__(self):
        self.virtual = None
        self.pinned = None

    def reset(self):
        self.virtual = None
        self.pinned = None

    def use(self, mode):
        if mode == "virtual":
            self.virtual = VIRTUAL_START if self.virtual is None else self.virtual
        elif mode == "wall":
            self.virtual = None
        else:
            raise ValueError(f"clock must be 'wall' or 'virtual', not {mode!r}")

    def advance(self, milliseconds):
        if self.virtual is None:
            raise ValueError("the wall clock cannot be advanced: set clock to 'virtual' first")
        if milliseconds < 0:
            raise ValueError("time only goes forward")
        self.virtual += milliseconds / 1000.0

    def pass_time(self):
        """Lets a moment go by, for those who wait for something."""
        if self.virtual is None:
            time.sleep(0.01)
        else:
            self.virtual += 1

    def real_now(self):
        return time.time() if self.virtual is None else self.virtual

    def now(self):
        # A step that is carried out late still happens, for everyone who looks, at the moment it was due.
        return self.real_now() if self.pinned is None else self.pinned

    def stamp(self, seconds=None):
        seconds = self.now() if seconds is None else seconds
        return datetime.datetime.fromtimestamp(round(seconds, 3), tz=datetime.timezone.utc)
