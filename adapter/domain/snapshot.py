"""The state a dashboard starts from: what all events so far amount to.

Pure: `apply` folds one event into the snapshot. Only what is going on now is kept, and a bounded
number of things that ended, so it never grows with the history.
"""

from collections.abc import Callable
from typing import Any

from adapter.domain.association_events import (
    InstanceDuplicate,
    InstanceRefused,
    InstanceStored,
    groups_of,
)
from adapter.domain.events import Event
from adapter.domain.export_events import (
    DestinationHeld,
    DestinationReleased,
    DestinationTried,
    DestinationUp,
    ExportSent,
)
from adapter.domain.group_histories import GroupHistories
from adapter.domain.group_rows import GroupRows
from adapter.domain.roster import Roster
from adapter.domain.system_events import (
    ConfigDeleted,
    StorageLow,
    StorageRebuilt,
    StorageReclaimed,
)
from adapter.domain.tables import EXPORT_TERMINAL, JOB_TERMINAL, TASK_TERMINAL
from adapter.domain.wall_time import rfc3339

ENDED_MAX = 200
"""Ended associations, jobs and exports that are kept, each."""

_ASSOCIATION_ENDED = frozenset({"rejected", "released", "aborted"})
Section = dict[str, dict[str, Any]]


class Snapshot:
    """Associations, groups, jobs, exports, tasks, commitments, destinations, actors, by id."""

    def __init__(self) -> None:
        self.sections: dict[str, Section] = {
            name: {}
            for name in (
                "associations",
                "groups",
                "jobs",
                "exports",
                "tasks",
                "commitments",
                "destinations",
                "actors",
            )
        }
        self._groups = GroupRows(self.sections["groups"])
        self._ended: dict[str, dict[str, None]] = {name: {} for name in self.sections}
        """Ids of rows that ended, by section; the first ended longest ago."""
        self._rejected: dict[str, None] = {}
        """As `_ended`, of associations that were none: they push out each other only."""
        self.histories = GroupHistories()
        self.roster = Roster(self.sections["actors"])
        self.storage: dict[str, Any] = {"low": False, "reclaimedBytes": 0}
        self._folds: dict[str, Callable[[Event, float], None]] = {
            "association": self._association,
            "instance": self._instance,
            "group": self._groups.apply,
            "job": self._job,
            "export": self._export,
            "task": self._task,
            "commitment": self._commitment,
            "destination": self._destination,
            "storage": self._storage,
            "actor": self.roster.apply,
            "config": self._config,
        }

    def as_dict(self) -> dict[str, Any]:
        """Return the snapshot as JSON values."""
        return {
            **{name: list(section.values()) for name, section in self.sections.items()},
            "storage": self.storage,
        }

    def apply(self, event: Event, at: float) -> None:
        """Fold an event that happened at this wall time into the snapshot."""
        self.histories.apply(event, at)
        if fold := self._folds.get(event.topic):
            fold(event, at)

    def _association(self, event: Event, at: float) -> None:
        section, verb = self.sections["associations"], event.verb
        row = section.setdefault(
            event.association,
            {"id": event.association, "aeTitle": event.ae_title, "openedAt": rfc3339(at),
             "stored": 0, "bytes": 0, "refused": 0},
        )  # fmt: skip
        live = {"stored": row["stored"], "bytes": row["bytes"], "refused": row["refused"]}
        row.update(event.facts, **live, state=verb, changedAt=rfc3339(at))
        ended = self._rejected if verb == "rejected" else self._ended["associations"]
        self._forget(section, event.association, verb in _ASSOCIATION_ENDED, ended)
        if verb in _ASSOCIATION_ENDED:
            self._groups.association_ended(event.association, at)

    def _instance(self, event: Event, at: float) -> None:
        row = self.sections["associations"].get(event.association, {})
        match event:
            case InstanceStored() | InstanceDuplicate():
                size, kept = event.data.payload_bytes or 0, True
                if isinstance(event, InstanceDuplicate):
                    kept = event.data.kept == "both"
                elif row:
                    row["stored"] += 1
                    row["bytes"] += size
                for group in groups_of(event):
                    if group in self.sections["groups"]:
                        self._groups.arrived(
                            group, event.association, at, int(kept), size if kept else 0
                        )
            case InstanceRefused() if row:
                row["refused"] += 1

    def _job(self, event: Event, at: float) -> None:
        section = self.sections["jobs"]
        row = section.setdefault(event.job, {"id": event.job, "openedAt": rfc3339(at)})
        row.update(event.facts, aeTitle=event.ae_title, group=event.group, changedAt=rfc3339(at))
        self._forget_in("jobs", event.job, row.get("state") in JOB_TERMINAL)

    def _export(self, event: Event, at: float) -> None:
        section = self.sections["exports"]
        row = section.setdefault(event.export, {"id": event.export, "openedAt": rfc3339(at)})
        if isinstance(event, ExportSent):
            row["sent"] = row.get("sent", 0) + event.data.delivered
        else:
            row.update(event.facts)
        row.update(job=event.job, destination=event.destination, changedAt=rfc3339(at))
        self._forget_in("exports", event.export, row.get("state") in EXPORT_TERMINAL)

    def _task(self, event: Event, at: float) -> None:
        section, facts = self.sections["tasks"], event.facts
        key = facts["task"]
        row = section.setdefault(key, {"id": key, "openedAt": rfc3339(at)})
        row.update(facts, job=event.job, changedAt=rfc3339(at))
        self._forget_in("tasks", key, row["state"] in TASK_TERMINAL)

    def _commitment(self, event: Event, at: float) -> None:
        section, facts = self.sections["commitments"], event.facts
        uid = facts["transactionUid"]
        row = section.setdefault(uid, {"transactionUid": uid, "openedAt": rfc3339(at)})
        row.update(facts, state=event.verb, export=event.export, changedAt=rfc3339(at))
        self._forget_in("commitments", uid, event.verb != "requested")

    def _destination(self, event: Event, at: float) -> None:
        section = self.sections["destinations"]
        row = section.get(event.destination, {"state": "unknown", "changedAt": rfc3339(at)})
        name, held = event.destination, {"held": True} if "held" in row else {}
        if isinstance(event, DestinationHeld | DestinationReleased):
            held = {"held": True} if isinstance(event, DestinationHeld) else {}
            row = {key: value for key, value in row.items() if key != "held"}
            section[name] = {**row, "name": name, "changedAt": rfc3339(at), **held}
            return
        is_news = not isinstance(event, DestinationTried)
        section[name] = {
            "name": name, "state": "up" if isinstance(event, DestinationUp) else "down",
            "changedAt": rfc3339(at) if is_news else row["changedAt"], **held, **event.facts,
        }  # fmt: skip

    def _storage(self, event: Event, at: float) -> None:
        match event:
            case StorageReclaimed():
                self.storage["reclaimedBytes"] += event.data.freed_bytes
                self.sections["jobs"].pop(event.job, None)
                for rows in (self.sections["exports"], self.sections["tasks"]):
                    for key in [k for k, row in rows.items() if row.get("job") == event.job]:
                        del rows[key]
            case StorageRebuilt():
                self.storage["rebuilt"] = {**event.facts, "at": rfc3339(at)}
            case _:
                is_low = isinstance(event, StorageLow)
                self.storage.update(event.facts, low=is_low, changedAt=rfc3339(at))

    def _config(self, event: Event, _at: float) -> None:
        if isinstance(event, ConfigDeleted) and event.data.kind == "destination":
            self.sections["destinations"].pop(str(event.data.name), None)

    def _forget_in(self, section: str, key: str, ended: bool) -> None:
        self._forget(self.sections[section], key, ended, self._ended[section])

    @staticmethod
    def _forget(section: Section, key: str, ended: bool, others: dict[str, None]) -> None:
        """Note whether a row has ended; too many of those are too many by the oldest."""
        others.pop(key, None)
        if ended:
            others[key] = None
        if len(others) > ENDED_MAX:
            oldest = next(iter(others))
            del others[oldest]
            section.pop(oldest, None)
