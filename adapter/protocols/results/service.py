"""A Results Service elsewhere, with Clara's three calls (port `ResultsService`).

Every call may be repeated. An answer that is not of the contract is nobody's word, so it counts as
an outage; a task of it that cannot be read is a task that has failed, and holds up no other.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx2
import msgspec
import structlog
import trio

from adapter.domain.results_service import OfferedTask, TaskReport, offered_task
from adapter.errors import PipelineError, UnavailableError
from adapter.protocols.dimse.tls_contexts import TlsContext
from adapter.protocols.http_exchange import CHUNK, HttpConnections, bounded, exchange_errors

log = structlog.get_logger("adapter.results")

BODY_BYTES_MAX = 16 << 20
GONE = frozenset({404, 410})


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceOptions:
    """`results.*`."""

    service_url: str
    files_url: str
    tls: TlsContext | None
    """None: both are `http`."""
    api_key: Callable[[], str]
    """Empty: none is sent."""
    connect_s: float
    answer_s: float


class ResultsServiceClient:
    """Speaks to one service."""

    def __init__(self, options: ServiceOptions) -> None:
        self._options = options
        self._connections = HttpConnections(options.tls, options.connect_s, options.answer_s)
        self.outage = ""

    async def pending(self, agent: str, size: int) -> list[OfferedTask]:
        """See `ResultsService.pending`."""
        url = f"{self._service}/api/tasks/{quote(agent, safe='')}/pending?size={size}"
        with self._watched(), self._whole_answer():
            async with self._exchange("GET", url) as response:
                _expect_success(response)
                body = await bounded(response, BODY_BYTES_MAX)
            return _tasks(body)

    @property
    def _service(self) -> str:
        return self._options.service_url.rstrip("/")

    async def report(self, task_id: str, report: TaskReport) -> None:
        """See `ResultsService.report`."""
        what = "success" if report.success else "failure"
        url = f"{self._service}/api/tasks/{what}/{quote(task_id, safe='')}"
        body = None if report.success else msgspec.json.encode({"RetryLater": report.retry_later})
        with self._watched(), self._whole_answer():
            async with self._exchange("PUT", url, body) as response:
                if response.status_code not in GONE:
                    _expect_success(response)

    @asynccontextmanager
    async def download(self, task: OfferedTask, uri: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """See `ResultsService.download`."""
        parts = [quote(part, safe="") for part in (task.payload_id, *uri.split("/"))]
        url = "/".join([self._options.files_url.rstrip("/"), *parts])
        async with self._exchange("GET", url) as response:
            if response.status_code in GONE:
                raise PipelineError("the service does not have a file of the task")
            _expect_success(response)
            async with aclosing(response.aiter_raw(CHUNK)) as chunks:
                yield chunks

    @asynccontextmanager
    async def _exchange(
        self, method: str, url: str, body: bytes | None = None
    ) -> AsyncIterator[httpx2.Response]:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if key := self._options.api_key():
            headers["Authorization"] = f"Bearer {key}"
        with exchange_errors():
            async with self._connections.current().stream(
                method, url, headers=headers, content=body
            ) as response:
                yield response

    @contextmanager
    def _whole_answer(self) -> Iterator[None]:
        answer_s = self._options.connect_s + self._options.answer_s
        try:
            with trio.fail_after(answer_s):
                yield
        except trio.TooSlowError as error:
            raise UnavailableError(f"no whole answer in {answer_s:g} s") from error

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Remember whether there was an answer of the contract."""
        try:
            yield
        except UnavailableError as error:
            self.outage = str(error)
            raise
        self.outage = ""


def _expect_success(response: httpx2.Response) -> None:
    if not response.is_success:
        raise UnavailableError(f"it answers {response.status_code}")


def _tasks(body: bytes) -> list[OfferedTask]:
    """Return the tasks of an answer.

    Raises:
        UnavailableError: It is not one of the contract.
    """
    try:
        documents: list[Any] = msgspec.json.decode(body, type=list)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UnavailableError("its answer is not of the contract") from error
    tasks = []
    for document in documents:
        if (task := offered_task(document)) is None:
            log.warning("task.unreadable", why="it has no usable taskId")
        else:
            tasks.append(task)
    return tasks
