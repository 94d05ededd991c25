"""Receiver processes as the main process has them: started, watched, and given associations.

Python lets one thread of a process run at a time; with several senders at once that is one core for
all of them. So what costs, receiving and writing, is done elsewhere (`receiver`).
"""

import os
import socket
import subprocess
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import structlog
import trio

from adapter.protocols.dimse.receiver import TOKEN
from adapter.protocols.dimse.receiver_link import MainLink

log = structlog.get_logger("adapter.receiver")

DEFAULT_MAX = 4
"""More receiver processes than this have to be asked for; each takes some 40 MB."""
END_S = 2.0
"""From the end of its input to the end of a receiver process; then it is killed."""


class ReceiverEndedError(Exception):
    """A receiver process ended by itself, or was killed."""


async def _word(arrivals: trio.socket.SocketType) -> bytes:
    """Wait for what the process says: that it is there, later nothing but its end."""
    try:
        return await arrivals.recv(1)
    except ConnectionError:  # it had not taken all it was given
        return b""


class ReceiverProcess:
    """One receiver process.

    Consumes: connections that were accepted, and their links. Produces: what the links carry. Owns:
    the process. Rebuilds from: nothing; its associations are aborted when it ends. Restart policy:
    replica, others and the main process receive meanwhile.
    """

    def __init__(
        self,
        number: int,
        command: Sequence[str],
        kept_open: Sequence[int],
        clear_away: Callable[[int], object],
    ) -> None:
        """Prepare a process.

        Args:
            number: From 1, for its name.
            command: What to run; the descriptor of its input is appended.
            kept_open: Descriptors that live as long as the process.
            clear_away: Called with the pid of a process that has ended. Blocks.
        """
        self.name = f"receiver:{number}"
        self.associations = 0
        self._command = command
        self._kept_open = kept_open
        self._clear_away = clear_away
        self._arrivals: trio.socket.SocketType | None = None

    @property
    def is_running(self) -> bool:
        """Whether it takes associations."""
        return self._arrivals is not None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `Actor.run`; ends when cancelled.

        Raises:
            ReceiverEndedError: The process ended.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with trio.socket.from_stdlib_socket(ours) as arrivals:
            with theirs:
                process = await trio.lowlevel.open_process(
                    [*self._command, str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(), *self._kept_open),
                    start_new_session=True,  # a signal of the terminal is for the main process
                )
            try:
                if await _word(arrivals):
                    self._arrivals = arrivals
                    log.info("receiver.started", receiver=self.name, pid=process.pid)
                    task_status.started()
                    await _word(arrivals)
            finally:
                self._arrivals = None
                arrivals.close()
                with trio.move_on_after(2 * END_S, shield=True):
                    await self._see_end(process)
        raise ReceiverEndedError(f"exit status {process.returncode}")

    async def _see_end(self, process: trio.Process) -> None:
        with trio.move_on_after(END_S):
            await process.wait()
        process.kill()
        await process.wait()
        await trio.to_thread.run_sync(self._clear_away, process.pid)

    async def take(self, connection: int) -> MainLink | None:
        """Hand a connection over by its descriptor; None: it cannot be.

        The descriptor stays the caller's as well.
        """
        if self._arrivals is None:
            return None  # the process has just ended
        try:
            ours, theirs = socket.socketpair()
        except OSError:
            return None  # no descriptors left
        with theirs:
            descriptors = array("i", [connection, theirs.fileno()])
            try:
                await self._arrivals.sendmsg(
                    [TOKEN], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)]
                )
            except (OSError, trio.ClosedResourceError):
                ours.close()
                return None
        return MainLink(ours)

    def close(self) -> None:
        """See `Actor.close`."""


class Receivers:
    """Who receives: the process with the fewest associations."""

    def __init__(self, processes: Sequence[ReceiverProcess]) -> None:
        self.processes = processes

    def loads(self) -> dict[str, int]:
        """See `ReceiverLoads`."""
        return {one.name: one.associations for one in self.processes if one.is_running}

    @contextmanager
    def place(self) -> Iterator[ReceiverProcess | None]:
        """Take a place in a process; None: none is running."""
        running = (process for process in self.processes if process.is_running)
        process = min(running, key=lambda process: process.associations, default=None)
        if process is None:
            yield None
            return
        process.associations += 1
        try:
            yield process
        finally:
            process.associations -= 1


def receiver_count(configured: int | Literal["auto"]) -> int:
    """Return how many receiver processes there are to be; `auto`: one for each processor."""
    if configured != "auto":
        return configured
    processors = len(os.sched_getaffinity(0))
    return min(processors, DEFAULT_MAX) if processors > 1 else 0
