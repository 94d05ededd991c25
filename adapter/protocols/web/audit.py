"""The audit trail of the API: written in one place around the application, read by one route.

Whatever route is for operators or administrators changes something, so each request to one is an
entry, whatever became of it. What it was before is what a GET of the same thing says, asked by us
before the handler runs; what it is after is the answer. No handler knows of it.
"""

from typing import Annotated, Any

from litestar import Response, get
from litestar.params import QueryParameter
from litestar.types import ASGIApp, Receive, Send

from adapter.domain.access import Caller, Role
from adapter.domain.audit import AuditKind, changed, hidden
from adapter.domain.audit_chain import shown
from adapter.protocols.web.access import CALLER, SAFE_METHODS, Guarding
from adapter.protocols.web.before import BEFORE, Answer
from adapter.protocols.web.entity_forms import PROCESSING
from adapter.protocols.web.paging import (
    PAGED,
    AnyRequest,
    Limit,
    Offset,
    Period,
    Since,
    Until,
    page_of,
)
from adapter.protocols.web.roles import ADMINISTRATOR, ROLE
from adapter.protocols.web.trail import Trail
from adapter.protocols.web.views import checked


class Audited:
    """The ASGI application with its trail."""

    def __init__(self, app: ASGIApp, trail: Trail) -> None:
        self._app = app
        self._trail = trail

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """See ASGI 3.0."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_change = scope["method"] not in SAFE_METHODS
        answer = Answer()

        async def held_back(message: Any) -> None:
            if not answer.messages and not _is_audited(scope, is_change=is_change):
                await send(message)
                return
            answer.take(message)
            if answer.is_whole:
                await self._note(scope, answer)
                for each in answer.messages:
                    await send(each)

        await self._app(scope, receive, held_back)

    async def _note(self, scope: Any, answer: Answer) -> None:
        caller: Caller = scope["state"][CALLER]
        before: dict[str, Any] = scope["state"].get(BEFORE, {})
        is_done = answer.status < 400
        after = answer.document()
        if scope["method"] == "GET" and not (is_done and answer.body not in (b"[]", b"")):
            return  # an agent that asks for tasks, and there are none
        if not is_done:
            before, after = {}, {"detail": after.get("detail", "")}
        elif not after and scope["method"] != "DELETE":
            before = {}
        old, new = changed(_told(before), _told(after))
        role = scope["route_handler"].opt.get(ROLE, Role.ADMINISTRATOR)
        await self._trail.changed(
            caller,
            AuditKind.CONFIGURATION if role is Role.ADMINISTRATOR else AuditKind.ORDER,
            f"{scope['method']} {scope.get('path_template', '')}",
            path=scope["path"][:300], outcome=answer.status, before=old, after=new,
        )  # fmt: skip


def _told(document: dict[str, Any]) -> Any:
    """Return what an entry says of a document: no secrets, nothing that follows from the rest."""
    return hidden({name: value for name, value in document.items() if name != PROCESSING})


def _is_audited(scope: Any, *, is_change: bool) -> bool:
    """Return whether a request that is being answered was one of those that change something."""
    if CALLER not in scope.get("state", {}) or "route_handler" not in scope:
        return False
    role: Role = scope["route_handler"].opt.get(ROLE, Role.ADMINISTRATOR)
    if is_change:
        return True
    return role is Role.OPERATOR  # a GET that takes something


Who = Annotated[str | None, QueryParameter(name="who", max_length=64)]
_KINDS = {"type": "string", "enum": [str(kind) for kind in AuditKind]}
After = Annotated[
    int, QueryParameter(name="after", ge=0, le=2**53, description="Behind this `seq`.")
]
OfKind = Annotated[str | None, QueryParameter(name="kind", schema_extra=_KINDS)]


@get(
    "/api/audit",
    opt=ADMINISTRATOR,
    summary="Who changed what, and who has logged in",
    response_headers=PAGED,
)
async def audit(
    access: Guarding,
    request: AnyRequest,
    of_kind: OfKind = None,
    who: Who = None,
    since: Since = None,
    until: Until = None,
    after: After = 0,
    limit: Limit = 100,
    offset: Offset = 0,
) -> Response[list[dict[str, Any]]]:
    """Return a page of the audit trail, oldest first; each with the hash of its predecessor."""
    wanted, period = checked(of_kind, AuditKind, "kind"), Period(since, until)
    kinds = [AuditKind(wanted)] if wanted else list(AuditKind)
    found = [
        entry
        for entry in access.trail.ledger.entries(kinds)
        if entry.seq > after and period.has(entry.at) and (who is None or entry.who == who)
    ]
    page, headers = page_of(request, found, limit, offset)
    return Response([shown(entry) for entry in page], headers=headers)
