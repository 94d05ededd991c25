"""Engine `http`: another machine runs the pipeline (port `Platform`, docs/platform-api.yaml).

The payload is uploaded file by file, several at a time; what the platform has is not sent again.
When the pipeline has succeeded its results are fetched, verified and put into `output/` in one
step, with the flag, so that all that follows is as with a pipeline of this machine. Every request
is addressed by our id of the job and may be repeated.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import msgspec
import trio

from adapter.channels import first_failure
from adapter.domain.job_files import JobFile, JobFiles
from adapter.domain.records import Job
from adapter.errors import PipelineError, PostponedError, UnavailableError
from adapter.protocols.platform.client import PlatformClient
from adapter.protocols.platform.contract import (
    InputFiles,
    JobStatus,
    ResultFiles,
    UnknownJobError,
    checked_results,
    job_request,
    printable,
)

NOTHING = type(None)


@contextmanager
def postponed() -> Iterator[None]:
    """Trouble with our own disk waits for better times as well: it is no failure of the job."""
    try:
        yield
    except PostponedError:
        raise
    except UnavailableError as error:
        raise PostponedError(str(error)) from error


class HttpPlatform:
    """A platform that is reached over HTTP."""

    def __init__(
        self,
        client: PlatformClient,
        files: JobFiles,
        metadata: Callable[[str], Awaitable[Mapping[str, str]]],
        *,
        transfers: int,
        poll_s: float,
        max_concurrent: int,
    ) -> None:
        """Use a client and the folders of jobs.

        Args:
            client: Its requests.
            files: Payloads and results.
            metadata: Returns that of a job by id, for a platform that has lost it.
            transfers: Files of all jobs that are under way at once.
            poll_s: Between two looks at a job that runs.
            max_concurrent: Jobs of one pipeline at the platform at once.
        """
        self._client = client
        self._files = files
        self._metadata = metadata
        self._transfers = trio.CapacityLimiter(transfers)
        self._poll_s = poll_s
        self._max_concurrent = max_concurrent

    async def create(self, job: Job) -> str:
        """See `Platform.create`."""
        status = await self._client.call("PUT", ("jobs", job.id), JobStatus, job_request(job))
        return status.id

    async def upload_metadata(self, job: Job, metadata: Mapping[str, str]) -> None:
        """See `Platform.upload_metadata`."""
        await _again_if_lost(lambda: self._put_metadata(job, metadata), lambda: self.create(job))

    async def _put_metadata(self, job: Job, metadata: Mapping[str, str]) -> None:
        body = msgspec.json.encode(metadata)
        await self._client.call("PUT", ("jobs", job.id, "metadata"), NOTHING, body)

    async def _announce(self, job: Job) -> None:
        await self.create(job)
        await self._put_metadata(job, await self._metadata(job.id))

    async def upload(self, job: Job) -> None:
        """See `Platform.upload`.

        Cancel: what was sent whole stays; the next try goes on from there.
        """
        with postponed():
            await _again_if_lost(lambda: self._upload(job), lambda: self._announce(job))

    async def _upload(self, job: Job) -> None:
        async def send(file: JobFile) -> None:
            digest = await self._files.digest(job.id, file.path)
            async with self._files.read(job.id, file.path) as reading:
                parts = ("jobs", job.id, "input", *file.path.split("/"))
                await self._client.upload(parts, reading, file.size, digest)

        there = await self._client.call("GET", ("jobs", job.id, "input"), InputFiles)
        sizes = {file.path: file.bytes for file in there.files}
        files = await self._files.inputs(job.id)
        await self._transfer([f for f in files if sizes.get(f.path) != f.size], send)

    async def start(self, job: Job) -> None:
        """See `Platform.start`."""
        with postponed():
            if not await self._files.has_results(job.id):
                await _again_if_lost(lambda: self._start(job), lambda: self._hand_over(job))

    async def _start(self, job: Job) -> None:
        await self._client.call("POST", ("jobs", job.id, "start"), JobStatus)

    async def _hand_over(self, job: Job) -> None:
        await self._announce(job)
        await self._upload(job)

    async def wait(self, job: Job) -> None:
        """Wait, fetch the results, and see `Platform.wait`.

        Cancel: the pipeline goes on; results that came whole are not fetched again.
        """
        with postponed():
            if not await self._files.has_results(job.id):
                await self._wait_for_success(job)
                await self._fetch(job)

    async def _wait_for_success(self, job: Job) -> None:
        while True:
            status = await self._client.call("GET", ("jobs", job.id), JobStatus)
            match status.state:
                case "waiting" | "running":
                    await trio.sleep(self._poll_s)
                case "succeeded":
                    return
                case "created":  # it has forgotten that it was started
                    raise PostponedError("the platform has not started the job")
                case "failed" | "cancelled":
                    reason = printable(status.reason) or "no reason was given"
                    raise PipelineError(f"the platform says {status.state}: {reason}")

    async def _fetch(self, job: Job) -> None:
        listing = await self._client.call("GET", ("jobs", job.id, "output"), ResultFiles)
        results = checked_results(listing)

        async def receive(result: JobFile) -> None:
            parts = ("jobs", job.id, "output", *result.path.split("/"))
            async with self._client.download(parts) as chunks:
                await self._files.receive(job.id, result, chunks)

        await self._transfer(await self._files.missing_results(job.id, results), receive)
        await self._files.finish_results(job.id)

    async def _transfer(
        self, files: Sequence[JobFile], one: Callable[[JobFile], Awaitable[None]]
    ) -> None:
        async def attempt(file: JobFile) -> UnavailableError | PipelineError | None:
            try:
                async with self._transfers:
                    await one(file)
            except (UnavailableError, PipelineError) as error:
                return error
            return None

        at_once = min(int(self._transfers.total_tokens), len(files))
        if failure := await first_failure(files, at_once, attempt):
            raise failure

    async def cancel(self, job: Job) -> None:
        """See `Platform.cancel`."""
        try:
            await self._client.call("POST", ("jobs", job.id, "cancel"), JobStatus)
        except PipelineError:
            pass  # it does not know the job: there is nothing to stop

    @property
    def outage(self) -> str:
        """See `Platform.outage`."""
        return self._client.outage

    def concurrency(self, pipeline_id: str) -> int:  # noqa: ARG002 - the same for all
        """See `Platform.concurrency`."""
        return self._max_concurrent


async def _again_if_lost(
    step: Callable[[], Awaitable[object]], before: Callable[[], Awaitable[object]]
) -> None:
    """Do a step; if the platform has lost the job, do what goes before, and the step once more."""
    try:
        await step()
    except UnknownJobError:
        await before()
        await step()
