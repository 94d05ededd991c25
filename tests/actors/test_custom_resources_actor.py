"""Custom resources on virtual time: what is ordered, what is told, and how long it waits."""

import itertools
from collections.abc import Callable

import msgspec
import pytest
import trio
from actor_ports import running

from adapter.actors.custom_resources import PAUSE_S_MAX, PAUSE_S_MIN, CustomResourcesActor
from adapter.channels import answer
from adapter.domain.custom_resources import (
    FINALIZER,
    ClusterEdges,
    ClusterFigures,
    Listing,
    Resource,
    ResourceChange,
    ResourceStatus,
)
from adapter.domain.entities import ApplicationEntity, Destination, Source
from adapter.domain.entity_orders import EntityRefusal, EntityRefused
from adapter.domain.entity_rows import KINDS, kind_of, of_row, row_of
from adapter.errors import ClusterRefusalError, UnavailableError

RETRY_S = 30.0
BRAIN = ApplicationEntity(name="brain", ae_title="BRAIN", destinations=["pacs"])
PACS = Destination(name="pacs", ae_title="PACS", host="10.1.2.9", port=104)
CT1 = Source(name="ct1", ae_title="CT1", host="10.1.2.3")


class Cluster:
    """Port CustomResources; every version is a number."""

    def __init__(self):
        self.version = 1
        self.resources = {kind: {} for kind in KINDS}
        self.heard: dict[str, Callable[[ResourceChange], None]] = {}
        self.asked: list[tuple[float, str, str]] = []
        self.statuses: list[tuple[str, str]] = []
        self.fault = self.write_fault = None
        self.ends = trio.Event()

    def want(self, entity, **changes):
        """Have a resource for an entity, and tell whoever watches."""
        kind = kind_of(entity)
        before = self.resources[kind].get(entity.name)
        generation = before.generation + 1 if before else 1
        resource = msgspec.structs.replace(
            before or Resource(kind=kind, name=entity.name, version="", generation=0, entity=None),
            entity=entity, generation=generation, **changes,
        )  # fmt: skip
        self._store(resource)

    def _store(self, resource):
        self.version += 1
        resource = msgspec.structs.replace(resource, version=str(self.version))
        gone = resource.deleting and not resource.finalizers
        self.resources[resource.kind][resource.name] = resource
        if gone:
            del self.resources[resource.kind][resource.name]
        if heard := self.heard.get(resource.kind):
            heard(ResourceChange(version=resource.version, resource=resource, gone=gone))
        return resource

    async def list(self, kind):
        await trio.lowlevel.checkpoint()
        self.asked.append((trio.current_time(), "list", kind))
        if self.fault:
            raise self.fault
        return Listing(resources=dict(self.resources[kind]), version=str(self.version))

    async def watch(self, kind, since, heard):
        self.asked.append((trio.current_time(), f"watch {since}", kind))
        await trio.lowlevel.checkpoint()
        if self.fault:
            raise self.fault
        heard(ResourceChange())
        self.heard[kind] = heard
        try:
            await self.ends.wait()
        finally:
            del self.heard[kind]
        if self.fault:
            raise self.fault

    async def put_status(self, resource, status):
        await trio.lowlevel.checkpoint()
        if self.write_fault:
            raise self.write_fault
        self.statuses.append((resource.name, status.message))
        now = self.resources[resource.kind][resource.name]
        return self._store(msgspec.structs.replace(now, status=status))

    async def put_finalizers(self, resource, finalizers):
        await trio.lowlevel.checkpoint()
        if self.write_fault:
            raise self.write_fault
        now = self.resources[resource.kind][resource.name]
        return self._store(msgspec.structs.replace(now, finalizers=finalizers))

    def spelled(self, kind, problem):
        return f"spelled: {problem}"


class Clerk:
    """The entities actor, as far as it is asked."""

    def __init__(self):
        self.given, self.orders = trio.open_memory_channel(0)
        self.listed = {kind: {} for kind in KINDS}
        self.done, self.refusal = [], None
        self.drains = True

    async def run(self):
        async for order in self.orders:
            with order.reply:
                self.done.append((order.action, order.name))
                answer(order.reply, self.answer_to(order))

    def answer_to(self, order):
        assert order.origin == "kubernetes"
        listed = self.listed[order.kind]
        if self.refusal:
            return EntityRefused(EntityRefusal.CONFLICT, (self.refusal,))
        if order.action == "remove":
            now = msgspec.structs.replace(listed[order.name], retiring=True)
            listed[order.name] = now
            if self.drains:
                del listed[order.name]
            return now
        listed[order.name] = of_row(row_of(order.entity, origin="kubernetes"))
        return listed[order.name]


