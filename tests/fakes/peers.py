"""Fakes of everybody outside: senders, destinations, the platform, the name server."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import trio
import trio.lowlevel
from fakes.committers import Archive, Promises
from fakes.disk import FakeDisk, Life
from fakes.instances import CT, SYNTAX
from fakes.oracle import Oracle
from fakes.visits import Visit

from adapter.domain.admission import UserIdentity
from adapter.domain.commitment import CommitmentReport, CommitmentRequest
from adapter.domain.dimse_ports import EchoResult, SendResult
from adapter.domain.entities import Destination
from adapter.domain.records import Job, OutgoingInstance
from adapter.domain.statuses import status_words
from adapter.errors import PipelineError, UnavailableError


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
