"""Places for associations with destinations: what exporters share so that none delays another.

Consumes: an exporter's wish for one association more. Produces: places. Owns: the number of
associations of each destination (`dicom.scu.max_associations` is their sum at the most). Rebuilds
from: nothing; a place is given back by who has it, however it ends. Restart policy: that of its
exporters.

Theory: of the free places one is kept for each destination that has none, so a destination waits
for its first place only if there are fewer places than destinations. Places beyond the first go to
who has the fewest. Who has at least two more than one that waits, or one while that has none, gives
one back when its export is done.
"""

import itertools
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import trio


class ExportPlaces:
    """A number of places, handed out fairly."""

    def __init__(self, places: int, destinations: Iterable[str] = ()) -> None:
        """All are free."""
        self._free = places
        self._used = dict.fromkeys(destinations, 0)
        self._servings = itertools.count(1)
        self._served = dict.fromkeys(self._used, 0)
        self._waiting: list[tuple[str, trio.Event]] = []

    def add(self, destination: str) -> None:
        """Keep a place for one destination more; again is harmless."""
        self._used.setdefault(destination, 0)
        self._served.setdefault(destination, 0)

    def remove(self, destination: str) -> None:
        """Keep no place any more for a destination that has none and waits for none."""
        assert not self._used.pop(destination, 0), destination
        self._served.pop(destination, None)
        self._hand_out()

    @asynccontextmanager
    async def one(self, destination: str) -> AsyncIterator[None]:
        """Wait for a place and have it as long as the block lasts."""
        turn = trio.Event()
        self._waiting.append((destination, turn))
        self._hand_out()
        try:
            await turn.wait()
            yield
        finally:
            if turn.is_set():
                self._used[destination] -= 1
                self._free += 1
            else:
                self._waiting.remove((destination, turn))
            self._hand_out()

    def is_wanted_back(self, destination: str) -> bool:
        """Return whether the destination has more than is fair while another waits."""
        mine = self._used[destination]
        return any(
            name != destination and self._used[name] + (self._used[name] > 0) < mine
            for name, _ in self._waiting
        )

    def _hand_out(self) -> None:
        for destination, turn in sorted(self._waiting, key=self._rank):
            without = sum(not used for name, used in self._used.items() if name != destination)
            if self._free > (without if self._used[destination] else 0):
                self._waiting.remove((destination, turn))
                self._used[destination] += 1
                self._free -= 1
                self._served[destination] = next(self._servings)
                turn.set()

    def _rank(self, waiter: tuple[str, trio.Event]) -> tuple[int, int]:
        """Return who comes first: who has the fewest, of those whose last turn is longest ago."""
        return self._used[waiter[0]], self._served[waiter[0]]
