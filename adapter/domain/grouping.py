"""Open groups of one AE Title: which exist, what is on its way into them, when they are due.

Pure bookkeeping for the application entity actor: times are floats of its clock. Invariants: a key
of a processor has at most one open group that takes instances; a group with instances on their way,
or with instances that wait for the release of their association, is never due.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from adapter.domain.records import NOT_HELD, GroupHold, GroupRecord


@dataclass(slots=True)
class Staged:
    """Instances of one association that wait for its release."""

    instances: int = 0
    payload_bytes: int = 0
    released: bool = False
    """It was released, and they have still to be merged with what the group has."""


@dataclass(slots=True, kw_only=True)
class OpenGroup:
    """One group that is not closed yet."""

    record: GroupRecord
    quiet_s: float
    age_s: float
    """It closes at this age even if instances keep coming."""
    opened: float
    last_arrival: float
    """Of an instance; or the end of its association, if it has one of its own."""
    instances_max: int = 0
    """It closes when it has so many; 0: no limit."""
    instances: int = 0
    """Stored, with those that are staged."""
    payload_bytes: int = 0
    in_flight: dict[str, int] = field(default_factory=dict)
    """Instances placed and not settled, by association."""
    staged: dict[str, Staged] = field(default_factory=dict)
    """By association."""
    associations: set[str] = field(default_factory=set)
    """Those that have placed instances here and are not over."""
    hold: GroupHold = NOT_HELD
    not_before: float = -math.inf
    """Not closed before, by order of the operator."""
    closing: bool = False
    """To be closed now, by order of the operator."""

    def due(self) -> float:
        """Return when the group closes if nothing else happens; infinite while not known."""
        if self.in_flight or self.staged:
            return math.inf
        if self.closing:
            return -math.inf
        if self.hold.held:
            return math.inf
        due = -math.inf if self._has_enough() else min(self._quiet_at(), self.oldest_at)
        return max(due, self.not_before)

    @property
    def oldest_at(self) -> float:
        """When it reaches its maximum age."""
        return self.opened + self.age_s

    def _quiet_at(self) -> float:
        """Return when no instance has come for long enough.

        A group of one association is not quiet before that is over.
        """
        if self.record.association and self.record.association in self.associations:
            return math.inf
        return self.last_arrival + self.quiet_s

    def _has_enough(self) -> bool:
        return 0 < self.instances_max <= self.instances

    def is_full(self) -> bool:
        """Return whether it takes no further instance; what is on its way counts."""
        return 0 < self.instances_max <= self.instances + sum(self.in_flight.values())

    def is_complete(self, now: float) -> bool:
        """Return whether what comes after its end is late: it was not cut off by a limit."""
        if self.closing:
            return True
        return not self._has_enough() and self._quiet_at() <= now

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

    def arrived(self, association: str, payload_bytes: int) -> None:
        """Count an instance of this association."""
        self.count(1, payload_bytes)
        if staged := self.staged.get(association):
            staged.instances += 1
            staged.payload_bytes += payload_bytes

    def stage(self, association: str, instances: int = 0, payload_bytes: int = 0) -> None:
        """Instances of this association wait for its release, and so many do already."""
        if association not in self.staged:
            self.staged[association] = Staged(instances, payload_bytes)
            self.count(instances, payload_bytes)

    def count(self, instances: int, payload_bytes: int) -> None:
        """Count instances that are in the group; negative ones are not, after all."""
        self.instances += instances
        self.payload_bytes += payload_bytes

    def forget(self, association: str, now: float) -> None:
        """The association is over: nothing of it is on its way any more."""
        self.in_flight.pop(association, None)
        self.associations.discard(association)
        if self.record.association == association:
            self.last_arrival = now


class OpenGroups:
    """The open groups of one AE Title, by key, by id, and by the associations that fill them."""

    def __init__(self) -> None:
        self._by_key: dict[tuple[str, str], OpenGroup] = {}
        """By processor and key."""
        self._by_id: dict[str, OpenGroup] = {}
        self._by_association: dict[str, set[str]] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[OpenGroup]:
        return iter(tuple(self._by_id.values()))

    def add(self, group: OpenGroup) -> None:
        """Add a group. A recovered group whose key is taken keeps its id and takes no more."""
        assert group.record.id not in self._by_id
        self._by_id[group.record.id] = group
        self._by_key.setdefault(_key(group.record), group)

    def by_key(self, processor: str, key: str) -> OpenGroup | None:
        """Return the group of this processor that takes instances with this key."""
        group = self._by_key.get((processor, key))
        if group is not None and group.is_full():
            self.seal(group)
            return None
        return group

    def by_id(self, group_id: str) -> OpenGroup | None:
        """Return the open group with this id."""
        return self._by_id.get(group_id)

    def join(self, group: OpenGroup, association: str) -> None:
        """The association has instances for the group, from now until it is over."""
        group.associations.add(association)
        self._by_association.setdefault(association, set()).add(group.record.id)

    def of_association(self, association: str) -> list[OpenGroup]:
        """Return the open groups that this association has instances for."""
        return [self._by_id[each] for each in sorted(self._by_association.get(association, ()))]

    def end(self, association: str, now: float) -> list[OpenGroup]:
        """The association is over: return the open groups it had instances for."""
        groups = self.of_association(association)
        self._by_association.pop(association, None)
        for group in groups:
            group.forget(association, now)
        return groups

    def seal(self, group: OpenGroup) -> None:
        """The group takes no more: the next instance with its key opens a new one."""
        if self._by_key.get(_key(group.record)) is group:
            del self._by_key[_key(group.record)]

    def remove(self, group: OpenGroup) -> None:
        """Remove a group that closes."""
        del self._by_id[group.record.id]
        self.seal(group)
        for association in group.associations:
            self._by_association[association].discard(group.record.id)


def _key(record: GroupRecord) -> tuple[str, str]:
    return record.processor, record.key
