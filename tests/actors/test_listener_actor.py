"""Listener with an application entity: who gets in, who does not, and when a place is free."""

import trio
from actor_ports import CT, Disk, Space, counting_ids, new_ledger, running, wall
from fakes.placements import ONLY

from adapter.actors.entity import ApplicationEntityActor
from adapter.actors.listener import Listener, ListenerDeadlines
from adapter.channels import CommitmentDoor, EntityDoor
from adapter.domain.admission import AdmissionPolicy, AssociationRequest, Rejection
from adapter.domain.assignments import load_processors
from adapter.domain.dimse_ports import AssociationReport, Unasked
from adapter.domain.entities import ApplicationEntity
from adapter.domain.occupancy import Occupancy
from adapter.domain.rejections import Why
from adapter.errors import UnavailableError


class Connection:
    """A peer that associates and stays for so long."""

    peer_port = 40000
    why, identity, contexts = "", None, ()
    after_s = lingers_s = 0.0
    """How long it takes after the end of the association, in the thread and behind it."""

    def __init__(self, stays_s=1.0, *, called="BRAIN", peer="10.0.0.7"):
        self.stays_s = stays_s
        self.called, self.peer = called, peer
        self.rejections = []
        self.served = 0
        self.closed = False

    async def request(self):
        await trio.lowlevel.checkpoint()
        return AssociationRequest(
            called_ae_title=self.called, calling_ae_title="CT1", peer=self.peer,
            peer_port=self.peer_port, abstract_syntaxes=(CT,), user_identity=self.identity,
        )  # fmt: skip

    async def reject(self, rejection):
        self.rejections.append(rejection)
        await self.see_off()

    async def serve(self, association, service):
        self.served += 1
        await trio.sleep(self.stays_s)
        service.ended()
        await trio.sleep(self.after_s)
        return AssociationReport(
            released=True, why="released", instances=0, payload_bytes=0, refused=0
        )

    async def see_off(self):
        await trio.sleep(self.lingers_s)

    def abort(self):
        pass

    def close(self):
        self.closed = True


class Silent(Connection):
    """A peer that never asks."""

    async def request(self):
        await trio.sleep_forever()


class Port:
    """A listening socket on which the test connects."""

    def __init__(self):
        self.connect, self._connections = trio.open_memory_channel(1000)
        self.descriptors = 1000

    async def accept(self):
        await trio.lowlevel.checkpoint()
        if self.descriptors == 0:
            raise UnavailableError("accept: Too many open files")
        self.descriptors -= 1
        return await self._connections.receive()

    def close(self):
        self._connections.close()


async def believe(identity):
    return None


class Stage:
    """A listener with one application entity; limits as the test says."""

    def __init__(self, *, half_open_max=100, associations_max=5, of_entity=1, of_source=0,
                 identify=believe):  # fmt: skip
        entity = ApplicationEntity(
            name="brain", ae_title="BRAIN", pipelines={"seg": "p1"}, max_associations=of_entity
        )
        self.disk, self.events, self.port = Disk(), [], Port()
        self.requests, requests = trio.open_memory_channel(0)
        self.notes, notes = trio.open_memory_channel(10)
        wake, self.woken = trio.open_memory_channel(1)
        self.occupancy = Occupancy(associations_max, half_open_max)
        space, self.stop = Space(), trio.Event()
        keeper_wake, self.refused = trio.open_memory_channel(1)
        self.entity = ApplicationEntityActor(
            entity=entity, assignments=load_processors(entity), store=self.disk, space=space,
            requests=requests, notes=notes, wakes={ONLY: wake}, publish=self.events.append,
            new_id=counting_ids(), now=wall, own_results=new_ledger().own_results,
        )  # fmt: skip
        policy = AdmissionPolicy(
            called_ae_titles={"BRAIN": of_entity}, reject_unknown_sources=False, sources=(),
            resolved={}, verification_enabled=True, associations_max=associations_max,
            per_source_max=of_source,
        )  # fmt: skip
        self.listener = Listener(
            dimse=self.port,
            doors={
                "BRAIN": EntityDoor(
                    requests=self.requests, notes=self.notes, attributes=frozenset(),
                    grouping=frozenset(),
                )
            },
            commitments=CommitmentDoor(
                requests=trio.open_memory_channel(0)[0], notes=trio.open_memory_channel(1)[0]
            ),
            policy=policy, occupancy=self.occupancy, space=space, identify=identify,
            publish=self.events.append, new_id=counting_ids(), stop=self.stop,
            deadlines=ListenerDeadlines(artim_s=30.0),
            meter_wake=trio.open_memory_channel(1)[0], keeper_wake=keeper_wake, now=wall,
            answer_s=10.0, association_grace_s=10.0,
        )  # fmt: skip

    async def connect(self, connection=None, *, wait_s=30.0):
        connection = connection or Connection()
        await self.port.connect.send(connection)
        await trio.sleep(wait_s)
        return connection


def told(connection):
    return [(r.result, r.source, r.reason, r.why) for r in connection.rejections]


async def test_association_is_served_and_ends(autojump_clock):
    stage = Stage()
    async with running(stage.entity), running(stage.listener):
        for _ in range(3):
            assert (await stage.connect()).served == 1
    assert [event.type for event in stage.events] == [
        "association.requested", "association.accepted", "association.released",
    ] * 3  # fmt: skip


