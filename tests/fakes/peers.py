"""Fakes of everybody outside: senders, destinations, the platform, the name server."""

from collections.abc import AsyncIterator, Mapping, Sequence, Set
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec
import trio
import trio.lowlevel
from fakes.committers import Archive, Promises
from fakes.disk import FakeDisk, FakeStore, Life
from fakes.visits import Visit

from adapter.domain.admission import AssociationRequest, UserIdentity
from adapter.domain.commitment import CommitmentReport, CommitmentRequest
from adapter.domain.dimse_ports import (
    AssociationReport,
    AssociationService,
    EchoResult,
    SendResult,
)
from adapter.domain.entities import Destination
from adapter.domain.messages import (
    Arrival,
    Ignored,
    InstanceSettled,
    Placement,
    ReceivedInstance,
    Refused,
    StoreAnswer,
)
from adapter.domain.records import Job, OutgoingInstance
from adapter.domain.statuses import status_words
from adapter.errors import GroupClosedError, PipelineError, UnavailableError

CT, SYNTAX = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1"


@dataclass(slots=True)
class Oracle:
    """What was promised to the outside, noted from outside."""

    acknowledged: set[tuple[str, str]] = field(default_factory=set)
    """(group, file) of every instance answered 0x0000."""
    pending: set[tuple[str, str]] = field(default_factory=set)
    """(study, instance) a sender still wants to deliver."""
    ignored: list[tuple[str, str]] = field(default_factory=list)
    """(AE Title, why) of every instance that was answered 0x0000 and not stored."""
    joined: list[tuple[str, str, frozenset[str]]] = field(default_factory=list)
    """(AE Title, study, processors) of every instance that was answered 0x0000 and stored."""
    placed_twice: list[str] = field(default_factory=list)
    """Groups of processors in whose groups the instance was already."""
    processor_of: dict[str, tuple[str, str]] = field(default_factory=dict)
    """AE Title and processor by group."""
    delivered: set[tuple[str, str]] = field(default_factory=set)
    """(destination, SOP Instance UID) that a destination has answered 0x0000."""
    let_in: list[str] = field(default_factory=list)
    """AE Titles that were answered to be removed, and let an association in."""
    slowest_answer_s: float = 0.0

    def has(self, destination: str, uid: str) -> bool:
        """Return whether a destination has an instance, or its fallback."""
        return bool({(name, uid) for name in (destination, "spare")} & self.delivered)


class FakeListener:
    """Port DimseListener: visits come from `connect`."""

    def __init__(self) -> None:
        self._in, self._out = trio.open_memory_channel[Visit](0)

    async def accept(self) -> Visit:
        try:
            return await self._out.receive()
        except trio.EndOfChannel:
            raise trio.ClosedResourceError from None

    async def connect(self, association: Visit) -> None:
        try:
            await self._in.send(association)
        except trio.BrokenResourceError:
            association.close()  # nobody listens any more: connection refused

    def close(self) -> None:
        self._out.close()


