"""Who may receive in bulk: a few threads at a time, in the order of their asking.

Threads that receive and write as fast as they can take the interpreter lock from each other at
every system call. Two of them keep two cores busy; twenty-five spend their time changing places:
CPU per CT rose from 530 us with one association to 1850 us with 25. So an association takes a turn
when a data set has begun and is not here as a whole, and gives it back when it is, after a moment
(`TURN_S`), or when its peer is slow: two that trickle must not hold up all others. Nothing that
waits for anybody else (the peer, the disk's sync, the entity) is done during a turn.

With the turn comes a buffer so big that an instance arrives in few calls; there are at most as many
as turns, however many associations there are.
"""

import threading
import time
from collections import deque
from enum import Enum, auto

BUFFER_BYTES = 1 << 20
"""The fewer calls, the fewer changes of threads: a CT in two receives and two writes."""
TURN_S = 0.05
"""A turn is so long; who has not finished then, goes to the end of the queue."""
TURN_BYTES = 64 << 10
"""A peer that brings less in a turn is slow: it goes on without one, and costs little."""


class _Waiting:
    """A thread in line, and what it is handed."""

    __slots__ = ("buffer", "called")

    def __init__(self) -> None:
        self.called = threading.Lock()
        self.called.acquire()
        self.buffer = memoryview(b"")


class Turns:
    """A number of turns, handed on first come, first served."""

    def __init__(self, count: int) -> None:
        self._never_taken = count
        self._free: list[memoryview] = []
        self._waiting: deque[_Waiting] = deque()
        self._mutex = threading.Lock()

    @property
    def wanted(self) -> bool:
        """Whether somebody waits."""
        return bool(self._waiting)

    def take(self) -> memoryview:
        """Wait for a turn and return its buffer.

        There is no deadline: those before us have theirs for a moment only.
        """
        with self._mutex:
            if self._free:
                return self._free.pop()
            if self._never_taken:
                self._never_taken -= 1
                return memoryview(bytearray(BUFFER_BYTES))
            mine = _Waiting()
            self._waiting.append(mine)
        mine.called.acquire()
        return mine.buffer

    def give(self, buffer: memoryview) -> None:
        """Hand the turn to who has waited longest."""
        with self._mutex:
            if self._waiting:
                following = self._waiting.popleft()
                following.buffer = buffer
                following.called.release()
            else:
                self._free.append(buffer)


class _State(Enum):
    NONE = auto()
    DUE = auto()
    """Taken as soon as anything has to be received: a small instance is here already."""
    TAKEN = auto()
    LENT = auto()
    """Others have it because the peer is quiet; taken again when it goes on."""


class Turn:
    """The turn of one association; used by its thread.

    Whoever lends or gives it must have left the buffer before.
    """

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._state = _State.NONE
        self._buffer = memoryview(b"")
        self._began = self._held_s = 0.0
        self._bytes = 0

    @property
    def taken(self) -> bool:
        """Whether it is ours now."""
        return self._state is _State.TAKEN

    @property
    def due(self) -> bool:
        """Whether it is to be taken before the next receive."""
        return self._state is _State.DUE

    @property
    def lent(self) -> bool:
        """Whether it is to be taken again once the peer goes on."""
        return self._state is _State.LENT

    @property
    def wanted(self) -> bool:
        """Whether it is ours and others wait: then not for a peer that has nothing ready."""
        return self.taken and self._turns.wanted

    @property
    def is_over(self) -> bool:
        """Whether we have had it for so long that others are next."""
        return self.taken and time.monotonic() - self._began > TURN_S

    def want(self) -> None:
        """A data set begins."""
        self._held_s, self._bytes = 0.0, 0
        self._state = _State.DUE

    def take(self) -> memoryview:
        """Wait for a turn that is due or was lent; return the buffer that comes with it."""
        self._buffer = self._turns.take()
        self._state = _State.TAKEN
        self._began = time.monotonic()
        return self._buffer

    def received(self, count: int) -> None:
        """Take note of bytes that arrived."""
        self._bytes += count

    def lend(self) -> None:
        """Let others go on till the peer does; for good if it is slow."""
        self._turns.give(self._buffer)
        self._state = _State.LENT
        self._held_s += time.monotonic() - self._began
        if self._held_s > TURN_S:
            if self._bytes < TURN_BYTES:
                self._state = _State.NONE
            self._held_s, self._bytes = 0.0, 0

    def give(self) -> None:
        """The data set has arrived, or never will."""
        if self.taken:
            self._turns.give(self._buffer)
        self._state = _State.NONE
