"""Associations: open ones, those that ended lately, and those that were refused, each with why."""

from http import HTTPStatus
from typing import Annotated, Any, Literal, get_args

import msgspec
import trio
from litestar import Response, delete, get
from litestar.exceptions import HTTPException, NotFoundException
from litestar.params import FromPath, QueryParameter
from msgspec import Struct

from adapter.domain.rejections import RejectionRow
from adapter.domain.views import Views
from adapter.domain.wall_time import parsed, rfc3339
from adapter.protocols.web.health import State
from adapter.protocols.web.paging import PAGE_MAX, PAGED, AnyRequest, Limit, Offset, page_of
from adapter.protocols.web.roles import OPERATOR, VIEWER

ENDED_S = 10.0
"""For an association to be over after it was to be aborted."""
AssociationState = Literal["requested", "accepted", "released", "aborted", "rejected"]
OPEN = ("requested", "accepted")
_GROUPS: dict[str, tuple[str, ...]] = {"open": OPEN, "closed": ("released", "aborted")}
InState = Annotated[
    Literal["open", "closed"] | AssociationState | None,
    QueryParameter(name="state", description="`open`, `closed`, or one state."),
]
AeTitle = Annotated[str | None, QueryParameter(name="aeTitle", description="The called one.")]
Calling = Annotated[str | None, QueryParameter(name="callingAeTitle")]
Peer = Annotated[str | None, QueryParameter(name="peer", description="Numeric address.")]


class Why(Struct, frozen=True, kw_only=True):
    """Why an association is over, or never was."""

    rule: str
    """For programs: `source-unknown`, ...; `released`, `aborted` if it was one."""
    words: str
    detail: str = ""
    """What the rule met."""
    result: int | None = None
    """As `source` and `reason`: of A-ASSOCIATE-RJ (PS3.8 9.3.4), if it got one."""
    source: int | None = None
    reason: int | None = None
    remedy: str = ""
    """What an operator can do."""


class PresentationContext(Struct, frozen=True, kw_only=True, rename="camel"):
    """What an association was accepted for."""

    abstract_syntax: str
    transfer_syntax: str


class Association(Struct, frozen=True, kw_only=True, rename="camel"):
    """An association, or a row of refused ones of a kind."""

    id: str
    state: AssociationState
    ae_title: str
    calling_ae_title: str
    peer: str
    tls: str
    opened_at: str
    changed_at: str
    age_s: float
    """Of one that is over: how long it was open."""
    contexts: int
    """Abstract syntaxes that were proposed."""
    stored: int = 0
    instances: int = 0
    """As `stored`; at the end also those that were there before."""
    bytes: int = 0
    refused: int = 0
    bytes_per_s: int | None = None
    """Lately; null: it is not open."""
    why: Why | None = None
    """Null: it is not over."""
    count: int = 1
    """How often the same caller was refused for the same reason."""
    latest_id: str = ""
    """The latest of these."""
    may_be_allowed: bool = False
    """`POST .../allow` would let the caller in."""


class AssociationDetail(Association, frozen=True, kw_only=True, rename="camel"):
    """One association with what it was accepted for; the latest 200 are known."""

    presentation_contexts: list[PresentationContext]


def _shown(web: Views, row: dict[str, Any]) -> Association:
    is_over = row["state"] not in OPEN
    opened_at = parsed(row["openedAt"])
    end = parsed(row["changedAt"]) if is_over else web.now()
    return Association(
        id=row["id"],
        state=row["state"],
        ae_title=row["aeTitle"],
        calling_ae_title=row.get("callingAeTitle", ""),
        peer=row.get("peer", ""),
        tls=row.get("tls", ""),
        opened_at=row["openedAt"],
        changed_at=row["changedAt"],
        age_s=round(max(end - opened_at, 0.0), 3),
        contexts=row.get("contexts", 0),
        stored=row["stored"],
        instances=row.get("instances", row["stored"]),
        bytes=row["bytes"],
        refused=row["refused"],
        bytes_per_s=None if is_over else web.occupancy.rates.get(row["id"], 0),
        why=Why(rule=row["state"], words=row.get("why", "")) if is_over else None,
        latest_id=row["id"],
    )


