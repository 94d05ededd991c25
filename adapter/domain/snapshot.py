"""The state a dashboard starts from: what all events so far amount to.

Pure: `apply` folds one event into the snapshot. Only what is going on now is kept, and a bounded
number of things that ended, so it never grows with the history.
"""

from collections.abc import Callable
from typing import Any

from adapter.domain.events import Event
from adapter.domain.group_histories import GroupHistories
from adapter.domain.group_rows import GroupRows
from adapter.domain.roster import Roster
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
        self._folds: dict[str, Callable[[Event, str, float], None]] = {
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
        topic, _, verb = event.type.partition(".")
        self.histories.apply(event, topic, verb, at)
        if fold := self._folds.get(topic):
            fold(event, verb, at)

    def _association(self, event: Event, verb: str, at: float) -> None:
        section = self.sections["associations"]
        row = section.setdefault(
            event.association,
            {"id": event.association, "aeTitle": event.ae_title, "openedAt": rfc3339(at),
             "stored": 0, "bytes": 0, "refused": 0},
        )  # fmt: skip
        live = {"stored": row["stored"], "bytes": row["bytes"], "refused": row["refused"]}
        row.update(event.data, **live, state=verb, changedAt=rfc3339(at))
        ended = self._rejected if verb == "rejected" else self._ended["associations"]
        self._forget(section, event.association, verb in _ASSOCIATION_ENDED, ended)
        if verb in _ASSOCIATION_ENDED:
            self._groups.association_ended(event.association, at)

    def _instance(self, event: Event, verb: str, at: float) -> None:
        size = event.data.get("bytes", 0)
        if row := self.sections["associations"].get(event.association):
            if verb == "stored":
                row["stored"] += 1
                row["bytes"] += size
            elif verb == "refused":
                row["refused"] += 1
        if verb in ("stored", "duplicate"):
            kept = verb == "stored" or event.data.get("kept") == "both"
            for group in event.data.get("groups", (event.group,)):
                if group in self.sections["groups"]:
                    self._groups.arrived(
                        group, event.association, at, int(kept), size if kept else 0
                    )

    def _job(self, event: Event, _verb: str, at: float) -> None:
        section = self.sections["jobs"]
        row = section.setdefault(event.job, {"id": event.job, "openedAt": rfc3339(at)})
        row.update(event.data, aeTitle=event.ae_title, group=event.group, changedAt=rfc3339(at))
        self._forget_in("jobs", event.job, row.get("state") in JOB_TERMINAL)

    def _export(self, event: Event, verb: str, at: float) -> None:
        section = self.sections["exports"]
        row = section.setdefault(event.export, {"id": event.export, "openedAt": rfc3339(at)})
        if verb == "sent":
            row["sent"] = row.get("sent", 0) + event.data.get("delivered", 0)
        else:
            row.update(event.data)
        row.update(job=event.job, destination=event.destination, changedAt=rfc3339(at))
        self._forget_in("exports", event.export, row.get("state") in EXPORT_TERMINAL)

    def _task(self, event: Event, _verb: str, at: float) -> None:
        section = self.sections["tasks"]
        key = event.data.get("task", "")
        row = section.setdefault(key, {"id": key, "openedAt": rfc3339(at)})
        row.update(event.data, job=event.job, changedAt=rfc3339(at))
        self._forget_in("tasks", key, row.get("state") in TASK_TERMINAL)

    def _commitment(self, event: Event, verb: str, at: float) -> None:
        section = self.sections["commitments"]
        uid = event.data.get("transactionUid", "")
        row = section.setdefault(uid, {"transactionUid": uid, "openedAt": rfc3339(at)})
        row.update(event.data, state=verb, export=event.export, changedAt=rfc3339(at))
        self._forget_in("commitments", uid, verb != "requested")

    def _destination(self, event: Event, verb: str, at: float) -> None:
        section = self.sections["destinations"]
        row = section.get(event.destination, {"state": "unknown", "changedAt": rfc3339(at)})
        name, held = event.destination, {"held": True} if "held" in row else {}
        if verb in ("held", "released"):
            held = {"held": True} if verb == "held" else {}
            row = {key: value for key, value in row.items() if key != "held"}
            section[name] = {**row, "name": name, "changedAt": rfc3339(at), **held}
            return
        section[name] = {
            "name": name, "state": "up" if verb == "up" else "down",
            "changedAt": row["changedAt"] if verb == "tried" else rfc3339(at), **held, **event.data,
        }  # fmt: skip

    def _storage(self, event: Event, verb: str, at: float) -> None:
        if verb == "reclaimed":
            self.storage["reclaimedBytes"] += event.data.get("bytes", 0)
            self.sections["jobs"].pop(event.job, None)
            for rows in (self.sections["exports"], self.sections["tasks"]):
                for key in [k for k, row in rows.items() if row.get("job") == event.job]:
                    del rows[key]
        elif verb == "rebuilt":
            self.storage["rebuilt"] = {**event.data, "at": rfc3339(at)}
        else:
            self.storage.update(event.data, low=verb == "low", changedAt=rfc3339(at))

    def _config(self, event: Event, verb: str, _at: float) -> None:
        if verb == "deleted" and event.data.get("kind") == "destination":
            self.sections["destinations"].pop(event.data["name"], None)

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
