"""Pages of lists, and which questions a route understands.

A list is answered in pages: `X-Total-Count` says how many rows there are, `Link` (RFC 8288) leads
to the next page. A query parameter that a route does not know is refused: a filter with a typo must
not look like one that matches everything.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
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
Since = Annotated[
    datetime | None,
    QueryParameter(name="since", description="Opened then or later (RFC 3339)."),
]
Until = Annotated[
    datetime | None, QueryParameter(name="until", description="Opened before then (RFC 3339).")
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


def timestamp(moment: datetime | None) -> float | None:
    """Return a time of a query as POSIX seconds; one without a zone is UTC."""
    if moment is None:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def within(at: float, since: datetime | None, until: datetime | None) -> bool:
    """Return whether a wall time is between both, as far as they are given."""
    first, end = timestamp(since), timestamp(until)
    return (first is None or first <= at) and (end is None or at < end)


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
