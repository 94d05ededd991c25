"""Orders of the operator about open groups; carried out by the application entity that has them."""

from typing import Annotated, Literal

import trio
from litestar import post
from litestar.exceptions import NotFoundException, ServiceUnavailableException
from litestar.params import FromPath, JSONBody
from msgspec import Meta, Struct

from adapter.channels import UNANSWERED, ask
from adapter.domain.messages import GroupOrdered, OrderOutcome
from adapter.domain.views import Views
from adapter.protocols.web.health import State
from adapter.protocols.web.roles import OPERATOR

ANSWER_S = 10.0
EXTEND_S_MAX = 2_592_000
"""As of `max_age_s`: 30 days."""


class Extension(Struct, frozen=True, forbid_unknown_fields=True):
    """For how long from now the group is not closed; 0: only not held any more."""

    seconds: Annotated[float, Meta(ge=0, le=EXTEND_S_MAX)]


@post(
    "/api/groups/{group_id:str}/close",
    status_code=204,
    summary="Close an open group now",
    opt=OPERATOR,
)
async def close(web: State, group_id: FromPath[str]) -> None:
    """Close it as soon as nothing is on its way into it; it takes no more."""
    await _order(web, group_id, "close")


@post(
    "/api/groups/{group_id:str}/hold",
    status_code=204,
    summary="Keep a group open until it is closed or extended",
    opt=OPERATOR,
)
async def hold(web: State, group_id: FromPath[str]) -> None:
    """Hold it; it goes on taking instances, and stays held over a restart."""
    await _order(web, group_id, "hold")


@post(
    "/api/groups/{group_id:str}/extend",
    status_code=204,
    summary="Keep a group open for some time from now",
    opt=OPERATOR,
)
async def extend(web: State, group_id: FromPath[str], data: JSONBody[Extension]) -> None:
    """Extend it, whatever its timeout and maximum age say; ends a hold."""
    await _order(web, group_id, "extend", data.seconds)


async def _order(
    web: Views, group_id: str, order: Literal["close", "hold", "extend"], seconds: float = 0.0
) -> None:
    row = web.snapshot.sections["groups"].get(group_id)
    entity = web.entities.get(row["aeTitle"]) if row else None
    if entity is None:
        raise NotFoundException(f"no open group {group_id}")

    def question(reply: trio.MemorySendChannel[OrderOutcome]) -> GroupOrdered:
        return GroupOrdered(group_id=group_id, order=order, seconds=seconds, reply=reply)

    try:
        outcome = await ask(entity, question, ANSWER_S)
    except UNANSWERED:
        raise ServiceUnavailableException("the AE Title does not answer now") from None
    match outcome:
        case OrderOutcome.UNKNOWN:
            raise NotFoundException(f"no open group {group_id}")
        case OrderOutcome.UNAVAILABLE:
            raise ServiceUnavailableException("it could not be recorded; the storage failed")
        case OrderOutcome.DONE:
            return


GROUP_ORDERS = [close, hold, extend]
