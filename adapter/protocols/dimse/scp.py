"""Serves one established association in a thread of its own: Storage, Verification, and Storage
Commitment by `commitment_scp`.
"""

from collections.abc import Callable

from msgspec import Struct

from adapter.domain.admission import VERIFICATION
from adapter.domain.commitment import STORAGE_COMMITMENT
from adapter.domain.dimse_ports import AssociationReport, PartFile
from adapter.domain.statuses import (
    MISTYPED_ARGUMENT,
    SOP_CLASS_NOT_SUPPORTED,
    SUCCESS,
    UNRECOGNIZED_OPERATION,
)
from adapter.protocols.dimse import command_set, pdu
from adapter.protocols.dimse.command_set import Command, MalformedCommandError
from adapter.protocols.dimse.commitment_scp import CommitmentMessage, CommitmentScp
from adapter.protocols.dimse.connection import Connection, PeerTimeoutError
from adapter.protocols.dimse.entity_link import EntityLink
from adapter.protocols.dimse.layer_events import (
    Aborted,
    CommandReceived,
    DataFragment,
    LayerEvent,
    ProtocolViolationError,
    Signal,
)
from adapter.protocols.dimse.reception import AcceptedContext, Reception
from adapter.protocols.dimse.service_link import LinkCutError, ServiceLink

REPORT_QUIET_S = 0.5
"""A requestor that says nothing for so long after N-ACTION keeps the association for the report."""
ABORTED_BY_US = "aborted by us"
"""At a stop, or by order: nothing the peer did."""
COMMITMENT_REQUESTS = (command_set.N_ACTION_RQ, command_set.N_EVENT_REPORT_RQ)


class ScpLimits(Struct, kw_only=True):
    """Deadlines of an association, in seconds."""

    idle_s: float
    """Between two requests."""
    dimse_s: float
    """For a PDU, between two PDUs of a message, and for a response to be taken."""


class Agreement(Struct, frozen=True, kw_only=True):
    """What requestor and acceptor have agreed, and what serving it takes."""

    association: str
    calling_ae_title: str
    contexts: dict[int, tuple[str, str]]
    """Abstract and transfer syntax by the id of an accepted presentation context."""
    accept_pdu: bytes
    """A-ASSOCIATE-AC, which is not sent yet."""
    max_length: int
    """The longest P-DATA-TF the peer takes; 0: no limit."""
    limits: ScpLimits
    attributes: frozenset[str]
    """See `AssociationService`."""
    grouping: frozenset[str]
    """See `AssociationService`."""

    @property
    def stores(self) -> bool:
        """Whether instances can come."""
        return any(abstract != VERIFICATION for abstract, _ in self.contexts.values())


