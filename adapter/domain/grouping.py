"""Open groups of one AE Title: which exist, what is on its way into them, when they are due.

Pure bookkeeping for the application entity actor: times are floats of its clock. Invariants:
a key has at most one open group; a group with instances on their way is never due.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from adapter.domain.records import GroupRecord


@dataclass(slots=True, kw_only=True)
class OpenGroup:
    """One group that still takes instances."""

    record: GroupRecord
    quiet_s: float
    age_s: float
    """It closes at this age even if instances keep coming."""
    opened: float
    last_arrival: float
    instances: int = 0
    payload_bytes: int = 0
    in_flight: dict[str, int] = field(default_factory=dict)
    """Instances placed and not settled, by association."""

    def due(self) -> float:
        """Return when the group closes if nothing else happens; infinite while not known."""
        if self.in_flight:
            return math.inf
        return min(self.last_arrival + self.quiet_s, self.opened + self.age_s)

    def placed(self, association: str) -> None:
        """An instance of this association is on its way into the group."""
        self.in_flight[association] = self.in_flight.get(association, 0) + 1

    def settled(self, association: str, now: float) -> None:
        """An instance of this association has arrived, or never will."""
        left = self.in_flight.get(association, 0) - 1
        if left > 0:
            self.in_flight[association] = left
        else:
            self.in_flight.pop(association, None)
        self.last_arrival = now

    def forget(self, association: str) -> None:
        """The association is over: nothing of it is on its way any more."""
        self.in_flight.pop(association, None)


class OpenGroups:
    """The open groups of one AE Title, by key and by id."""

    def __init__(self) -> None:
        self._by_key: dict[str, OpenGroup] = {}
        self._by_id: dict[str, OpenGroup] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[OpenGroup]:
        return iter(tuple(self._by_id.values()))

    def add(self, group: OpenGroup) -> None:
        """Add a group. A recovered group whose key is taken keeps its id and takes no more."""
        assert group.record.id not in self._by_id
        self._by_id[group.record.id] = group
        self._by_key.setdefault(group.record.key, group)

    def by_key(self, key: str) -> OpenGroup | None:
        """Return the group that takes instances with this key."""
        return self._by_key.get(key)

    def by_id(self, group_id: str) -> OpenGroup | None:
        """Return the open group with this id."""
        return self._by_id.get(group_id)

    def remove(self, group: OpenGroup) -> None:
        """Remove a group that closes: the next instance with its key opens a new one."""
        del self._by_id[group.record.id]
        if self._by_key.get(group.record.key) is group:
            del self._by_key[group.record.key]
