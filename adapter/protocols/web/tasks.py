"""Registered results: Clara's Results Service, of which this adapter is one (docs/results.md).

Whoever has results registers them; an agent takes what is pending and reports what became of it.
Every change is an order to the tasks actor, and durable when it is answered.
"""

from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, Any

import msgspec
import trio
from litestar import Response, get, post, put
from litestar.exceptions import HTTPException, NotFoundException
from litestar.params import Body, FromPath, JSONBody, QueryParameter
from msgspec import Meta, Struct

from adapter.channels import UNANSWERED, ask
from adapter.domain.identifiers import is_relative_path
from adapter.domain.records import DONE_FLAG
from adapter.domain.tables import StepEvent, TaskState
from adapter.domain.tasks import (
    Task,
    TaskOrder,
    TaskRefusal,
    TaskRefused,
    TaskRegistered,
    TaskReported,
    TasksTaken,
)
from adapter.domain.views import Views
from adapter.errors import RowNotFoundError
from adapter.protocols.web.entity_forms import Objections
from adapter.protocols.web.health import State
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
from adapter.protocols.web.views import camel, checked, state_query

ANSWER_S = 10.0
TAKEN_MAX = 100
"""Tasks in an answer; each lists its files."""
DESTINATIONS_MAX = 64
Agent = Annotated[str, Meta(max_length=64, pattern=r"^([A-Za-z0-9][A-Za-z0-9 ._-]*)?$(?!\n)")]
DestinationText = Annotated[str, Meta(min_length=1, max_length=255)]
InTaskState = Annotated[str | None, state_query(TaskState)]
Size = Annotated[int, QueryParameter(ge=1, le=TAKEN_MAX)]
_STATUS = {
    TaskRefusal.UNKNOWN: HTTPStatus.NOT_FOUND,
    TaskRefusal.STATE: HTTPStatus.CONFLICT,
    TaskRefusal.INVALID: HTTPStatus.BAD_REQUEST,
}