class StorageScp:
    """The conversation from A-ASSOCIATE-AC to the end of the association."""

    def __init__(
        self,
        connection: Connection,
        agreement: Agreement,
        link: ServiceLink,
        open_part: Callable[[], PartFile],
    ) -> None:
        """Nothing is sent yet."""
        wanted = frozenset(int(tag.replace(",", ""), 16) for tag in agreement.attributes)
        self._connection = connection
        self._agreement = agreement
        self._limits = agreement.limits
        self._contexts = {
            context_id: AcceptedContext(*syntaxes, agreement.calling_ae_title, wanted)
            for context_id, syntaxes in agreement.contexts.items()
        }
        self._entity = EntityLink(link, agreement.grouping)
        self._commitment = CommitmentScp(
            connection,
            link,
            dimse_s=agreement.limits.dimse_s,
            max_length=agreement.max_length,
        )
        self._open_part = open_part
        self._reception: Reception | CommitmentMessage | None = None
        self._instances = self._payload_bytes = self._refused = 0
        connection.before_receive = self._flush

    def run(self) -> AssociationReport:
        """Accept, serve, and return how it went; what is left is for the peer to close."""
        connection = self._connection
        why, last_words, released = "", b"", False
        try:
            connection.set_send_timeout(self._limits.dimse_s)
            accept_pdu = connection.layer.accept(self._agreement.accept_pdu)
            connection.send(accept_pdu, self._limits.dimse_s)
            why, released = self._converse()
            if why == ABORTED_BY_US:
                last_words = connection.layer.abort(pdu.BY_PROVIDER)
            elif not released:
                last_words = connection.layer.abort()
        except ProtocolViolationError as violation:
            why, last_words = violation.why, violation.reply
        except PeerTimeoutError:
            why, last_words = "timeout", connection.layer.abort()
        except LinkCutError:
            why, last_words = ABORTED_BY_US, connection.layer.abort(pdu.BY_PROVIDER)
        except OSError as error:
            why = f"connection lost ({error.strerror or type(error).__name__})"
        finally:
            connection.give_turn()
            if self._reception is not None:
                self._reception.discard()
            self._entity.flush()
            self._commitment.end()
            self._entity.ended()
            connection.farewell(last_words)
        return AssociationReport(
            released=released,
            why=why,
            instances=self._instances,
            payload_bytes=self._payload_bytes,
            refused=self._refused,
        )

    def _converse(self) -> tuple[str, bool]:
        """Return why it ended, and whether by release."""
        connection, limits = self._connection, self._limits
        while True:
            match self._next_event():
                case DataFragment(context_id=context_id, view=view, last=last):
                    self._data(context_id, view, last=last)
                case CommandReceived(context_id=context_id, encoded=encoded):
                    self._command(context_id, encoded)
                case Signal.RELEASE_REQUESTED if not self._entity.released():
                    return "what was staged could not be stored", False
                case Signal.RELEASE_REQUESTED:
                    self._entity.ended()
                    connection.send(connection.layer.confirm_release(), limits.dimse_s)
                    return "released", True
                case Aborted(source=source, reason=reason):
                    return f"aborted by the peer (source {source}, reason {reason})", False
                case Signal.CLOSED:
                    return "closed without release", False
                case Signal.INTERRUPTED:
                    return ABORTED_BY_US, False
                case _:
                    pass

    def _next_event(self) -> LayerEvent:
        connection, limits, report = self._connection, self._limits, self._commitment
        if self._reception is not None:
            return connection.next_event(limits.dimse_s, limits.dimse_s)
        while report.is_due:
            try:
                return connection.next_event(REPORT_QUIET_S, limits.dimse_s)
            except PeerTimeoutError:
                if connection.layer.inside_part:
                    raise
                report.send()  # the requestor is idle, and has kept the association
        return connection.next_event(limits.idle_s, limits.dimse_s)

    def _command(self, context_id: int, encoded: bytes) -> None:
        layer = self._connection.layer
        try:
            command = command_set.decode(encoded)
        except MalformedCommandError as error:
            raise layer.violation(str(error)) from error
        context = self._contexts.get(context_id)
        if context is None:
            raise layer.violation("a command on a context that was not accepted")
        if command.has_data_set:
            layer.data_context = context_id
        if command.field & command_set.RESPONSE_BIT:
            if not self._commitment.answered(command):
                raise layer.violation("a response that nobody waits for")
            return
        if command.field == command_set.C_STORE_RQ:
            self._connection.want_turn()
            self._reception = Reception(command, context, self._open_part)
            if not command.has_data_set:
                self._finish(context_id)
        elif command.field == command_set.C_ECHO_RQ and command.mistyped:
            self._respond(context_id, command, MISTYPED_ARGUMENT, command.mistyped)
        elif command.field == command_set.C_ECHO_RQ and not command.has_data_set:
            is_verification = context.abstract_syntax == VERIFICATION
            status = SUCCESS if is_verification else SOP_CLASS_NOT_SUPPORTED
            self._respond(context_id, command, status)
        elif context.abstract_syntax == STORAGE_COMMITMENT and command.field in COMMITMENT_REQUESTS:
            self._reception = CommitmentMessage(command, context.transfer_syntax_uid)
            if not command.has_data_set:
                self._finish(context_id)
        elif command.field != command_set.C_CANCEL_RQ:
            # Its data set, if any, is skipped: there is no reception to take it.
            self._respond(context_id, command, UNRECOGNIZED_OPERATION, "no such service here")

    def _flush(self) -> None:
        if self._reception is not None:
            self._reception.flush()

    def _data(self, context_id: int, view: memoryview, *, last: bool) -> None:
        if self._reception is None:
            return
        self._reception.fragment(view, last=last)
        if last:
            self._finish(context_id)

    def _finish(self, context_id: int) -> None:
        reception, self._reception = self._reception, None
        assert reception is not None
        reception.flush()
        self._connection.give_turn()  # what follows may wait: for the disk, for the entity
        if isinstance(reception, CommitmentMessage):
            status, comment = self._commitment.finish(context_id, reception)
            self._respond(context_id, reception.command, status, comment)
            return
        status, comment = reception.finish(
            self._agreement.association, self._agreement.calling_ae_title, self._entity
        )
        try:
            self._respond(context_id, reception.command, status, comment)
        finally:
            reception.conclude(self._entity)
        if status == SUCCESS:
            self._instances += 1
            self._payload_bytes += reception.payload_bytes
        else:
            self._refused += 1
        if self._entity.has_news:
            self._connection.call_when_quiet(self._entity.flush)

    def _respond(self, context_id: int, command: Command, status: int, comment: str = "") -> None:
        self._connection.send(
            command_set.response(context_id, command, status, comment, self._agreement.max_length),
            self._limits.dimse_s,
        )
