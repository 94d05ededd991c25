"""Orders of operators to actors, over HTTP: asked once, answered with the row as it is then.

A request that is repeated with its Idempotency-Key is answered and changes nothing.
"""

import hashlib
from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, TypeVar

import trio
from litestar.exceptions import HTTPException
from litestar.params import HeaderParameter

from adapter.channels import UNANSWERED, ask
from adapter.domain.messages import OrderRefusal, OrderRefused

ANSWER_S = 10.0
IDEMPOTENCY_KEY_LENGTH_MAX = 255
IdempotencyKey = Annotated[
    str | None,
    HeaderParameter(name="Idempotency-Key", min_length=1, max_length=IDEMPOTENCY_KEY_LENGTH_MAX),
]
_STATUS = {
    OrderRefusal.UNKNOWN: HTTPStatus.NOT_FOUND,
    OrderRefusal.STATE: HTTPStatus.CONFLICT,
    OrderRefusal.KEY: HTTPStatus.UNPROCESSABLE_ENTITY,
}
OrderType = TypeVar("OrderType")
Row = TypeVar("Row")


def digest_of(key: str | None) -> str:
    """Return what is kept of an idempotency key; empty: there is none."""
    return hashlib.blake2b(key.encode(), digest_size=16).hexdigest() if key else ""


async def obeyed(
    orders: trio.MemorySendChannel[OrderType],
    order: Callable[[trio.MemorySendChannel[Row | OrderRefused]], OrderType],
) -> Row:
    """Give an order, made with the end for its answer; return the row.

    Raises:
        HTTPException: 404, 409, 422 as the order was refused; 503 if nobody answers now.
    """
    try:
        done = await ask(orders, order, ANSWER_S)
    except UNANSWERED:
        raise HTTPException("nobody answers now; ask again", status_code=503) from None
    if isinstance(done, OrderRefused):
        raise HTTPException(done.why, status_code=_STATUS[done.refusal])
    return done
