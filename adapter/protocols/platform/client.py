"""HTTP to a platform: one request, one checked answer (httpx2 on Trio).

Rules: every request may be repeated, so nothing is lost by giving up on one; files are streamed
both ways; nothing of an answer is believed before it is bounded. No redirects, no proxies, no
cookies and no credentials but those that are configured; bodies are never inflated.
"""

import base64
import os
import re
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from urllib.parse import quote

import httpx2
import trio

from adapter.domain.job_files import FileReading
from adapter.errors import PipelineError, PostponedError
from adapter.protocols.dimse.tls_contexts import TlsContext
from adapter.protocols.platform.contract import Answer, decoded, refusal

JSON = "application/json"
BODY_BYTES_MAX = 64 << 20
"""Of a listing: some 300 000 results."""
PROBLEM_BYTES_MAX = 64 << 10
CHUNK = 1 << 20
IDLE_S = 2.0
"""An idle connection is kept so long: less than any server does, or it closes as we ask."""
_KEY = re.compile(r"[!-~]+", re.ASCII)


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
        self._client: httpx2.AsyncClient | None = None
        self._context: ssl.SSLContext | None = None
        self.outage = ""
        """Why the last request got no answer of the contract; empty: it got one."""

    async def close(self) -> None:
        """Close idle connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

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
                return decoded(await _bounded(response, BODY_BYTES_MAX), kind)

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
            async with self._current().stream(
                method, f"{self._base}/{path}", headers=headers, content=body
            ) as response:
                if not response.is_success:
                    problem = await _bounded(response, PROBLEM_BYTES_MAX)
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

    def _current(self) -> httpx2.AsyncClient:
        """Return the client; a new one if the files for TLS have changed."""
        context = self._options.tls.current() if self._options.tls else None
        if self._client is None or context is not self._context:
            options = self._options
            # The one before goes when its last exchange ends; its idle connections with it.
            self._context = context
            self._client = httpx2.AsyncClient(
                verify=context or False,  # False: plain http, nothing to verify
                headers={"Accept-Encoding": "identity", "User-Agent": "dicom-adapter"},
                timeout=httpx2.Timeout(options.answer_s, connect=options.connect_s),
                limits=httpx2.Limits(max_connections=None, keepalive_expiry=IDLE_S),
                trust_env=False,
            )
            self._client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=()))
        return self._client


async def _bounded(response: httpx2.Response, bytes_max: int) -> bytes:
    body = bytearray()
    async with aclosing(response.aiter_raw(CHUNK)) as chunks:
        async for chunk in chunks:
            body += chunk
            if len(body) > bytes_max:
                raise PostponedError(f"the platform's answer is longer than {bytes_max} bytes")
    return bytes(body)


@contextmanager
def _outages() -> Iterator[None]:
    """Translate what the library says when there is no answer."""
    try:
        yield
    except httpx2.TimeoutException as error:
        what = "connection" if isinstance(error, httpx2.ConnectTimeout) else "answer"
        raise PostponedError(f"no {what} in time") from error
    except httpx2.ConnectError as error:
        raise PostponedError(f"no connection: {_words(error)}") from error
    except httpx2.TransportError as error:
        raise PostponedError(f"the connection was lost: {_words(error)}") from error


def _words(error: BaseException) -> str:
    """Return what the system said of the first thing that went wrong."""
    found = str(error) or type(error).__name__
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate: {cause.verify_message}"
        if isinstance(cause, OSError) and cause.errno:
            # Trio's own text holds the address; a failed look-up has a negative number.
            found = os.strerror(cause.errno) if cause.errno > 0 else str(cause.strerror)
        if isinstance(cause, BaseExceptionGroup):  # one for each address of a name
            cause = cause.exceptions[0]
        else:
            cause = cause.__cause__ or cause.__context__
    return found


def key_reader(key: str, file: str) -> Callable[[], str]:
    """Return what gives the API key: the one that is configured, or what a file holds now.

    Raises (what is returned):
        PostponedError: The file cannot be read, or holds no key.
    """
    if not file:
        return lambda: key

    def read() -> str:
        try:
            text = Path(file).read_text("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "is not a key"
            raise PostponedError(f"platform.http.api_key_file: {why}") from error
        if not _KEY.fullmatch(text):
            raise PostponedError("platform.http.api_key_file: is not a key")
        return text

    return read
