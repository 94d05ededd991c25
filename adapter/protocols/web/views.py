"""Read-only views: groups, exports, commitments. Rows of the ledger as JSON."""

from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import msgspec
from litestar import Response, get
from litestar.exceptions import NotFoundException, ValidationException
from litestar.params import FromPath, QueryParameter

from adapter.domain.tables import ExportState
from adapter.errors import RowNotFoundError
from adapter.protocols.web.health import State
from adapter.protocols.web.paging import (
    PAGE_MAX,
    PAGED,
    AnyRequest,
    Limit,
    Offset,
    Period,
    Since,
    Until,
    page_of,
    paged,
)
from adapter.protocols.web.roles import VIEWER

TIMES = (
    "opened_at", "changed_at", "queued_at", "due_at", "at", "requested_at", "deadline_at",
)  # fmt: skip
ToDestination = Annotated[str | None, QueryParameter(name="destination")]
OfAeTitle = Annotated[str | None, QueryParameter(name="aeTitle")]
OfJob = Annotated[str | None, QueryParameter(name="jobId")]


def state_query(states: Iterable[str]) -> QueryParameter:
    """Return the query parameter `state` with these values; `checked` looks at what is given."""
    schema = {"type": "string", "enum": [str(state) for state in states]}
    return QueryParameter(name="state", schema_extra=schema)


InExportState = Annotated[str | None, state_query(ExportState)]


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


def camel(row: msgspec.Struct, **changes: Any) -> dict[str, Any]:
    """Return a row as JSON: camelCase, times in RFC 3339 (none: null), fields replaced."""
    values = {**msgspec.structs.asdict(row), **changes}
    for key in TIMES:
        if key in values:
            values[key] = _time(values[key]) if values[key] else None
    return {camel_name(key): value for key, value in values.items()}


def camel_name(name: str) -> str:
    """Return a field's name in camelCase."""
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


@get(
    "/api/groups",
    opt=VIEWER,
    summary="Open groups and the time they have left",
    response_headers=PAGED,
)
async def groups(
    web: State,
    request: AnyRequest,
    ae_title: OfAeTitle = None,
    limit: Limit = PAGE_MAX,
    offset: Offset = 0,
) -> Response[list[dict[str, Any]]]:
    """Return open groups; `leftS` is null while their end is not known."""
    now = web.now()
    rows = []
    for row in web.snapshot.sections["groups"].values():
        if ae_title not in (None, row["aeTitle"]):
            continue
        left = None
        if row["dueAt"] is not None:
            due_at = datetime.fromisoformat(row["dueAt"]).timestamp()
            left = round(max(due_at - now, 0.0), 3)
        rows.append({**row, "leftS": left})
    return paged(request, rows, limit, offset)


def checked(value: str | None, allowed: type[StrEnum], name: str = "state") -> str | None:
    """Return the value of a query parameter if it is one of those.

    Raises:
        ValidationException: It is not.
    """
    if value is not None and value not in {member.value for member in allowed}:
        raise ValidationException(f"{name}: {value!r} is none of {', '.join(allowed)}")
    return value


@get("/api/exports", opt=VIEWER, summary="Exports, oldest first", response_headers=PAGED)
async def exports(
    web: State,
    request: AnyRequest,
    in_state: InExportState = None,
    destination: ToDestination = None,
    job: OfJob = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 100,
    offset: Offset = 0,
) -> Response[list[dict[str, Any]]]:
    """Return a page of the exports the ledger holds, of all destinations or of one."""
    wanted, period = checked(in_state, ExportState), Period(since, until)
    states = frozenset({ExportState(wanted)}) if wanted else None
    rows = [
        export
        for export in await web.ledger.exports(states, destination)
        if job in (None, export.job_id) and period.has(export.opened_at)
    ]
    page, headers = page_of(request, rows, limit, offset)
    return Response([camel(export) for export in page], headers=headers)


@get(
    "/api/exports/{export_id:str}",
    opt=VIEWER,
    summary="One export with the outcome of every instance",
)
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


@get(
    "/api/commitments", opt=VIEWER, summary="Storage commitment requests that are not reported yet",
    response_headers=PAGED,
)  # fmt: skip
async def commitments(
    web: State, request: AnyRequest, limit: Limit = 100, offset: Offset = 0
) -> Response[list[dict[str, Any]]]:
    """Return what others asked us to keep (PS3.4 J), oldest first."""
    rows = [camel(commitment) for commitment in await web.ledger.commitments.pending()]
    return paged(request, rows, limit, offset)


VIEWS = [groups, exports, export, commitments]
