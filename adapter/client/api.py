"""The REST API of a running adapter, as a client sees it."""

import http
import http.client
import ssl
from typing import Any, Protocol
from urllib.parse import SplitResult, urlsplit

import msgspec

from adapter.client.trust import untrusted

TIMEOUT_S = 30.0
BODY_BYTES_MAX = 64 << 20


class ApiError(Exception):
    """The adapter said no, or nobody said anything; the text is one line for a person."""

    def __init__(self, text: str, status: int | None = None) -> None:
        """Prepare it; status is that of the adapter's answer (RFC 9110), None: there is none."""
        super().__init__(text)
        self.status = status


class UnansweredError(ApiError):
    """No adapter said anything, or none that can now: it may later."""


class Access(Protocol):
    """A running adapter, and how to be let in."""

    @property
    def url(self) -> str: ...

    @property
    def api_key(self) -> str:
        """Empty: without one."""


def credentials(access: Access) -> dict[str, str]:
    """Return the header that says who asks (RFC 6750)."""
    return {"Authorization": f"Bearer {access.api_key}"} if access.api_key else {}


def address(access: Access) -> SplitResult:
    """Return its parts; a path is one of a proxy.

    Raises:
        ApiError: It cannot be one of an adapter.
    """
    url = access.url
    try:
        parts = urlsplit(url)
        _ = parts.port  # it is read when it is asked for
    except ValueError as error:
        raise ApiError(f"{url!r} is no address: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ApiError(f"{url!r} is no address such as http://127.0.0.1:5000")
    return parts


def call(
    access: Access, method: str, path: str, document: Any = None, *, timeout_s: float = TIMEOUT_S
) -> Any:
    """Return the decoded answer of the adapter; document is what it is sent as JSON.

    Raises:
        ApiError: There is none, or it is a problem (RFC 9457).
    """
    url, parts = access.url, address(access)
    secure = parts.scheme == "https"
    connect = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    try:
        connection = connect(str(parts.hostname), parts.port, timeout=timeout_s)
        try:
            body, headers = None, credentials(access)
            if document is not None:
                body = msgspec.json.encode(document)
                headers["Content-Type"] = "application/json"
            connection.request(method, parts.path.rstrip("/") + path, body, headers)
            response = connection.getresponse()
            status, answer = response.status, response.read(BODY_BYTES_MAX)
        finally:
            connection.close()
    except ssl.SSLCertVerificationError as error:
        raise ApiError(f"{url}: {untrusted(error)}") from None
    except (OSError, ValueError, http.client.HTTPException):
        raise UnansweredError(f"{url}: no adapter answers there") from None
    return _decoded(url, status, answer)


def _decoded(url: str, status: int, body: bytes) -> Any:
    if status == http.HTTPStatus.NO_CONTENT:
        return None
    try:
        answer = msgspec.json.decode(body)
        if status >= 400:
            kind = UnansweredError if status >= 500 else ApiError
            raise kind(str(answer["detail"]), status)
    except (msgspec.DecodeError, KeyError, TypeError):
        said = f"{url}: what answers there is no adapter (HTTP status {status})"
        raise UnansweredError(said) from None
    return answer
