"""`GET /api/storage/items`: what lies below the storage root, and what keeps each of it there."""

from typing import Annotated, Literal

from litestar import Response, get
from litestar.exceptions import HTTPException
from litestar.params import QueryParameter
from msgspec import Struct

from adapter.domain.records import Export, Job
from adapter.domain.retention import goes_when_space_is_low, hold_of
from adapter.domain.tasks import Task
from adapter.domain.views import Views
from adapter.domain.wall_time import rfc3339
from adapter.errors import UnavailableError
from adapter.protocols.web.health import State
from adapter.protocols.web.paging import PAGED, AnyRequest, Limit, Offset, page_of
from adapter.protocols.web.roles import VIEWER

Goes = Literal["now", "when space is low", "later", "no"]
Going = Annotated[Goes | None, QueryParameter(name="goes")]


class StorageItem(Struct, frozen=True, kw_only=True, rename="camel"):
    """A job's folder, an open group, or something that was put aside."""

    id: str
    kind: Literal["group", "job", "quarantined"]
    goes: Goes
    """Whether the reclaimer deletes it: with its next look, before its time if space is short, when
    `until` has come, or not before something happens."""
    why: str
    """What keeps it; of what goes now: why it is still there, if that is known."""
    until: str | None = None
    """When nothing keeps it any more, if nothing happens."""
    state: str = ""
    ae_title: str = ""
    instances: int = 0
    bytes: int = 0
    """Of its instances; those that jobs of one group share are counted in each."""


@get(
    "/api/storage/items",
    opt=VIEWER,
    summary="What holds what on the storage, and what goes when",
    response_headers=PAGED,
)
async def storage_items(
    web: State, request: AnyRequest, goes: Going = None, limit: Limit = 100, offset: Offset = 0
) -> Response[list[StorageItem]]:
    """Return a page of jobs, oldest first, then open groups, then what was put aside.

    503 if the storage cannot be read now.
    """
    try:
        aside = await web.storage.put_aside()
    except UnavailableError as error:
        raise HTTPException(f"the storage cannot be read: {error}", status_code=503) from None
    items = await _jobs(web)
    items += _groups(web)
    items += [
        StorageItem(id=each.name, kind="quarantined", goes="no", why=each.why) for each in aside
    ]
    found = [item for item in items if goes is None or item.goes == goes]
    page, headers = page_of(request, found, limit, offset)
    return Response(list(page), headers=headers)


async def _jobs(web: Views) -> list[StorageItem]:
    exports: dict[str, list[Export]] = {}
    for export in await web.ledger.exports():
        exports.setdefault(export.job_id, []).append(export)
    return [
        _job(web, job, [*exports.get(job.id, []), *web.ledger.tasks.of_job(job.id)])
        for job in await web.ledger.jobs()
    ]


def _job(web: Views, job: Job, held_by: list[Export | Task]) -> StorageItem:
    hold = hold_of(job, held_by, web.storage.retention, web.now())
    goes: Goes = "now"
    if hold is not None:
        early = goes_when_space_is_low(hold)
        goes = "when space is low" if early else "later" if hold.until_at is not None else "no"
    return StorageItem(
        id=job.id,
        kind="job",
        goes=goes,
        why=hold.why if hold else job.error if job.condemned else "",
        until=rfc3339(hold.until_at) if hold and hold.until_at is not None else None,
        state=str(job.state),
        ae_title=job.ae_title,
        instances=job.instances,
        bytes=job.payload_bytes,
    )


def _groups(web: Views) -> list[StorageItem]:
    return [
        StorageItem(
            id=row["id"], kind="group", goes="no", why=row.get("why") or "the group is open",
            state=str(row.get("state", "")), ae_title=str(row.get("aeTitle", "")),
            instances=row.get("instances", 0), bytes=row.get("bytes", 0),
        )
        for row in web.snapshot.sections["groups"].values()
    ]  # fmt: skip


STORAGE_ITEMS = [storage_items]
