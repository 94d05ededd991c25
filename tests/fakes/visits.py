"""What all fake associations with the gateway have in common."""

import trio
import trio.lowlevel
from fakes.disk import Life

from adapter.domain.admission import AssociationRequest, Rejection
from adapter.domain.dimse_ports import AssociationReport, AssociationService


class Visit:
    """Port PendingAssociation: one peer's visit."""

    peer, peer_port, why, contexts = "127.0.0.1", 40000, "", ()

    def __init__(
        self, called: str, calling: str, abstract_syntaxes: tuple[str, ...], life: Life
    ) -> None:
        self.life = life
        self.over = trio.Event()
        self.aborted = False
        self._request = AssociationRequest(
            called_ae_title=called, calling_ae_title=calling, peer=self.peer,
            peer_port=self.peer_port, abstract_syntaxes=abstract_syntaxes,
        )  # fmt: skip

    async def request(self) -> AssociationRequest:
        await self.life.io()
        return self._request

    async def reject(self, rejection: Rejection) -> None:
        await trio.lowlevel.checkpoint()

    async def see_off(self) -> None:
        await trio.lowlevel.checkpoint()

    async def serve(self, association: str, service: AssociationService) -> AssociationReport:
        try:
            return await self.converse(association, service)
        finally:
            service.ended()

    async def converse(self, association: str, service: AssociationService) -> AssociationReport:
        """What the visit is for."""
        raise NotImplementedError

    def ended(self, stored: int, *, released: bool) -> AssociationReport:
        """Return the report of a visit that stored so many instances."""
        return AssociationReport(
            released=released, why="", instances=stored, payload_bytes=stored, refused=0
        )

    def abort(self) -> None:
        self.aborted = True

    def close(self) -> None:
        self.over.set()
