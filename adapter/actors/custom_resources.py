"""Custom resources: AE Titles, sources and destinations as a Kubernetes cluster wants them.

Consumes: lists and watches of three kinds of resources, what is listed. Produces: EntityOrder,
statuses and finalizers of resources, `kubernetes` events, entries of the audit trail. Owns: what
the cluster was last heard to want. Rebuilds from: the cluster; what came of it is in the ledger.
Restart policy: replica: without it everything stays as it is.

Whatever is heard only leads to a look at everything: what is wanted, what is listed, and which
order is missing between them. So nothing depends on the order in which resources come, and what
was refused is accepted once what was in its way has gone. While the cluster is away nothing is
removed: what is not heard of is not gone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import structlog
import trio

from adapter.channels import UNANSWERED, ask, notify, wait_woken
from adapter.domain import system_events
from adapter.domain.custom_resources import (
    FINALIZER,
    PLURALS,
    RESOURCE_KINDS,
    ClusterEdges,
    ClusterFigures,
    Resource,
    ResourceChange,
    next_action,
    status_of,
)
from adapter.domain.entity_orders import EntityAction, EntityOrder, EntityRefused
from adapter.domain.entity_rows import KINDS, Kind, ListedEntity
from adapter.domain.events import Publish
from adapter.domain.messages import Wake
from adapter.errors import ClusterRefusalError, UnavailableError

log = structlog.get_logger("adapter.kubernetes")

ANSWER_S = 10.0
"""For the entities actor; an exporter may take 2 s to hand over."""
LOOK_S = 1.0
"""How often it is looked whether something removed has gone."""
PAUSE_S_MIN = 1.0
"""Before what was watched is watched again; doubled by each outage in a row."""
PAUSE_S_MAX = 60.0
GONE = 410
"""A version from which on nothing can be watched any more."""
OVERTAKEN = (404, 409)
"""It has gone, or changed; the watch tells."""
WRITING = "status"


@dataclass(slots=True, kw_only=True)
class CustomResourcesActor:
    """Has run what custom resources describe, and tells them what came of it."""

    cluster: ClusterEdges
    entities: trio.MemorySendChannel[EntityOrder]
    listed: Mapping[Kind, Mapping[str, ListedEntity]]
    figures: ClusterFigures
    publish: Publish
    retry_s: float
    stop: trio.Event
    name: str = "kubernetes"
    _wanted: dict[Kind, dict[str, Resource]] = field(default_factory=dict)
    """By name, of the kinds that were listed."""
    _versions: dict[Kind, str] = field(default_factory=dict)
    _tried: set[Kind] = field(default_factory=set)
    _told: dict[tuple[Kind, str], list[str]] = field(default_factory=dict)
    """Why something was refused, so that it is told once."""
    _written: dict[tuple[Kind, str], list[str]] = field(default_factory=dict)
    """Versions written here that the watch has not told yet."""
    _failure: UnavailableError | None = None
    """Of the latest look: something could not be written."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `Actor.run`."""
        for memory in (self._wanted, self._versions, self._told, self._written):
            memory.clear()
        self._tried.clear()
        self.figures.watches = True
        task_status.started()
        wake, woken = trio.open_memory_channel[Wake](1)
        with wake, woken:
            async with trio.open_nursery() as working:
                for kind in KINDS:
                    working.start_soon(self._follow, kind, wake)
                working.start_soon(self._keep_up, woken)
                await self.stop.wait()
                working.cancel_scope.cancel()

    def close(self) -> None:
        """See `Actor.close`."""
        self.entities.close()

    # --- what is wanted

    async def _follow(self, kind: Kind, wake: trio.MemorySendChannel[Wake]) -> None:
        """Hear of all resources of a kind, over outages."""

        def heard(change: ResourceChange) -> None:
            if self._hear(kind, change):
                notify(wake)

        outages = 0
        while True:
            began = trio.current_time()
            try:
                if kind not in self._versions:
                    listing = await self.cluster.resources.list(kind)
                    self._wanted[kind] = dict(listing.resources)
                    self._versions[kind] = listing.version
                    for one in [one for one in self._written if one[0] == kind]:
                        del self._written[one]  # their echoes are not heard any more
                    self._reached(PLURALS[kind])
                self._tried.add(kind)
                notify(wake)
                await self.cluster.resources.watch(kind, self._versions[kind], heard)
                outages = 0
            except UnavailableError as error:
                if getattr(error, "status", 0) == GONE:
                    log.info("kubernetes.outdated", kind=kind, version=self._versions.pop(kind, ""))
                else:
                    lasted_s = trio.current_time() - began
                    outages = 1 if lasted_s > PAUSE_S_MAX else outages + 1
                    self._lost(PLURALS[kind], error)
                self._tried.add(kind)
                notify(wake)
            await trio.sleep(min(PAUSE_S_MIN * 2.0 ** min(outages, 16), PAUSE_S_MAX))

    def _hear(self, kind: Kind, change: ResourceChange) -> bool:
        """Take note of what is wanted now; return whether it is something else than before."""
        self._reached(PLURALS[kind])
        if change.version:
            self._versions[kind] = change.version
        if change.resource is None:
            return False
        wanted, now = self._wanted[kind], change.resource
        if self._is_overtaken(now):
            return False
        before = wanted.pop(now.name, None)
        if not change.gone:
            wanted[now.name] = now
        if before is None or change.gone:
            return True
        # Else it may be the echo of what was written here.
        return (before.generation, before.deleting) != (now.generation, now.deleting)

    def _is_overtaken(self, heard: Resource) -> bool:
        """Return whether it is the echo of a write here, and what was written later is known."""
        written = self._written.get((heard.kind, heard.name), [])
        if heard.version in written:
            del written[: written.index(heard.version) + 1]
            return bool(written)
        return False

    def _lost(self, what: str, error: UnavailableError) -> None:
        outages, why = self.figures.outages, str(error)
        if not outages:
            log.warning("kubernetes.lost", what=what, why=why)
            facts = system_events.ClusterOutage(what=what, why=why)
            self.publish(system_events.KubernetesLost(data=facts))
        outages[what] = f"{what}: {why}"

    def _reached(self, what: str) -> None:
        outages = self.figures.outages
        if outages.pop(what, None) and not outages:
            log.info("kubernetes.reached")
            self.publish(system_events.KubernetesReached())

    # --- what is missing

    async def _keep_up(self, woken: trio.MemoryReceiveChannel[Wake]) -> None:
        while len(self._tried) < len(KINDS):  # else AE Titles came before what they name
            await woken.receive()
        while True:
            await self._look()
            leaving = any(
                one.retiring and one.origin == "kubernetes"
                for listed in self.listed.values()
                for one in listed.values()
            )
            pause_s = LOOK_S if leaving else self.retry_s
            await wait_woken(woken, trio.current_time() + pause_s)

    async def _look(self) -> None:
        """Order what is missing: what is named by others comes first, and goes last."""
        self._failure = None
        try:
            for kind in KINDS:
                for resource in list(self._wanted.get(kind, {}).values()):
                    if not resource.deleting:
                        await self._settle(resource)
            for kind in reversed(KINDS):
                for resource in list(self._wanted.get(kind, {}).values()):
                    if resource.deleting:
                        await self._settle(resource)
                await self._remove_strays(kind)
        except UnavailableError as error:
            self._failure = error
        except UNANSWERED:
            log.warning("kubernetes.unanswered")  # it has crashed, or has much to do: later
        if self._failure is None:
            self._reached(WRITING)
        else:
            self._lost(WRITING, self._failure)
        self._count()

    async def _settle(self, resource: Resource) -> None:
        """Bring about one resource, and tell it so."""
        try:
            await self._bring_about(resource)
        except ClusterRefusalError as error:
            if error.status not in OVERTAKEN:
                self._failure = error

    async def _bring_about(self, resource: Resource) -> None:
        kind, name = resource.kind, resource.name
        problems = list(resource.problems)
        if action := next_action(resource, self.listed[kind].get(name)):
            if not resource.is_held and not resource.deleting:
                resource = await self._put_finalizers(resource, (*resource.finalizers, FINALIZER))
            problems = await self._order(action, kind, name, resource)
        listed = self.listed[kind].get(name)
        if resource.deleting and (listed is None or listed.origin != "kubernetes"):
            if resource.is_held:
                rest = tuple(one for one in resource.finalizers if one != FINALIZER)
                await self._put_finalizers(resource, rest)
            self._told.pop((kind, name), None)
            self._written.pop((kind, name), None)
            return
        self._tell_refused(kind, name, problems)
        status = status_of(resource, listed, problems)
        if status != resource.status:
            self._keep(resource, await self.cluster.resources.put_status(resource, status))

    async def _put_finalizers(self, resource: Resource, finalizers: tuple[str, ...]) -> Resource:
        written = await self.cluster.resources.put_finalizers(resource, finalizers)
        self._keep(resource, written)
        return written

    def _keep(self, before: Resource, written: Resource) -> None:
        """Remember what was written until the watch tells it, unless it has told more by now."""
        wanted = self._wanted.get(before.kind, {})
        if before.name in wanted and wanted[before.name].version == before.version:
            wanted[before.name] = written
            self._written.setdefault((before.kind, before.name), []).append(written.version)

    async def _order(
        self, action: EntityAction, kind: Kind, name: str, resource: Resource | None
    ) -> list[str]:
        """Give an order; return what is said against it."""

        def order(reply: trio.MemorySendChannel[ListedEntity | EntityRefused]) -> EntityOrder:
            return EntityOrder(
                action=action, kind=kind, name=name,
                entity=resource.entity if resource and action != "remove" else None,
                drain=action == "remove", origin="kubernetes", reply=reply,
            )  # fmt: skip

        before = self.listed[kind].get(name)
        done = await ask(self.entities, order, ANSWER_S)
        if isinstance(done, EntityRefused):
            return [self.cluster.resources.spelled(kind, problem) for problem in done.problems]
        was, path = before.settings if before else {}, f"{PLURALS[kind]}/{name}"
        after = done.settings if action != "remove" else {}
        await self.cluster.trail.followed(action, path, was, after)
        return []

    async def _remove_strays(self, kind: Kind) -> None:
        """Remove what a resource has made that is not there any more."""
        if kind not in self._wanted:
            return
        for listed in list(self.listed[kind].values()):
            is_stray = listed.origin == "kubernetes" and listed.name not in self._wanted[kind]
            if is_stray and not listed.retiring:
                problems = await self._order("remove", kind, listed.name, None)
                self._tell_refused(kind, listed.name, problems)

    # --- what is told

    def _tell_refused(self, kind: Kind, name: str, problems: list[str]) -> None:
        if not problems:
            self._told.pop((kind, name), None)
        elif self._told.get((kind, name)) != problems:
            self._told[kind, name] = problems
            facts = system_events.ResourceProblems(kind=kind, name=name, problems=problems)
            log.warning("kubernetes.refused", resource=RESOURCE_KINDS[kind], kind=kind, name=name,
                        problems=problems)  # fmt: skip
            self.publish(system_events.KubernetesRefused(data=facts))

    def _count(self) -> None:
        counts: dict[tuple[Kind, bool], int] = {}
        for kind, wanted in self._wanted.items():
            for resource in wanted.values():
                key = kind, resource.status.accepted
                counts[key] = counts.get(key, 0) + 1
        self.figures.resources = counts
