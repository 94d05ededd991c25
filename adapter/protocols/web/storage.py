"""`GET /api/storage`: the space there is, and what holds it.

Nothing is walked through for an answer: open groups are counted as instances arrive, jobs know
their payloads; only groups that have closed and are no jobs yet are looked at.
"""

from collections import Counter
from typing import Literal

from litestar import get
from litestar.exceptions import HTTPException
from msgspec import Struct

from adapter.domain.records import Job
from adapter.domain.survey import FolderFigures
from adapter.domain.views import Views
from adapter.errors import UnavailableError
from adapter.protocols.web.health import State
from adapter.protocols.web.roles import VIEWER


class Place(Struct, frozen=True, kw_only=True, rename="camel"):
    """One place below the storage root."""

    place: Literal["incoming", "closed", "payloads"]
    items: int
    """Open groups, closed groups, jobs."""
    bytes: int
    """Of instances; those that several jobs share count once. Results of pipelines do not count."""
    complete: bool = True
    """False: there was too much to look at, and it is more."""


class Hold(Struct, frozen=True, kw_only=True, rename="camel"):
    """Jobs in a state, and what they hold."""

    state: str
    jobs: int
    bytes: int
    """Shared instances count for each state that holds them."""


class Storage(Struct, frozen=True, kw_only=True, rename="camel"):
    """The file system under the storage root."""

    state: Literal["ok", "low"]
    """`low`: no associations are admitted and no instances taken."""
    total_bytes: int
    used_bytes: int
    free_bytes: int
    reserved_bytes: int
    """Kept free: `storage.watermark_percent` and `storage.reserve_space_gb`, whichever is more."""
    available_bytes: int
    """Until it is low."""
    places: list[Place]
    held_by: list[Hold]
    quarantined: int
    """Folders in `quarantine/`; nothing deletes them."""
    reclaimed_bytes: int
    """By the reclaimer, since the process began."""


@get("/api/storage", opt=VIEWER, summary="Space, and what holds it")
async def storage(web: State) -> Storage:
    """Return the space there is now, and what lies where. 503 if it cannot be read now."""
    try:
        reading = await web.survey.space()
        closed, quarantined = await web.survey.closed(), await web.survey.quarantined()
    except UnavailableError as error:
        raise HTTPException(f"the storage cannot be read: {error}", status_code=503) from None
    jobs = await web.ledger.jobs()
    return Storage(
        state="low" if web.space.low else "ok",
        total_bytes=reading.total_bytes,
        used_bytes=reading.total_bytes - reading.free_bytes,
        free_bytes=reading.free_bytes,
        reserved_bytes=reading.reserved_bytes,
        available_bytes=max(reading.free_bytes - reading.reserved_bytes, 0),
        places=_places(web, closed, jobs),
        held_by=_holds(jobs),
        quarantined=quarantined,
        reclaimed_bytes=web.snapshot.storage["reclaimedBytes"],
    )


def _places(web: Views, closed: FolderFigures, jobs: list[Job]) -> list[Place]:
    groups = web.snapshot.sections["groups"].values()
    return [
        Place(
            place="incoming", items=len(groups),
            bytes=sum(row.get("bytes", 0) for row in groups),
        ),
        Place(
            place="closed", items=closed.groups, bytes=closed.payload_bytes,
            complete=closed.complete,
        ),
        Place(place="payloads", items=len(jobs), bytes=_unshared(jobs)),
    ]  # fmt: skip


def _unshared(jobs: list[Job]) -> int:
    """Return the bytes of these jobs; those of one group are hard links to the same files."""
    return sum({job.group_id: job.payload_bytes for job in jobs}.values())


def _holds(jobs: list[Job]) -> list[Hold]:
    counts = Counter(str(job.state) for job in jobs)
    return [
        Hold(state=state, jobs=count, bytes=_unshared([j for j in jobs if j.state == state]))
        for state, count in sorted(counts.items())
    ]


STORAGE = [storage]
