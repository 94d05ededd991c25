"""Engine `folder`: somebody else runs the pipeline on the job's folder (port `Platform`).

The job's folder is the hand-over: it appears complete, by one rename, with job.meta, input/ and an
empty output/. The pipeline writes its results into output/ and at last the empty file
output/job.done.
"""

from collections.abc import Mapping
from pathlib import Path

from adapter.domain.records import DONE_FLAG, Job
from adapter.protocols.platform.done_flags import DoneFlags

CONCURRENT_MAX = 100_000
"""Jobs that may wait at once: a waiting job costs a task, no thread."""


class HandOver:
    """The steps of an engine that finds everything in the job's folder."""

    outage = ""

    def __init__(self, payloads: Path) -> None:
        self._payloads = payloads

    def done_flag(self, job: Job) -> Path:
        """Return the path of the job's flag."""
        return self._payloads / job.id / "output" / DONE_FLAG

    async def create(self, job: Job) -> str:
        """See `Platform.create`; the folder's name is the id."""
        return job.id

    async def upload_metadata(self, job: Job, metadata: Mapping[str, str]) -> None:
        """See `Platform.upload_metadata`; job.meta is in the folder."""

    async def upload(self, job: Job) -> None:
        """See `Platform.upload`; input/ is in the folder."""

    async def start(self, job: Job) -> None:
        """See `Platform.start`; the pipeline saw the folder appear."""


class FolderPlatform(HandOver):
    """Waits for `output/job.done`."""

    def __init__(self, payloads: Path, flags: DoneFlags) -> None:
        super().__init__(payloads)
        self._flags = flags

    async def wait(self, job: Job) -> None:
        """See `Platform.wait`."""
        await self._flags.wait(self.done_flag(job))

    async def cancel(self, job: Job) -> None:
        """See `Platform.cancel`; whoever runs the pipeline is not known to us."""

    def concurrency(self, pipeline_id: str) -> int:  # noqa: ARG002
        """See `Platform.concurrency`."""
        return CONCURRENT_MAX
