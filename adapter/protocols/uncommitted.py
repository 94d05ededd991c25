"""What associations are to carriers that have none: no negotiation, no storage commitment."""

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from adapter.domain.commitment import STORAGE_COMMITMENT, CommitmentReport, CommitmentRequest
from adapter.domain.dimse_ports import Context, SendResult
from adapter.domain.entities import Destination
from adapter.domain.refusals import Cause
from adapter.errors import PeerRefusalError, UnavailableError

_WORDS = "only destinations of type 'dicom' commit to keep instances"


ABORTED = SendResult(status=None, error="aborted")


class UncommittedAssociation:
    """What `OutboundAssociation` has besides `store`."""

    def __init__(self) -> None:
        self._is_aborted = False
        self._scope: trio.CancelScope | None = None

    def abort(self) -> None:
        """See `OutboundAssociation.abort`."""
        self._is_aborted = True
        if self._scope is not None:
            self._scope.cancel()

    @contextmanager
    def _until_aborted(self) -> Iterator[None]:
        """Leave the block when `abort` is called."""
        with trio.CancelScope() as self._scope:
            if self._is_aborted:
                self._scope.cancel()
            yield

    def accepted(self, context: Context) -> bool:
        """See `OutboundAssociation.accepted`."""
        return context[0] != STORAGE_COMMITMENT

    async def request_commitment(self, request: CommitmentRequest) -> SendResult:  # noqa: ARG002
        """See `OutboundAssociation.request_commitment`."""
        return SendResult(status=None, permanent=True, error=_WORDS)

    async def next_report(self, wait_s: float) -> CommitmentReport | None:  # noqa: ARG002
        """See `OutboundAssociation.next_report`."""
        raise UnavailableError(_WORDS)

    async def answer_report(self, status: int) -> None:
        """See `OutboundAssociation.answer_report`."""


class UncommittedRequestor:
    """The part of `Requestor` that is about storage commitment."""

    async def report(
        self,
        destination: Destination,  # noqa: ARG002
        report: CommitmentReport,  # noqa: ARG002
        calling_ae_title: str,  # noqa: ARG002
    ) -> int:
        """See `Requestor.report`."""
        raise PeerRefusalError(_WORDS, Cause.CONTEXT_REFUSED)
