"""Destinations of type `dicomweb` (port `Requestor`).

Secrets are read anew for each session, so a renewed one is used without a restart. They go to the
configured address only: no redirect is followed.
"""

import base64
import os
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import trio

from adapter.domain.dimse_ports import Context, EchoResult
from adapter.domain.entities import Destination
from adapter.domain.refusals import Cause
from adapter.domain.statuses import SUCCESS
from adapter.errors import PeerRefusalError, UnavailableError
from adapter.protocols.dicomweb.http_verdict import refusal
from adapter.protocols.dicomweb.store import Service, StoreSession
from adapter.protocols.dimse.tls_contexts import TlsContexts
from adapter.protocols.http_exchange import TOKEN, HttpConnections, secret_reader
from adapter.protocols.uncommitted import UncommittedRequestor

READ_THREADS = 4
"""For the files of all destinations; they are on our own disk."""
CLOSE_S = 1.0
_PASSWORD = re.compile(r"[^\x00-\x1f\x7f]+")


def authorization(destination: Destination) -> str:
    """Return the value of its Authorization (RFC 7617, RFC 6750); empty: it has none.

    Raises:
        UnavailableError: The secret cannot be read.
    """
    match destination.authentication:
        case "none" | "mtls":
            return ""
        case "basic":
            password = _secret(destination, "password", _PASSWORD)()
            credentials = f"{destination.user}:{password}".encode()
            return f"Basic {base64.b64encode(credentials).decode()}"
        case "bearer":
            return f"Bearer {_secret(destination, 'token', TOKEN)()}"


def _secret(destination: Destination, what: str, form: "re.Pattern[str]") -> Callable[[], str]:
    here = f"destinations.{destination.name}.{what}"
    if inline := str(getattr(destination, what, "")):
        return _checked(here, inline, form)
    file: str = getattr(destination, f"{what}_file")
    if file:
        return secret_reader(f"{here}_file", file, form)
    variable: str = getattr(destination, f"{what}_environment")

    def read() -> str:
        text = os.environ.get(variable, "").strip()
        if not form.fullmatch(text):
            raise UnavailableError(f"{here}_environment: {variable} holds no {what}")
        return text

    return read


def _checked(key: str, secret: str, form: "re.Pattern[str]") -> Callable[[], str]:
    def read() -> str:
        if not form.fullmatch(secret):
            raise UnavailableError(f"{key}: is not of the form it must have")
        return secret

    return read


class DicomWebRequestor(UncommittedRequestor):
    """Reaches DICOMweb services (port `Requestor`)."""

    def __init__(self, tls: TlsContexts, connect_s: float) -> None:
        """Connect with these contexts, within so many seconds."""
        self._tls = tls
        self._connect_s = connect_s
        self._threads = trio.CapacityLimiter(READ_THREADS)

    @asynccontextmanager
    async def associate(
        self,
        destination: Destination,
        contexts: Sequence[Context],  # noqa: ARG002 - nothing is negotiated (PS3.18 8.7.3.1)
    ) -> AsyncIterator[StoreSession]:
        """See `Requestor.associate`."""
        async with self._session(destination) as session:
            await session.probe()  # what is no outage, each instance is told
            yield session

    async def echo(self, destination: Destination) -> EchoResult:
        """See `Requestor.echo`: whether the service answers, and takes our credentials."""
        begin = trio.current_time()
        async with self._session(destination) as session:
            status = await session.probe()
        if status in (401, 403, 407) or 300 <= status < 400:
            raise PeerRefusalError(refusal(status)[0].error, Cause.HTTP)
        echo_s = trio.current_time() - begin
        return EchoResult(status=SUCCESS, connect_s=0, associate_s=0, echo_s=echo_s)

    @asynccontextmanager
    async def _session(self, destination: Destination) -> AsyncIterator[StoreSession]:
        try:
            credentials = authorization(destination)
        except UnavailableError as error:
            raise PeerRefusalError(str(error), Cause.HTTP) from error
        service = Service(
            url=destination.url.rstrip("/"),
            headers={"Authorization": credentials} if credentials else {},
            batch_size=destination.batch_size,
            answer_s=destination.answer_s,
        )
        connections = HttpConnections(
            self._tls.of(destination), self._connect_s, destination.answer_s
        )
        try:
            yield StoreSession(connections.current(), service, self._threads)
        finally:
            with trio.move_on_after(CLOSE_S, shield=True):  # TLS says goodbye
                await connections.close()
