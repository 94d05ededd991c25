"""Listener: one per listening port.

Consumes: TCP connections. Produces: associations served by threads, notes to their entities. Owns:
the wait for A-ASSOCIATE-RQ under ARTIM, the decision who is admitted; the occupancy it shares with
the other listeners. Rebuilds from: nothing, it keeps nothing. Restart policy: essential.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import trio

from adapter.actors.association_register import AssociationRegister
from adapter.actors.association_service import AssociationServices, CommitmentRole
from adapter.channels import CommitmentDoor, EntityDoor, EntityDoors, note, notify
from adapter.domain.admission import (
    AdmissionPolicy,
    AssociationRequest,
    Pressure,
    decide,
    is_reporter,
)
from adapter.domain.dimse_ports import (
    DimseListener,
    IdentityCheck,
    PendingAssociation,
    Unasked,
)
from adapter.domain.events import Publish
from adapter.domain.identifiers import NewId
from adapter.domain.messages import AssociationEnded, Wake
from adapter.domain.occupancy import HalfOpenConnection, Occupancy, ServedAssociation
from adapter.domain.ports import SpaceGauge, WallClock
from adapter.errors import UnavailableError

ACCEPT_PAUSE_S = 0.1
"""After accept failed for want of descriptors: let others finish, do not spin."""
STARTS_MAX = 4
"""Associations that get their thread in one turn of the event loop: starting threads is what takes
time, and whoever comes meanwhile to be rejected is not to wait for all of them.
"""


@dataclass(slots=True)
class ListenerDeadlines:
    """`dicom.scp.*`, as they are now."""

    artim_s: float
    """For connections that are made from now on."""


@dataclass(slots=True, kw_only=True)
class Listener:
    """Accepts connections, admits associations, and waits for them at a stop."""

    dimse: DimseListener
    doors: EntityDoors
    commitments: CommitmentDoor
    policy: AdmissionPolicy
    occupancy: Occupancy
    space: SpaceGauge
    identify: IdentityCheck
    publish: Publish
    meter_wake: trio.MemorySendChannel[Wake]
    keeper_wake: trio.MemorySendChannel[Wake]
    now: WallClock
    new_id: NewId
    stop: trio.Event
    deadlines: ListenerDeadlines
    answer_s: float
    association_grace_s: float
    name: str = "listener"
    _open: set[PendingAssociation] = field(default_factory=set)
    _entered: dict[str, EntityDoor] = field(default_factory=dict)
    """By association; its entity waits for the last one to close before it goes."""
    _waiting: set[trio.CancelScope] = field(default_factory=set)
    _register: AssociationRegister = field(init=False)
    _all_over: trio.Event = field(default_factory=trio.Event)
    _turnstile: trio.CapacityLimiter = field(
        default_factory=lambda: trio.CapacityLimiter(STARTS_MAX)
    )

    def __post_init__(self) -> None:
        self._register = AssociationRegister(
            listener=self.name, occupancy=self.occupancy, refused=self.keeper_wake,
            publish=self.publish, now=self.now,
        )  # fmt: skip

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `Actor.run`."""
        self._open, self._waiting = set(), set()
        task_status.started()
        async with trio.open_nursery() as cancellation:
            cancellation.start_soon(self._abort_when_cancelled)
            async with trio.open_nursery() as associations:
                associations.start_soon(self._accept, associations)
                await self.stop.wait()
                self.dimse.close()
                for scope in self._waiting:
                    scope.cancel()
                if self._open:
                    with trio.move_on_after(self.association_grace_s):
                        await self._all_over.wait()
                self._abort_all()
            cancellation.cancel_scope.cancel()

    async def _abort_when_cancelled(self) -> None:
        """End the threads that a cancel would wait for; one watcher is cheaper than one each."""
        try:
            await trio.sleep_forever()
        finally:
            self._abort_all()

    def _abort_all(self) -> None:
        for connection in self._open:
            connection.abort()

    def close(self) -> None:
        """See `Actor.close`."""
        self.dimse.close()
        self.commitments.close()
        self.meter_wake.close()
        self.keeper_wake.close()

    async def _accept(self, associations: trio.Nursery) -> None:
        while not self.stop.is_set():
            try:
                connection = await self.dimse.accept()
            except UnavailableError:
                await trio.sleep(ACCEPT_PAUSE_S)  # who came last has that long to ask
                self.occupancy.evict()  # a descriptor for the next one
            except trio.ClosedResourceError:
                return
            else:
                associations.start_soon(self._converse, connection)

    async def _converse(self, connection: PendingAssociation) -> None:
        """Take one connection from accept to close; a bug ends this one and no other."""
        association = f"a-{self.new_id()}"
        request = None
        try:
            with self._half_open(connection, association) as waiting:
                request = await self._admitted(connection, association, waiting)
            if request is not None:
                await self._serve(connection, request, association)
                with self._half_open(connection, association) as waiting:
                    waiting.why = ""
                    await connection.see_off()
        except Exception as bug:  # ends this association only, and is told as its crash
            self._register.crashed(association, connection.peer, bug)
        finally:
            self._leave(association)
            connection.close()

    @contextmanager
    def _half_open(
        self, connection: PendingAssociation, association: str
    ) -> Iterator[HalfOpenConnection]:
        """Count the connection among those without an association, as long as ARTIM allows."""
        with trio.move_on_after(self.deadlines.artim_s) as scope:
            waiting = HalfOpenConnection(connection.peer, scope.cancel)
            self.occupancy.add_half_open(waiting)
            self._waiting.add(scope)
            try:
                yield waiting
            finally:
                self._waiting.discard(scope)
                self.occupancy.remove_half_open(waiting)
        if waiting.why and not self.stop.is_set():
            self._register.unasked(association, connection, waiting.why)

    async def _admitted(
        self, connection: PendingAssociation, association: str, waiting: HalfOpenConnection
    ) -> AssociationRequest | None:
        """Return what was asked for if it is admitted; its place is taken then."""
        request = await connection.request()
        if isinstance(request, Unasked):
            waiting.why = request.value
            return None
        waiting.why = ""
        self._register.requested(association, request)
        rejection = decide(request, self.policy, self._pressure(request))
        if rejection is None:
            self._enter(association, request)
            rejection = await self.identify(request.user_identity)
        if rejection is None:
            return request
        self._leave(association)
        self._register.rejected(association, request, rejection)
        await connection.reject(rejection)
        return None

    def _enter(self, association: str, request: AssociationRequest) -> None:
        """Take a place, and the door of the AE Title as it is now."""
        self.occupancy.enter(association, request.called_ae_title, request.peer)
        if door := self.doors.get(request.called_ae_title):
            self._entered[association] = door.clone()

    def _leave(self, association: str) -> None:
        """Give both back; again is harmless."""
        self.occupancy.leave(association)
        if door := self._entered.pop(association, None):
            door.close()

    def _pressure(self, request: AssociationRequest) -> Pressure:
        door = self.doors.get(request.called_ae_title)
        return Pressure(
            associations=self.occupancy.associations,
            of_ae_title=self.occupancy.with_ae_title(request.called_ae_title),
            of_source=self.occupancy.from_peer(request.peer),
            space_is_low=self.space.low,
            entity_is_down=door is not None and not door.is_open,
            stopping=self.stop.is_set(),
        )

    async def _serve(
        self, connection: PendingAssociation, request: AssociationRequest, association: str
    ) -> None:
        door = self._entered.get(association)  # None: ours as a requestor
        roles = set()
        if door is not None and door.commits:
            roles.add(CommitmentRole.SCP)
        if is_reporter(request, self.policy):
            roles.add(CommitmentRole.SCU)

        def ended() -> None:
            self.occupancy.leave(association)

        async with self._turnstile:
            await trio.lowlevel.checkpoint()
        self._register.accepted(association, request)
        notify(self.meter_wake)
        served = ServedAssociation(connection)
        self._open.add(connection)
        self.occupancy.begin(association, served)
        try:
            service = AssociationServices(
                door,
                self.commitments,
                request,
                association,
                frozenset(roles),
                self.answer_s,
                ended,
            )
            report = await connection.serve(association, service)
        finally:
            self._open.discard(connection)
            self.occupancy.end(association)
            if self.stop.is_set() and not self._open:
                self._all_over.set()
            if door is not None:
                note(door.notes, AssociationEnded(association=association))
        self._register.ended(association, request, report, served)
