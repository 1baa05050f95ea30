"""Runs operations as queues of steps: each is a generator that stops between two steps."""


class Job:
    def __init__(self, steps, interval, due):
        self.steps, self.interval, self.due = steps, interval, due


class Jobs:
    def __init__(self, clock, settings, after_step=lambda: None):
        self.clock, self.settings, self.after_step = clock, settings, after_step
        self.running = []

    def reset(self):
        self.running = []

    def start(self, steps, count, total_ms):
        """Starts an operation of about `count` steps that is to take `total_ms`; its first step runs at once."""
        step_ms = self.settings.step_ms
        interval = (total_ms / max(count, 1) if step_ms is None else step_ms) / 1000
        job = Job(steps, interval, self.clock.now())
        self.running.append(job)
        self._step(job)
        return job

    def stop(self, job):
        if job in self.running:
            self.running.remove(job)
            # Closing the generator would throw when it is the one that is running this very moment.
            if not job.steps.gi_running:
                job.steps.close()

    def _step(self, job):
        try:
            next(job.steps)
        except StopIteration:
            if job in self.running:
                self.running.remove(job)
            return
        finally:
            self.after_step()
        job.due += job.interval

    def step_next(self):
        """One step of the job whose turn it is, whatever the time."""
        self._step(min(self.running, key=lambda job: job.due))

    def tick(self, by_request=False):
        """Carries out what is due, in the order of its due time."""
        count = self.settings.steps_per_request
        if count is not None:
            for job in list(self.running) if by_request else ():
                for _ in range(count):
                    if job in self.running:
                        self._step(job)
            return
        now = self.clock.real_now()
        while True:
            due = [job for job in self.running if job.due <= now]
            if not due:
                return
            job = min(due, key=lambda job: job.due)
            self.clock.pinned = job.due
            before = job.due
            try:
                self._step(job)
            finally:
                self.clock.pinned = None
            # With step_ms 0 a job that waits for something would otherwise never let go.
            if job.due == before:
                job.due += 0.001
