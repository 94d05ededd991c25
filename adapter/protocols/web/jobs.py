"""Jobs: what they are, and what an operator may want of them.

A change is an order to the submitter, which answers with the job as it is then.
"""

from http import HTTPStatus
from typing import Any, Literal

from litestar import get, post
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from adapter.domain.messages import JobOrder
from adapter.domain.records import Job
from adapter.domain.tables import JobState
from adapter.errors import RowNotFoundError
from adapter.protocols.web.health import State
from adapter.protocols.web.orders import IdempotencyKey, digest_of, obeyed
from adapter.protocols.web.origin import ours_only
from adapter.protocols.web.views import InState, Limit, Offset, camel, checked


def _summary(job: Job) -> dict[str, Any]:
    row = camel(job)
    del row["history"]
    return row


def _detail(job: Job) -> dict[str, Any]:
    return camel(job, history=[camel(change) for change in job.history])


@get("/api/jobs", summary="Jobs, oldest first")
async def jobs(
    web: State,
    in_state: InState = None,
    limit: Limit = 100,
    offset: Offset = 0,
) -> list[dict[str, Any]]:
    """Return a page of the jobs the ledger holds."""
    wanted = checked(in_state, JobState)
    rows = await web.ledger.jobs(frozenset({JobState(wanted)}) if wanted else None)
    return [_summary(job) for job in rows[offset : offset + limit]]


@get("/api/jobs/{job_id:str}", summary="One job with its latest states")
async def job(web: State, job_id: FromPath[str]) -> dict[str, Any]:
    """Return one job and the states it came into, oldest first."""
    try:
        return _detail(await web.ledger.job(job_id))
    except RowNotFoundError as error:
        raise NotFoundException(str(error)) from None


@post(
    "/api/jobs/{job_id:str}/retry",
    status_code=HTTPStatus.OK,
    guards=[ours_only],
    summary="Resubmit a job that is Faulted or Cancelled",
)
async def retry(web: State, job_id: FromPath[str], key: IdempotencyKey = None) -> dict[str, Any]:
    """Have a faulted job go on at the step that failed, a cancelled one from the beginning.

    409 in any other state, 422 if the key was another request's, 503 if nobody answers now.
    """
    return await _order(web, job_id, "retry", key)


@post(
    "/api/jobs/{job_id:str}/cancel",
    status_code=HTTPStatus.OK,
    guards=[ours_only],
    summary="End a job that has not ended",
)
async def cancel(web: State, job_id: FromPath[str], key: IdempotencyKey = None) -> dict[str, Any]:
    """End the job; its pipeline is stopped, its files are kept.

    409 if it has ended, 422 if the key was another request's, 503 if nobody answers now.
    """
    return await _order(web, job_id, "cancel", key)


async def _order(
    web: State, job_id: str, action: Literal["retry", "cancel"], key: str | None
) -> dict[str, Any]:
    done: Job = await obeyed(
        web.orders,
        lambda reply: JobOrder(job_id=job_id, action=action, key=digest_of(key), reply=reply),
    )
    return _detail(done)


JOBS = [jobs, job, retry, cancel]
