"""Engine `command`: runs a program of this machine for each job (port `Platform`).

The program is started without a shell, as its own process group, with the job's folder as working
directory and in DICOM_ADAPTER_JOB, DICOM_ADAPTER_INPUT and DICOM_ADAPTER_OUTPUT. Exit status 0 is
success and sets output/job.done; anything else is a failure. What it prints goes to job.log.
A run that was interrupted is started again with an empty output folder.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import trio

from adapter.domain.entities import Pipeline
from adapter.domain.records import Job
from adapter.errors import PipelineError, UnavailableError
from adapter.protocols.platform.folder import FolderPlatform

TERM_GRACE_S = 5.0
"""Between SIGTERM and SIGKILL to a program that is not wanted any more."""


class CommandPlatform(FolderPlatform):
    """Supervised subprocesses."""

    def __init__(
        self, payloads: Path, pipelines: Sequence[Pipeline], threads: trio.CapacityLimiter
    ) -> None:
        super().__init__(payloads)
        self._pipelines = {pipeline.id: pipeline for pipeline in pipelines}
        self._threads = threads

    def _pipeline(self, job: Job) -> Pipeline:
        try:
            return self._pipelines[job.pipeline_id]
        except KeyError:
            raise PipelineError(
                f"platform.pipelines has no entry with id {job.pipeline_id!r}"
            ) from None

    async def create(self, job: Job) -> str:
        """See `Platform.create`."""
        self._pipeline(job)
        return job.id

    async def wait(self, job: Job) -> None:
        """Run the program, and see `Platform.wait`."""
        if self.done_flag(job).exists():  # it had finished before we were interrupted
            return
        pipeline = self._pipeline(job)
        folder = self._payloads / job.id
        await trio.to_thread.run_sync(_empty_output, folder, limiter=self._threads)
        with trio.move_on_after(pipeline.timeout_s) as timeout:
            status = await self._run(pipeline, job, folder)
        if timeout.cancelled_caught:
            raise PipelineError(f"stopped after timeout_s = {pipeline.timeout_s:g}")
        if status:
            raise PipelineError(_reason(status))
        self.done_flag(job).touch()

    async def _run(self, pipeline: Pipeline, job: Job, folder: Path) -> int:
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            **pipeline.environment,
            "DICOM_ADAPTER_JOB": job.id,
            "DICOM_ADAPTER_INPUT": str(folder / "input"),
            "DICOM_ADAPTER_OUTPUT": str(folder / "output"),
        }
        try:
            with open(folder / "job.log", "ab") as log:  # noqa: ASYNC230 - local, one per job
                process = await trio.lowlevel.open_process(
                    pipeline.command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=folder,
                    env=environment,
                    start_new_session=True,
                )
        except OSError as error:
            raise UnavailableError(f"cannot start the program: {error.strerror}") from error
        try:
            return await process.wait()
        except trio.Cancelled:
            with trio.move_on_after(2 * TERM_GRACE_S, shield=True):
                await _end(process)
            raise

    async def cancel(self, job: Job) -> None:
        """See `Platform.cancel`; a program ends with the `wait` that started it."""

    def concurrency(self, pipeline_id: str) -> int:
        """See `Platform.concurrency`."""
        pipeline = self._pipelines.get(pipeline_id)
        return pipeline.max_concurrent if pipeline else 1


def _empty_output(folder: Path) -> None:
    output = folder / "output"
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(exist_ok=True)


async def _end(process: trio.Process) -> None:
    """End the whole process group, politely first."""
    _signal(process, signal.SIGTERM)
    with trio.move_on_after(TERM_GRACE_S):
        await process.wait()
    _signal(process, signal.SIGKILL)
    await process.wait()


def _signal(process: trio.Process, number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        pass  # it ended by itself


def _reason(status: int) -> str:
    if status < 0:
        return f"ended by signal {signal.Signals(-status).name}"
    return f"exit status {status}"
