"""The order in which exports go to one destination. Pure; times come in.

The most urgent goes first, of those the oldest; one that waits for its next try holds up no other.
The ledger is the truth: the queue holds what was read there last.
"""

import heapq
from collections.abc import Iterable

from adapter.domain.entities import PRIORITY_ORDER
from adapter.domain.records import Export


class ExportQueue:
    """Exports that wait; taking one costs what it costs to keep them sorted."""

    def __init__(self) -> None:
        self._due: list[tuple[int, float, str]] = []
        self._later: list[tuple[float, str]] = []
        self._exports: dict[str, Export] = {}

    def __len__(self) -> int:
        return len(self._exports)

    def add(self, exports: Iterable[Export]) -> None:
        """Take up exports; those it has already keep their place."""
        for export in exports:
            if export.id not in self._exports:
                self._exports[export.id] = export
                heapq.heappush(self._later, (export.due_at, export.id))

    def take(self, now: float) -> Export | None:
        """Remove and return the first that is due."""
        self._ripen(now)
        if not self._due:
            return None
        return self._exports.pop(heapq.heappop(self._due)[2])

    def take_least_tried(self, now: float) -> Export | None:
        """Remove and return the first of those that are due and have failed least often."""
        self._ripen(now)
        if not self._due:
            return None
        tried_least = min(self._due, key=lambda rank: (self._exports[rank[2]].try_count, rank))
        self._due.remove(tried_least)
        heapq.heapify(self._due)
        return self._exports.pop(tried_least[2])

    def due(self, now: float) -> int:
        """Return how many are due."""
        self._ripen(now)
        return len(self._due)

    def next_due_at(self) -> float:
        """Return when the next becomes due; infinity: none that is not due already."""
        return self._later[0][0] if self._later else float("inf")

    def take_all(self) -> list[Export]:
        """Remove and return everything."""
        exports = list(self._exports.values())
        self._due, self._later, self._exports = [], [], {}
        return exports

    def _ripen(self, now: float) -> None:
        while self._later and self._later[0][0] <= now:
            export = self._exports[heapq.heappop(self._later)[1]]
            rank = PRIORITY_ORDER[export.priority], export.opened_at, export.id
            heapq.heappush(self._due, rank)
