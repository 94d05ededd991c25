"""What happened to groups and the associations that brought them, beyond their end.

Pure and bounded: folded from events as the snapshot is, forgotten by age. Whatever is durable -
jobs, exports - is not kept here: it is asked of the ledger.
"""

from dataclasses import dataclass, field
from typing import Any

from adapter.domain.association_events import groups_of
from adapter.domain.events import Event

GROUPS_MAX = 5_000
"""Groups, the latest, whose history is known; each takes about 1 KiB."""
NOTES_MAX = 100
"""Things that happened to one group."""
ASSOCIATIONS_MAX = 100
"""Associations of one group whose end is told."""
OVER_MAX = 200
_OVER = frozenset({"rejected", "released", "aborted"})


@dataclass(frozen=True, slots=True)
class Note:
    """Something that happened; at wall time."""

    at: float
    type: str
    data: dict[str, Any]


@dataclass(slots=True)
class AssociationNotes:
    """What happened to an association."""

    id: str
    notes: list[Note] = field(default_factory=list)


@dataclass(slots=True)
class GroupHistory:
    """What happened to a group, and who brought it."""

    id: str
    ae_title: str
    notes: list[Note] = field(default_factory=list)
    associations: dict[str, AssociationNotes] = field(default_factory=dict)


class GroupHistories:
    """Histories by group."""

    def __init__(self, groups_max: int = GROUPS_MAX) -> None:
        self._groups_max = groups_max
        self._groups: dict[str, GroupHistory] = {}
        self._open: dict[str, AssociationNotes] = {}
        self._over: dict[str, AssociationNotes] = {}
        """Ended just now: what they brought may be told after it."""

    def find(self, group: str) -> GroupHistory | None:
        """Return what is known of a group."""
        return self._groups.get(group)

    def apply(self, event: Event, at: float) -> None:
        """Fold an event in."""
        topic = event.topic
        if topic == "association":
            self._association(event, at)
        elif topic == "group":
            self._group(event, at)
        elif topic == "instance" and event.association:
            for group in groups_of(event):
                self._arrived(group, event.association)

    def _association(self, event: Event, at: float) -> None:
        notes = self._open.setdefault(event.association, AssociationNotes(event.association))
        notes.notes.append(Note(at, event.type, event.facts))
        if event.verb in _OVER:
            self._over[event.association] = self._open.pop(event.association)
            if len(self._over) > OVER_MAX:
                del self._over[next(iter(self._over))]

    def _group(self, event: Event, at: float) -> None:
        history = self._groups.get(event.group)
        if history is None:
            history = self._groups[event.group] = GroupHistory(event.group, event.ae_title)
            if len(self._groups) > self._groups_max:
                del self._groups[next(iter(self._groups))]
        if event.verb == "closed" or len(history.notes) < NOTES_MAX:
            history.notes.append(Note(at, event.type, event.facts))

    def _arrived(self, group: str, association: str) -> None:
        history = self._groups.get(group)
        if history is None or association in history.associations:
            return
        notes = self._open.get(association) or self._over.get(association)
        if notes is not None and len(history.associations) < ASSOCIATIONS_MAX:
            history.associations[association] = notes
