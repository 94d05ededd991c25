"""Listener with an application entity: associations that get no answer in time."""

import trio
from actor_ports import CT, Disk, Space, counting_ids, running, wall

from adapter.actors.entity import ApplicationEntityActor
from adapter.actors.listener import Listener
from adapter.channels import EntityDoor
from adapter.domain.admission import AdmissionPolicy, AssociationRequest
from adapter.domain.dimse_ports import AssociationReport
from adapter.domain.entities import ApplicationEntity
from adapter.domain.messages import ReceivedInstance, StoreRequest
from adapter.domain.processors import AETitleProcessor


class Connection:
    """A peer that associates and stays for so long."""

    peer, peer_port = "10.0.0.7", 40000

    def __init__(self, stays_s=1.0):
        self.stays_s = stays_s
        self.rejections = []
        self.served = 0
        self.closed = False

    async def request(self):
        await trio.lowlevel.checkpoint()
        return AssociationRequest(
            called_ae_title="BRAIN", calling_ae_title="CT1", peer=self.peer,
            peer_port=self.peer_port, abstract_syntaxes=(CT,),
        )  # fmt: skip

    async def reject(self, rejection):
        await trio.lowlevel.checkpoint()
        self.rejections.append(rejection)

    async def serve(self, association, service):
        self.served += 1
        await trio.sleep(self.stays_s)
        return AssociationReport(
            released=True, why="released", instances=0, payload_bytes=0, refused=0
        )

    def abort(self):
        pass

    def close(self):
        self.closed = True


class Port:
    """A listening socket on which the test connects."""

    def __init__(self):
        self.connect, self._connections = trio.open_memory_channel(100)

    async def accept(self):
        return await self._connections.receive()

    def close(self):
        self._connections.close()


class SlowDisk(Disk):
    """A disk on which opening a group takes its time."""

    open_s = 0.0

    async def open_group(self, record):
        await trio.sleep(self.open_s)
        await super().open_group(record)


class Stage:
    """A listener with one application entity that takes one association at a time."""

    def __init__(self):
        entity = ApplicationEntity(
            name="brain", ae_title="BRAIN", pipelines={"seg": "p1"}, max_associations=1
        )
        self.disk, self.events, self.port = SlowDisk(), [], Port()
        self.requests, requests = trio.open_memory_channel(0)
        self.notes, notes = trio.open_memory_channel(10)
        wake, self.woken = trio.open_memory_channel(1)
        processor, space, self.stop = AETitleProcessor(entity), Space(), trio.Event()
        self.entity = ApplicationEntityActor(
            entity=entity, processor=processor, store=self.disk, space=space, requests=requests,
            notes=notes, processor_wake=wake, publish=self.events.append,
            new_id=counting_ids(), now=wall,
        )  # fmt: skip
        policy = AdmissionPolicy(
            called_ae_titles=frozenset({"BRAIN"}), reject_unknown_sources=False, sources=(),
            resolved={}, verification_enabled=True,
        )  # fmt: skip
        self.listener = Listener(
            dimse=self.port,
            doors={
                "BRAIN": EntityDoor(
                    requests=self.requests, notes=self.notes, attributes=frozenset(),
                    grouping=frozenset(),
                )
            },
            policy=lambda: policy, slots=trio.CapacityLimiter(5), space=space,
            publish=self.events.append, new_id=counting_ids(), stop=self.stop, artim_s=30.0,
            answer_s=10.0, association_grace_s=10.0,
        )  # fmt: skip

    async def connect(self, *, wait_s=30.0):
        connection = Connection()
        await self.port.connect.send(connection)
        await trio.sleep(wait_s)
        assert connection.closed
        return connection


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
        first = Connection(stays_s=100.0)
        await stage.port.connect.send(first)
        second = await stage.connect()
        assert [(r.result, r.source, r.reason) for r in second.rejections] == [(2, 3, 2)]
        assert stage.listener.slots.borrowed_tokens == 1


async def test_association_that_was_not_answered_in_time_holds_no_place(autojump_clock):
    """The entity answers when the listener has already rejected: nobody may keep the place."""
    stage = Stage()
    stage.disk.open_s = 60.0
    async with running(stage.entity), running(stage.listener):
        reply, _replies = trio.open_memory_channel(1)
        busy = ReceivedInstance(
            association="a-0", calling_ae_title="CT1", sop_class_uid=CT, sop_instance_uid="1.2",
            transfer_syntax_uid="1.2.840.10008.1.2", attributes={}, payload_bytes=1,
        )  # fmt: skip
        await stage.requests.send(StoreRequest(instance=busy, reply=reply))
        late = await stage.connect()
        assert [rejection.result for rejection in late.rejections] == [2]
        await trio.sleep(100)
        assert (await stage.connect()).served == 1


async def test_silent_connection_is_closed_by_artim(autojump_clock):
    class Silent(Connection):
        async def request(self):
            await trio.sleep_forever()

    stage = Stage()
    async with running(stage.entity), running(stage.listener):
        silent = Silent()
        await stage.port.connect.send(silent)
        await trio.sleep(29)
        assert not silent.closed
        await trio.sleep(2)
        assert silent.closed
    assert stage.events == []


async def test_application_entity_that_is_stuck_stops_no_listener(autojump_clock):
    """Every association it does not answer leaves something in its queue; the queue has an end."""
    stage = Stage()
    stage.disk.open_s = 3600.0
    async with running(stage.entity), running(stage.listener):
        reply, _replies = trio.open_memory_channel(1)
        stuck = ReceivedInstance(
            association="a-0", calling_ae_title="CT1", sop_class_uid=CT, sop_instance_uid="1.2",
            transfer_syntax_uid="1.2.840.10008.1.2", attributes={}, payload_bytes=1,
        )  # fmt: skip
        await stage.requests.send(StoreRequest(instance=stuck, reply=reply))
        late = [await stage.connect() for _ in range(20)]
        assert [len(connection.rejections) for connection in late] == [1] * 20
        await trio.sleep(3600)
        assert (await stage.connect()).served == 1
