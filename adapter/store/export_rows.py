"""The exports of the ledger with their outcomes: what memory keeps of them, by id and by state."""

from collections.abc import Iterable, Mapping, Sequence, Set

import msgspec

from adapter.domain.records import Export, Outcome
from adapter.domain.tables import EXPORT_TRANSITIONS, ExportState, StepEvent, next_state
from adapter.errors import RowNotFoundError
from adapter.store.group_commit import Change


class ExportRows:
    """Every export and outcome in memory; who changes one gets the rows to write."""

    def __init__(self) -> None:
        self._exports: dict[str, Export] = {}
        self._in_state: dict[tuple[str, ExportState], dict[str, None]] = {}
        """Ids by destination and state: what an exporter asks for costs what there is of it."""
        self._of_job: dict[str, list[str]] = {}
        self._outcomes: dict[str, dict[int, Outcome]] = {}
        self._committed: dict[str, dict[tuple[str, int], str]] = {}
        """SOP class by (export, index) of what destinations committed, by SOP Instance UID."""

    def adopt(self, row: bytes) -> None:
        """Take up an export at boot."""
        self._keep(msgspec.msgpack.decode(row, type=Export))

    def adopt_outcome(self, row: bytes) -> None:
        """Take up an outcome at boot."""
        self.put_outcomes([msgspec.msgpack.decode(row, type=Outcome)])

    def _keep(self, export: Export) -> None:
        if old := self._exports.get(export.id):
            del self._in_state[old.destination, old.state][old.id]
        else:
            self._of_job.setdefault(export.job_id, []).append(export.id)
        self._exports[export.id] = export
        self._in_state.setdefault((export.destination, export.state), {})[export.id] = None

    def find(self, export_id: str) -> Export:
        """Return one export.

        Raises:
            RowNotFoundError: There is none.
        """
        try:
            return self._exports[export_id]
        except KeyError:
            raise RowNotFoundError(f"no export {export_id}") from None

    def known(self, export_ids: Iterable[str]) -> set[str]:
        """Return which of these exports there are."""
        return {export_id for export_id in export_ids if export_id in self._exports}

    def of_job(self, job_id: str) -> list[Export]:
        """Return the exports of one job."""
        return [self._exports[export_id] for export_id in self._of_job.get(job_id, ())]

    def select(self, states: Set[ExportState] | None, destination: str | None) -> list[Export]:
        """Return the exports in these states, of this destination, in the order of opening."""
        found = [
            self._exports[export_id]
            for (to, state), ids in self._in_state.items()
            if (states is None or state in states) and destination in (None, to)
            for export_id in ids
        ]
        return sorted(found, key=lambda export: (export.opened_at, export.id))

    def counts(self) -> Mapping[tuple[str, ExportState], int]:
        """Return how many exports there are, by destination and state."""
        return {key: len(ids) for key, ids in self._in_state.items()}

    def oldest_at(self, destination: str, state: ExportState) -> float | None:
        """Return when the oldest export of a destination in this state opened."""
        ids = self._in_state.get((destination, state), ())
        return min((self._exports[export_id].opened_at for export_id in ids), default=None)

    def put(self, export: Export) -> Change:
        """Keep an export, as new or as it is now; return its row."""
        self._keep(export)
        return f"export/{export.id}", msgspec.msgpack.encode(export)

    def process(self, export: Export, event: StepEvent, now: float, **changes: object) -> Change:
        """Apply an event of the export table, and set fields; return the row.

        Raises:
            IllegalTransitionError: The table has no such row.
        """
        state = next_state(EXPORT_TRANSITIONS, export.state, event)
        return self.put(msgspec.structs.replace(export, state=state, changed_at=now, **changes))

    # --- outcomes

    def outcomes(self, export_id: str) -> list[Outcome]:
        """Return the outcomes of an export, by index.

        Raises:
            RowNotFoundError: There is no such export.
        """
        self.find(export_id)
        rows = self._outcomes.get(export_id, {})
        return [rows[index] for index in sorted(rows)]

    def put_outcomes(self, outcomes: Sequence[Outcome]) -> list[Change]:
        """Keep outcomes, as new or as they are now; return their rows."""
        for outcome in outcomes:
            self._outcomes.setdefault(outcome.export_id, {})[outcome.index] = outcome
            if outcome.committed:
                here = self._committed.setdefault(outcome.sop_instance_uid, {})
                here[outcome.export_id, outcome.index] = outcome.sop_class_uid
        return [
            (f"outcome/{outcome.export_id}/{outcome.index}", msgspec.msgpack.encode(outcome))
            for outcome in outcomes
        ]

    def committed(self, sop_instance_uids: Set[str]) -> dict[str, set[str]]:
        """Return the SOP classes under which destinations have committed these instances."""
        found = sop_instance_uids & self._committed.keys()
        return {uid: set(self._committed[uid].values()) for uid in found}

    # --- the end

    def remove_job(self, job_id: str) -> tuple[list[str], list[Change]]:
        """Forget the exports of a job; return their ids, and the rows; again is harmless."""
        export_ids = self._of_job.pop(job_id, [])
        changes: list[Change] = []
        for export_id in export_ids:
            export = self._exports.pop(export_id)
            del self._in_state[export.destination, export.state][export_id]
            changes.append((f"export/{export_id}", None))
            for index, outcome in self._outcomes.pop(export_id, {}).items():
                changes.append((f"outcome/{export_id}/{index}", None))
                self._forget_committed(outcome)
        return export_ids, changes

    def _forget_committed(self, outcome: Outcome) -> None:
        here = self._committed.get(outcome.sop_instance_uid, {})
        here.pop((outcome.export_id, outcome.index), None)
        if not here:
            self._committed.pop(outcome.sop_instance_uid, None)
