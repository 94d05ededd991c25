"""Results in the configuration, and a Results Service elsewhere: its offers, and our reports."""

import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import msgspec
from msgspec import Meta, Struct, field

from adapter.domain.entities import SECRET, DestinationTls, FilePath
from adapter.domain.http_endpoint import Seconds, is_endpoint
from adapter.domain.identifiers import is_relative_path
from adapter.domain.records import DONE_FLAG, Export
from adapter.domain.tables import TaskState
from adapter.domain.tasks import Task

TASK_ID = re.compile(r"[A-Za-z0-9-]{1,64}", re.ASCII)
"""A GUID, in any form."""
URIS_MAX = 100_000
DESTINATIONS_MAX = 64


class ResultsSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`results`."""

    report_s: Annotated[float, Meta(ge=1, le=604_800)] = 3600.0
    """So long an agent that has taken a task has to report; then it is offered again."""
    retry_delay_s: Annotated[float, Meta(ge=0, le=86_400)] = 60.0
    """Before a task is offered again whose agent wants to retry it later."""
    service_url: Annotated[str, Meta(max_length=2048)] = ""
    """Of a Results Service elsewhere; empty: there is none."""
    poll_ms: Annotated[int, Meta(ge=10, le=3_600_000)] = 500
    files_url: Annotated[str, Meta(max_length=2048)] = ""
    """Where its files are: `<files_url>/<payloadId>/<uri>`; empty: in the folders of our jobs."""
    api_key: Annotated[
        str, Meta(max_length=4096, pattern=r"^[!-~]*$(?!\n)", extra_json_schema=SECRET)
    ] = ""
    api_key_file: FilePath = ""
    tls: DestinationTls = field(default_factory=DestinationTls)
    connect_s: Seconds = 10.0
    answer_s: Seconds = 60.0
    fetch_s: Annotated[float, Meta(gt=0, le=86_400)] = 600.0
    """For a file to come whole."""


def results_problems(results: ResultsSettings) -> Iterator[str]:
    """Yield what is wrong between the keys of `results`."""
    for key, url in (("service_url", results.service_url), ("files_url", results.files_url)):
        if url and not is_endpoint(url):
            yield (
                f"results.{key} = {url!r}: is no address such as https://results.example.org, "
                "without user, query and fragment"
            )
    if results.files_url and not results.service_url:
        yield "results.files_url: there is no results.service_url"
    if results.api_key and results.api_key_file:
        yield "results.api_key_file: there is results.api_key as well"
    if results.tls.key and not results.tls.certificate:
        yield "results.tls.key: a key needs its certificate"


class OfferedTask(Struct, frozen=True, kw_only=True):
    """A task as a service offers it, checked."""

    id: str
    job_id: str = ""
    payload_id: str = ""
    pipeline_id: str = ""
    destinations: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()
    retries: int = 0
    problem: str = ""
    """Why nothing can be done with it, now or later."""


class _Offer(Struct, frozen=True, kw_only=True, rename="camel"):
    job_id: str | None = None
    payload_id: str | None = None
    pipeline_id: str | None = None
    parameters: str | None = None
    retries: Annotated[int, Meta(ge=0, lt=1 << 31)] = 0
    uris: Annotated[list[str], Meta(max_length=URIS_MAX)] | None = None


def offered_task(document: Any) -> OfferedTask | None:
    """Return what a service offers; None: it cannot even be reported, for want of an id."""
    task_id = document.get("taskId") if isinstance(document, dict) else None
    if not isinstance(task_id, str) or not TASK_ID.fullmatch(task_id):
        return None
    try:
        offer = msgspec.convert(document, _Offer)
    except msgspec.ValidationError as error:
        return OfferedTask(id=task_id, problem=str(error))
    uris = tuple(dict.fromkeys(uri.removeprefix("/") for uri in offer.uris or ()))
    names = _named(offer.parameters or "")
    task = OfferedTask(
        id=task_id,
        job_id=(offer.job_id or "")[:64],
        payload_id=(offer.payload_id or "")[:128],
        pipeline_id=(offer.pipeline_id or "")[:128],
        retries=offer.retries,
    )
    if names is None:
        return msgspec.structs.replace(task, problem="parameters name no destinations")
    if not _can_lie_together(uris):
        return msgspec.structs.replace(task, problem="a uri does not name a file of the payload")
    return msgspec.structs.replace(task, destinations=names, uris=uris)


def _can_lie_together(uris: Sequence[str]) -> bool:
    """Return whether these are names of files below a folder, and none is a folder of another."""
    folders: set[str] = set()
    for uri in uris:
        if not is_relative_path(uri):
            return False
        path = uri
        while (path := path.rpartition("/")[0]) and path not in folders:
            folders.add(path)
    return DONE_FLAG not in folders and folders.isdisjoint(uris) and DONE_FLAG not in uris


def _named(parameters: str) -> tuple[str, ...] | None:
    """Return the destinations that `parameters` names: a JSON string, or an array of them.

    The bare name is taken as well. None: something else.
    """
    text = parameters.strip()
    if not text:
        return ()
    try:
        found: str | list[str] = msgspec.json.decode(text, type=str | list[str])
    except (msgspec.MsgspecError, RecursionError):
        found = text
        if not re.fullmatch(r"@?[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", text, re.ASCII):
            return None
    names = (found,) if isinstance(found, str) else tuple(found)
    return names if len(names) <= DESTINATIONS_MAX and all(names) else None


class TaskReport(Struct, frozen=True):
    """What a service is told of a task that has ended."""

    success: bool
    retry_later: bool = False


def task_report(
    task: Task, exports: Sequence[Export], failure_threshold: float, max_retries: int
) -> TaskReport:
    """Return what is reported: Clara's rule, over every file and destination of the task.

    It decides nothing here: what was not delivered stays, whatever was reported.
    """
    if task.state is TaskState.SUCCEEDED:
        return TaskReport(True)
    missing = task.missing * max(len(exports), 1)
    failed = missing + sum(export.failed for export in exports)
    wanted = missing + sum(export.instances for export in exports)
    if wanted and exports and failed / wanted <= failure_threshold:
        return TaskReport(True)
    return TaskReport(False, retry_later=task.retries < max_retries)


class ResultsService(Protocol):
    """A Results Service elsewhere.

    Raises (all methods):
        UnavailableError: It is away, or its answer is not of the contract.
    """

    outage: str
    """Why it could not be used when it was asked last; empty: it could."""

    async def pending(self, agent: str, size: int) -> list[OfferedTask]:
        """Return tasks of an agent that it offers."""

    async def report(self, task_id: str, report: TaskReport) -> None:
        """Report; a service that does not know the task any more has what it wants."""

    def download(
        self, task: OfferedTask, uri: str
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Receive a file in chunks.

        Raises:
            PipelineError: There is no such file.
        """


class FetchedFiles(Protocol):
    """Job folders for results that were fetched.

    Raises (all methods):
        UnavailableError: The storage is full, or fails.
    """

    async def missing(self, job_id: str, files: Sequence[str]) -> list[str]:
        """Return which of these files were not fetched yet."""

    async def receive(self, job_id: str, file: str, chunks: AsyncIterator[bytes]) -> None:
        """Write a file durably.

        Cancel: nothing of it stays.
        """

    async def finish(self, job_id: str) -> None:
        """Turn what was fetched into the folder of a job, durably; again is harmless."""

    async def discard(self, job_id: str) -> None:
        """Delete what was fetched, finished or not; again is harmless."""


@dataclass(frozen=True, slots=True)
class ServiceEdges:
    """A Results Service, and where its files go."""

    service: ResultsService
    files: FetchedFiles