class FakeAssociation(Visit):
    """Port PendingAssociation: one sender's visit."""

    def __init__(
        self,
        titles: tuple[str, str],
        instances: list[tuple[str, str]],
        store: FakeStore,
        oracle: Oracle,
        start_at: float,
        shut: Set[str] = frozenset(),
    ) -> None:
        """`titles`: called, calling; `shut`: called ones that let nobody in."""
        called, self.calling = titles
        super().__init__(called, self.calling, (CT,), store.life)
        self._shut = shut
        self._was_shut = False
        self.instances = instances
        self.store = store
        self.oracle = oracle
        self._wall = start_at
        self.called = called

    async def request(self) -> AssociationRequest:
        request = await super().request()
        self._was_shut = self.called in self._shut
        return request

    async def converse(self, association: str, service: AssociationService) -> AssociationReport:
        if self._was_shut and self.called in self._shut:
            self.oracle.let_in.append(self.called)
        stored = 0
        self._staged: list[tuple[str, str, str, str]] = []
        for study, uid in self.instances:
            if self.aborted or self.store.life.rng.random() < self.store.life.rates.abort / 10:
                return self.ended(stored, released=False)
            stored += await self._store(association, service, study, uid)
        if self._staged and not await service.released():
            return self.ended(stored, released=False)
        if self.store.life.dead:
            await trio.sleep_forever()
        for promise in self._staged:
            self._promised(*promise)
        return self.ended(stored, released=True)

    def _promised(self, group: str, name: str, study: str, uid: str) -> None:
        self.oracle.acknowledged.add((group, name))
        self.oracle.pending.discard((study, uid))

    async def _store(
        self, association: str, service: AssociationService, study: str, uid: str
    ) -> bool:
        instance = ReceivedInstance(
            association=association, calling_ae_title=self.calling, sop_class_uid=CT,
            sop_instance_uid=uid, transfer_syntax_uid=SYNTAX, payload_bytes=1,
            attributes={"0020,000D": study, "0020,000E": study + ".1"},
        )  # fmt: skip
        answer = await self._place(service, instance)
        arrivals, joined = list[Arrival](), dict[str, str]()
        done = False
        staged = isinstance(answer, Placement) and bool(answer.association)
        try:
            if isinstance(answer, Placement):
                try:
                    await self._commit(answer, arrivals, joined, may_pretend=True)
                except GroupClosedError:
                    again = msgspec.structs.replace(instance, joined=tuple(joined))
                    answer = await self._place(service, again)
                    if isinstance(answer, Placement):
                        await self._commit(answer, arrivals, joined)
            done = bool(joined) and not isinstance(answer, Refused)
        except UnavailableError:
            pass  # answered 0xA700
        finally:
            if arrivals:
                settled = InstanceSettled(instance=instance, stored=done, arrivals=tuple(arrivals))
                service.settled([settled])
        if isinstance(answer, Ignored) and not joined:
            self.oracle.ignored.append((self.called, answer.why))
            self.oracle.pending.discard((study, uid))
        if done:
            self._acknowledge(joined, study, uid, staged=staged)
        return done

    async def _place(self, service: AssociationService, instance: ReceivedInstance) -> StoreAnswer:
        begin = trio.current_time()
        answer = await service.place(instance)
        waited = trio.current_time() - begin
        self.oracle.slowest_answer_s = max(self.oracle.slowest_answer_s, waited)
        return answer

    async def _commit(
        self,
        placement: Placement,
        arrivals: list[Arrival],
        joined: dict[str, str],
        *,
        may_pretend: bool = False,
    ) -> None:
        """Commit into each group; in between it may die, or find a group closed, or pretend so."""
        left = dict(placement.groups)
        try:
            for processor, group_id in placement.groups.items():
                await trio.sleep(self.store.life.rng.uniform(0, 0.02))
                if self.store.life.dead:
                    await trio.sleep_forever()
                if may_pretend and joined and self.store.life.rng.random() < 0.2:
                    raise GroupClosedError("as it may be under a lease")
                if processor in joined:
                    self.oracle.placed_twice.append(group_id)
                at = self._wall + trio.current_time()
                duplicate = self.store.commit(placement, group_id, at)
                arrivals.append(Arrival(group_id=group_id, duplicate=duplicate))
                joined[processor] = left.pop(processor)
        finally:
            arrivals += [Arrival(group_id=group_id, stored=False) for group_id in left.values()]

    def _acknowledge(self, joined: dict[str, str], study: str, uid: str, *, staged: bool) -> None:
        name = f"{study}/{study}.1/{uid}"
        self.oracle.joined.append((self.called, study, frozenset(joined)))
        for processor, group in joined.items():
            self.oracle.processor_of[group] = self.called, processor
        for group in joined.values():
            promise = group, name, study, uid
            if staged:
                self._staged.append(promise)
            else:
                self._promised(*promise)


class FakePlatform:
    """Port Platform: slow, forgetful, and in the end obliging."""

    outage = ""

    def __init__(self, disk: FakeDisk, life: Life) -> None:
        self._disk = disk
        self._life = life

    async def _step(self) -> None:
        await self._life.io(0.5)
        draw = self._life.rng.random()
        if draw < self._life.rates.platform / 2:
            raise UnavailableError("the platform is away")
        if draw < self._life.rates.platform:
            raise PipelineError("exit status 1")

    async def create(self, job: Job) -> str:
        await self._step()
        return job.id

    async def upload_metadata(self, job: Job, metadata: Mapping[str, str]) -> None:
        await self._step()

    async def upload(self, job: Job) -> None:
        await self._step()

    async def start(self, job: Job) -> None:
        await self._step()

    async def wait(self, job: Job) -> None:
        await self._life.io(20.0)
        await self._step()
        payload = self._disk.payloads[job.id]
        payload.outputs = {
            f"{number}.dcm": OutgoingInstance(
                path=f"{job.id}/{number}.dcm", sop_class_uid=CT,
                sop_instance_uid=f"{job.id}/{number}", transfer_syntax_uid=SYNTAX,
                data_set_offset=1, data_set_bytes=1,
            )
            for number in range(len(payload.files))
        }  # fmt: skip

    async def cancel(self, job: Job) -> None:
        await self._life.io(0.5)
        if self._life.rng.random() < self._life.rates.platform:
            raise UnavailableError("the platform is away")

    def concurrency(self, pipeline_id: str) -> int:
        return 2


