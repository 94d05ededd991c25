"""Outgoing associations for actors (port `Requestor`): set up in Trio, used in worker threads.

Every step has a deadline of its own: name lookup, connection and TLS together `connect_s`, the
answer to A-ASSOCIATE-RQ `acse_s`. A peer that hangs in any of them costs no thread.
"""

import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import trio

from adapter.channels import aborted_on_cancel
from adapter.domain.admission import VERIFICATION
from adapter.domain.commitment import (
    COMMITMENT_CONTEXT,
    STORAGE_COMMITMENT,
    CommitmentReport,
    CommitmentRequest,
)
from adapter.domain.dimse_ports import Context, EchoResult, SendResult
from adapter.domain.entities import Destination
from adapter.domain.records import OutgoingInstance
from adapter.domain.refusals import Cause
from adapter.domain.transfer_syntaxes import IMPLICIT_VR_LITTLE_ENDIAN
from adapter.errors import PeerRefusalError, UnavailableError
from adapter.protocols.dimse import commitment_scu, pdu
from adapter.protocols.dimse.associate import (
    AssociateAccept,
    ProposedContext,
    decode_associate_ac,
    encode_associate_rq,
)
from adapter.protocols.dimse.commitment_scu import ReportInbox
from adapter.protocols.dimse.items import MalformedPDUError
from adapter.protocols.dimse.layer_events import (
    Aborted,
    AssociatePDU,
    LayerEvent,
    ProtocolViolationError,
    Signal,
)
from adapter.protocols.dimse.messages import AssociationLostError
from adapter.protocols.dimse.refusal import (
    aborted,
    os_reason,
    rejected,
    unassociated,
    unconnected,
)
from adapter.protocols.dimse.scu import ScuAssociation, ScuOptions
from adapter.protocols.dimse.strangers import PLAIN, stranger
from adapter.protocols.dimse.tls import TlsSession
from adapter.protocols.dimse.tls_contexts import TlsContexts
from adapter.protocols.dimse.trio_connection import TlsHandshakeError, TrioConnection
from adapter.protocols.dimse.upper_layer import UpperLayer
from adapter.protocols.dimse.user_information import Role

THREADS_ASIDE = 3
"""For each destination: a probe, a report, an echo that an operator asks for."""


class ThreadedScuAssociation:
    """An association whose blocking calls run in worker threads (port `OutboundAssociation`)."""

    def __init__(self, association: ScuAssociation, threads: trio.CapacityLimiter) -> None:
        self._association = association
        self._inbox = ReportInbox(association)
        self._threads = threads

    async def store(self, instances: Sequence[OutgoingInstance]) -> list[SendResult]:
        """See `OutboundAssociation.store`."""

        def send() -> list[SendResult]:
            results = []
            for instance in instances:
                trio.from_thread.check_cancelled()
                results.append(self._association.store(instance))
            return results

        return await trio.to_thread.run_sync(send, limiter=self._threads, thread_name="scu")

    def accepted(self, context: tuple[str, str]) -> bool:
        """See `OutboundAssociation.accepted`."""
        return self._association.accepted(context)

    async def request_commitment(self, request: CommitmentRequest) -> SendResult:
        """See `OutboundAssociation.request_commitment`."""
        return await trio.to_thread.run_sync(
            commitment_scu.request_commitment, self._association, request, limiter=self._threads
        )

    async def next_report(self, wait_s: float) -> CommitmentReport | None:
        """See `OutboundAssociation.next_report`."""
        try:
            return await trio.to_thread.run_sync(self._inbox.next, wait_s, limiter=self._threads)
        except AssociationLostError as error:
            raise UnavailableError(str(error)) from error

    async def answer_report(self, status: int) -> None:
        """See `OutboundAssociation.answer_report`."""
        try:
            await trio.to_thread.run_sync(self._inbox.answer, status, limiter=self._threads)
        except AssociationLostError:
            pass  # the next `next_report` says so

    def abort(self) -> None:
        """See `OutboundAssociation.abort`."""
        self._association.interrupt()


