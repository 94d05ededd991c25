"""Association service: what one association's thread reaches of the actors behind it.

Consumes: the questions of that thread. Produces: their answers, asked of the application entity and
of the commitments actor. Owns: nothing. Rebuilds from: nothing. Restart policy: none, it ends with
its association.
"""

from collections.abc import Callable, Sequence
from enum import Enum, auto

import trio

from adapter.channels import CommitmentDoor, EntityDoor, ask, note
from adapter.domain.admission import AssociationRequest
from adapter.domain.commitment import CommitmentReport, CommitmentRequest
from adapter.domain.dimse_ports import ServiceClass
from adapter.domain.messages import (
    AssociationReleased,
    CommitmentAnswer,
    CommitmentAsked,
    InstanceSettled,
    InstancesSettled,
    ReceivedInstance,
    Refused,
    ReportEnded,
    ReportReceived,
    StoreAnswer,
    StoreRequest,
)
from adapter.domain.statuses import (
    NOT_AUTHORIZED,
    OUT_OF_RESOURCES,
    PROCESSING_FAILURE,
    SOP_CLASS_NOT_SUPPORTED,
)

_GONE = (trio.TooSlowError, trio.EndOfChannel, trio.BrokenResourceError, trio.ClosedResourceError)


class CommitmentRole(Enum):
    """What we are to the peer of an association, where storage commitment is concerned."""

    SCP = auto()
    """It may ask whether we keep what it sent."""
    SCU = auto()
    """It is a destination, and may report what it keeps."""


class AssociationServices:
    """The services of one association (port `AssociationService`)."""

    def __init__(
        self,
        door: EntityDoor | None,
        commitments: CommitmentDoor,
        request: AssociationRequest,
        association: str,
        roles: frozenset[CommitmentRole],
        answer_s: float,
        ended: Callable[[], None],
    ) -> None:
        """Serve an association.

        Args:
            door: The application entity; None: our AE Title as a requestor was called.
            commitments: The actor behind storage commitment.
            request: What the peer asked for.
            association: Its id.
            roles: Ours in storage commitment with this peer.
            answer_s: How long an actor may take to answer.
            ended: See `AssociationService.ended`.
        """
        self.attributes = door.attributes if door else frozenset[str]()
        self.grouping = door.grouping if door else frozenset[str]()
        offered = {ServiceClass.VERIFICATION}
        if door:
            offered.add(ServiceClass.STORAGE)
        if roles:
            offered.add(ServiceClass.STORAGE_COMMITMENT)
        self.offered = frozenset(offered)
        self.ended = ended
        self._door = door
        self._commitments = commitments
        self._request = request
        self._association = association
        self._roles = roles
        self._answer_s = answer_s

    async def place(self, instance: ReceivedInstance) -> StoreAnswer:
        if self._door is None:
            return Refused(status=SOP_CLASS_NOT_SUPPORTED, comment="no instances are taken here")
        try:
            return await ask(
                self._door.requests,
                lambda reply: StoreRequest(instance=instance, grouping=self.grouping, reply=reply),
                self._answer_s,
            )
        except trio.TooSlowError:
            return Refused(status=OUT_OF_RESOURCES, comment="no answer in time, try again")
        except _GONE:
            return Refused(status=PROCESSING_FAILURE, comment="internal failure")

    def settled(self, settled: Sequence[InstanceSettled]) -> None:
        if self._door is not None:
            note(self._door.notes, InstancesSettled(settled=settled))

    async def released(self) -> bool:
        assert self._door is not None
        try:
            return await ask(
                self._door.requests,
                lambda reply: AssociationReleased(association=self._association, reply=reply),
                self._answer_s,
            )
        except _GONE:
            return False

    async def commitment_asked(self, request: CommitmentRequest) -> CommitmentAnswer:
        if CommitmentRole.SCP not in self._roles:
            return CommitmentAnswer(status=NOT_AUTHORIZED, comment="not offered by this AE Title")
        try:
            return await ask(
                self._commitments.requests,
                lambda reply: CommitmentAsked(
                    ae_title=self._request.called_ae_title,
                    calling_ae_title=self._request.calling_ae_title,
                    request=request,
                    reply=reply,
                ),
                self._answer_s,
            )
        except _GONE:
            return CommitmentAnswer(status=PROCESSING_FAILURE, comment="no answer, try again")

    def report_ended(self, ended: ReportEnded) -> None:
        note(self._commitments.notes, ended)

    async def report_received(self, report: CommitmentReport) -> int:
        if CommitmentRole.SCU not in self._roles:
            return NOT_AUTHORIZED
        calling = self._request.calling_ae_title
        try:
            return await ask(
                self._commitments.requests,
                lambda reply: ReportReceived(calling_ae_title=calling, report=report, reply=reply),
                self._answer_s,
            )
        except _GONE:
            return PROCESSING_FAILURE
