"""Jobs: what they are, and what an operator may want of them.

A change is an order to the submitter, which answers with the job as it is then.
"""

from collections.abc import Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Annotated, Any

from litestar import Response, get, post
from litestar.exceptions import NotFoundException
from litestar.params import FromPath, QueryParameter

from adapter.domain.messages import JobAction, JobOrder
from adapter.domain.records import Job
from adapter.domain.tables import JobState
from adapter.errors import RowNotFoundError, UnavailableError
from adapter.protocols.web.health import State
from adapter.protocols.web.orders import IdempotencyKey, digest_of, obeyed
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
from adapter.protocols.web.roles import OPERATOR, VIEWER
from adapter.protocols.web.views import OfAeTitle, camel, checked, state_query

InJobState = Annotated[str | None, state_query(JobState)]
OfPipeline = Annotated[str | None, QueryParameter(name="pipeline", description="Its name.")]


def _summary(job: Job) -> dict[str, Any]:
    row = camel(job)
    del row["history"]
    return row


async def _detail(web: State, job: Job) -> dict[str, Any]:
    """Return a job with its latest states and its studies: none that cannot be read now."""
    studies: Sequence[str] = ()
    with suppress(UnavailableError):
        studies = await web.survey.studies(job.id)
    return camel(job, history=[camel(change) for change in job.history], studies=[*studies])


@get("/api/jobs", opt=VIEWER, summary="Jobs, oldest first", response_headers=PAGED)
async def jobs(
    web: State,
    request: AnyRequest,
    in_state: InJobState = None,
    ae_title: OfAeTitle = None,
    pipeline: OfPipeline = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 100,
    offset: Offset = 0,
) -> Response[list[dict[str, Any]]]:
    """Return a page of the jobs the ledger holds."""
    wanted, period = checked(in_state, JobState), Period(since, until)
    rows = [
        job
        for job in await web.ledger.jobs(frozenset({JobState(wanted)}) if wanted else None)
        if ae_title in (None, job.ae_title)
        and pipeline in (None, job.pipeline)
        and period.has(job.opened_at)
    ]
    page, headers = page_of(request, rows, limit, offset)
    return Response([_summary(job) for job in page], headers=headers)


@get("/api/jobs/{job_id:str}", opt=VIEWER, summary="One job with its latest states")
async def job(web: State, job_id: FromPath[str]) -> dict[str, Any]:
    """Return one job, the states it came into, oldest first, and its Study Instance UIDs."""
    try:
        found = await web.ledger.job(job_id)
    except RowNotFoundError as error:
        raise NotFoundException(str(error)) from None
    return await _detail(web, found)


@post(
    "/api/jobs/{job_id:str}/retry",
    status_code=HTTPStatus.OK,
    opt=OPERATOR,
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
    opt=OPERATOR,
    summary="End a job that has not ended",
)
async def cancel(web: State, job_id: FromPath[str], key: IdempotencyKey = None) -> dict[str, Any]:
    """End the job; its pipeline is stopped, its files are kept.

    409 if it has ended, 422 if the key was another request's, 503 if nobody answers now.
    """
    return await _order(web, job_id, "cancel", key)


@post(
    "/api/jobs/{job_id:str}/hold",
    status_code=HTTPStatus.OK,
    opt=OPERATOR,
    summary="Keep the files of a job, whatever retention says",
)
async def hold(web: State, job_id: FromPath[str]) -> dict[str, Any]:
    """Have the reclaimer leave the job alone until it is released; it runs as any other.

    409 if its removal has begun, 503 if nobody answers now.
    """
    return await _order(web, job_id, "hold", None)


@post(
    "/api/jobs/{job_id:str}/release",
    status_code=HTTPStatus.OK,
    opt=OPERATOR,
    summary="Let retention decide about the files of a job again",
)
async def release(web: State, job_id: FromPath[str]) -> dict[str, Any]:
    """End what `hold` began. 409 if its removal has begun, 503 if nobody answers now."""
    return await _order(web, job_id, "release", None)


async def _order(web: State, job_id: str, action: JobAction, key: str | None) -> dict[str, Any]:
    done: Job = await obeyed(
        web.orders,
        lambda reply: JobOrder(job_id=job_id, action=action, key=digest_of(key), reply=reply),
    )
    return await _detail(web, done)


JOBS = [jobs, job, retry, cancel, hold, release]
