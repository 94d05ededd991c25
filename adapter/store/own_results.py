"""Results that may come back in (port `OwnResults`): rows and their memory, the latest only."""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from adapter.domain.own_results import OWN_RESULTS_MAX, Guarded, Origin, OwnResult
from adapter.store.group_commit import Change

RESULTS_PER_ROW = 150
"""Of at most 2 x 64 characters each; a row stays below 32 KiB."""


class _Row(msgspec.Struct, frozen=True, array_like=True):
    number: int
    """One more than the row before."""
    origin: Origin
    results: list[OwnResult]


class OwnResultRows:
    """Every result in memory, every change written by `commit`."""

    def __init__(
        self,
        commit: Callable[[Sequence[Change]], Awaitable[None]],
        results_max: int = OWN_RESULTS_MAX,
    ) -> None:
        self._commit = commit
        self._max = results_max
        self._rows: dict[int, _Row] = {}
        """By number; oldest first but for those of before the start (see `adopt`)."""
        self._origins: dict[str, tuple[Origin, int]] = {}
        """With the number of its row, by SOP Instance UID."""
        self._classes: Counter[tuple[Guarded, str]] = Counter()
        self._held = 0
        self._next = 0

    def adopt(self, row: bytes) -> None:
        """Take up a row at boot; they may come in any order."""
        self._keep(msgspec.msgpack.decode(row, type=_Row))

    def _keep(self, row: _Row) -> Change:
        self._rows[row.number] = row
        self._next = max(self._next, row.number + 1)
        self._held += len(row.results)
        for result in row.results:
            self._origins[result.sop_instance_uid] = row.origin, row.number
            for guarded in row.origin.guarded():
                self._classes[guarded, result.sop_class_uid] += 1
        return _key(row.number), msgspec.msgpack.encode(row)

    def _forget(self, number: int) -> Change:
        row = self._rows.pop(number)
        self._held -= len(row.results)
        for result in row.results:
            if self._origins.get(result.sop_instance_uid, (None, -1))[1] == number:
                del self._origins[result.sop_instance_uid]
            for guarded in row.origin.guarded():
                self._classes[guarded, result.sop_class_uid] -= 1
                if not self._classes[guarded, result.sop_class_uid]:
                    del self._classes[guarded, result.sop_class_uid]
        return _key(number), None

    async def remember(self, origin: Origin, results: Sequence[OwnResult]) -> None:
        """See `OwnResults.remember`."""
        fresh = [each for each in results if self.origin(each.sop_instance_uid) != origin]
        changes = []
        for first in range(0, len(fresh), RESULTS_PER_ROW):
            part = fresh[first : first + RESULTS_PER_ROW]
            changes.append(self._keep(_Row(self._next, origin, part)))
        while self._held > self._max and len(self._rows) > 1:
            changes.append(self._forget(min(self._rows)))
        if changes:
            await self._commit(changes)

    def origin(self, sop_instance_uid: str) -> Origin | None:
        """See `OwnResults.origin`."""
        found = self._origins.get(sop_instance_uid)
        return found[0] if found else None

    def come_of_class(self, guarded: Guarded, sop_class_uid: str) -> bool:
        """See `OwnResults.come_of_class`."""
        return (guarded, sop_class_uid) in self._classes


def _key(number: int) -> str:
    return f"ownresults/{number}"
