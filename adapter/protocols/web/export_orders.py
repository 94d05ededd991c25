"""Orders about exports, to the exporter of their destination."""

from http import HTTPStatus
from typing import Annotated, Any

from litestar import post
from litestar.exceptions import HTTPException, NotFoundException
from litestar.params import Body, FromPath
from msgspec import Meta, Struct

from adapter.domain.entities import UIDText
from adapter.domain.messages import ExportOrder
from adapter.domain.records import Export
from adapter.errors import RowNotFoundError
from adapter.protocols.web.health import State
from adapter.protocols.web.orders import IdempotencyKey, digest_of, obeyed
from adapter.protocols.web.roles import OPERATOR
from adapter.protocols.web.views import camel

INSTANCES_MAX = 10_000
"""Named in one order."""


class Retry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """What is to be sent again."""

    sop_instance_uids: Annotated[list[UIDText], Meta(min_length=1, max_length=INSTANCES_MAX)]


@post(
    "/api/exports/{export_id:str}/retry",
    status_code=HTTPStatus.OK,
    opt=OPERATOR,
    summary="Send again what was given up",
)
async def retry(
    web: State,
    export_id: FromPath[str],
    data: Annotated[Retry | None, Body(description="Only these; without a body: all.")] = None,
    key: IdempotencyKey = None,
) -> dict[str, Any]:
    """Have an export that is Failed send what is not delivered, also what was refused for good.

    What is not named stays held, and the export ends Failed again for it. 409 in any other state,
    for an instance that is delivered or not of the export, or if its destination is not configured
    any more; 422 if the key was another request's, 503 if nobody answers now.
    """
    try:
        export = await web.ledger.export(export_id)
    except RowNotFoundError as error:
        raise NotFoundException(str(error)) from None
    orders = web.export_orders.get(export.destination)
    if orders is None:
        why = f"the destination {export.destination} is not configured"
        raise HTTPException(why, status_code=HTTPStatus.CONFLICT)
    row: Export = await obeyed(
        orders,
        lambda reply: ExportOrder(
            export_id=export_id,
            instances=frozenset(data.sop_instance_uids if data else ()),
            key=digest_of(key),
            reply=reply,
        ),
    )
    return camel(row)


EXPORT_ORDERS = [retry]
