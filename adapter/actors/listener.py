"""Listener: one per listening port.

Consumes: TCP connections. Produces: admission questions, associations served by threads.
Owns: the connection budget, the wait for A-ASSOCIATE-RQ under ARTIM, its share of the association
slots. Rebuilds from: nothing, it keeps nothing. Restart policy: essential.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog
import trio

from adapter.channels import EntityDoor, EntityDoors, aborted_on_cancel, ask
from adapter.domain.admission import (
    AdmissionPolicy,
    AssociationRequest,
    Pressure,
    Rejection,
    decide,
)
from adapter.domain.dimse_ports import AssociationReport, DimseListener, PendingAssociation
from adapter.domain.events import Event, Publish
from adapter.domain.identifiers import NewId
from adapter.domain.messages import (
    AdmissionRequest,
    AssociationEnded,
    EntityNote,
    InstanceSettled,
    InstancesSettled,
    ReceivedInstance,
    Refused,
    StoreAnswer,
    StoreRequest,
)
from adapter.domain.ports import SpaceGauge
from adapter.domain.statuses import OUT_OF_RESOURCES, PROCESSING_FAILURE
from adapter.errors import UnavailableError

log = structlog.get_logger("adapter.listener")

ACCEPT_PAUSE_S = 0.1
"""After accept failed for want of descriptors: let others finish, do not spin."""
PENDING_MAX = 512
"""Connections that have not asked for an association yet; the next ones wait in the backlog."""


@dataclass(slots=True, kw_only=True)
class Listener:
    """Accepts connections, admits associations, and waits for them at a stop."""

    dimse: DimseListener
    doors: EntityDoors
    policy: Callable[[], AdmissionPolicy]
    slots: trio.CapacityLimiter
    space: SpaceGauge
    publish: Publish
    new_id: NewId
    stop: trio.Event
    artim_s: float
    answer_s: float
    association_grace_s: float
    name: str = "listener"
    _open: set[PendingAssociation] = field(default_factory=set)
    _waiting: set[trio.CancelScope] = field(default_factory=set)
    _all_over: trio.Event = field(default_factory=trio.Event)
    _pending: trio.CapacityLimiter = field(
        default_factory=lambda: trio.CapacityLimiter(PENDING_MAX)
    )

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `Actor.run`."""
        self._open, self._waiting = set(), set()
        self._pending = trio.CapacityLimiter(PENDING_MAX)
        task_status.started()
        async with trio.open_nursery() as associations:
            associations.start_soon(self._accept, associations)
            await self.stop.wait()
            self.dimse.close()
            for scope in self._waiting:
                scope.cancel()
            if self._open:
                with trio.move_on_after(self.association_grace_s):
                    await self._all_over.wait()
            for connection in self._open:
                connection.abort()

    def close(self) -> None:
        """See `Actor.close`."""
        self.dimse.close()
        for door in self.doors.values():
            door.requests.close()
            door.notes.close()

    async def _accept(self, associations: trio.Nursery) -> None:
        while not self.stop.is_set():
            budget = object()
            await self._pending.acquire_on_behalf_of(budget)
            try:
                connection = await self.dimse.accept()
            except UnavailableError:
                self._pending.release_on_behalf_of(budget)
                await trio.sleep(ACCEPT_PAUSE_S)
                continue
            except trio.ClosedResourceError:
                return
            associations.start_soon(self._converse, connection, budget)

    async def _converse(self, connection: PendingAssociation, budget: object) -> None:
        """Take one connection from accept to close; a bug ends this one and no other."""
        association = f"a-{self.new_id()}"
        try:
            request = await self._request(connection, budget)
            if request is not None:
                await self._associate(connection, request, association)
        except Exception as bug:
            log.exception("association.crashed", association=association, peer=connection.peer)
            self.publish(
                Event(
                    type="association.aborted",
                    association=association,
                    data={"why": f"internal failure: {type(bug).__name__}"},
                )
            )
        finally:
            connection.close()

    async def _request(
        self, connection: PendingAssociation, budget: object
    ) -> AssociationRequest | None:
        """Wait for A-ASSOCIATE-RQ, as long as ARTIM and the stop allow."""
        request = None
        try:
            with trio.move_on_after(self.artim_s) as artim:
                self._waiting.add(artim)
                request = await connection.request()
        finally:
            self._waiting.discard(artim)
            self._pending.release_on_behalf_of(budget)
        return request

    async def _associate(
        self, connection: PendingAssociation, request: AssociationRequest, association: str
    ) -> None:
        self._tell("requested", association, request)
        pressure = Pressure(
            associations=self.slots.borrowed_tokens,
            associations_max=int(self.slots.total_tokens),
            space_is_low=self.space.low,
            stopping=self.stop.is_set(),
        )
        rejection = decide(request, self.policy(), pressure)
        if rejection is None:
            self.slots.acquire_on_behalf_of_nowait(association)
            try:
                rejection = await self._served(connection, request, association)
            finally:
                self.slots.release_on_behalf_of(association)
        if rejection is not None:
            why = {"why": rejection.why, "result": rejection.result,
                   "source": rejection.source, "reason": rejection.reason}  # fmt: skip
            log.info("association.rejected", association=association, peer=request.peer, **why)
            self._tell("rejected", association, request, **why)
            await connection.reject(rejection)

    async def _served(
        self, connection: PendingAssociation, request: AssociationRequest, association: str
    ) -> Rejection | None:
        """Serve the association if its entity takes it; else return why not."""
        door = self.doors[request.called_ae_title]
        try:
            rejection: Rejection | None = await ask(
                door.requests,
                lambda reply: AdmissionRequest(
                    association=association, request=request, reply=reply
                ),
                self.answer_s,
            )
        except (trio.TooSlowError, trio.EndOfChannel, trio.BrokenResourceError):
            return Rejection(result=2, source=3, reason=1, why="the AE Title does not answer")
        if rejection is not None:
            return rejection
        self._tell("accepted", association, request)
        self._open.add(connection)
        try:
            report = await self._serve(connection, door, association)
        finally:
            self._open.discard(connection)
            if self.stop.is_set() and not self._open:
                self._all_over.set()
            _note(door, AssociationEnded(association=association))
        self._report(association, request, report)
        return None

    async def _serve(
        self, connection: PendingAssociation, door: EntityDoor, association: str
    ) -> AssociationReport:
        async with aborted_on_cancel(connection):
            return await connection.serve(association, _EntityService(door, self.answer_s))

    def _report(
        self, association: str, request: AssociationRequest, report: AssociationReport
    ) -> None:
        facts = {
            "why": report.why,
            "instances": report.instances,
            "bytes": report.payload_bytes,
            "refused": report.refused,
        }
        verb = "released" if report.released else "aborted"
        log.info(f"association.{verb}", association=association, peer=request.peer, **facts)
        self._tell(verb, association, request, **facts)

    def _tell(
        self, verb: str, association: str, request: AssociationRequest, **data: object
    ) -> None:
        self.publish(
            Event(
                type=f"association.{verb}",
                ae_title=request.called_ae_title,
                association=association,
                data={
                    "callingAeTitle": request.calling_ae_title,
                    "peer": request.peer,
                    "contexts": len(request.abstract_syntaxes),
                    **data,
                },
            )
        )


def _note(door: EntityDoor, note: EntityNote) -> None:
    """Tell the entity something it does not answer. Never waits, never raises."""
    try:
        door.notes.send_nowait(note)
    except (trio.WouldBlock, trio.BrokenResourceError):
        pass  # it is being restarted, or parked: it will look at the disk, not at old notes


class _EntityService:
    """What an association asks of its entity (port `AssociationService`)."""

    def __init__(self, door: EntityDoor, answer_s: float) -> None:
        self.attributes = door.attributes
        self.grouping = door.grouping
        self._door = door
        self._answer_s = answer_s

    async def place(self, instance: ReceivedInstance) -> StoreAnswer:
        try:
            return await ask(
                self._door.requests,
                lambda reply: StoreRequest(instance=instance, reply=reply),
                self._answer_s,
            )
        except trio.TooSlowError:
            return Refused(status=OUT_OF_RESOURCES, comment="no answer in time, try again")
        except (trio.EndOfChannel, trio.BrokenResourceError, trio.ClosedResourceError):
            return Refused(status=PROCESSING_FAILURE, comment="internal failure")

    def settled(self, settled: Sequence[InstanceSettled]) -> None:
        _note(self._door, InstancesSettled(settled=settled))
