"""Storage and Verification SCU: sends files as they are stored, without decoding them.

The bytes behind the File Meta Information go out as P-DATA-TF fragments; nothing is converted. A
response counts only if it carries the message id and, if any, the SOP Instance UID of the request:
a peer that answers for something else has not said that it holds this instance.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from adapter.domain.admission import VERIFICATION
from adapter.domain.dimse_ports import CONTEXTS_MAX, Context, SendResult
from adapter.domain.records import OutgoingInstance
from adapter.domain.refusals import Cause, context_words
from adapter.domain.statuses import is_success, is_transient, status_words
from adapter.domain.transfer_syntaxes import COMMON, IMPLICIT_VR_LITTLE_ENDIAN
from adapter.errors import PeerRefusalError
from adapter.protocols.dimse import command_set, negotiation
from adapter.protocols.dimse.associate import AssociateAccept, ProposedContext
from adapter.protocols.dimse.command_set import MalformedCommandError
from adapter.protocols.dimse.connection import Connection, PeerTimeoutError
from adapter.protocols.dimse.file_meta import NotPart10Error
from adapter.protocols.dimse.fragments import OutgoingDataSets, fragments
from adapter.protocols.dimse.layer_events import Aborted, ProtocolViolationError, Signal
from adapter.protocols.dimse.messages import (
    AssociationLostError,
    PeerMessage,
    checked_status,
    reason,
    receive_message,
)
from adapter.protocols.dimse.transcript import Transcription

MESSAGE_ID_MAX = 0xFFFF
ENDINGS = (ProtocolViolationError, PeerTimeoutError, MalformedCommandError, OSError)
REQUESTS_MAX = 16
"""Requests of a peer that may come before the response it owes us."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScuOptions:
    """What all outgoing associations share; times in seconds."""

    ae_title: str
    max_pdu: int
    connect_s: float
    acse_s: float
    """For the answer to A-ASSOCIATE-RQ and to A-RELEASE-RQ."""
    dimse_s: float
    """For a response, and for a fragment to be taken."""
    transcription: Transcription = field(default_factory=Transcription)


