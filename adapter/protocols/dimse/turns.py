"""Who may receive in bulk: a few threads at a time, in the order of their asking.

Threads that receive and write as fast as they can take the interpreter lock from each other at
every system call. Two of them keep two cores busy; twenty-five spend their time changing places:
CPU per CT rose from 530 us with one association to 1850 us with 25. So an association takes a turn
when a data set begins and gives it back when it has arrived, after a moment (`connection.TURN_S`),
or when its peer is slow: two that trickle must not hold up all others. Nothing that waits for
anybody else (the peer, the disk's sync, the entity) is done during a turn.
"""

import threading
from collections import deque


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
