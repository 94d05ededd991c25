"""Destinations as exporters have them, and orders to hold one or to go on with it."""

from http import HTTPStatus
from typing import Annotated, Any

import trio
from litestar import Response, get, post
from litestar.exceptions import NotFoundException
from litestar.params import FromPath, JSONBody
from msgspec import Meta, Struct

from adapter.domain.destination_rows import DestinationHold
from adapter.domain.entities import Destination
from adapter.domain.exporter_orders import DestinationOrder
from adapter.domain.messages import OrderRefused
from adapter.domain.views import Views
from adapter.domain.wall_time import rfc3339
from adapter.protocols.web.health import State
from adapter.protocols.web.orders import obeyed
from adapter.protocols.web.paging import PAGE_MAX, PAGED, AnyRequest, Limit, Offset, page_of
from adapter.protocols.web.roles import OPERATOR, VIEWER

WHY_LENGTH_MAX = 256


class Reason(Struct, frozen=True, forbid_unknown_fields=True):
    """Why a destination is held, for whoever finds it so."""

    why: Annotated[str, Meta(max_length=WHY_LENGTH_MAX)] = ""


def _shown(web: Views, name: str) -> dict[str, Any]:
    """Return a destination; `state` is `held`, `down`, `up`, or `unknown` before it is tried."""
    hold, figures = web.ledger.holds.of(name), web.export_figures
    told = web.snapshot.sections["destinations"].get(name, {}).get("state", "unknown")
    counts = web.ledger.export_counts().items()
    listed = web.listed["destination"].get(name)
    return {
        "name": name,
        "type": listed.entity.type if listed and isinstance(listed.entity, Destination) else "",
        "state": "held" if hold else told,
        "why": hold.why if hold else figures.down.get(name, ""),
        "heldAt": rfc3339(hold.at) if hold else None,
        "associations": figures.associations[name],
        "exports": {state: count for (to, state), count in sorted(counts) if to == name},
    }


@get(
    "/api/destinations",
    opt=VIEWER,
    summary="Destinations and what waits for them",
    response_headers=PAGED,
)
async def destinations(
    web: State, request: AnyRequest, limit: Limit = PAGE_MAX, offset: Offset = 0
) -> Response[list[dict[str, Any]]]:
    """Return all that are configured; `exports` counts what the ledger holds, by state."""
    page, headers = page_of(request, list(web.export_orders), limit, offset)
    return Response([_shown(web, name) for name in page], headers=headers)


@post(
    "/api/destinations/{name:str}/hold",
    status_code=HTTPStatus.OK,
    opt=OPERATOR,
    summary="Send nothing to a destination",
)
async def hold(web: State, name: FromPath[str], data: JSONBody[Reason]) -> dict[str, Any]:
    """Hold it, also over a restart; what is being sent stops after the batch in hand.

    404, 503 if nobody answers now.
    """
    return await _order(web, name, DestinationHold(destination=name, why=data.why, at=web.now()))


@post(
    "/api/destinations/{name:str}/release",
    status_code=HTTPStatus.OK,
    opt=OPERATOR,
    summary="Go on sending to a destination",
)
async def release(web: State, name: FromPath[str]) -> dict[str, Any]:
    """End a hold; again is harmless. 404, 503 if nobody answers now."""
    return await _order(web, name, None)


async def _order(web: Views, name: str, hold: DestinationHold | None) -> dict[str, Any]:
    orders = web.export_orders.get(name)
    if orders is None:
        raise NotFoundException(f"no destination is named {name!r}")

    def order(reply: trio.MemorySendChannel[bool | OrderRefused]) -> DestinationOrder:
        return DestinationOrder(hold=hold, reply=reply)

    await obeyed(orders, order)
    return _shown(web, name)


DESTINATIONS = [destinations, hold, release]
