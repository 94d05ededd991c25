"""What our HTTP clients have in common (httpx2 on Trio): connections, what goes wrong, secrets.

Nothing of an answer is believed before it is bounded. No redirects, no proxies, no cookies and no
credentials but those that are configured; bodies are never inflated.
"""

import os
import re
import ssl
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path

import httpx2

from adapter.errors import UnavailableError
from adapter.protocols.dimse.tls_contexts import TlsContext

CHUNK = 1 << 20
IDLE_S = 2.0
"""An idle connection is kept so long: less than any server does, or it closes as we ask."""
TOKEN = re.compile(r"[!-~]+", re.ASCII)
SECRET_BYTES_MAX = 64 << 10


class NoAnswerError(UnavailableError):
    """There is no answer, or no whole one.

    Attributes:
        connected: Whether there was a connection, so that a request may have had an effect.
    """

    def __init__(self, words: str, *, connected: bool) -> None:
        super().__init__(words)
        self.connected = connected


class HttpConnections:
    """Connections to one server."""

    def __init__(self, tls: TlsContext | None, connect_s: float, answer_s: float) -> None:
        """Open nothing yet; tls None: it is plain `http`."""
        self._tls = tls
        self._timeout = httpx2.Timeout(answer_s, connect=connect_s)
        self._client: httpx2.AsyncClient | None = None
        self._context: ssl.SSLContext | None = None

    def current(self) -> httpx2.AsyncClient:
        """Return the client; a new one if the files for TLS have changed."""
        context = self._tls.current() if self._tls else None
        if self._client is None or context is not self._context:
            # The one before goes when its last exchange ends; its idle connections with it.
            self._context = context
            self._client = httpx2.AsyncClient(
                verify=context or False,  # False: plain http, nothing to verify
                headers={"Accept-Encoding": "identity", "User-Agent": "dicom-adapter"},
                timeout=self._timeout,
                limits=httpx2.Limits(max_connections=None, keepalive_expiry=IDLE_S),
                trust_env=False,
            )
            self._client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=()))
        return self._client

    async def close(self) -> None:
        """Close idle connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None


async def bounded(response: httpx2.Response, bytes_max: int) -> bytes:
    """Return the body of an answer.

    Raises:
        NoAnswerError: It is longer.
    """
    body = bytearray()
    too_long = NoAnswerError(f"the answer is longer than {bytes_max} bytes", connected=True)
    try:
        async with aclosing(response.aiter_raw(CHUNK)) as chunks:
            async for chunk in chunks:
                body += chunk
                if len(body) > bytes_max:
                    await response.aclose()  # the next read ends the library's generators
    except httpx2.TransportError as error:
        if len(body) > bytes_max:
            raise too_long from error
        raise
    if len(body) > bytes_max:
        raise too_long
    return bytes(body)


@contextmanager
def exchange_errors() -> Iterator[None]:
    """Translate what the library says when there is no answer into NoAnswerError."""
    try:
        yield
    except httpx2.ConnectTimeout as error:
        raise NoAnswerError("no connection in time", connected=False) from error
    except httpx2.TimeoutException as error:
        raise NoAnswerError("no answer in time", connected=True) from error
    except httpx2.ConnectError as error:
        raise NoAnswerError(f"no connection: {_words(error)}", connected=False) from error
    except httpx2.TransportError as error:
        raise NoAnswerError(f"the connection was lost: {_words(error)}", connected=True) from error


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


def secret_reader(key: str, file: str, form: "re.Pattern[str]" = TOKEN) -> Callable[[], str]:
    """Return what reads the secret that a file holds now.

    Args:
        key: Of the configuration, for messages; nothing of the file gets into one.
        file: Its path.
        form: Of the secret, without the white space around it.

    Raises (what is returned):
        UnavailableError: The file cannot be read, or holds something else.
    """

    def read() -> str:
        try:
            with Path(file).open("rb") as opened:
                text = opened.read(SECRET_BYTES_MAX).decode().strip()
        except (OSError, UnicodeDecodeError) as error:
            why = (
                error.strerror if isinstance(error, OSError) else "is not of the form it must have"
            )
            raise UnavailableError(f"{key}: {why}") from error
        if not form.fullmatch(text):
            raise UnavailableError(f"{key}: is not of the form it must have")
        return text

    return read