class FakeRequestor:
    """Port Requestor: a destination with moods."""

    def __init__(self, life: Life, oracle: Oracle, archive: Archive, promises: Promises) -> None:
        self._life = life
        self._oracle = oracle
        self._archive = archive
        self._promises = promises

    @asynccontextmanager
    async def associate(
        self, destination: Destination, contexts: Sequence[tuple[str, str]]
    ) -> AsyncIterator["FakeOutbound"]:
        await self._life.io(0.2)
        if self._life.rng.random() < self._life.rates.unreachable:
            raise UnavailableError("no connection: Connection refused")
        yield FakeOutbound(self._life, self._oracle, destination.name, self._archive)

    async def report(
        self, destination: Destination, report: CommitmentReport, calling_ae_title: str
    ) -> int:
        await self._life.io(0.2)
        if self._life.rng.random() < self._life.rates.unreachable:
            raise UnavailableError("no connection: Connection refused")
        sent = {name.rpartition("/")[2] for _, name in self._oracle.acknowledged}
        self._promises.wrongly_kept += [
            r.sop_instance_uid for r in report.committed if r.sop_instance_uid not in sent
        ]
        if self._life.rng.random() < self._life.rates.refused:
            return 0x0110
        self._promises.reported.add(report.transaction_uid)
        return 0

    async def echo(self, destination: Destination) -> EchoResult:
        await self._life.io(0.2)
        if self._life.rng.random() < self._life.rates.unreachable:
            raise UnavailableError("no connection: Connection refused")
        return EchoResult(status=0, connect_s=0.0, associate_s=0.0, echo_s=0.2)


class FakeOutbound:
    """Port OutboundAssociation."""

    def __init__(self, life: Life, oracle: Oracle, destination: str, archive: Archive) -> None:
        self._life = life
        self._oracle = oracle
        self._destination = destination
        self._archive = archive
        self._lost = False
        self._report: CommitmentReport | None = None

    def accepted(self, context: tuple[str, str]) -> bool:
        return not self._lost and self._destination == "archive"

    async def request_commitment(self, request: CommitmentRequest) -> SendResult:
        await self._life.io()
        if self._lost or self._life.rng.random() < self._life.rates.lost:
            return SendResult(status=None, error="closed by the peer")
        if self._life.rng.random() < self._life.rates.refused:
            return SendResult(status=0x0110, error="status 0x0110")
        self._report = self._archive.asked(request, self._life)
        return SendResult(status=0)

    async def next_report(self, wait_s: float) -> CommitmentReport | None:
        if self._report is None:
            await trio.sleep(wait_s)
            return None
        await self._life.io()
        report, self._report = self._report, None
        return self._archive.tell(report)

    async def answer_report(self, status: int) -> None:
        await self._life.io()

    def abort(self) -> None:
        self._lost = True

    async def store(self, instances: Sequence[OutgoingInstance]) -> list[SendResult]:
        results = []
        for instance in instances:
            await self._life.io()
            self._lost = self._lost or self._life.rng.random() < self._life.rates.lost / 10
            if self._lost:
                results.append(SendResult(status=None, error="closed by the peer"))
            elif self._life.rng.random() < self._life.rates.refused:
                results.append(SendResult(status=0xA700, error=status_words(0xA700)))
            else:
                self._oracle.delivered.add((self._destination, instance.sop_instance_uid))
                results.append(SendResult(status=0))
        return results


async def believe(_identity: UserIdentity | None, /) -> None:
    """Port IdentityCheck: believes everybody."""


async def resolve(host: str, /) -> frozenset[str]:
    """Port Resolver: knows every name."""
    await trio.lowlevel.checkpoint()
    return frozenset({"127.0.0.1"})
