"""Storage Commitment on associations of ours: asking as SCU, reporting as SCP (PS3.4 J.3)."""

from adapter.domain.commitment import (
    COMMITMENT_CONTEXT,
    REQUEST_COMMITMENT,
    STORAGE_COMMITMENT,
    STORAGE_COMMITMENT_INSTANCE,
    CommitmentReport,
    CommitmentRequest,
)
from adapter.domain.dimse_ports import SendResult
from adapter.domain.statuses import SUCCESS, UNRECOGNIZED_OPERATION, status_words
from adapter.errors import RefusedDataSetError
from adapter.protocols.dimse import command_set, commitment_data
from adapter.protocols.dimse.messages import AssociationLostError, PeerMessage
from adapter.protocols.dimse.scu import ScuAssociation

_SYNTAX = COMMITMENT_CONTEXT[1]


def request_commitment(association: ScuAssociation, request: CommitmentRequest) -> SendResult:
    """Ask by N-ACTION; never raises an expected error."""
    try:
        status = association.request(
            COMMITMENT_CONTEXT,
            lambda context_id, message_id, max_length: command_set.action_request(
                context_id,
                message_id,
                STORAGE_COMMITMENT,
                STORAGE_COMMITMENT_INSTANCE,
                REQUEST_COMMITMENT,
                max_length,
            ),
            commitment_data.encode_request(request),
            (command_set.N_ACTION_RSP, STORAGE_COMMITMENT_INSTANCE),
        )
    except AssociationLostError as error:
        return SendResult(status=None, error=str(error))
    if status == SUCCESS:
        return SendResult(status=status)
    return SendResult(status=status, error=f"storage commitment refused: {status_words(status)}")


def report(association: ScuAssociation, said: CommitmentReport) -> int:
    """Report by N-EVENT-REPORT; return the status of the response.

    Raises:
        AssociationLostError: No proper answer came.
    """
    return association.request(
        COMMITMENT_CONTEXT,
        lambda context_id, message_id, max_length: command_set.event_report_request(
            context_id,
            message_id,
            STORAGE_COMMITMENT,
            STORAGE_COMMITMENT_INSTANCE,
            said.event_type,
            max_length,
        ),
        commitment_data.encode_report(said, _SYNTAX),
        (command_set.N_EVENT_REPORT_RSP, STORAGE_COMMITMENT_INSTANCE),
    )


class ReportInbox:
    """The reports that come on an association of ours, each to be answered."""

    def __init__(self, association: ScuAssociation) -> None:
        self._association = association
        self._unanswered: PeerMessage | None = None

    def next(self, wait_s: float) -> CommitmentReport | None:
        """Return the next report; None: none came within wait_s, or one that says nothing.

        Raises:
            AssociationLostError: The association is over.
        """
        message = self._association.next_request(wait_s)
        if message is None:
            return None
        if message.command.field != command_set.N_EVENT_REPORT_RQ:
            self._association.respond(message, UNRECOGNIZED_OPERATION, "no such service here")
            return None
        try:
            said = commitment_data.report_of(message.command, message.data_set, _SYNTAX)
        except RefusedDataSetError as refused:
            self._association.respond(message, refused.status, refused.comment)
            return None
        self._unanswered = message
        return said

    def answer(self, status: int) -> None:
        """Answer the report that `next` returned last.

        Raises:
            AssociationLostError: The association is over.
        """
        assert self._unanswered is not None
        message, self._unanswered = self._unanswered, None
        self._association.respond(message, status)