def _rejected(row: RejectionRow) -> Association:
    answer = row.answer
    return Association(
        id=row.id,
        state="rejected",
        ae_title=row.caller.called_ae_title,
        calling_ae_title=row.caller.calling_ae_title,
        peer=row.caller.peer,
        tls=row.caller.tls,
        opened_at=rfc3339(row.first_at),
        changed_at=rfc3339(row.last_at),
        age_s=0.0,
        contexts=0,
        why=Why(
            rule=row.why.rule,
            words=row.why,
            detail=row.detail,
            result=answer.result if answer else None,
            source=answer.source if answer else None,
            reason=answer.reason if answer else None,
            remedy=row.remedy,
        ),
        count=row.count,
        latest_id=row.latest_id,
        may_be_allowed=row.why.may_be_allowed,
    )


@get(
    "/api/associations",
    opt=VIEWER,
    summary="Open, ended and rejected associations, oldest first",
    response_headers=PAGED,
)
async def associations(
    web: State,
    request: AnyRequest,
    in_state: InState = None,
    ae_title: AeTitle = None,
    calling: Calling = None,
    peer: Peer = None,
    limit: Limit = PAGE_MAX,
    offset: Offset = 0,
) -> Response[list[Association]]:
    """Return all open associations, the latest that ended since the start, those that were refused.

    Of these there is a row for each caller, address, called AE Title and rule.
    """
    states = _GROUPS.get(in_state or "", (in_state,) if in_state else get_args(AssociationState))
    rows = [
        _shown(web, row)
        for row in web.snapshot.sections["associations"].values()
        if row["state"] in states and row["state"] != "rejected"
    ]
    if "rejected" in states:
        rows += [_rejected(row) for row in web.occupancy.rejected.rows]
    wanted = {"ae_title": ae_title, "calling_ae_title": calling, "peer": peer}
    for name, value in wanted.items():
        if value is not None:
            rows = [row for row in rows if getattr(row, name) == value]
    rows.sort(key=lambda row: row.opened_at)
    page, headers = page_of(request, rows, limit, offset)
    return Response(list(page), headers=headers)


@get(
    "/api/associations/{association_id:str}",
    opt=VIEWER,
    summary="One association with its contexts",
)
async def association(web: State, association_id: FromPath[str]) -> AssociationDetail:
    """Return one association; of refused ones of a kind, the first and the latest are known."""
    if rejected := web.occupancy.rejected.find(association_id):
        found = _rejected(rejected)
    elif row := web.snapshot.sections["associations"].get(association_id):
        found = _shown(web, row)
    else:
        raise NotFoundException(f"no association {association_id}")
    return AssociationDetail(
        **msgspec.structs.asdict(found),
        presentation_contexts=[
            PresentationContext(abstract_syntax=abstract, transfer_syntax=transfer)
            for abstract, transfer in web.occupancy.contexts(association_id)
        ],
    )


@delete(
    "/api/associations/{association_id:str}",
    opt=OPERATOR,
    summary="Abort an open association",
)
async def abort(web: State, association_id: FromPath[str]) -> None:
    """Send A-ABORT and wait until it is over; what was answered with success stays.

    404, 409 if it is over, 503 if it is not over in time: it will be soon.
    """
    served = web.occupancy.served.get(association_id)
    if served is None:
        known = web.snapshot.sections["associations"].get(association_id)
        if known is None and web.occupancy.rejected.find(association_id) is None:
            raise NotFoundException(f"no association {association_id}")
        raise HTTPException("it is not open", status_code=HTTPStatus.CONFLICT)
    served.abort()
    with trio.move_on_after(ENDED_S):
        await served.over.wait()
        return
    raise HTTPException("it is being aborted, and not over yet", status_code=503)


ASSOCIATIONS = [associations, association, abort]
