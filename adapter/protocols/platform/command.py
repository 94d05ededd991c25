"""Engine `command`: runs a program of this machine for each job (port `Platform`).

Each run has a warden of its own (`warden`), a small process that starts the program without a
shell, keeps what it prints, and ends it with everything it started: when the program ends, when the
run is not wanted any more, and when the adapter dies. Exit status 0 is success and sets
output/job.done, EX_TEMPFAIL asks for a later try, anything else is a failure. A run that was
interrupted is started again with an empty output folder. docs/pipelines.md says what programs see.
"""

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
import trio

from adapter.domain.entities import Pipeline
from adapter.domain.programs import Programs
from adapter.domain.records import Job
from adapter.errors import PipelineError, PostponedError, UnavailableError
from adapter.protocols.platform import warden
from adapter.protocols.platform.folder import HandOver

WARDEN = (sys.executable, "-I", "-S", warden.__file__)
END_S = warden.TERM_GRACE_S + warden.KILL_S
"""So long a warden may take to end its program."""
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a warden says of a run."""

    exit: int | None = None
    signal: int | None = None
    problem: str = ""
    """Why it was no run."""
    errno: int = 0


class CommandPlatform(HandOver):
    """Programs, each under a warden; which there are is looked up when one begins to run."""

    def __init__(self, payloads: Path, programs: Programs, *, durable: bool = False) -> None:
        super().__init__(payloads)
        self._durable = durable
        self._programs = programs

    def _pipeline(self, job: Job) -> Pipeline:
        if why := self._programs.missing(job.pipeline_id):
            raise PipelineError(why)
        assert self._programs.by_id is not None
        return self._programs.by_id[job.pipeline_id]

    async def create(self, job: Job) -> str:
        """See `Platform.create`."""
        self._pipeline(job)
        return job.id

    async def wait(self, job: Job) -> None:
        """Run the program, and see `Platform.wait`.

        Raises:
            PostponedError: It asks for a later try, or there is no room for its output.
            UnavailableError: It cannot be started.
            PipelineError: It failed.
        """
        if self.done_flag(job).exists():  # it had finished before we were interrupted
            return
        pipeline = self._pipeline(job)
        with trio.move_on_after(pipeline.timeout_s) as timeout:
            report = await self._run(pipeline, job)
        if timeout.cancelled_caught:
            raise PipelineError(f"stopped after timeout_s = {pipeline.timeout_s:g}")
        _judge(report)

    async def _run(self, pipeline: Pipeline, job: Job) -> Report:
        """Run the program to its end.

        Cancel: the program and everything it started have ended, unless they hang in the kernel.
        """
        folder = self._payloads / job.id
        order = {
            "folder": str(folder),
            "command": pipeline.command,
            "log_bytes_max": pipeline.log_bytes_max,
            "durable": self._durable,
            "environment": {
                "PATH": os.environ.get("PATH", os.defpath),
                "LANG": "C.UTF-8",
                **pipeline.environment,
                "DICOM_ADAPTER_JOB": job.id,
                "DICOM_ADAPTER_INPUT": str(folder / "input"),
                warden.OUTPUT_VARIABLE: str(folder / "output"),
            },
        }
        try:
            process = await trio.lowlevel.open_process(
                WARDEN, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
            )
        except OSError as error:
            raise UnavailableError(f"no process for the program: {error.strerror}") from error
        try:
            return await _converse(process, msgspec.json.encode(order) + b"\n")
        finally:
            with trio.move_on_after(END_S, shield=True):
                process.terminate()
                await process.wait()
            for stream in (process.stdin, process.stdout):
                assert stream is not None
                await trio.aclose_forcefully(stream)

    async def cancel(self, job: Job) -> None:
        """See `Platform.cancel`; a program ends with the `wait` that started it."""

    def concurrency(self, pipeline_id: str) -> int:
        """See `Platform.concurrency`."""
        pipeline = (self._programs.by_id or {}).get(pipeline_id)
        return pipeline.max_concurrent if pipeline else 1


async def _converse(process: trio.Process, order: bytes) -> Report:
    """Give a warden its order and wait for its report; stdin stays open as long as we live."""
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(trio.BrokenResourceError):  # it has ended: its silence says so
        await process.stdin.send_all(order)
    said = bytearray()
    async for chunk in process.stdout:
        said += chunk
    status = await process.wait()
    if not said:
        raise UnavailableError(f"the program's warden ended without a report ({_how(status)})")
    return msgspec.json.decode(bytes(said), type=Report)


def _judge(report: Report) -> None:
    """Raise what the report means; nothing: success."""
    if report.problem and report.errno in NO_ROOM:
        raise PostponedError(report.problem)
    if report.problem:
        raise UnavailableError(f"cannot run the program: {report.problem}")
    if report.exit == os.EX_TEMPFAIL:
        raise PostponedError(f"exit status {os.EX_TEMPFAIL}: it asks to be run later")
    if report.exit != 0:
        raise PipelineError(_how(report.exit if report.signal is None else -report.signal))


def _how(status: int | None) -> str:
    if status is None or status >= 0:
        return f"exit status {status}"
    try:
        return f"ended by signal {signal.Signals(-status).name}"
    except ValueError:
        return f"ended by signal {-status}"  # a real-time signal


def missing_programs(pipelines: Sequence[Pipeline]) -> Iterator[str]:
    """Yield a line for each pipeline whose program is not there, or not to be executed."""
    for index, pipeline in enumerate(pipelines):
        program = pipeline.command[0]
        path = pipeline.environment.get("PATH", os.environ.get("PATH", os.defpath))
        if shutil.which(program, path=path) is None:
            yield (
                f"platform.pipelines[{index}].command: {program!r} is not a program that can be "
                "executed here"
            )
