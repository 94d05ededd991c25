"""What is said to a platform over HTTP, and what it may answer: docs/platform-api.yaml.

Pure: bytes in, values out. An answer that is not of this form is nobody's word (a proxy answers so
while the platform is away), so it counts as an outage. Text for people is cut and stripped of what
could forge a log line.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from adapter.domain.identifiers import is_relative_path
from adapter.domain.job_files import JobFile
from adapter.domain.records import DONE_FLAG, Job
from adapter.errors import PipelineError, PostponedError

PROBLEM = "application/problem+json"  # RFC 9457
REASON_LENGTH_MAX = 300
OUTAGE_STATUSES = frozenset({401, 403, 408, 425, 429})
"""Client errors that a change elsewhere cures: a key, a pause."""
NOT_OF_THE_CONTRACT = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What the decoder says of other bytes; it stops at a depth of some thousand."""
RETRY_AFTER_S_MAX = 3600
_UNPRINTABLE = re.compile(r"[^\x20-\x7e\xa0-\ud7ff]+")


class UnknownJobError(PipelineError):
    """The platform has no such job, or no such file of it."""


class JobRequest(Struct, frozen=True, kw_only=True, rename="camel"):
    """Announces a job."""

    name: str
    pipeline_id: str
    priority: str
    source: str
    instances: int
    bytes: int


class JobStatus(Struct, frozen=True, kw_only=True):
    """How far a job is."""

    id: Annotated[str, Meta(max_length=128, pattern=r"^[ -~]*$(?!\n)")]
    state: Literal["created", "waiting", "running", "succeeded", "failed", "cancelled"]
    reason: str = ""


class InputFile(Struct, frozen=True, kw_only=True):
    path: str
    bytes: int


class InputFiles(Struct, frozen=True, kw_only=True):
    """What the platform has of a payload."""

    files: list[InputFile]


class ResultFile(Struct, frozen=True, kw_only=True):
    path: str
    bytes: Annotated[int, Meta(ge=0, lt=1 << 62)]
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$(?!\n)")]


class ResultFiles(Struct, frozen=True, kw_only=True):
    """What a pipeline left."""

    files: list[ResultFile]


class Problem(Struct, frozen=True, kw_only=True):
    title: str = ""
    detail: str = ""


Answer = TypeVar("Answer", JobStatus, InputFiles, ResultFiles, None)


def job_request(job: Job) -> bytes:
    """Return the body that announces a job."""
    return msgspec.json.encode(
        JobRequest(
            name=job.name, pipeline_id=job.pipeline_id, priority=job.priority,
            source=job.source, instances=job.instances, bytes=job.payload_bytes,
        )
    )  # fmt: skip


def decoded(body: bytes, kind: type[Answer]) -> Answer:
    """Return a body of the contract.

    Raises:
        PostponedError: It is not one.
    """
    if kind is type(None):
        return None
    try:
        return msgspec.json.decode(body, type=kind)
    except NOT_OF_THE_CONTRACT as error:
        raise PostponedError(f"the platform's answer is not of the contract: {error}") from error


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> PipelineError | PostponedError:
    """Return what an answer other than 2xx means."""
    try:
        problem = msgspec.json.decode(body, type=Problem)
    except NOT_OF_THE_CONTRACT:
        problem = Problem()
    words = printable(problem.detail or problem.title)
    told = f"{status}: {words}" if words else f"{status}"
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if 400 <= status < 500 and status not in OUTAGE_STATUSES and kind == PROBLEM:
        refused = UnknownJobError if status == 404 else PipelineError
        return refused(f"the platform refuses ({told})")
    if status in (401, 403):
        return PostponedError(f"the platform does not take our API key ({told})")
    if 300 <= status < 400:
        return PostponedError(f"the platform answers with a redirect ({told})")
    if 400 <= status < 500 and status not in OUTAGE_STATUSES:
        return PostponedError(f"somebody else answers for the platform ({told})")
    return PostponedError(
        f"the platform cannot serve now ({told})", retry_after_s(headers.get("retry-after", ""))
    )


def retry_after_s(text: str) -> float:
    """Return the seconds of a Retry-After (RFC 9110 10.2.3); a date is not looked at."""
    if not re.fullmatch(r"[0-9]{1,9}", text.strip(), re.ASCII):
        return 0.0
    return float(min(int(text), RETRY_AFTER_S_MAX))


def printable(text: str) -> str:
    """Return text from the network as one line for people."""
    return " ".join(_UNPRINTABLE.sub(" ", text).split())[:REASON_LENGTH_MAX]


def checked_results(listing: ResultFiles) -> list[JobFile]:
    """Return the results that are offered; all of them name different files below a folder.

    Raises:
        PipelineError: One of them does not.
    """
    seen: set[str] = set()
    folders: set[str] = set()
    for file in listing.files:
        path = file.path
        if not is_relative_path(path):
            raise PipelineError(f"the platform offers a result with the name {_shown(path)}")
        if path == DONE_FLAG or path in seen:
            raise PipelineError(f"the platform offers {_shown(path)} which is taken")
        seen.add(path)
        while (path := path.rpartition("/")[0]) and path not in folders:
            folders.add(path)
    if both := seen & folders or {p for p in folders if p == DONE_FLAG}:
        raise PipelineError(f"the platform offers {_shown(min(both))} as a file and as a folder")
    return [JobFile(path=f.path, size=f.bytes, sha256=f.sha256) for f in listing.files]


def _shown(path: str) -> str:
    return ascii(path[:80])
