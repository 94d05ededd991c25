"""Destinations of type `folder` (port `Requestor`): for systems that watch a directory.

A folder is often a network's: each step has a deadline, and a thread that a dead server holds is
left to itself. It keeps its place among the threads of that folder, of no other destination.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import trio

from adapter.domain.dimse_ports import Context, EchoResult, SendResult
from adapter.domain.entities import Destination
from adapter.domain.records import OutgoingInstance
from adapter.domain.refusals import Cause
from adapter.domain.statuses import SUCCESS
from adapter.errors import PeerRefusalError, UnavailableError
from adapter.protocols.dimse.file_meta import NotPart10Error
from adapter.protocols.folder_drop.drop import Drop, RefusedFileError, probe
from adapter.protocols.uncommitted import ABORTED, UncommittedAssociation, UncommittedRequestor

THREADS = 2
"""For each folder."""
T = TypeVar("T")


class _Steps:
    """Runs blocking steps on one folder."""

    def __init__(self, step_s: float) -> None:
        self._step_s = step_s
        self._threads = trio.CapacityLimiter(THREADS)

    async def run(self, step: Callable[[], T]) -> T:
        """Return step(); a cancel leaves its thread behind.

        Raises:
            PeerRefusalError: The folder cannot be used, or says nothing in time.
        """
        try:
            with trio.fail_after(self._step_s):
                return await trio.to_thread.run_sync(
                    step, limiter=self._threads, abandon_on_cancel=True
                )
        except trio.TooSlowError as error:
            words = f"the folder says nothing in {self._step_s:g} s"
            raise PeerRefusalError(words, Cause.FOLDER) from error
        except UnavailableError as error:
            raise PeerRefusalError(str(error), Cause.FOLDER) from error


class FolderSession(UncommittedAssociation):
    """Puts instances into one folder (port `OutboundAssociation`)."""

    def __init__(self, folder: str, steps: _Steps) -> None:
        super().__init__()
        self._folder = folder
        self._steps = steps

    async def store(self, instances: Sequence[OutgoingInstance]) -> list[SendResult]:
        """See `OutboundAssociation.store`."""
        results: list[SendResult] = []
        with self._until_aborted():
            for instance in instances:
                try:
                    results.append(await self._drop(instance))
                except PeerRefusalError as error:
                    if not results:
                        raise
                    unsaid = SendResult(status=None, error=str(error))
                    return results + [unsaid] * (len(instances) - len(results))
        return results + [ABORTED] * (len(instances) - len(results))

    async def _drop(self, instance: OutgoingInstance) -> SendResult:
        drop = Drop(instance, self._folder)
        is_over = False
        try:
            while not is_over:
                is_over = await self._steps.run(drop.step)
        except (NotPart10Error, RefusedFileError) as error:
            return SendResult(status=None, permanent=True, error=str(error))
        except BaseException:
            drop.abandon()
            trio.lowlevel.start_thread_soon(drop.discard, lambda _: None)
            raise
        return SendResult(status=SUCCESS)


class FolderRequestor(UncommittedRequestor):
    """Reaches folders (port `Requestor`)."""

    def __init__(self, step_s: float) -> None:
        """Give each step on a folder so many seconds."""
        self._step_s = step_s
        self._folders: dict[str, _Steps] = {}

    @asynccontextmanager
    async def associate(
        self,
        destination: Destination,
        contexts: Sequence[Context],  # noqa: ARG002 - whatever is stored is a file
    ) -> AsyncIterator[FolderSession]:
        """See `Requestor.associate`."""
        steps = await self._probed(destination)
        yield FolderSession(destination.path, steps)

    async def echo(self, destination: Destination) -> EchoResult:
        """See `Requestor.echo`: whether the folder can be written."""
        begin = trio.current_time()
        await self._probed(destination)
        echo_s = trio.current_time() - begin
        return EchoResult(status=SUCCESS, connect_s=0, associate_s=0, echo_s=echo_s)

    async def _probed(self, destination: Destination) -> _Steps:
        path = destination.path
        steps = self._folders.setdefault(path, _Steps(self._step_s))
        await steps.run(lambda: probe(path))
        return steps
