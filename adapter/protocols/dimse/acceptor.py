"""Accepts TCP connections and waits for A-ASSOCIATE-RQ in Trio; serves associations in threads.

A connection that never asks (port scanner, load-balancer probe, half-open peer) costs one task and
one buffer, no thread and no association slot. Once a request is admitted the socket is given to a
thread that blocks on it (`scp.StorageScp`): of a receiver process, or of this one where there are
none or TLS is under the association.
"""

import socket
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import trio

from adapter.domain.admission import AssociationRequest, Rejection
from adapter.domain.dimse_ports import AssociationReport, AssociationService, PartFile, Unasked
from adapter.errors import PortUnavailableError, UnavailableError
from adapter.protocols.dimse import negotiation, pdu
from adapter.protocols.dimse.associate import (
    DICOM_APPLICATION_CONTEXT,
    PROTOCOL_VERSION,
    AssociateRequest,
    decode_associate_rq,
    encode_associate_ac,
)
from adapter.protocols.dimse.items import MalformedPDUError
from adapter.protocols.dimse.layer_events import AssociatePDU, ProtocolViolationError
from adapter.protocols.dimse.receiver_link import Handover, MainLink, ReceiverLostError
from adapter.protocols.dimse.receiver_process import Receivers
from adapter.protocols.dimse.scp import Agreement, ScpLimits, StorageScp
from adapter.protocols.dimse.service_link import TrioLink
from adapter.protocols.dimse.strangers import PLAIN, TLS, stranger
from adapter.protocols.dimse.tls import TlsSession
from adapter.protocols.dimse.tls_contexts import TlsContext
from adapter.protocols.dimse.transcript import Transcription
from adapter.protocols.dimse.trio_connection import TlsHandshakeError, TrioConnection
from adapter.protocols.dimse.turns import Turns
from adapter.protocols.dimse.upper_layer import UpperLayer

BACKLOG = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptorOptions:
    """What all associations of a listener share."""

    max_pdu: int
    verification_syntaxes: Collection[str]
    limits: ScpLimits
    open_part: Callable[[], PartFile]
    threads: trio.CapacityLimiter
    turns: Turns
    receivers: Receivers
    preferred_transfer_syntaxes: Sequence[str] = ()
    """Of storage contexts; see `negotiation.negotiate`."""
    tls: TlsContext | None = None
    """None: without TLS."""
    transcription: Transcription = field(default_factory=Transcription)


class TcpDimseListener:
    """A bound listening socket (port `DimseListener`)."""

    def __init__(self, sock: socket.socket, options: AcceptorOptions) -> None:
        self.port: int = sock.getsockname()[1]
        """The bound port, known still when it is closed."""
        self._socket = trio.socket.from_stdlib_socket(sock)
        self._options = options

    @classmethod
    def bind(cls, host: str, port: int, options: AcceptorOptions) -> "TcpDimseListener":
        """Bind; port 0 takes a free one. `::` takes IPv4 as well; `fe80::1%eth0` has a zone.

        Raises:
            PortUnavailableError: The address cannot be bound.
        """
        try:
            (family, _, _, _, address), *_ = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            sock = socket.create_server(
                address, family=family, backlog=BACKLOG, dualstack_ipv6=host == "::"
            )
        except OSError as error:
            raise PortUnavailableError(f"{host} port {port}: {error.strerror}") from error
        return cls(sock, options)

    async def accept(self) -> "TcpPendingAssociation":
        """See `DimseListener.accept`."""
        while True:
            try:
                sock, address = await self._socket.accept()
                break
            except ConnectionAbortedError:
                pass  # the peer left the backlog before its turn
            except OSError as error:
                raise UnavailableError(f"accept: {error.strerror}") from error
        return TcpPendingAssociation(sock, _numeric(address), address[1], self._options)

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()


def _numeric(address: tuple[Any, ...]) -> str:
    """Return a peer's address as a source's entry spells it: IPv4 as such, a zone by its name."""
    host = str(address[0]).removeprefix("::ffff:")
    zone = address[3] if len(address) > 3 else 0
    if not zone:
        return host
    try:
        return f"{host}%{socket.if_indextoname(zone)}"
    except OSError:
        return f"{host}%{zone}"  # the link went down just now