async def test_second_association_is_rejected_as_transient(autojump_clock):
    stage = Stage()
    async with running(stage.entity), running(stage.listener):
        await stage.connect(Connection(stays_s=100.0))
        second = await stage.connect()
        assert told(second) == [(2, 3, 2, "max_associations of the AE Title")]
        assert stage.occupancy.associations == 1
        assert second.closed


async def test_silent_connection_is_closed_by_artim(autojump_clock):
    stage = Stage()
    async with running(stage.entity), running(stage.listener):
        silent = Silent()
        await stage.port.connect.send(silent)
        await trio.sleep(29)
        assert not silent.closed
        await trio.sleep(2)
        assert silent.closed
    assert stage.events == []
    assert stage.occupancy.without_request == {"artim": 1}
    assert stage.occupancy.half_open == 0


async def test_place_is_free_before_the_peer_knows_that_the_association_is_over(autojump_clock):
    """The thread says so, ahead of its last words; neither it nor the closing is waited for."""
    stage = Stage(associations_max=1)
    async with running(stage.entity), running(stage.listener):
        first = Connection(stays_s=1.0)
        first.after_s, first.lingers_s = 5.0, 20.0
        await stage.connect(first, wait_s=2.0)
        assert not first.closed
        second = await stage.connect(wait_s=0.5)
        assert second.served == 1
        assert stage.occupancy.associations == 1
        await trio.sleep(30)
        assert first.closed
        assert stage.occupancy.associations == 0


async def test_associations_of_a_source_are_limited(autojump_clock):
    stage = Stage(of_entity=0, of_source=2)
    async with running(stage.entity), running(stage.listener):
        for _ in range(2):
            await stage.connect(Connection(stays_s=100.0), wait_s=1.0)
        third = await stage.connect(wait_s=1.0)
        assert told(third) == [(2, 3, 2, "dicom.scp.max_associations_per_source")]
        assert (await stage.connect(Connection(peer="10.0.0.8"), wait_s=1.0)).served == 1
        assert stage.occupancy.rejections == {"dicom.scp.max_associations_per_source": 1}


async def test_half_open_connection_too_many_replaces_the_oldest(autojump_clock):
    stage = Stage(half_open_max=3)
    async with running(stage.entity), running(stage.listener):
        crowd = [await stage.connect(Silent(), wait_s=0.1) for _ in range(5)]
        assert [silent.closed for silent in crowd] == [True, True, False, False, False]
        assert (await stage.connect(Connection(peer="10.0.0.8"), wait_s=0.1)).served == 1
        assert stage.occupancy.without_request == {"evicted": 3}
        assert stage.occupancy.half_open == 2


async def test_peer_that_does_not_close_after_its_rejection_is_half_open(autojump_clock):
    stage = Stage(half_open_max=1)
    async with running(stage.entity), running(stage.listener):
        deaf = Connection(called="NOBODY")
        deaf.lingers_s = 1000.0
        await stage.connect(deaf, wait_s=1.0)
        assert stage.occupancy.half_open == 1
        assert not deaf.closed
        await stage.connect(Silent(), wait_s=1.0)
        assert deaf.closed
        assert stage.occupancy.without_request == {}
        assert stage.occupancy.rejections == {"called AE Title is not configured": 1}


async def test_connection_that_brings_no_request_is_counted_by_its_end(autojump_clock):
    class Probe(Connection):
        async def request(self):
            await trio.lowlevel.checkpoint()
            return Unasked.LEFT

    class Browser(Connection):
        async def request(self):
            await trio.lowlevel.checkpoint()
            return Unasked.REFUSED

    stage = Stage()
    async with running(stage.entity), running(stage.listener):
        for kind in (Probe, Probe, Browser):
            assert (await stage.connect(kind())).closed
    assert stage.occupancy.without_request == {"left": 2, "refused": 1}
    assert stage.events == []


async def test_want_of_descriptors_costs_a_half_open_connection_and_no_spinning(autojump_clock):
    stage = Stage()
    stage.port.descriptors = 1
    async with running(stage.entity), running(stage.listener):
        silent = await stage.connect(Silent(), wait_s=0.5)
        assert silent.closed
        assert stage.occupancy.without_request == {"evicted": 1}
        stage.port.descriptors = 1
        assert (await stage.connect(wait_s=1.0)).served == 1


async def test_user_identity_that_is_not_believed_is_rejected(autojump_clock):
    async def doubt(identity):
        await trio.sleep(0.05)
        return Rejection(result=1, source=1, reason=1, why=Why.IDENTITY_UNKNOWN)

    stage = Stage(identify=doubt)
    async with running(stage.entity), running(stage.listener):
        for _ in range(3):  # more than the AE Title takes: none of them keeps a place
            assert told(await stage.connect()) == [(1, 1, 1, "user identity is not known")]
    assert stage.occupancy.associations == 0
    assert stage.occupancy.rejections == {"user identity is not known": 3}


async def test_application_entity_that_is_parked_is_told_from_one_that_is_unknown(autojump_clock):
    stage = Stage()
    async with running(stage.listener):
        stage.entity.close()  # as the supervisor does
        assert told(await stage.connect()) == [(2, 3, 1, "the AE Title does not answer")]
        assert (await stage.connect(Connection(called="NOBODY"))).rejections[0].reason == 7


async def test_stop_ends_the_wait_for_requests(autojump_clock):
    stage = Stage()
    async with running(stage.entity), running(stage.listener):
        silent = await stage.connect(Silent(), wait_s=1.0)
        stage.stop.set()
        await trio.sleep(0.1)
        assert silent.closed
        assert stage.occupancy.without_request == {}