class DicomRequestor:
    """Opens associations to destinations (port `Requestor`)."""

    def __init__(
        self, options: ScuOptions, threads: trio.CapacityLimiter, tls: TlsContexts
    ) -> None:
        self._options = options
        self._threads = threads
        self._tls = tls
        self._aside: dict[str, trio.CapacityLimiter] = {}
        """By destination, for what is not sending."""

    @asynccontextmanager
    async def associate(
        self, destination: Destination, contexts: Sequence[Context]
    ) -> AsyncIterator[ThreadedScuAssociation]:
        """See `Requestor.associate`."""
        connection = await self._connected(destination)
        association = await self._associated(connection, destination, contexts)
        if others := association.alternatives():  # so that its refusals name what it takes
            await trio.to_thread.run_sync(association.release, limiter=self._threads)
            connection = await self._connected(destination)
            association = await self._associated(connection, destination, [*contexts, *others])
        try:
            yield ThreadedScuAssociation(association, self._threads)
            await trio.to_thread.run_sync(association.release, limiter=self._threads)
        finally:
            association.abort()  # no effect after release

    async def echo(self, destination: Destination) -> EchoResult:
        """See `Requestor.echo`."""
        begin = trio.current_time()
        connection = await self._connected(destination)
        connected = trio.current_time()
        context = (VERIFICATION, IMPLICIT_VR_LITTLE_ENDIAN)
        association = await self._associated(connection, destination, [context])
        associated = trio.current_time()
        threads = self._threads_aside(destination)
        try:
            status = await trio.to_thread.run_sync(association.echo, limiter=threads)
            answered = trio.current_time()
            await trio.to_thread.run_sync(association.release, limiter=threads)
        except AssociationLostError as error:
            raise PeerRefusalError(f"no C-ECHO response: {error}", Cause.LOST) from error
        finally:
            association.abort()  # no effect after release
        return EchoResult(
            status=status,
            connect_s=connected - begin,
            associate_s=associated - connected,
            echo_s=answered - associated,
        )

    async def report(
        self, destination: Destination, report: CommitmentReport, calling_ae_title: str
    ) -> int:
        """See `Requestor.report`."""
        association = await self._associated(
            await self._connected(destination),
            destination,
            [COMMITMENT_CONTEXT],
            calling_ae_title,
            {STORAGE_COMMITMENT: (False, True)},
        )

        def reported() -> int | AssociationLostError:
            try:
                status = commitment_scu.report(association, report)
            except AssociationLostError as error:
                return error
            association.release()
            return status

        try:
            threads = self._threads_aside(destination)
            async with aborted_on_cancel(ThreadedScuAssociation(association, threads)):
                status = await trio.to_thread.run_sync(reported, limiter=threads)
        finally:
            association.abort()  # no effect after release
        if isinstance(status, AssociationLostError):
            raise PeerRefusalError(f"no N-EVENT-REPORT response: {status}", Cause.LOST)
        return status

    def _threads_aside(self, destination: Destination) -> trio.CapacityLimiter:
        return self._aside.setdefault(destination.name, trio.CapacityLimiter(THREADS_ASIDE))

    async def _associated(
        self,
        connection: TrioConnection,
        destination: Destination,
        contexts: Sequence[Context],
        calling_ae_title: str = "",
        roles: Mapping[str, Role] | None = None,
    ) -> ScuAssociation:
        """Return an association; as `dicom.scu.ae_title` unless another title of ours is given."""
        options = self._options
        proposed = [
            ProposedContext(2 * number + 1, sop_class_uid, (transfer_syntax_uid,))
            for number, (sop_class_uid, transfer_syntax_uid) in enumerate(contexts)
        ]
        request = encode_associate_rq(
            destination.ae_title, calling_ae_title or options.ae_title, proposed, options.max_pdu,
            roles,
        )  # fmt: skip
        try:
            accept = await _accepted(connection, request, options.acse_s)
            transcript = options.transcription.of(destination=destination.name)
            blocking = connection.into_blocking(transcript=transcript)
            return ScuAssociation(blocking, accept, proposed, options)
        finally:
            connection.close()

    async def _connected(self, destination: Destination) -> TrioConnection:
        """Return a connection to the destination, with TLS if it is configured.

        Raises:
            PeerRefusalError: With what stood in the way.
        """
        connection: TrioConnection | None = None
        try:
            with trio.fail_after(self._options.connect_s):
                stream = await trio.open_tcp_stream(destination.host, destination.port)
                layer = UpperLayer(acceptor=False, max_pdu=self._options.max_pdu)
                connection = TrioConnection(stream.socket, layer)
                tls = self._tls.of(destination)
                if tls is not None:
                    host = destination.host.partition("%")[0]  # a zone is no part of a name
                    session = TlsSession(tls.current(), server_side=False, server_name=host)
                    await connection.shake_hands(session)
        except (trio.TooSlowError, TlsHandshakeError, OSError) as error:
            if connection is not None:
                connection.close()
            raise unconnected(error) from error
        except BaseException:  # a cancel, a bug: nobody else knows of the connection
            if connection is not None:
                connection.close()
            raise
        return connection


async def _accepted(connection: TrioConnection, request: bytes, acse_s: float) -> AssociateAccept:
    """Ask for the association and return what the peer accepted.

    Raises:
        PeerRefusalError: With what the peer did instead.
    """
    layer = connection.layer
    try:
        with trio.fail_after(acse_s):
            return _accept(await _answer(connection, request))
    except trio.TooSlowError:
        last_words, refusal = layer.abort(), unassociated(Cause.TIMEOUT, "timeout")
    except ProtocolViolationError as violation:
        protocol = stranger(connection.opening, PLAIN)
        why = f"the peer speaks {protocol}" if protocol else violation.why
        last_words, refusal = violation.reply, unassociated(Cause.NOT_DICOM, why)
    except MalformedPDUError as malformed:
        last_words, refusal = layer.abort(), unassociated(Cause.NOT_DICOM, str(malformed))
    except OSError as error:
        cause = Cause.TLS if isinstance(error.__cause__, ssl.SSLError) else Cause.CLOSED
        last_words, refusal = b"", unassociated(cause, os_reason(error))
    await connection.last_words(last_words)
    raise refusal


async def _answer(connection: TrioConnection, request: bytes) -> LayerEvent:
    """Ask, and return what comes; a peer that has closed may have said why before (TLS 1.3)."""
    lost: OSError | None = None
    try:
        await connection.send(request)
    except OSError as error:
        lost = error
    event = await connection.next_event()
    if lost is not None and event is Signal.CLOSED:
        raise lost
    return event


def _accept(event: LayerEvent) -> AssociateAccept:
    match event:
        case AssociatePDU(type=pdu.ASSOCIATE_AC, encoded=encoded):
            return decode_associate_ac(encoded)
        case AssociatePDU(encoded=encoded):
            raise rejected(encoded)
        case Aborted(source=source, reason=reason):
            raise aborted(source, reason)
        case _:
            raise unassociated(Cause.CLOSED, "connection closed instead of an answer")
