"""The configuration file is read again, or only what would follow from it is told."""

from http import HTTPStatus
from typing import Any

import msgspec
import trio
from litestar import post
from litestar.exceptions import HTTPException
from litestar.params import FromQuery, JSONBody

from adapter.channels import UNANSWERED, ask
from adapter.domain.reconfiguration import Plan, ReloadOrder, ReloadRefused
from adapter.domain.views import Views
from adapter.protocols.web.access import CALLER
from adapter.protocols.web.entity_forms import Objections
from adapter.protocols.web.health import State
from adapter.protocols.web.paging import AnyRequest
from adapter.protocols.web.roles import ADMINISTRATOR

ANSWER_S = 90.0
"""Above what the configuration actor gives the entities actor."""


@post(
    "/api/config/reload",
    status_code=HTTPStatus.OK,
    opt=ADMINISTRATOR,
    summary="Read the configuration file again",
)
async def reload(
    web: State, request: AnyRequest, dry_run: FromQuery[bool] = False
) -> dict[str, Any]:
    """Have it count; return what has changed, key by key, and what needs a restart.

    With `dry_run` nothing is changed. 409 with all `problems` if it is refused, 503.
    """

    return await _asked(web, request, dry_run=dry_run)


@post(
    "/api/config/plan",
    status_code=HTTPStatus.OK,
    opt=ADMINISTRATOR,
    summary="What would change if the configuration file said this",
)
async def plan(web: State, request: AnyRequest, data: JSONBody[dict[str, Any]]) -> dict[str, Any]:
    """Return what would change, and change nothing; the body is the file's content as JSON.

    Flags and environment count as at the start. 409 with all `problems` if it would be refused;
    503.
    """
    return await _asked(web, request, dry_run=True, document=data)


async def _asked(
    web: Views, request: AnyRequest, *, dry_run: bool, document: dict[str, Any] | None = None
) -> dict[str, Any]:
    by = request.state[CALLER].name

    def order(reply: trio.MemorySendChannel[Plan | ReloadRefused]) -> ReloadOrder:
        return ReloadOrder(by=by, dry_run=dry_run, document=document, reply=reply)

    try:
        done = await ask(web.reload_orders, order, ANSWER_S)
    except UNANSWERED:
        raise HTTPException("nobody answers now; look, and ask again", status_code=503) from None
    if isinstance(done, ReloadRefused):
        raise Objections(HTTPStatus.CONFLICT, done.problems)
    told: dict[str, Any] = msgspec.to_builtins(done)
    return told


RELOAD = [reload, plan]
