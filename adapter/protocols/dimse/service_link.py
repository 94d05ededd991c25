"""The actors behind an association, as its thread reaches them: `AssociationService`, blocking.

A thread of the main process reaches them through Trio, one of a receiver process through a socket
(`receiver_link`); what serves the association cannot tell which.
"""

from collections.abc import Sequence
from typing import Protocol

import trio

from adapter.domain.commitment import CommitmentReport, CommitmentRequest
from adapter.domain.dimse_ports import AssociationService
from adapter.domain.messages import (
    CommitmentAnswer,
    InstanceSettled,
    ReceivedInstance,
    ReportEnded,
    StoreAnswer,
)


class LinkCutError(Exception):
    """Nobody will answer any more: the association is to be aborted."""


class ServiceLink(Protocol):
    """See `AssociationService` for what each call means.

    Raises (place, released, commitment_asked, report_received):
        LinkCutError: The main process is gone, or wants the association to end.
    """

    def place(self, instance: ReceivedInstance) -> StoreAnswer: ...

    def settled(self, settled: Sequence[InstanceSettled]) -> None:
        """Not waited for, and in order with the rest."""

    def released(self) -> bool: ...

    def ended(self) -> None: ...

    def commitment_asked(self, request: CommitmentRequest) -> CommitmentAnswer: ...

    def report_ended(self, ended: ReportEnded) -> None: ...

    def report_received(self, report: CommitmentReport) -> int: ...


class TrioLink:
    """The link of a thread that Trio has started; made on the Trio side."""

    def __init__(self, service: AssociationService) -> None:
        self._service = service
        self._token = trio.lowlevel.current_trio_token()

    def place(self, instance: ReceivedInstance) -> StoreAnswer:
        """See `AssociationService.place`."""
        return trio.from_thread.run(self._service.place, instance)

    def settled(self, settled: Sequence[InstanceSettled]) -> None:
        """See `AssociationService.settled`."""
        self._token.run_sync_soon(self._service.settled, settled)

    def released(self) -> bool:
        """See `AssociationService.released`."""
        return trio.from_thread.run(self._service.released)

    def ended(self) -> None:
        """See `AssociationService.ended`."""
        self._service.ended()

    def commitment_asked(self, request: CommitmentRequest) -> CommitmentAnswer:
        """See `AssociationService.commitment_asked`."""
        return trio.from_thread.run(self._service.commitment_asked, request)

    def report_ended(self, ended: ReportEnded) -> None:
        """See `AssociationService.report_ended`."""
        trio.from_thread.run_sync(self._service.report_ended, ended)

    def report_received(self, report: CommitmentReport) -> int:
        """See `AssociationService.report_received`."""
        return trio.from_thread.run(self._service.report_received, report)
