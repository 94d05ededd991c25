"""Storage Commitment on associations of others: being asked as SCP, and told as SCU (PS3.4 J.3).

N-ACTION is answered once the request is durable. If the report is ready by then, and the requestor
stays and says nothing, it comes on the same association; else on one of our own, by the actor.

`commitment_data` is imported where it is used: pydicom is large, and of many receiver processes few
ever need it.
"""

from adapter.domain.commitment import (
    DATA_SET_BYTES_MAX,
    STORAGE_COMMITMENT,
    STORAGE_COMMITMENT_INSTANCE,
    CommitmentReport,
)
from adapter.domain.messages import ReportEnded
from adapter.domain.statuses import RESOURCE_LIMITATION
from adapter.errors import RefusedDataSetError
from adapter.protocols.dimse import command_set
from adapter.protocols.dimse.command_set import Command
from adapter.protocols.dimse.connection import Connection
from adapter.protocols.dimse.fragments import fragments
from adapter.protocols.dimse.service_link import ServiceLink

_FRAGMENT_BYTES = 16384
"""Of a P-DATA-TF, at the most."""
_MESSAGE_ID = 1


class CommitmentMessage:
    """N-ACTION or N-EVENT-REPORT and its data set, up to `DATA_SET_BYTES_MAX`."""

    def __init__(self, command: Command, transfer_syntax_uid: str) -> None:
        self.command = command
        self.transfer_syntax_uid = transfer_syntax_uid
        self.payload_bytes = 0
        self._data_set = bytearray()

    def fragment(self, view: memoryview, *, last: bool) -> None:  # noqa: ARG002 - as `Reception`
        """Take the next piece of the data set."""
        self.payload_bytes += len(view)
        if self.payload_bytes <= DATA_SET_BYTES_MAX:
            self._data_set += view

    def flush(self) -> None:
        """Nothing waits for the receive buffer."""

    def discard(self) -> None:
        """Forget what was received."""
        self._data_set.clear()

    @property
    def data_set(self) -> bytes:
        """The whole data set.

        Raises:
            RefusedDataSetError: It is too long.
        """
        if self.payload_bytes > DATA_SET_BYTES_MAX:
            raise RefusedDataSetError(RESOURCE_LIMITATION, f"more than {DATA_SET_BYTES_MAX} bytes")
        return bytes(self._data_set)


class CommitmentScp:
    """The storage commitment part of one association; used by its thread."""

    def __init__(
        self,
        connection: Connection,
        link: ServiceLink,
        *,
        dimse_s: float,
        max_length: int,
    ) -> None:
        """Nothing is sent yet; max_length is the longest P-DATA-TF the peer takes, 0: no limit."""
        self._connection = connection
        self._max_length = max_length
        self._link = link
        self._dimse_s = dimse_s
        self._ready: tuple[str, CommitmentReport, str] | None = None
        """Commitment id, report and transfer syntax: to be sent when the requestor is idle."""
        self._context_id = 0
        self._unanswered = ""
        """Commitment id of the report that was sent."""

    def finish(self, context_id: int, message: CommitmentMessage) -> tuple[int, str]:
        """Ask the actor; return the status and the comment to answer with."""
        from adapter.protocols.dimse import commitment_data

        command, syntax = message.command, message.transfer_syntax_uid
        try:
            if command.field == command_set.N_EVENT_REPORT_RQ:
                report = commitment_data.report_of(command, message.data_set, syntax)
                return self._link.report_received(report), ""
            request = commitment_data.request_of(command, message.data_set, syntax)
        except RefusedDataSetError as refused:
            return refused.status, refused.comment
        self.end()  # of two requests in a row only the latter is reported here
        answer = self._link.commitment_asked(request)
        if answer.report is not None:
            self._ready = answer.commitment_id, answer.report, syntax
            self._context_id = context_id
        return answer.status, answer.comment

    @property
    def is_due(self) -> bool:
        """Whether a report waits for the requestor to be idle."""
        return self._ready is not None

    def send(self) -> None:
        """Send the report.

        Raises:
            PeerTimeoutError, OSError: The association is as good as lost.
        """
        from adapter.protocols.dimse import commitment_data

        assert self._ready is not None
        (self._unanswered, report, syntax), self._ready = self._ready, None
        encoded = memoryview(commitment_data.encode_report(report, syntax))
        command = command_set.event_report_request(
            self._context_id,
            _MESSAGE_ID,
            STORAGE_COMMITMENT,
            STORAGE_COMMITMENT_INSTANCE,
            report.event_type,
            self._max_length,
        )
        step = max((min(self._max_length or _FRAGMENT_BYTES, _FRAGMENT_BYTES) - 6) & ~1, 2)
        pieces = fragments(encoded, self._context_id, step, last=True)
        self._connection.send_views([command, *pieces], self._dimse_s)

    def answered(self, response: Command) -> bool:
        """Take a response; return False if it is not the one to our report."""
        if response.field != command_set.N_EVENT_REPORT_RSP or not self._unanswered:
            return False
        if response.message_id != _MESSAGE_ID or response.status is None:
            return False
        self._tell(self._unanswered, response.status)
        self._unanswered = ""
        return True

    def end(self) -> None:
        """Give up a report that was not answered: it will be made on another association."""
        if self._ready is not None:
            self._tell(self._ready[0], None)
        if self._unanswered:
            self._tell(self._unanswered, None)
        self._ready, self._unanswered = None, ""

    def _tell(self, commitment_id: str, status: int | None) -> None:
        self._link.report_ended(ReportEnded(commitment_id=commitment_id, status=status))