class Stage:
    def __init__(self):
        self.cluster, self.clerk, self.events = Cluster(), Clerk(), []
        self.figures, self.trail = ClusterFigures(), []

    def actor(self):
        return CustomResourcesActor(
            cluster=ClusterEdges(self.cluster, self), entities=self.clerk.given,
            listed=self.clerk.listed, figures=self.figures, publish=self.events.append,
            retry_s=RETRY_S, stop=trio.Event(),
        )  # fmt: skip

    async def followed(self, action, path, before, after):
        """Port ResourceTrail."""
        await trio.lowlevel.checkpoint()
        self.trail.append((action, path, before.get("host"), after.get("host")))

    def status(self, entity):
        return self.cluster.resources[kind_of(entity)][entity.name].status

    def types(self):
        return [event.type for event in self.events]


@pytest.fixture
async def stage():
    stage = Stage()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.clerk.run)
        yield stage
        nursery.cancel_scope.cancel()


async def settle():
    await trio.sleep(0.1)


async def test_what_is_named_by_others_is_made_first_and_removed_last(stage, autojump_clock):
    for entity in (BRAIN, CT1, PACS):
        stage.cluster.want(entity)
    async with running(stage.actor()):
        await settle()
        assert stage.clerk.done == [("create", "pacs"), ("create", "ct1"), ("create", "brain")]
        assert stage.status(BRAIN) == ResourceStatus(
            accepted=True, message="in use", observed_generation=1
        )
        assert stage.figures.resources == {(kind, True): 1 for kind in KINDS}
        stage.clerk.done.clear()
        for entity in (PACS, CT1, BRAIN):
            stage.cluster.want(entity, deleting=True)
        await settle()
        assert [name for _, name in stage.clerk.done] == ["brain", "ct1", "pacs"]
        assert not any(stage.cluster.resources.values())


async def test_finalizer_is_there_before_the_entity_and_others_are_kept(stage, autojump_clock):
    stage.cluster.want(CT1, finalizers=("theirs",))
    stage.cluster.write_fault = ClusterRefusalError("403", 403)
    async with running(stage.actor()):
        await settle()
        assert stage.clerk.done == []
        assert stage.figures.outage == "status: 403"
        stage.cluster.write_fault = None
        await trio.sleep(RETRY_S)
        assert stage.clerk.done == [("create", "ct1")]
        assert stage.cluster.resources["source"]["ct1"].finalizers == ("theirs", FINALIZER)
        assert stage.types() == ["kubernetes.lost", "kubernetes.reached"]
        stage.cluster.want(CT1, deleting=True)
        await settle()
        assert stage.cluster.resources["source"]["ct1"].finalizers == ("theirs",)


async def test_what_drains_is_looked_at_until_it_has_gone(stage, autojump_clock):
    stage.cluster.want(CT1)
    stage.clerk.drains = False
    async with running(stage.actor()):
        await settle()
        stage.cluster.want(CT1, deleting=True)
        await trio.sleep(5)
        assert "is being removed" in stage.status(CT1).message
        assert stage.clerk.done == [("create", "ct1"), ("remove", "ct1")]
        del stage.clerk.listed["source"]["ct1"]
        await trio.sleep(1.1)
        assert not stage.cluster.resources["source"]


async def test_refusal_is_told_once_and_tried_again(stage, autojump_clock):
    stage.clerk.refusal = "name: is used"
    stage.cluster.want(CT1)
    async with running(stage.actor()):
        await settle()
        tries = len(stage.clerk.done)
        await trio.sleep(3 * RETRY_S)
        assert len(stage.clerk.done) == tries + 3
        assert stage.types() == ["kubernetes.refused"]
        assert stage.events[0].facts["problems"] == ["spelled: name: is used"]
        assert stage.cluster.statuses == [("ct1", "spelled: name: is used")]
        stage.clerk.refusal = None
        await trio.sleep(RETRY_S)
        assert stage.status(CT1).accepted