class Registration(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Results of a job for an agent."""

    job_id: Annotated[str, Meta(min_length=1, max_length=64)]
    agent: Agent = ""
    """Empty: this adapter, which exports them."""
    destinations: (
        DestinationText | Annotated[list[DestinationText], Meta(max_length=DESTINATIONS_MAX)]
    ) = msgspec.field(default_factory=list)
    """Names; none: those of the AE Title."""
    uris: Annotated[list[Annotated[str, Meta(min_length=1)]], Meta(min_length=1)]
    """Files, relative to the output folder of the job."""


def _document(web: Views, task: Task) -> dict[str, Any]:
    """Return a task with Clara's names, and what we know of it beside them."""
    row = camel(task)
    del row["id"]
    return {
        **row,
        "taskId": task.id,
        "payloadId": task.job_id,
        "parameters": _parameters(task.destinations),
        "uris": list(web.ledger.tasks.files(task.id)),
    }


def _parameters(destinations: tuple[str, ...]) -> str:
    """Return destinations as Clara has them: a JSON string, or an array of several."""
    if not destinations:
        return ""
    one = destinations[0] if len(destinations) == 1 else destinations
    return msgspec.json.encode(one).decode()


@get("/api/tasks", opt=VIEWER, summary="Registered results, oldest first", response_headers=PAGED)
async def tasks(
    web: State,
    request: AnyRequest,
    in_state: InTaskState = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 100,
    offset: Offset = 0,
) -> Response[list[dict[str, Any]]]:
    """Return a page of the tasks the ledger holds; without their files."""
    wanted, period = checked(in_state, TaskState), Period(since, until)
    tasks = web.ledger.tasks.select({TaskState(wanted)} if wanted else None)
    rows = [task for task in tasks if period.has(task.opened_at)]
    page, headers = page_of(request, rows, limit, offset)
    return Response([_summary(task) for task in page], headers=headers)


def _summary(task: Task) -> dict[str, Any]:
    row = camel(task)
    return {"taskId": row.pop("id"), **row}


@get("/api/tasks/{task_id:str}", opt=VIEWER, summary="One task with its files")
async def task(web: State, task_id: FromPath[str]) -> dict[str, Any]:
    """Return one task."""
    try:
        return _document(web, web.ledger.tasks.find(task_id))
    except RowNotFoundError as error:
        raise NotFoundException(str(error)) from None


@post("/api/tasks", opt=OPERATOR, summary="Register results of a job")
async def register(web: State, data: JSONBody[Registration]) -> Response[dict[str, Any]]:
    """Register results: 201 with the task; 200 if the same was registered before.

    400 with all `problems`, 404 if there is no such job, 503 if nobody answers now.
    """
    problems = [
        f"uris: {uri[:80]!r} does not name a file below the output folder"
        for uri in data.uris
        if not is_relative_path(uri) or uri == DONE_FLAG
    ]
    if problems:
        raise Objections(HTTPStatus.BAD_REQUEST, problems[:20])
    names = data.destinations
    done: tuple[Task, bool] = await _order(
        web,
        lambda reply: TaskRegistered(
            job_id=data.job_id,
            agent=data.agent,
            destinations=(names,) if isinstance(names, str) else tuple(names),
            files=tuple(dict.fromkeys(data.uris)),
            reply=reply,
        ),
    )
    made, new = done
    return Response(
        _document(web, made),
        status_code=HTTPStatus.CREATED if new else HTTPStatus.OK,
        headers={"Location": f"/api/tasks/{made.id}"},
    )


@get(
    "/api/tasks/{agent:str}/pending",
    opt=OPERATOR,
    summary="Take pending tasks of an agent",
)
async def pending(web: State, agent: FromPath[str], size: Size = 10) -> list[dict[str, Any]]:
    """Return tasks that are the agent's from now on, until it reports or its time is over.

    409 for the adapter's own agent, 503 if nobody answers now.
    """
    taken: list[Task] = await _order(
        web, lambda reply: TasksTaken(agent=agent, size=size, reply=reply)
    )
    return [_document(web, task) for task in taken]


@put("/api/tasks/success/{task_id:str}", opt=OPERATOR, summary="A task has succeeded")
async def success(web: State, task_id: FromPath[str]) -> dict[str, Any]:
    """Take the report; again is harmless. Also ends a failed task that nobody wants any more.

    404, 409 if the adapter exports it itself, 503 if nobody answers now.
    """
    return await _report(web, task_id, StepEvent.SUCCEED)


Failure = Annotated[
    dict[str, Any] | None,
    Body(description='`{"RetryLater": true}`: offer it again after a while; false: it is held.'),
]


@put("/api/tasks/failure/{task_id:str}", opt=OPERATOR, summary="A task has failed")
async def failure(web: State, task_id: FromPath[str], data: Failure = None) -> dict[str, Any]:
    """Take the report; again is harmless.

    400, 404, 409 if it has succeeded or the adapter exports it itself, 503.
    """
    later = {key.casefold(): value for key, value in (data or {}).items()}.get("retrylater", False)
    if not isinstance(later, bool):
        raise Objections(HTTPStatus.BAD_REQUEST, ["RetryLater: is neither true nor false"])
    return await _report(web, task_id, StepEvent.FAIL if later else StepEvent.GIVE_UP)


@post(
    "/api/tasks/{task_id:str}/retry",
    status_code=HTTPStatus.OK,
    opt=OPERATOR,
    summary="Have a failed task done again",
)
async def retry_task(web: State, task_id: FromPath[str]) -> dict[str, Any]:
    """Have it pending again; one that is pending stays so.

    404, 409 if it is in progress or done, 503 if nobody answers now.
    """
    return await _report(web, task_id, StepEvent.RESUBMIT)


async def _report(web: Views, task_id: str, event: StepEvent) -> dict[str, Any]:
    done: Task = await _order(
        web, lambda reply: TaskReported(task_id=task_id, event=event, reply=reply)
    )
    return _document(web, done)


async def _order(web: Views, order: Callable[[trio.MemorySendChannel[Any]], TaskOrder]) -> Any:
    """Return the answer to an order.

    Raises:
        HTTPException: Nothing was changed, or nobody answers.
    """
    try:
        done: Any = await ask(web.task_orders, order, ANSWER_S)
    except UNANSWERED:
        raise HTTPException("nobody answers now; ask again", status_code=503) from None
    if isinstance(done, TaskRefused):
        raise Objections(_STATUS[done.refusal], done.problems)
    return done


TASKS = [tasks, task, register, pending, success, failure, retry_task]