class TcpPendingAssociation:
    """A connection from accept to close (port `PendingAssociation`)."""

    def __init__(
        self,
        sock: trio.socket.SocketType,
        peer: str,
        peer_port: int,
        options: AcceptorOptions,
    ) -> None:
        self.peer = peer
        self.peer_port = peer_port
        self.why = ""
        self.contexts: Sequence[tuple[str, str]] = ()
        self._options = options
        self._connection = TrioConnection(sock, UpperLayer(acceptor=True, max_pdu=options.max_pdu))
        self._interrupt: Callable[[], None] | None = None
        self._is_to_abort = False
        self._request_pdu = b""
        self._request: AssociateRequest | None = None

    async def request(self) -> AssociationRequest | Unasked:
        """See `PendingAssociation.request`."""
        connection = self._connection
        try:
            if self._options.tls is not None:
                session = TlsSession(self._options.tls.current(), server_side=True)
                await connection.shake_hands(session)
            event = await connection.next_event()
            if not isinstance(event, AssociatePDU):
                self.why = "left without a request"
                return Unasked.LEFT
            self._request_pdu = event.encoded
            self._request = request = decode_associate_rq(event.encoded)
        except ProtocolViolationError as violation:
            self.why = self._stranger(PLAIN) or violation.why
            await connection.farewell(violation.reply)
            return Unasked.REFUSED
        except MalformedPDUError as malformed:
            self.why = str(malformed)
            await connection.farewell(
                connection.layer.abort(pdu.BY_PROVIDER, pdu.INVALID_PARAMETER)
            )
            return Unasked.REFUSED
        except TlsHandshakeError as refused:
            if not connection.opening:
                self.why = "left without a request"
                return Unasked.LEFT
            self.why = self._stranger(TLS) or str(refused)
            await connection.farewell(b"")  # closed at once, it would never see the alert
            return Unasked.TLS
        except OSError as error:
            self.why = f"connection lost ({error.strerror or type(error).__name__})"
            return Unasked.LEFT
        return AssociationRequest(
            called_ae_title=request.called_ae_title,
            calling_ae_title=request.calling_ae_title,
            peer=self.peer,
            peer_port=self.peer_port,
            abstract_syntaxes=tuple(dict.fromkeys(c.abstract_syntax for c in request.contexts)),
            application_context_known=request.application_context == DICOM_APPLICATION_CONTEXT,
            protocol_version_known=bool(request.protocol_version & PROTOCOL_VERSION),
            user_identity=request.user.identity,
            tls=connection.tls_version,
        )

    def _stranger(self, expected: str) -> str:
        protocol = stranger(self._connection.opening, expected)
        return protocol and f"{protocol} on a {'TLS' if self._options.tls else 'plain'} port"

    async def reject(self, rejection: Rejection) -> None:
        """See `PendingAssociation.reject`."""
        connection = self._connection
        await connection.farewell(
            connection.layer.reject(rejection.result, rejection.source, rejection.reason)
        )

    async def serve(self, association: str, service: AssociationService) -> AssociationReport:
        """See `PendingAssociation.serve`."""
        agreement = self._agree(association, service)
        options = self._options
        if options.tls is None and agreement.stores and not options.transcription.wanted:
            with options.receivers.place() as receiver:
                link = await receiver.take(self._connection.fileno()) if receiver else None
                if link is not None:
                    return await self._serve_there(link, agreement, service)
        # TLS sessions cannot move to another process, logs are written in this one, and for a
        # C-ECHO it is not worth while.
        return await self._serve_here(agreement, service)

    def _agree(self, association: str, service: AssociationService) -> Agreement:
        assert self._request is not None
        request, options = self._request, self._options
        results = negotiation.negotiate(
            request.contexts,
            verification_syntaxes=options.verification_syntaxes,
            preferred=options.preferred_transfer_syntaxes,
            offered=service.offered,
        )
        contexts = {
            result.id: (result.abstract_syntax, result.transfer_syntax)
            for result in results
            if result.result == negotiation.ACCEPTED
        }
        self.contexts = tuple(contexts.values())
        return Agreement(
            association=association,
            calling_ae_title=request.calling_ae_title,
            contexts=contexts,
            accept_pdu=encode_associate_ac(
                self._request_pdu, results, negotiation.answer(request, results, options.max_pdu)
            ),
            max_length=request.user.max_length,
            limits=options.limits,
            attributes=service.attributes,
            grouping=service.grouping,
        )

    async def _serve_here(
        self, agreement: Agreement, service: AssociationService
    ) -> AssociationReport:
        """Serve in a thread of this process."""
        options = self._options
        transcript = options.transcription.of(association=agreement.association)
        connection = self._connection.into_blocking(options.turns, transcript)
        self._can_be_interrupted(connection.interrupt)
        try:
            scp = StorageScp(connection, agreement, TrioLink(service), options.open_part)
            report = await trio.to_thread.run_sync(
                scp.run, limiter=options.threads, thread_name="association"
            )
            self._connection.take_back(connection)
        finally:
            connection.close()
        return report

    async def _serve_there(
        self, link: MainLink, agreement: Agreement, service: AssociationService
    ) -> AssociationReport:
        """Serve in a receiver process; it and we have the same connection meanwhile."""
        connection = self._connection
        handover = Handover(
            agreement=agreement,
            max_pdu=self._options.max_pdu,
            received=self._request_pdu + connection.layer.unread,
        )

        def interrupt() -> None:
            link.cut()
            connection.interrupt()

        self._can_be_interrupted(interrupt)
        try:
            await link.hand_over(handover)
            report = await link.serve(service)
            connection.resume()
        except ReceiverLostError as lost:
            report = lost.report
            connection.resume()
            await connection.last_words(connection.layer.abort(pdu.BY_PROVIDER))
        finally:
            link.close()
        return report

    def _can_be_interrupted(self, interrupt: Callable[[], None]) -> None:
        self._interrupt = interrupt
        if self._is_to_abort:
            interrupt()

    async def see_off(self) -> None:
        """See `PendingAssociation.see_off`."""
        await self._connection.see_off()

    def abort(self) -> None:
        """See `PendingAssociation.abort`."""
        self._is_to_abort = True
        if self._interrupt is not None:
            self._interrupt()

    def close(self) -> None:
        """See `PendingAssociation.close`."""
        self._connection.close()
