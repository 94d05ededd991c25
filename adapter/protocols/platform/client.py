"""HTTP to a platform: one request, one checked answer (`protocols.http_exchange`).

Rules: every request may be repeated, so nothing is lost by giving up on one; files are streamed
both ways.
"""

import base64
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from urllib.parse import quote

import httpx2
import trio

from adapter.domain.job_files import FileReading
from adapter.errors import PipelineError, PostponedError, UnavailableError
from adapter.protocols.dimse.tls_contexts import TlsContext
from adapter.protocols.http_exchange import (
    CHUNK,
    HttpConnections,
    NoAnswerError,
    bounded,
    exchange_errors,
    secret_reader,
)
from adapter.protocols.platform.contract import Answer, decoded, refusal

JSON = "application/json"
BODY_BYTES_MAX = 64 << 20
"""Of a listing: some 300 000 results."""
PROBLEM_BYTES_MAX = 64 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpOptions:
    """`platform.endpoint` and `platform.http.*`."""

    endpoint: str
    tls: TlsContext | None
    """None: the endpoint is `http`."""
    api_key: Callable[[], str]
    """Empty: none is sent."""
    connect_s: float
    answer_s: float


class PlatformClient:
    """Speaks to one platform."""

    def __init__(self, options: HttpOptions) -> None:
        self._options = options
        self._base = options.endpoint.rstrip("/")
        self._connections = HttpConnections(options.tls, options.connect_s, options.answer_s)
        self.outage = ""
        """Why the last request got no answer of the contract; empty: it got one."""

    async def close(self) -> None:
        """Close idle connections."""
        await self._connections.close()

    async def call(
        self, method: str, parts: tuple[str, ...], kind: type[Answer], body: bytes | None = None
    ) -> Answer:
        """Make a request and return its answer.

        Raises:
            PostponedError: There is none, or none of the contract.
            PipelineError: The platform refuses.
        """
        headers = {"Content-Type": JSON} if body is not None else {}
        with self._whole_answer():
            async with self._exchange(method, parts, headers, body) as response:
                return decoded(await bounded(response, BODY_BYTES_MAX), kind)

    @contextmanager
    def _whole_answer(self) -> Iterator[None]:
        answer_s = self._options.connect_s + self._options.answer_s
        try:
            with trio.fail_after(answer_s):
                yield
        except trio.TooSlowError as error:
            self.outage = f"the platform gave no answer in {answer_s:g} s"
            raise PostponedError(self.outage) from error

    async def upload(
        self, parts: tuple[str, ...], reading: FileReading, size: int, sha256: bytes
    ) -> None:
        """Send a file as it is read.

        Raises:
            PostponedError, PipelineError: See `call`.
        """
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(size),
            "Content-Digest": f"sha-256=:{base64.b64encode(sha256).decode('ascii')}:",  # RFC 9530
        }
        async with self._exchange("PUT", parts, headers, reading):
            pass

    @asynccontextmanager
    async def download(self, parts: tuple[str, ...]) -> AsyncIterator[AsyncIterator[bytes]]:
        """Receive a file in chunks.

        Raises:
            PostponedError, PipelineError: See `call`.
        """
        async with (
            self._exchange("GET", parts, {}, None) as response,
            aclosing(response.aiter_raw(CHUNK)) as chunks,
        ):
            yield chunks

    @asynccontextmanager
    async def _exchange(
        self,
        method: str,
        parts: tuple[str, ...],
        headers: dict[str, str],
        body: bytes | FileReading | None,
    ) -> AsyncIterator[httpx2.Response]:
        """Hold a 2xx answer whose body was not read yet."""
        path = "/".join(quote(part, safe="") for part in parts)
        with self._watched(), _outages():
            if key := self._options.api_key():
                headers["Authorization"] = f"Bearer {key}"
            async with self._connections.current().stream(
                method, f"{self._base}/{path}", headers=headers, content=body
            ) as response:
                if not response.is_success:
                    problem = await bounded(response, PROBLEM_BYTES_MAX)
                    raise refusal(response.status_code, response.headers, problem)
                yield response

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Remember whether there was an answer."""
        try:
            yield
        except PostponedError as error:
            self.outage = str(error)
            raise
        except PipelineError:
            self.outage = ""
            raise
        self.outage = ""


@contextmanager
def _outages() -> Iterator[None]:
    """No answer is a reason to try again later."""
    try:
        with exchange_errors():
            yield
    except NoAnswerError as error:
        raise PostponedError(str(error)) from error


def key_reader(key: str, file: str) -> Callable[[], str]:
    """Return what gives the API key: the one that is configured, or what a file holds now.

    Raises (what is returned):
        PostponedError: The file cannot be read, or holds no key.
    """
    if not file:
        return lambda: key
    read_file = secret_reader("platform.http.api_key_file", file)

    def read() -> str:
        try:
            return read_file()
        except UnavailableError as error:
            raise PostponedError(str(error)) from error

    return read