class ScuAssociation:
    """An established association, blocking; used by one thread at a time."""

    def __init__(
        self,
        connection: Connection,
        accept: AssociateAccept,
        proposed: Sequence[ProposedContext],
        options: ScuOptions,
    ) -> None:
        self._options = options
        self._connection: Connection | None = connection
        self._accepted: dict[Context, int] = {}
        self._results: dict[Context, int] = {}
        self._offered: dict[str, list[str]] = {}
        self._message_id = 0
        self._requests: deque[PeerMessage] = deque()
        for context in proposed:
            result, syntax = accept.contexts.get(context.id, (-1, ""))
            for proposed_syntax in context.transfer_syntaxes:
                self._results[context.abstract_syntax, proposed_syntax] = result
            if result == negotiation.ACCEPTED and syntax in context.transfer_syntaxes:
                self._accepted[context.abstract_syntax, syntax] = context.id
                self._offered.setdefault(context.abstract_syntax, []).append(syntax)
        self._max_length = accept.user.max_length
        self._data_sets = OutgoingDataSets(self._max_length)
        connection.set_send_timeout(options.dimse_s)

    def release(self) -> None:
        """Release and close. Never raises: what was answered stays answered."""
        connection, options = self._connection, self._options
        if connection is None:
            return
        try:
            connection.send(connection.layer.release(), options.acse_s)
            deadline = time.monotonic() + options.acse_s
            while (left := deadline - time.monotonic()) > 0:
                match connection.next_event(left, left):
                    case Signal.RELEASED | Signal.CLOSED | Signal.INTERRUPTED | Aborted():
                        break
                    case Signal.RELEASE_REQUESTED:  # collision, PS3.8 9.2.2: AR-9
                        connection.send(connection.layer.confirm_release(), left)
                    case _:
                        pass  # a late response
        except (ProtocolViolationError, PeerTimeoutError, OSError):
            pass  # nothing is pending: the peer's manners at the end change nothing
        self._close()

    def abort(self) -> None:
        """Abort and close. Never raises, never waits."""
        if self._connection is not None:
            with suppress(PeerTimeoutError, OSError):
                self._connection.set_send_timeout(0.1)
                self._connection.send(self._connection.layer.abort(), 0.1)
            self._close()

    def interrupt(self) -> None:
        """From any thread: end a blocked receive, and with it the association."""
        if (connection := self._connection) is not None:
            connection.interrupt()

    def _close(self) -> None:
        assert self._connection is not None
        self._connection.close()
        self._connection = None

    def alternatives(self) -> list[Context]:
        """Return what else to propose: SOP classes that the peer takes in no syntax of these."""
        refused = negotiation.TRANSFER_SYNTAXES_NOT_SUPPORTED
        classes = dict.fromkeys(sop for (sop, _), why in self._results.items() if why == refused)
        untaken = (sop_class for sop_class in classes if sop_class not in self._offered)
        others = {(sop_class, syntax) for sop_class in untaken for syntax in COMMON}
        return sorted(others - self._results.keys())[: CONTEXTS_MAX - len(self._results)]

    # --- messages

    def echo(self) -> int:
        """C-ECHO (PS3.7 9.1.5); return the status.

        Raises:
            PeerRefusalError: The peer does not offer it.
            AssociationLostError: No proper answer came.
        """
        context = (VERIFICATION, IMPLICIT_VR_LITTLE_ENDIAN)
        context_id = self._accepted.get(context)
        if context_id is None:
            result = self._results.get(context, -1)
            words = f"Verification: {context_words(result)}"
            raise PeerRefusalError(words, Cause.CONTEXT_REFUSED, (result,))
        message_id = self._next_message_id()
        request = command_set.echo_request(context_id, message_id, VERIFICATION, self._max_length)
        with self._losing_association():
            assert self._connection is not None
            self._connection.send(request, self._options.dimse_s)
            return self._response(message_id, command_set.C_ECHO_RSP, "")

    def store(self, instance: OutgoingInstance) -> SendResult:
        """C-STORE of one file; never raises an expected error."""
        context_id = self._accepted.get((instance.sop_class_uid, instance.transfer_syntax_uid))
        if self._connection is None:
            return SendResult(status=None, error="the association was lost before")
        if context_id is None:
            return SendResult(status=None, permanent=True, error=self._refused(instance))
        message_id = self._next_message_id()
        try:
            with self._losing_association():
                self._send_file(instance, context_id, message_id)
                status = self._response(
                    message_id, command_set.C_STORE_RSP, instance.sop_instance_uid
                )
        except NotPart10Error as error:
            return SendResult(status=None, permanent=True, error=str(error))
        except AssociationLostError as error:
            return SendResult(status=None, error=str(error))
        if is_success(status):
            return SendResult(status=status)
        return SendResult(
            status=status, error=status_words(status), permanent=not is_transient(status)
        )

    def _refused(self, instance: OutgoingInstance) -> str:
        sop_class, syntax = instance.context
        taken = ", ".join(self._offered.get(sop_class, ()))
        besides = f"; for this SOP class the destination takes {taken}" if taken else ""
        words = context_words(self._results.get(instance.context, -1))
        return f"SOP class {sop_class} in transfer syntax {syntax}: {words}{besides}"

    def _next_message_id(self) -> int:
        self._message_id = self._message_id % MESSAGE_ID_MAX + 1
        return self._message_id

    def _send_file(self, instance: OutgoingInstance, context_id: int, message_id: int) -> None:
        assert self._connection is not None
        command = command_set.store_request(
            context_id,
            message_id,
            instance.sop_class_uid,
            instance.sop_instance_uid,
            self._max_length,
            instance.priority,
        )
        views: list[bytes | memoryview] = [command]
        for more in self._data_sets.read(instance, context_id):
            self._connection.send_views(views + more, self._options.dimse_s)
            views = []

    def accepted(self, context: tuple[str, str]) -> bool:
        """Return whether the peer accepted this (SOP class, transfer syntax) pair."""
        return self._connection is not None and context in self._accepted

    def request(
        self,
        context: tuple[str, str],
        command: Callable[[int, int, int], bytes],
        data_set: bytes,
        answer: tuple[int, str],
    ) -> int:
        """Send a request with a data set; return the status of its response.

        The command is made from context id, message id and maximum length; `answer` is
        what the response must have: command field and SOP Instance UID.

        Raises:
            AssociationLostError: The pair was not accepted, or no proper answer came.
        """
        if self._connection is None or context not in self._accepted:
            raise AssociationLostError(f"{context[0]} was not accepted")
        context_id, message_id = self._accepted[context], self._next_message_id()
        with self._losing_association():
            views = fragments(
                memoryview(data_set), context_id, self._data_sets.fragment_bytes, last=True
            )
            request = command(context_id, message_id, self._max_length)
            self._connection.send_views([request, *views], self._options.dimse_s)
            return self._response(message_id, *answer)

    def next_request(self, wait_s: float) -> PeerMessage | None:
        """Return the next request of the peer, with its data set; None: none within wait_s.

        Raises:
            AssociationLostError: The association is over.
        """
        if self._requests:
            return self._requests.popleft()
        with self._losing_association():
            if self._connection is None:
                raise AssociationLostError("the association was lost before")
            layer = self._connection.layer
            try:
                message = receive_message(self._connection, wait_s, self._options.dimse_s)
            except PeerTimeoutError:
                if layer.inside_part or layer.data_context is not None:
                    raise
                return None
            if message.command.field & command_set.RESPONSE_BIT:
                raise AssociationLostError("a response that nobody waits for")
            return message

    def respond(self, request: PeerMessage, status: int, comment: str = "") -> None:
        """Answer a request of the peer.

        Raises:
            AssociationLostError: The association is over.
        """
        with self._losing_association():
            if self._connection is None:
                raise AssociationLostError("the association was lost before")
            self._connection.send(
                command_set.response(
                    request.context_id, request.command, status, comment, self._max_length
                ),
                self._options.dimse_s,
            )

    def _response(self, message_id: int, field: int, sop_instance_uid: str) -> int:
        assert self._connection is not None
        dimse_s = self._options.dimse_s
        while True:
            message = receive_message(self._connection, dimse_s, dimse_s)
            if message.command.field & command_set.RESPONSE_BIT:
                return checked_status(message.command, message_id, field, sop_instance_uid)
            if len(self._requests) == REQUESTS_MAX:
                raise AssociationLostError("the peer asks instead of answering")
            self._requests.append(message)

    @contextmanager
    def _losing_association(self) -> Iterator[None]:
        """Turn whatever ends the association in here into AssociationLostError, and abort."""
        try:
            yield
        except (NotPart10Error, AssociationLostError):
            self.abort()  # perhaps half of a message is out
            raise
        except ENDINGS as error:
            self.abort()
            raise AssociationLostError(reason(error)) from error
