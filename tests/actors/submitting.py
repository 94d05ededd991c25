"""A submitter with its ledger, and a platform that does as it is told."""

import trio
import trio.lowlevel
from actor_ports import Disk, new_ledger, wall

from adapter.actors.submitter import Submitter
from adapter.channels import ask, notify
from adapter.domain.exporting import RetryRules
from adapter.domain.messages import JobOrder
from adapter.domain.queueing import QueueFigures


class Engine:
    """A platform (port `Platform`) that records its calls and fails where it is told to."""

    outage = ""

    def __init__(self):
        self.calls = []
        self.errors = {}
        self.run_s = {}
        self.upload_s = 0.0
        self.limits = {}
        self.uploading = self.uploading_most = 0
        self.at_once = {}
        self.most = {}
        self.metadata = []
        self.crash = ("", False)
        """A step that crashes once, before it has an effect, or after it."""
        self.cancelled = []
        self.held = 0
        self._hold = ("", trio.Event())

    async def _call(self, step, job):
        await trio.lowlevel.checkpoint()
        self.calls.append((step, job.id, trio.current_time()))
        if self._hold[0] == step:
            self.held += 1
            try:
                await self._hold[1].wait()
            finally:
                self.held -= 1
        if self.crash == (step, False):
            self.crash = ("", False)
            raise RuntimeError("a bug")
        if errors := self.errors.get((step, job.id)):
            raise errors.pop(0)
        if self.crash == (step, True):
            self.crash = ("", False)
            raise RuntimeError("a bug, after all was done")

    def hold(self, step):
        """Let a step wait until the event that is returned is set."""
        self._hold = (step, trio.Event())
        return self._hold[1]

    async def create(self, job):
        await self._call("create", job)
        return f"platform-{job.id}"

    async def upload_metadata(self, job, metadata):
        await self._call("upload_metadata", job)
        self.metadata.append(metadata)

    async def upload(self, job):
        self.uploading += 1
        self.uploading_most = max(self.uploading_most, self.uploading)
        await trio.sleep(self.upload_s)
        self.uploading -= 1
        await self._call("upload", job)

    async def start(self, job):
        await self._call("start", job)

    async def wait(self, job):
        name = job.pipeline_id
        self.at_once[name] = self.at_once.get(name, 0) + 1
        self.most[name] = max(self.most.get(name, 0), self.at_once[name])
        try:
            await trio.sleep(self.run_s.get(name, 0))
        finally:
            self.at_once[name] -= 1
        await self._call("wait", job)

    async def cancel(self, job):
        self.cancelled.append(job.id)
        await self._call("cancel", job)

    def concurrency(self, pipeline_id):
        return self.limits.get(pipeline_id, 100)

    def times(self, step, job_id="job-1"):
        return [at for name, identifier, at in self.calls if (name, identifier) == (step, job_id)]

    def order(self, step):
        return [identifier for name, identifier, _ in self.calls if name == step]


class Stage:
    """A submitter, its ledger and its platform."""

    def __init__(self, max_retries=3, uploads=4):
        self.ledger, self.engine, self.events = new_ledger(), Engine(), []
        self.disk, self.figures, self.drawn = Disk(), QueueFigures(), 0.0
        self.wake, woken = trio.open_memory_channel(1)
        self.orders, orders = trio.open_memory_channel(0)
        results_wake, self.results = trio.open_memory_channel(1)
        self.actor = Submitter(
            ledger=self.ledger, platform=self.engine, payloads=self.disk, wake=woken,
            orders=orders, results_wake=results_wake,
            publish=self.events.append, now=wall, draw=lambda: self.drawn,
            rules=RetryRules(max_retries, 60.0), uploads=trio.CapacityLimiter(uploads),
            figures=self.figures,
        )  # fmt: skip

    async def open(self, *jobs):
        await self.ledger.open_jobs(jobs)
        notify(self.wake)

    async def state(self, job_id="job-1"):
        return (await self.ledger.job(job_id)).state

    async def order(self, action, job_id="job-1", key=""):
        """Retry or cancel a job, as the web side does."""
        return await ask(
            self.orders,
            lambda reply: JobOrder(job_id=job_id, action=action, key=key, reply=reply),
            10.0,
        )

    def states(self, job_id="job-1"):
        """Return the states that were told of a job."""
        return [event.facts["state"] for event in self.events if event.job == job_id]
