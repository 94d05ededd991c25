"""Notices `output/job.done` as soon as it is there, for any number of jobs that wait.

Theory: the kernel tells (inotify(7)), by one watch for each job that waits, on its output folder
alone; no thread waits. What a machine elsewhere writes to a network file system is not told, a
watch may not be had (fs.inotify.max_user_watches), and the queue may run over: so all flags are
looked at every `look_s` as well, in a thread, because a file server may hang. Of those who wait one
does both for all; when it leaves, another takes over.

Why not watchfiles: docs/adr/0017-one-watch-for-each-job.md.
"""

import ctypes
import os
from dataclasses import dataclass, field
from pathlib import Path
from struct import Struct

import trio

LOOK_S = 2.0
"""Between two looks at all flags: how late one is noticed at worst."""
READ_BYTES = 64 << 10
IN_MOVED_TO, IN_CREATE, IN_Q_OVERFLOW = 0x80, 0x100, 0x4000  # linux/inotify.h
IN_ONLYDIR = 0x01000000
_HEAD = Struct("=iIII")

libc = ctypes.CDLL(None, use_errno=True)


@dataclass(eq=False, slots=True)
class _Waiter:
    flag: str
    watch: int = -1
    done: bool = False
    gone: bool = False
    """Nobody waits any more."""
    woken: trio.Event = field(default_factory=trio.Event)


class DoneFlags:
    """Waits for flags; one for each run of the event loop."""

    def __init__(self, threads: trio.CapacityLimiter, look_s: float = LOOK_S) -> None:
        """Look in these threads; one is enough."""
        self._threads = threads
        self._look_s = look_s
        self._fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        """-1: there are too many instances; looking is all there is."""
        self._waiting: dict[_Waiter, None] = {}
        self._watched: dict[int, _Waiter] = {}
        self._leader: _Waiter | None = None
        self._look_at = -float("inf")

    async def wait(self, flag: Path) -> None:
        """Return when the file is there."""
        waiter = _Waiter(str(flag))
        self._waiting[waiter] = None
        try:
            await trio.to_thread.run_sync(
                self._begin, waiter, limiter=self._threads, abandon_on_cancel=True
            )
            while not waiter.done:
                if self._leader is None:
                    await self._lead(waiter)
                else:
                    await waiter.woken.wait()
                    waiter.woken = trio.Event()
        finally:
            self._end(waiter)

    def _begin(self, waiter: _Waiter) -> None:
        """Watch, then look: what comes between is seen by either. In a thread."""
        folder = os.path.dirname(waiter.flag)
        mask = IN_CREATE | IN_MOVED_TO | IN_ONLYDIR
        waiter.watch = libc.inotify_add_watch(self._fd, os.fsencode(folder), mask)
        if waiter.watch >= 0:
            self._watched[waiter.watch] = waiter
        if waiter.gone:
            self._unwatch(waiter)
        elif os.path.exists(waiter.flag):
            waiter.done = True

    def _end(self, waiter: _Waiter) -> None:
        waiter.gone = True
        del self._waiting[waiter]
        self._unwatch(waiter)
        if self._leader is None and self._waiting:
            next(iter(self._waiting)).woken.set()

    def _unwatch(self, waiter: _Waiter) -> None:
        if self._watched.get(waiter.watch) is waiter:  # else another waits for the same folder
            del self._watched[waiter.watch]
            libc.inotify_rm_watch(self._fd, waiter.watch)

    async def _lead(self, waiter: _Waiter) -> None:
        """Look for everybody until our own flag is there."""
        self._leader = waiter
        try:
            while not waiter.done:
                with trio.move_on_at(self._look_at) as pause:
                    await self._wait_told()
                if pause.cancelled_caught:
                    await self._look()
        finally:
            self._leader = None

    async def _wait_told(self) -> None:
        if self._fd < 0:
            await trio.sleep_forever()
        await trio.lowlevel.wait_readable(self._fd)
        self._take(os.read(self._fd, READ_BYTES))

    def _take(self, told: bytes) -> None:
        position = 0
        while position < len(told):
            watch, mask, _, length = _HEAD.unpack_from(told, position)
            position += _HEAD.size + length
            name = told[position - length : position].rstrip(b"\0")
            if mask & IN_Q_OVERFLOW:
                self._look_at = -float("inf")
            waiter = self._watched.get(watch)
            if waiter and mask & (IN_CREATE | IN_MOVED_TO) and _named(waiter.flag, name):
                self._found(waiter)

    async def _look(self) -> None:
        waiters = list(self._waiting)

        def there() -> list[_Waiter]:
            return [waiter for waiter in waiters if os.path.exists(waiter.flag)]

        found = await trio.to_thread.run_sync(there, limiter=self._threads, abandon_on_cancel=True)
        for waiter in found:
            self._found(waiter)
        self._look_at = trio.current_time() + self._look_s

    def _found(self, waiter: _Waiter) -> None:
        waiter.done = True
        waiter.woken.set()


def _named(flag: str, name: bytes) -> bool:
    return os.path.basename(os.fsencode(flag)) == name
