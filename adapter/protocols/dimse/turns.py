"""Who may receive in bulk: a few threads at a time, in the order of their asking.

Threads that receive and write as fast as they can take the interpreter lock from each other at
every system call. Two of them keep two cores busy; twenty-five spend their time changing places:
CPU per CT rose from 530 us with one association to 1850 us with 25. So an association takes a turn
when a data set begins and gives it back when it has arrived, after a moment (`TURN_S`),
or when its peer is slow: two that trickle must not hold up all others. Nothing that waits for
anybody else (the peer, the disk's sync, the entity) is done during a turn.
"""

import threading
import time
from collections import deque
from enum import Enum, auto

TURN_S = 0.05
"""A turn is so long; who has not finished then, goes to the end of the queue."""
TURN_BYTES = 64 << 10
"""A peer that brings less in a turn is slow: it goes on without one, and costs little."""


class Turns:
    """A number of turns, handed on first come, first served."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: deque[threading.Lock] = deque()
        self._mutex = threading.Lock()

    def take(self) -> None:
        """Wait for a turn. There is no deadline: those before us have theirs for a moment only."""
        with self._mutex:
            if self._free:
                self._free -= 1
                return
            mine = threading.Lock()
            mine.acquire()
            self._waiting.append(mine)
        mine.acquire()

    def give(self) -> None:
        """Hand the turn to who has waited longest."""
        with self._mutex:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._free += 1


class _State(Enum):
    NONE = auto()
    TAKEN = auto()
    LENT = auto()
    """Others have it because the peer is quiet; taken again when it goes on."""


class Turn:
    """The turn of one association; used by its thread."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._state = _State.NONE
        self._began = self._held_s = 0.0
        self._bytes = 0

    @property
    def taken(self) -> bool:
        """Whether others wait for us."""
        return self._state is _State.TAKEN

    def take(self) -> None:
        """Wait for a turn at receiving a data set."""
        self._held_s, self._bytes = 0.0, 0
        self._take()

    def _take(self) -> None:
        self._turns.take()
        self._state = _State.TAKEN
        self._began = time.monotonic()

    def received(self, count: int) -> float:
        """Take note of bytes that arrived; return for how long others came first, in s."""
        if self._state is _State.TAKEN:
            self._bytes += count
            if time.monotonic() - self._began > TURN_S:
                self.lend()
        if self._state is not _State.LENT:
            return 0.0
        begin = time.monotonic()
        self._take()
        return self._began - begin

    def lend(self) -> None:
        """Let others go on till the peer does; for good if it is slow. Harmless without a turn."""
        if self._state is not _State.TAKEN:
            return
        self._turns.give()
        self._state = _State.LENT
        self._held_s += time.monotonic() - self._began
        if self._held_s > TURN_S:
            if self._bytes < TURN_BYTES:
                self._state = _State.NONE
            self._held_s, self._bytes = 0.0, 0

    def give(self) -> None:
        """The data set has arrived, or never will. Harmless without a turn."""
        if self._state is _State.TAKEN:
            self._turns.give()
        self._state = _State.NONE
