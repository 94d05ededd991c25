"""The open groups of the snapshot: what is in them, who is sending, and when they will close.

The entities decide when a group closes; this tells the time ahead, by the same rules, so that a
countdown does not need an event for each instance that moves it.
"""

from dataclasses import dataclass, field
from typing import Any

from msgspec import UNSET

from adapter.domain.events import Event
from adapter.domain.group_events import GroupClosed, GroupDropped, GroupEvent
from adapter.domain.wall_time import rfc3339


@dataclass(slots=True)
class _Times:
    """Of one group; wall times as POSIX seconds."""

    quiet_s: float
    latest_at: float
    not_before_at: float
    waits_for_end: bool
    """It does not close before the associations that send to it are over."""
    associations: set[str] = field(default_factory=set)


class GroupRows:
    """The rows of open groups, by id."""

    def __init__(self, rows: dict[str, dict[str, Any]]) -> None:
        """Keep the rows in this dictionary."""
        self._rows = rows
        self._times: dict[str, _Times] = {}
        self._of_association: dict[str, set[str]] = {}

    def apply(self, event: Event, at: float) -> None:
        """Fold an event of a group into its row."""
        match event:
            case GroupClosed():
                self._rows.pop(event.group, None)
                if times := self._times.pop(event.group, None):
                    for association in times.associations:
                        self._of_association[association].discard(event.group)
            case GroupDropped():
                if row := self._rows.get(event.group):
                    row["instances"] -= event.data.instances
                    row["bytes"] -= event.data.payload_bytes
                    self._set_due(event.group, at)
            case GroupEvent():
                self._stands(event, at)
            case _:
                pass

    def _stands(self, event: GroupEvent, at: float) -> None:
        """Take over what the entity says about where the group stands."""
        told, data = event.data, event.facts
        for ahead in ("leftS", "ageLeftS", "notBeforeS"):
            data.pop(ahead, None)  # the row has them as times of the day
        old = self._times.get(event.group)
        self._times[event.group] = times = _Times(
            quiet_s=told.timeout_s,
            latest_at=at + told.age_left_s,
            not_before_at=at + (told.not_before_s or 0.0),
            waits_for_end=told.of_association is not UNSET or told.on_abort is not UNSET,
            associations=old.associations if old else set(),
        )
        opened_at = rfc3339(at)
        if row := self._rows.get(event.group):
            opened_at = row["openedAt"]
        self._rows[event.group] = {
            "id": event.group,
            "aeTitle": event.ae_title,
            "openedAt": opened_at,
            "state": event.verb,
            "associations": sorted(times.associations),
            "dueAt": None if told.left_s is None else rfc3339(at + told.left_s),
            "latestAt": rfc3339(times.latest_at),
            **({"notBeforeAt": rfc3339(times.not_before_at)} if told.not_before_s else {}),
            **data,
        }

    def arrived(
        self, group: str, association: str, at: float, instances: int, payload_bytes: int
    ) -> None:
        """An instance has come into a group that has a row; so much more is in it."""
        row, times = self._rows[group], self._times[group]
        row["instances"] += instances
        row["bytes"] += payload_bytes
        if association not in times.associations:
            times.associations.add(association)
            row["associations"] = sorted(times.associations)
            self._of_association.setdefault(association, set()).add(group)
        self._set_due(group, at)

    def association_ended(self, association: str, at: float) -> None:
        """The association sends no more."""
        for group in self._of_association.pop(association, ()):
            times = self._times[group]
            times.associations.discard(association)
            self._rows[group]["associations"] = sorted(times.associations)
            if times.waits_for_end:
                self._set_due(group, at)

    def _set_due(self, group: str, quiet_since: float) -> None:
        row, times = self._rows[group], self._times[group]
        if row.get("held") or (times.waits_for_end and times.associations):
            row["dueAt"] = None
            return
        due_at = min(quiet_since + times.quiet_s, times.latest_at)
        row["dueAt"] = rfc3339(max(due_at, times.not_before_at))
