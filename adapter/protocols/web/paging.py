"""Pages of lists, and which questions a route understands.

A list is answered in pages: `X-Total-Count` says how many rows there are, `Link` (RFC 8288) leads
to the next page. A query parameter that a route does not know is refused: a filter with a typo must
not look like one that matches everything.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from difflib import get_close_matches
from typing import Annotated, Any, TypeVar
from urllib.parse import urlencode

from litestar import Request, Response
from litestar.connection import ASGIConnection
from litestar.datastructures import ResponseHeader
from litestar.exceptions import HTTPException
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.params import QueryParameter

PAGE_MAX = 1000
Limit = Annotated[int, QueryParameter(ge=1, le=PAGE_MAX, description="Rows of a page.")]
Offset = Annotated[int, QueryParameter(ge=0, le=2**53, description="Rows before it.")]
_MOMENT = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(\.\d{1,6})?\d*([Zz]|[+-]\d\d:\d\d)?", re.ASCII
)
_DATE_TIME = {"type": "string", "format": "date-time"}
Since = Annotated[
    str | None,
    QueryParameter(
        name="since", description="Opened then or later (RFC 3339).", schema_extra=_DATE_TIME
    ),
]
Until = Annotated[
    str | None,
    QueryParameter(
        name="until", description="Opened before then (RFC 3339).", schema_extra=_DATE_TIME
    ),
]
TOTAL, LINK = "X-Total-Count", "Link"
PAGED = (
    ResponseHeader(name=TOTAL, documentation_only=True, description="Rows on all pages."),
    ResponseHeader(
        name=LINK, documentation_only=True, description='`rel="next"`: the next page, if any.'
    ),
)
"""`response_headers` of a route that answers in pages."""
AnyRequest = Request[Any, Any, Any]
Row = TypeVar("Row")


def page_of(
    request: AnyRequest, rows: Sequence[Row], limit: int, offset: int
) -> tuple[Sequence[Row], dict[str, str]]:
    """Return the rows of a page, and the headers that go with them."""
    headers = {TOTAL: str(len(rows))}
    following = offset + limit
    if following < len(rows):
        kept = [(key, value) for key, value in request.query_params.multi_items()
                if key not in ("limit", "offset")]  # fmt: skip
        query = urlencode([*kept, ("limit", limit), ("offset", following)])
        headers[LINK] = f'<{request.url.path}?{query}>; rel="next"'
    return rows[offset:following], headers


def paged(
    request: AnyRequest, rows: Sequence[dict[str, Any]], limit: int, offset: int
) -> Response[list[dict[str, Any]]]:
    """Return a page of rows as an answer."""
    page, headers = page_of(request, rows, limit, offset)
    return Response(list(page), headers=headers)


class Period:
    """The time a query asks about."""

    def __init__(self, since: str | None, until: str | None) -> None:
        """Read both; one without a zone is UTC.

        Raises:
            HTTPException: 400; one of them is no time.
        """
        self._first, self._end = _timestamp("since", since), _timestamp("until", until)

    def has(self, at: float) -> bool:
        """Return whether a wall time is in it."""
        return (self._first is None or self._first <= at) and (self._end is None or at < self._end)


def _timestamp(name: str, text: str | None) -> float | None:
    if text is None:
        return None
    if found := _MOMENT.fullmatch(text):
        day, time, fraction, zone = found.groups()
        time = time.replace(":60", ":59")  # a leap second is within the second before it
        zone = "+00:00" if zone in (None, "Z", "z") else zone
        try:
            return datetime.fromisoformat(f"{day}T{time}{zone}").timestamp() + float(fraction or 0)
        except (ValueError, OverflowError):
            pass  # no such day or hour
    why = f"{name}: {text[:40]!r} is no time such as 2026-01-31T09:30:00Z"
    raise HTTPException(why, status_code=400)


class KnownQueries:
    """The guard that refuses query parameters a route does not know."""

    def __init__(self) -> None:
        self._known: dict[BaseRouteHandler, frozenset[str]] = {}

    def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], handler: Any) -> None:
        """Refuse, or let through.

        Raises:
            HTTPException: 400 with the names of those that are not known.
        """
        given = set(connection.query_params)
        if not given or not isinstance(handler, HTTPRouteHandler):
            return
        known = self._of(handler)
        if unknown := sorted(given - known):
            raise HTTPException(_objection(unknown, known), status_code=400)

    def _of(self, handler: HTTPRouteHandler) -> frozenset[str]:
        if handler not in self._known:
            self._known[handler] = frozenset(_query_names(handler))
        return self._known[handler]


def _query_names(handler: HTTPRouteHandler) -> Iterable[str]:
    model = handler.create_kwargs_model(path_parameters={})
    return (parameter.field_alias for parameter in model.expected_query_params)


def _objection(unknown: Sequence[str], known: Iterable[str]) -> str:
    parts = []
    for name in unknown[:5]:
        close = get_close_matches(name[:64], known, n=1)
        parts.append(f"{name[:64]!r}" + (f" (did you mean {close[0]}?)" if close else ""))
    allowed = ", ".join(sorted(known)) or "none"
    return f"unknown query parameters: {', '.join(parts)}; known here: {allowed}"
