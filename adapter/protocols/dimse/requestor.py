"""Outgoing associations for actors: the blocking `scu` in worker threads (port `Requestor`)."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import trio

from adapter.domain.admission import VERIFICATION
from adapter.domain.dimse_ports import OutgoingInstance, SendResult
from adapter.domain.entities import Destination
from adapter.errors import UnavailableError
from adapter.protocols.dimse.negotiation import IMPLICIT_VR_LITTLE_ENDIAN
from adapter.protocols.dimse.scu import AssociationLostError, ScuAssociation, ScuOptions

T = TypeVar("T")


class ThreadedScuAssociation:
    """An association whose blocking calls run in worker threads (port `OutboundAssociation`)."""

    def __init__(self, association: ScuAssociation, threads: trio.CapacityLimiter) -> None:
        self._association = association
        self._threads = threads

    async def store(self, instances: Sequence[OutgoingInstance]) -> list[SendResult]:
        """See `OutboundAssociation.store`."""

        def send() -> list[SendResult]:
            results = []
            for instance in instances:
                trio.from_thread.check_cancelled()
                results.append(self._association.store(instance))
            return results

        return await trio.to_thread.run_sync(send, limiter=self._threads)

    def abort(self) -> None:
        """See `OutboundAssociation.abort`."""
        self._association.interrupt()


class DicomRequestor:
    """Opens associations to destinations (port `Requestor`)."""

    def __init__(self, options: ScuOptions, threads: trio.CapacityLimiter) -> None:
        self._options = options
        self._threads = threads

    @asynccontextmanager
    async def associate(
        self, destination: Destination, contexts: Sequence[tuple[str, str]]
    ) -> AsyncIterator[ThreadedScuAssociation]:
        """See `Requestor.associate`."""
        association = ScuAssociation(destination, self._options)
        try:
            await trio.to_thread.run_sync(
                # A thread that is left behind finds itself abandoned and closes what it opened.
                association.open,
                contexts,
                limiter=self._threads,
                abandon_on_cancel=True,
            )
            yield ThreadedScuAssociation(association, self._threads)
            await self._in_thread(association.release)
        except trio.Cancelled:
            association.abandon()
            raise
        finally:
            association.abort()  # no effect after release, or before there is a connection

    async def echo(self, destination: Destination) -> int:
        """See `Requestor.echo`."""
        association = ScuAssociation(destination, self._options)

        def verify() -> int:
            association.open([(VERIFICATION, IMPLICIT_VR_LITTLE_ENDIAN)])
            try:
                status = association.echo()
            except AssociationLostError as error:
                raise UnavailableError(str(error)) from error
            association.release()
            return status

        return await self._in_thread(verify)

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(call, limiter=self._threads)
