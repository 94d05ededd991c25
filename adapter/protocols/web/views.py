"""Read-only views: groups, exports, commitments. Rows of the ledger as JSON."""

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from litestar import get
from litestar.exceptions import NotFoundException, ValidationException
from litestar.params import FromPath, QueryParameter

from adapter.domain.tables import ExportState, JobState, TaskState
from adapter.errors import RowNotFoundError
from adapter.protocols.web.health import State

PAGE_MAX = 1000
_TIMES = (
    "opened_at", "changed_at", "queued_at", "due_at", "at", "requested_at", "deadline_at",
)  # fmt: skip
Limit = Annotated[int, QueryParameter(ge=1, le=PAGE_MAX)]
Offset = Annotated[int, QueryParameter(ge=0)]
ToDestination = Annotated[str | None, QueryParameter(name="destination")]
InState = Annotated[str | None, QueryParameter(name="state")]


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


def camel(row: msgspec.Struct, **changes: Any) -> dict[str, Any]:
    """Return a row as JSON: camelCase, times in RFC 3339 (none: null), fields replaced."""
    values = {**msgspec.structs.asdict(row), **changes}
    for key in _TIMES:
        if key in values:
            values[key] = _time(values[key]) if values[key] else None
    return {camel_name(key): value for key, value in values.items()}


def camel_name(name: str) -> str:
    """Return a field's name in camelCase."""
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


@get("/api/groups", summary="Open groups and the time they have left")
async def groups(web: State) -> list[dict[str, Any]]:
    """Return open groups; `leftS` is null while their end is not known."""
    now = web.now()
    rows = []
    for row in web.snapshot.sections["groups"].values():
        left = None
        if row["dueAt"] is not None:
            due_at = datetime.fromisoformat(row["dueAt"]).timestamp()
            left = round(max(due_at - now, 0.0), 3)
        rows.append({**row, "leftS": left})
    return rows


def checked(
    state: str | None, allowed: type[JobState] | type[ExportState] | type[TaskState]
) -> str | None:
    """Return the state if it is one.

    Raises:
        ValidationException: It is not.
    """
    if state is not None and state not in {member.value for member in allowed}:
        raise ValidationException(f"state: {state!r} is none of {', '.join(allowed)}")
    return state


@get("/api/exports", summary="Exports, oldest first")
async def exports(
    web: State,
    in_state: InState = None,
    destination: ToDestination = None,
    limit: Limit = 100,
    offset: Offset = 0,
) -> list[dict[str, Any]]:
    """Return a page of the exports the ledger holds, of all destinations or of one."""
    wanted = checked(in_state, ExportState)
    states = frozenset({ExportState(wanted)}) if wanted else None
    rows = await web.ledger.exports(states, destination)
    return [camel(export) for export in rows[offset : offset + limit]]


@get("/api/exports/{export_id:str}", summary="One export with the outcome of every instance")
async def export(web: State, export_id: FromPath[str]) -> dict[str, Any]:
    """Return one export and its outcomes, by index."""
    try:
        outcomes = await web.ledger.outcomes(export_id)
    except RowNotFoundError as error:
        raise NotFoundException(str(error)) from None
    row = await web.ledger.export(export_id)
    transactions = await web.ledger.transactions(export_id)
    return camel(
        row,
        outcomes=[camel(outcome) for outcome in outcomes],
        transactions=[camel(transaction) for transaction in transactions],
    )


@get("/api/commitments", summary="Storage commitment requests that are not reported yet")
async def commitments(web: State) -> list[dict[str, Any]]:
    """Return what others asked us to keep (PS3.4 J), oldest first."""
    return [camel(commitment) for commitment in await web.ledger.commitments.pending()]


VIEWS = [groups, exports, export, commitments]