async def test_conflict_of_two_writers_is_no_outage(stage, autojump_clock):
    stage.cluster.want(CT1)
    stage.cluster.write_fault = ClusterRefusalError("409", 409)
    async with running(stage.actor()):
        await settle()
        assert (stage.figures.outage, stage.types()) == ("", [])
        stage.cluster.write_fault = None
        await trio.sleep(RETRY_S)
        assert stage.status(CT1).accepted


async def test_pauses_grow_while_the_cluster_is_away(stage, autojump_clock):
    stage.cluster.fault = UnavailableError("no connection")
    async with running(stage.actor()):
        await trio.sleep(400)
        times = [at for at, what, kind in stage.cluster.asked if kind == "source"]
        pauses = [round(b - a, 3) for a, b in itertools.pairwise(times)]
        assert pauses[:5] == [2 * PAUSE_S_MIN, 4, 8, 16, 32]
        assert set(pauses[5:]) == {PAUSE_S_MAX}
        assert stage.types() == ["kubernetes.lost"]
        stage.cluster.fault = None
        await trio.sleep(PAUSE_S_MAX)
        assert stage.types() == ["kubernetes.lost", "kubernetes.reached"]


async def test_watch_that_ends_goes_on_from_the_latest_version(stage, autojump_clock):
    async with running(stage.actor()):
        await settle()
        stage.cluster.want(CT1)
        await settle()
        version = stage.cluster.resources["source"]["ct1"].version
        stage.cluster.ends.set()
        await trio.sleep(PAUSE_S_MIN + 0.1)
        asked = [what for _, what, kind in stage.cluster.asked if kind == "source"]
        assert asked[:3] == ["list", "watch 1", f"watch {version}"]


async def test_version_that_is_too_old_means_a_new_list(stage, autojump_clock):
    async with running(stage.actor()):
        await settle()
        stage.cluster.fault = ClusterRefusalError("too old", 410)
        stage.cluster.ends.set()
        await trio.sleep(PAUSE_S_MIN / 2)
        stage.cluster.fault = None
        await trio.sleep(PAUSE_S_MIN)
        asked = [what for _, what, kind in stage.cluster.asked if kind == "source"]
        assert asked[:4] == ["list", "watch 1", "list", "watch 1"]
        assert stage.types() == []


async def test_what_is_not_heard_of_is_not_removed(stage, autojump_clock):
    stage.clerk.listed["source"]["ct1"] = of_row(row_of(CT1, origin="kubernetes"))
    stage.cluster.fault = UnavailableError("no connection")
    async with running(stage.actor()):
        await trio.sleep(100)
        assert stage.clerk.done == []
        stage.cluster.fault = None
        await trio.sleep(PAUSE_S_MAX)
        assert stage.clerk.done == [("remove", "ct1")]  # now it is heard that there is none


async def test_entities_of_others_are_left_alone(stage, autojump_clock):
    stage.clerk.listed["source"]["ct1"] = of_row(row_of(CT1))
    async with running(stage.actor()):
        await trio.sleep(RETRY_S + 1)
        assert stage.clerk.done == []
        stage.cluster.want(CT1, deleting=True, finalizers=(FINALIZER,))
        await settle()
        assert stage.clerk.done == []
        assert not stage.cluster.resources["source"]


async def test_what_was_done_is_in_the_audit_trail(stage, autojump_clock):
    stage.cluster.want(CT1)
    async with running(stage.actor()):
        await settle()
        stage.cluster.want(msgspec.structs.replace(CT1, host="10.9.9.9"))
        await settle()
        stage.clerk.refusal = "not now"
        stage.cluster.want(msgspec.structs.replace(CT1, host="10.7.7.7"))
        await settle()
        stage.clerk.refusal = None
        stage.cluster.want(CT1, deleting=True)
        await settle()
        assert stage.trail == [
            ("create", "sources/ct1", None, "10.1.2.3"),
            ("change", "sources/ct1", "10.1.2.3", "10.9.9.9"),
            ("remove", "sources/ct1", "10.9.9.9", None),
        ]
